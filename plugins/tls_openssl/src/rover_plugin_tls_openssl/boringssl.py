"""Where in a file without symbols BoringSSL is to be looked at: gRPC's Python package, for one.

Its functions are told by the errors they raise: each names its source file and a reason, whose number is a
part of the interface (openssl/ssl.h). Offsets are read out of the machine code of these functions. Everything
has to be there once, and what is told in several places has to agree; else the file is given up. The
connection of an object is told as ever: by a socket call within its calls, or by the random of its
ClientHello, 32 bytes. An offset that were wrong would find no connection, and never another one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import BinaryIO

from rover import BioLayout, Moment, TlsFunction, TlsProbe, TlsProbes
from rover.files.elf import RELOCATION, Elf, ElfError, Function, Section, opened, records
from rover_plugin_tls_openssl import machine_code
from rover_plugin_tls_openssl.frames import Frames
from rover_plugin_tls_openssl.machine_code import relative
from rover_plugin_tls_openssl.probes import at, call

LIBRARY = "BoringSSL"
MARK = b"boringssl"
"""In the paths of its source files, which OpenSSL has, too."""
MIN_CODE = 256 << 10
"""Bytes of machine code. BoringSSL alone has more, and most files have less."""
SSL, BUFFER, RECORDS, BIO = b"ssl/ssl_lib.c", b"ssl/ssl_buffer.c", b"ssl/s3_pkt.c", b"crypto/bio/bio.c"
"""Its source files, as errors name them, each with a path before; later ones end in .cc."""
KEYS = b"\0key expansion\0"
"""The label of the keys of TLS 1.2 (RFC 5246 section 6.3), which are made of both randoms."""
RANDOM = 32

# Reasons (openssl/ssl.h, SSL_R_).
BIO_NOT_SET, BUFFER_TOO_SMALL, CONNECTION_TYPE_NOT_SET = 119, 121, 134
HANDSHAKE_FAILURE, UNINITIALIZED = 215, 226

RELATIVE = 8
"""R_X86_64_RELATIVE: an address that is known but for where the file is loaded."""
WORD = 8
NEW, FREE = WORD, 2 * WORD
"""Of the table of a method: what begins an object, what ends it. The first word is no address."""
MAX_FUNCTION = 64 << 10
"""Bytes of one: those that are sought have less than a thousand, the largest of the handshake 11,000."""
MAX_FUNCTIONS = 512
"""That raise errors, of one source file: ssl_lib.cc has 50 of them. So the work has a bound."""
MAX_PLACES = 16
"""Of probes of one kind, and of tables that are looked at: there are three at most."""
FIRST = 64
"""Bytes of a function in which it does what it does first."""
NEAR = 32
"""Bytes in which instructions are that belong together."""

RDI, SIB = 7, 4
NARROW, WIDE = 1, 2
"""Of an operand in memory: an offset of one byte, or of four."""


def operand(offset: int, registers: Iterable[int] = range(8), bases: Iterable[int] = range(8)) -> bytes:
    """A pattern of the byte that names a register and a place in memory, off a base that is neither the stack
    pointer nor r12: there another byte follows."""
    kinds = {offset << 6 | each << 3 | base for each in registers for base in bases if base != SIB}
    return b"[" + b"".join(b"\\x%02x" % kind for kind in sorted(kinds)) + b"]"


def compiled(*parts: bytes) -> re.Pattern[bytes]:
    """A pattern of instructions."""
    return re.compile(b"".join(parts), re.DOTALL)


OFF_R12 = rb"(?<=\x49.)\x7c\x24"
FILE = compiled(rb"\x48\x8d\x0d(....)")
"""lea N(%rip),%rcx"""
TEXT = compiled(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](....)")
"""lea N(%rip),%any"""
REASON = compiled(rb"\xba(..)\0\0")
"""mov $N,%edx"""
RESET = compiled(rb"\x48\x8b[\x47\x4f\x57](.).{0,6}?\xc7[\x80-\x82]....\0\0\0\0")
"""mov N(%rdi),%any; movl $0,M(%any): what an object waits for is forgotten first (ssl_reset_error_state)"""
METHOD = compiled(rb"\xff", operand(NARROW, (2,)), rb"(.)")
"""call *N(%any)"""
CHANGE = compiled(rb"[\x48-\x4d][\x01\x29\x89]", operand(WIDE), rb"..\0\0")
"""add, sub, mov %any,N(%any)"""
ARGUMENT = compiled(rb"[\x48\x49]\x8b(?:", operand(NARROW, (RDI,)), rb"|", OFF_R12, rb")(.)")
"""mov N(%any),%rdi"""
IS_SET = compiled(rb"[\x48\x49]\x83(?:", operand(NARROW, (7,)), rb"|", OFF_R12, rb")(.)\0")
"""cmpq $0,N(%any)"""
COUNT = compiled(rb"[\x48\x49\x4c\x4d]\x01", operand(NARROW), rb"(.)")
"""add %any,N(%any)"""


class UntoldError(Exception):
    """What is not told, or told in several ways."""


def find(file: BinaryIO, needed: Callable[[str], BinaryIO | None]) -> TlsProbes | str | None:
    """See `rover.TlsLibrarySpec.find`."""
    del needed
    try:
        elf = opened(file)
        code, data = elf.section(".text"), elf.section(".rodata")
        if code is None or data is None or code.size < MIN_CODE:
            return None
        texts = elf.content(data)
    except ElfError:
        return None
    source = named(texts, SSL)
    if source is None or MARK not in texts[source : texts.find(b"\0", source)]:
        return None
    try:
        return Library(elf, code, data.address, texts).probes()
    except (ElfError, UntoldError) as error:
        return f"{LIBRARY} without symbols: {error}"


def named(texts: bytes, source: bytes) -> int | None:
    """Where the path of a source file begins."""
    for end in (b"\0", b"c\0"):
        place = texts.find(b"/" + source + end)
        if place >= 0:
            return texts.rfind(b"\0", 0, place) + 1
    return None


def one(kinds: Iterable[int], what: str) -> int:
    """What all of these are."""
    told = set(kinds)
    if len(told) != 1:
        raise UntoldError(f"{what} is told in {len(told)} ways")
    return told.pop()


class Library:
    """What is told of a file."""

    def __init__(self, elf: Elf, code: Section, address: int, texts: bytes) -> None:
        self._elf = elf
        self._base = code.address
        self._code = elf.content(code)
        self._texts, self._texts_at = texts, address
        self._frames = Frames(elf)
        sources = {
            address + place: source
            for source in (SSL, BUFFER, RECORDS, BIO)
            if (place := named(texts, source)) is not None
        }
        self._of: dict[bytes, set[Function]] = {source: set() for source in (SSL, BUFFER, RECORDS, BIO)}
        """The functions of a source file that raise errors."""
        for target, function in self._users(FILE, sources):
            self._of[sources[target]].add(function)
        if max(map(len, self._of.values())) > MAX_FUNCTIONS:
            raise UntoldError("more functions raise its errors than it has")

    def probes(self) -> TlsProbes:
        """Where to look."""
        raising = {function: self._reasons(function) for function in self._of[SSL]}
        called = {function: set(self._called(function)) for function in raising}
        callers = {
            function: [each for each in raising if function.address in called[each]]
            for function, reasons in raising.items()
            if {UNINITIALIZED, HANDSHAKE_FAILURE} <= reasons
        }
        write = self._only([each for each in callers if not callers[each]], "SSL_write")
        reading = self._only([each for each in callers if callers[each]], "ssl_read_impl")
        shutdown = [each for each in callers[reading] if UNINITIALIZED in raising[each]]
        users = [each for each in callers[reading] if each not in shutdown]
        read = self._only([each for each in users if CHANGE.search(self._bytes(each))], "SSL_read")
        peek = self._only([each for each in users if each != read], "SSL_peek")
        handshakes = [each for each, reasons in raising.items() if CONNECTION_TYPE_NOT_SET in reasons]
        if not handshakes or len(handshakes) + len(shutdown) > MAX_PLACES:
            raise UntoldError(f"SSL_do_handshake is told by {len(handshakes)} functions")
        state = one((self._reset(each) for each in (write, reading)), "the state of an object")
        flush, written, bio = self._bio(state)
        handed = itertools.islice(machine_code.calls(self._bytes(flush), flush.address, written), MAX_PLACES)
        probes = (
            *call(self._elf, read.address, TlsFunction.READ),
            *call(self._elf, write.address, TlsFunction.WRITE),
            *(
                probe
                for each in sorted({peek, *shutdown, *handshakes})
                for probe in call(self._elf, each.address)
            ),
            at(self._elf, self._free(write, state), TlsFunction.FREE),
            *(
                TlsProbe(offset=self._elf.offset(each), function=TlsFunction.CIPHERTEXT, moment=Moment.ENTRY)
                for each in handed
            ),
        )
        if len({(each.offset, each.moment) for each in probes}) < len(probes):
            raise UntoldError("two functions are told at one place")
        return TlsProbes(library=LIBRARY, probes=probes, bio=bio)

    # -- functions ---------------------------------------------------------------------------

    def _bytes(self, function: Function) -> bytes:
        start = function.address - self._base
        return self._code[start : start + function.size]

    def _users(
        self, pattern: re.Pattern[bytes], addresses: Collection[int]
    ) -> Iterator[tuple[int, Function]]:
        """Functions that have the addresses of constants, with these."""
        for match in pattern.finditer(self._code):
            target = self._base + match.end() + relative(match[1])
            if target in addresses:
                function = self._frames.around(self._base + match.start())
                if function is not None and function.size <= MAX_FUNCTION:
                    yield target, function

    def _reasons(self, function: Function) -> set[int]:
        """Of the errors that it raises, and other numbers."""
        return {int.from_bytes(match[1], "little") for match in REASON.finditer(self._bytes(function))}

    def _raising(
        self,
        raising: Mapping[Function, set[int]],
        what: str,
        all_of: set[int],
        none_of: AbstractSet[int] = frozenset(),
    ) -> Function:
        found = [each for each, reasons in raising.items() if all_of <= reasons and not reasons & none_of]
        return self._only(found, what)

    def _only(self, found: Sequence[Function], what: str) -> Function:
        if len(found) != 1:
            raise UntoldError(f"{what} is told by {len(found)} functions")
        return found[0]

    def _called(self, function: Function) -> Iterator[int]:
        """What looks like the targets of its calls."""
        code = self._bytes(function)
        at = code.find(machine_code.CALL)
        while 0 <= at <= len(code) - 5:
            yield function.address + at + 5 + relative(code[at + 1 : at + 5])
            at = code.find(machine_code.CALL, at + 1)

    # -- objects -----------------------------------------------------------------------------

    def _reset(self, function: Function) -> int:
        match = RESET.search(self._bytes(function)[:FIRST])
        if match is None:
            raise UntoldError("the state of an object is not told")
        return match[1][0]

    def _free(self, write: Function, state: int) -> int:
        """The address of what ends an object, in the table of what TLS does: there SSL_write finds what
        writes, which is of another source file."""
        slot = one((match[1][0] for match in METHOD.finditer(self._bytes(write))), "what SSL_write calls")
        section = self._elf.section(".rela.dyn")
        content = self._elf.content(section) if section is not None else b""
        writing = {each.address for each in self._of[RECORDS]}
        likely = {place - slot for place, to in pointers(content) if to in writing}
        if len(likely) > MAX_PLACES:
            raise UntoldError("the table of what TLS does is told in too many ways")
        words = {table + word for table in likely for word in range(0, slot, WORD)}
        known = {place: to for place, to in pointers(content) if place in words}
        tables = [
            table
            for table in likely
            if table not in known and all(table + word in known for word in range(WORD, slot, WORD))
        ]
        table = one(tables, "the table of what TLS does")
        begun, freed = (self._frames.around(known.get(table + each, 0)) for each in (NEW, FREE))
        if begun is None or freed is None or not machine_code.reads(self._bytes(freed), state):
            raise UntoldError("what ends an object is not told")
        return freed.address

    def _bio(self, state: int) -> tuple[Function, int, BioLayout]:
        """What hands out encrypted bytes; the address of the function that it calls for it; and offsets."""
        raising = {function: self._reasons(function) for function in self._of[BUFFER]}
        fill = self._raising(raising, "what fills the buffer", {BIO_NOT_SET, BUFFER_TOO_SMALL})
        flush = self._raising(raising, "what empties the buffer", {BIO_NOT_SET}, {BUFFER_TOO_SMALL})
        moving = {each.address: each for each in self._of[BIO]}
        fields, counts, targets = [], [], []
        for function in (fill, flush):
            code = self._bytes(function)
            set_ = {match[1][0] for match in IS_SET.finditer(code)}
            given = {match[1][0] for match in ARGUMENT.finditer(code)}
            fields.append(one(set_ & given, "a BIO of an object"))
            targets.append(
                one((each for each in self._called(function) if each in moving), "a function of a BIO")
            )
            moved = COUNT.finditer(self._bytes(moving[targets[-1]]))
            counts.append(one((match[1][0] for match in moved), "the count of a BIO"))
        if fields[1] != fields[0] + WORD or counts[1] != counts[0] + WORD:
            raise UntoldError("the BIOs of an object are not told")
        rbio, wbio = fields
        num_read, num_written = counts
        return (
            flush,
            targets[1],
            BioLayout(
                rbio=rbio,
                wbio=wbio,
                num_read=num_read,
                num_written=num_written,
                client_random=self._random(state),
            ),
        )

    def _random(self, state: int) -> tuple[int, ...]:
        """The way to the ClientHello's random: the second of two that the keys of TLS 1.2 are made of."""
        label = self._texts.find(KEYS) + 1
        ways = set()
        for _, function in self._users(TEXT, [self._texts_at + label]) if label else ():
            ways |= set(randoms(self._bytes(function), state))
        return (state, ways.pop()) if len(ways) == 1 else ()


def pointers(relocations: bytes) -> Iterator[tuple[int, int]]:
    """Where an address will be, and which one."""
    for place, info, to in records(RELOCATION, relocations):
        if info == RELATIVE:
            yield place, to


def randoms(code: bytes, state: int) -> Iterator[int]:
    """Offsets in what lies at `state` of an object: of the second of two neighbours of 32 bytes each, whose
    addresses are taken."""
    load = compiled(rb"[\x48\x49]\x8b(", operand(NARROW), rb")", re.escape(bytes([state])))
    for match in load.finditer(code):
        base = match[1][0] >> 3 & 7
        lea = compiled(rb"[\x48\x4c]\x8d", operand(NARROW, bases=(base,)), rb"(.)")
        add = compiled(rb"\x48\x83", re.escape(bytes([0xC0 | base])), rb"(.)")
        near = code[match.end() : match.end() + NEAR]
        taken = {each[1][0] for pattern in (lea, add) for each in pattern.finditer(near)}
        yield from (each for each in taken if each - RANDOM in taken)
