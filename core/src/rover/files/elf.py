"""Reads what plugins for TLS libraries need of an ELF file: functions by name, machine code, sections.

A file is a stranger's: it may be broken on purpose, or change while it is read. So nothing is mapped into
memory (a mapped file that is cut kills who reads it), every read and every loop has a bound, and all that is
wrong is an ElfError. Layouts are those of the System V ABI (chapters 4 and 5 of gabi; the x86-64 supplement).
"""

from __future__ import annotations

import dataclasses
import os
import struct
from array import array
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

MAX_TABLE = 64 << 20
"""Bytes of one section: the line table of a large Go program has some 40 MB, the names in Node 7."""
MAX_READ = 256 << 20
"""Bytes read of one file: sections may lie over each other, as often as there are sections."""
MAX_CODE = 1 << 20
"""Bytes of one function."""
MAX_OFFSET = 1 << 40
"""Where machine code may lie in a file: no program is larger than a terabyte."""
MAX_NAMESAKES = 64
"""Places in a table of names that a name is looked up at: the end of a longer name counts, too."""
ENDBR64 = b"\xf3\x0f\x1e\xfa"

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
DYNAMIC = struct.Struct("<qQ")

EXECUTABLE, SHARED = 2, 3
X86_64 = 62
LOAD, RUNS = 1, 1
SYMTAB, STRTAB, RELA, DYNAMIC_TABLE, NOBITS, DYNSYM = 2, 3, 4, 6, 8, 11
FUNCTION = 2
NEEDED = 1
GLOB_DAT, JUMP_SLOT = 6, 7


class ElfError(Exception):
    """Why a file cannot be read, for people."""


class Segment(NamedTuple):
    """What is loaded: bytes of the file at an address."""

    offset: int
    address: int
    size: int
    runs: bool
    """Whether it holds machine code."""


class Section(NamedTuple):
    """A named part of the file."""

    name: bytes
    kind: int
    address: int
    offset: int
    size: int
    link: int
    """The number of another section: of a table of symbols, that of their names."""


class Function(NamedTuple):
    """A function that a table of symbols names."""

    address: int
    size: int


class Content:
    """The bytes of a file that has a descriptor."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_READ

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from an offset. Raises ElfError."""
        content = self.begin(offset, size)
        if len(content) < size:
            raise ElfError("it is cut short")
        return content

    def begin(self, offset: int, size: int) -> bytes:
        """Those of them that are there. Raises ElfError when the file cannot be read."""
        self._left -= size
        if self._left < 0:
            raise ElfError(f"more than {MAX_READ} bytes of it would have to be read")
        content = b""
        try:
            while len(content) < size:
                more = os.pread(self._file.fileno(), size - len(content), offset + len(content))
                if not more:
                    break
                content = content + more if content else more
        except (OSError, OverflowError) as error:
            raise ElfError(f"it cannot be read: {error}") from error
        return content


