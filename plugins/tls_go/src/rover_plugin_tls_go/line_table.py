"""Go's line table: a program has it also when it was stripped. Functions by name are in it.

Layouts are those of the Go linker (src/cmd/link/internal/ld/pcln.go, src/debug/gosym/pclntab.go of Go 1.18 to
1.27). Everything in it is untrusted, as the file is.
"""

from __future__ import annotations

import itertools
import operator
import re
import struct
from array import array
from typing import NamedTuple

from rover.files.elf import Elf, ElfError, Section, places

SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
MAGICS = (0xFFFFFFF0, 0xFFFFFFF1)
"""Of Go 1.18 and 1.19, and of 1.20 and later."""
OLDER = (0xFFFFFFFA, 0xFFFFFFFB)
HEADER = struct.Struct("<IHBBQQQQQQQQ")
ENTRY = struct.Struct("<II")
"""Of a function: its offset from the beginning of the text; where its description is."""
NUMBER = struct.Struct("<I")
MAX_FUNCTIONS = 1 << 20
"""The largest programs have some 400,000."""
MAX_CANDIDATES = 1000
"""Places that may be the text's beginning by how three functions begin: some tens, by chance."""
SAMPLE = 200
"""Functions by which the beginning of the text is told."""
ENOUGH = 0.6
"""The part of them that has to begin like a function. Some 85 % do; of those at a wrong place, a few."""
GROWS = re.compile(
    rb"(?:\x4c\x8d\x64\x24.|\x4c\x8d\xa4\x24....)?"  # lea -N(%rsp),%r12
    rb"[\x49\x4d]\x3b\x66\x10"  # cmp 0x10(%r14),%rsp or %r12: is there room on the stack?
    rb"(?:\x76.|\x0f\x86....)",  # jbe
    re.DOTALL,
)
"""The beginning of a function that may need a larger stack. If it does, it begins again after that."""
ROOM = re.compile(rb"[\x49\x4d]\x3b\x66\x10")


class GoFunction(NamedTuple):
    """A function of a Go program."""

    address: int
    code: bytes


class LineTable:
    """Of one program. Raises ElfError, when made, for what is none or of another version."""

    def __init__(self, elf: Elf, section: Section) -> None:
        self._elf = elf
        self._content = content = elf.content(section)
        if len(content) < HEADER.size:
            raise ElfError("its line table is cut short")
        magic, _, _, size, count, _, text, names, _, _, _, functions = HEADER.unpack_from(content)
        if magic in OLDER:
            raise ElfError("it was made by a Go before 1.18")
        if magic not in MAGICS or size != 8:
            raise ElfError("its line table is of another version of Go")
        if not 0 < count <= MAX_FUNCTIONS or functions + (count + 1) * ENTRY.size > len(content):
            raise ElfError("its line table is broken")
        self._names, self._functions = names, functions
        rows = array("I", content[functions : functions + count * ENTRY.size + 4])
        self._entries = rows[::2]  # and the end of the last function
        self._places = rows[1::2]
        if any(map(operator.gt, self._entries, self._entries[1:])):
            raise ElfError("its line table is not in order")
        self._text = text

    def find(self, names: list[str]) -> dict[str, GoFunction]:
        """Those of these functions that are in the program, by name."""
        numbers = self._numbers(names)
        if not numbers:
            return {}
        text = self._elf.section(".text")
        if text is None:
            raise ElfError("it has no section .text")
        code = self._elf.content(text)
        start = self._beginning(code, text.address, sorted(numbers.values()))
        found = {}
        for name, number in numbers.items():
            at = start + self._entries[number] - text.address
            size = self._entries[number + 1] - self._entries[number]
            if not 0 <= at < at + size <= len(code):
                raise ElfError("a function of it is not in its text")
            found[name] = GoFunction(text.address + at, code[at : at + size])
        return found

    def _numbers(self, names: list[str]) -> dict[str, int]:
        """The functions of these names, by name. The description of each begins with its entry and the place
        of its name."""
        content, wanted = self._content, {}
        for name in names:
            for place in places(content, b"\0" + name.encode() + b"\0"):
                wanted[place + 1 - self._names] = name
        found: dict[str, int] = {}
        if wanted:
            for number, place in enumerate(self._places):
                at = self._functions + place + 4
                if at + 4 > len(content):
                    raise ElfError("its line table is broken")
                (name_at,) = NUMBER.unpack_from(content, at)
                if name_at in wanted:
                    found.setdefault(wanted[name_at], number)
        return found

    def _beginning(self, code: bytes, address: int, wanted: list[int]) -> int:
        """The address that entries count from.

        The header has it up to Go 1.25. Afterwards it is that of .text, unless a C linker has put something
        of its own before it. What is right is told by how functions begin.
        """
        step = max(1, len(self._places) // SAMPLE)
        sample = [self._entries[number] for number in range(0, len(self._places), step)]

        def part(start: int) -> float:
            at = [start - address + entry for entry in sample]
            return sum(GROWS.match(code, place) is not None for place in at if 0 <= place < len(code)) / len(
                sample
            )

        for start in (self._text, address):
            if start and part(start) >= ENOUGH:
                return start
        found = itertools.islice(GROWS.finditer(code), MAX_FUNCTIONS)
        beginnings = {match.start() for match in found}
        candidates = {place - self._entries[wanted[0]] for place in beginnings}
        for number in wanted[1:]:
            candidates = {each for each in candidates if each + self._entries[number] in beginnings}
        if len(candidates) > MAX_CANDIDATES:
            raise ElfError("where its functions begin cannot be told")
        right = [each + address for each in candidates if each >= 0 and part(each + address) >= ENOUGH]
        if len(right) != 1:
            raise ElfError("where its functions begin cannot be told")
        return right[0]
