"""What the machine code of OpenSSL's functions tells: which internal function they call, and which fields
they read.

No disassembler is needed for it. Each pattern stands for instructions of one form that compilers make of a
one-line function, and where a match could be an accident, something else has to confirm it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

PROLOGUE = re.compile(
    rb"(?:\xf3\x0f\x1e\xfa)?"  # endbr64
    rb"(?:\x55\x48\x89\xe5|\xf3\x0f\x1e\xfa)?"  # push %rbp; mov %rsp,%rbp
    rb"(?:[\x50-\x57]|\x41[\x50-\x57])*"  # push
    rb"(?:\x48\x83\xec.)?"  # sub $N,%rsp
    rb"\xe8(....)",  # call
    re.DOTALL,
)
"""The beginning of a function that first calls another one with its own arguments, all in their registers."""
FIELD = re.compile(rb"\x48\x8b\x47(.)", re.DOTALL)
"""mov N(%rdi),%rax"""
ADDRESS = re.compile(rb"[\x48\x4c]\x8d([\x80-\xbf])(....)", re.DOTALL)
"""lea N(%base),%any"""
CALL, CALL_INDIRECT, JUMP_INDIRECT = 0xE8, b"\xff\x15", b"\xff\x25"
"""call N; call *N(%rip); jmp *N(%rip)"""
RSP, RDI = 4, 7
STUB = 16
"""Bytes of an entry of a procedure linkage table."""


def first_call(code: bytes, address: int) -> int | None:
    """The address of the function that the one at `address` hands its arguments to, before it does anything
    else; None when it does something else first."""
    match = PROLOGUE.match(code)
    return None if match is None else address + match.end() + relative(match[1])


def calls(code: bytes, address: int, target: int) -> Iterator[int]:
    """Addresses of the instructions that call a target. Other bytes look like one with a chance of 1
    in 2**32 at each place."""
    at = code.find(CALL)
    while 0 <= at <= len(code) - 5:
        if address + at + 5 + relative(code[at + 1 : at + 5]) == target:
            yield address + at
        at = code.find(CALL, at + 1)


def through(code: bytes, address: int, instruction: bytes, slot: int) -> Iterator[int]:
    """Addresses of the instructions of six bytes that go where the pointer at `slot` points."""
    at = code.find(instruction)
    while 0 <= at <= len(code) - 6:
        if address + at + 6 + relative(code[at + 2 : at + 6]) == slot:
            yield address + at
        at = code.find(instruction, at + 1)


def field(code: bytes) -> int | None:
    """The offset of the field that a function returns of its argument: the first that it reads so."""
    match = FIELD.search(code)
    return match[1][0] if match else None


def reads(code: bytes, offset: int) -> bool:
    """Whether there is an instruction that reads the field at an offset of an object, whatever registers it
    takes: mov N(%any),%any."""
    return (
        re.search(rb"[\x48\x49\x4c\x4d]\x8b[\x40-\x7f]" + re.escape(bytes([offset])), code, re.DOTALL)
        is not None
    )


def path(code: bytes) -> tuple[int, ...]:
    """The offsets by which a function gets to what it copies: one in its argument, or one in the argument and
    one in what that points to; empty when it is not told."""
    match = ADDRESS.search(code)
    if match is None or match[1][0] & 7 == RSP:  # which is followed by another byte
        return ()
    base = match[1][0] & 7
    load = re.search(
        rb"\x48\x8b" + re.escape(bytes([0x80 | base << 3 | RDI])) + rb"(....)",
        code[: match.start()],
        re.DOTALL,
    )
    offset = relative(match[2])
    if load is not None:
        return (relative(load[1]), offset)
    return (offset,) if base == RDI else ()


def relative(four: bytes) -> int:
    """A displacement of an instruction."""
    value: int = struct.unpack("<i", four)[0]
    return value