@dataclasses.dataclass(frozen=True, slots=True)
class Elf:
    """An x86-64 program or shared library."""

    whole: Content
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]

    def section(self, *names: str) -> Section | None:
        """The first one that has one of these names."""
        wanted = {name.encode() for name in names}
        return next((each for each in self.sections if each.name in wanted), None)

    def content(self, section: Section) -> bytes:
        """All bytes of a section."""
        if section.kind == NOBITS or section.size > MAX_TABLE:
            raise ElfError(f"its section {section.name.decode(errors='replace')!r} has {section.size} bytes")
        return self.whole.read(section.offset, section.size)

    def offset(self, address: int) -> int:
        """Where in the file the machine code at an address is."""
        for segment in self.segments:
            place = address - segment.address
            if segment.runs and 0 <= place < segment.size and place + segment.offset < MAX_OFFSET:
                return place + segment.offset
        raise ElfError(f"it has no machine code at {address:#x}")

    def code(self, function: Function) -> bytes:
        """Of a function."""
        if function.size > MAX_CODE:
            raise ElfError(f"a function in it has {function.size} bytes")
        return self.whole.read(self.offset(function.address), function.size)

    def entry(self, address: int) -> int:
        """The file offset of the instruction to probe for a function's beginning: its first, or the one after
        an endbr64, which does nothing, and takes ten times as long as another one when it is probed."""
        offset = self.offset(address)
        return offset + len(ENDBR64) * (self.whole.read(offset, len(ENDBR64)) == ENDBR64)

    def functions(self, *names: str) -> Mapping[str, Function]:
        """Those of these names that are in the file, by name, of whatever table of symbols has them first."""
        found: dict[str, Function] = {}
        for table in self.sections:
            missing = [name for name in names if name not in found]
            if missing and table.kind in (DYNSYM, SYMTAB):
                found |= self._functions(table, missing)
        return found

    def _functions(self, table: Section, names: list[str]) -> dict[str, Function]:
        wanted: dict[int, str] = {}
        texts = self.content(self._linked(table))
        for name in names:
            wanted.update(dict.fromkeys(places(texts, name.encode() + b"\0"), name))
        if not wanted:
            return {}
        symbols = self.content(table)
        symbols = symbols[: len(symbols) - len(symbols) % SYMBOL.size]
        found: dict[str, Function] = {}
        # One field of all, as a column: a large program has half a million symbols.
        column = array("I", symbols)[:: SYMBOL.size // 4]
        for number, place in enumerate(column):
            if place in wanted and wanted[place] not in found:
                _, info, _, section, address, size = SYMBOL.unpack_from(symbols, number * SYMBOL.size)
                if info & 15 == FUNCTION and section and address:
                    found[wanted[place]] = Function(address, size)
        return found

    def needed(self) -> list[str]:
        """Names of the libraries that it loads (DT_NEEDED)."""
        names: list[str] = []
        for table in self.sections:
            if table.kind == DYNAMIC_TABLE:
                texts = self.content(self._linked(table))
                for tag, value in records(DYNAMIC, self.content(table)):
                    if tag == NEEDED and len(names) < MAX_NAMESAKES:
                        names.append(text(texts, value).decode(errors="replace"))
        return names

    def slots(self, name: str) -> list[int]:
        """Addresses of the pointers through which it calls another library's function of this name."""
        found: list[int] = []
        for table in self.sections:
            if table.kind != RELA or not 0 < table.link < len(self.sections):
                continue
            symbols = self.sections[table.link]
            if symbols.kind not in (DYNSYM, SYMTAB):
                continue
            numbers = set(self._numbers(symbols, name))
            for address, info, _ in records(RELOCATION, self.content(table)) if numbers else ():
                if info >> 32 in numbers and info & 0xFFFF_FFFF in (GLOB_DAT, JUMP_SLOT):
                    found.append(address)
        return found[:MAX_NAMESAKES]

    def _numbers(self, table: Section, name: str) -> Iterator[int]:
        """Of the symbols of this name."""
        wanted = places(self.content(self._linked(table)), name.encode() + b"\0")
        for number, (place, *_) in enumerate(records(SYMBOL, self.content(table)) if wanted else ()):
            if place in wanted:
                yield number

    def _linked(self, table: Section) -> Section:
        if not 0 < table.link < len(self.sections) or self.sections[table.link].kind != STRTAB:
            raise ElfError("a table in it has no names")
        return self.sections[table.link]


def opened(file: BinaryIO) -> Elf:
    """Reads the headers of a file that has a descriptor. Raises ElfError for one of another
    kind, one that cannot be read, or one for another machine."""
    content = Content(file)
    head = content.begin(0, HEADER.size)
    if head[:4] != b"\x7fELF":
        raise ElfError("it is no ELF file")
    if len(head) < HEADER.size or head[4:6] != b"\x02\x01":
        raise ElfError("it is a 32-bit program" if head[4:5] == b"\x01" else "its header is broken")
    (_, kind, machine, _, _, segments, sections, _, _, size, count, section_size, number, names) = (
        HEADER.unpack(head)
    )
    if machine != X86_64:
        raise ElfError("it is for another machine")
    if kind not in (EXECUTABLE, SHARED):
        raise ElfError("it is neither a program nor a shared library")
    if (count and size != SEGMENT.size) or (number and section_size != SECTION.size):
        raise ElfError("its header is broken")
    loads = tuple(
        Segment(offset, address, length, bool(flags & RUNS))
        for what, flags, offset, address, _, length, *_ in records(
            SEGMENT, content.read(segments, count * SEGMENT.size)
        )
        if what == LOAD
    )
    table = list(records(SECTION, content.read(sections, number * SECTION.size)))
    texts = b""
    if names < len(table) and table[names][5] <= MAX_TABLE and table[names][1] == STRTAB:
        texts = content.read(table[names][4], table[names][5])
    named = tuple(
        Section(text(texts, name), what, address, offset, length, link)
        for name, what, _, address, offset, length, link, *_ in table
    )
    return Elf(content, loads, named)


def records(layout: struct.Struct, content: bytes) -> Iterator[tuple[int, ...]]:
    """A table's rows; what is left of a last one is passed over."""
    return layout.iter_unpack(content[: len(content) - len(content) % layout.size])


def text(texts: bytes, place: int) -> bytes:
    """The name at a place of a table of names."""
    end = texts.find(b"\0", place)
    return texts[place:end] if end >= 0 else b""


def places(content: bytes, sought: bytes, limit: int = MAX_NAMESAKES) -> list[int]:
    """Where something is; the first places, in order."""
    found: list[int] = []
    at = content.find(sought)
    while at >= 0 and len(found) < limit:
        found.append(at)
        at = content.find(sought, at + 1)
    return found
