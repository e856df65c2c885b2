"""The compiled programs as plain values: what the compiler made, what the kernel is given, what is kept.

A map is named by its number in `Image.maps` where an instruction loads its address; `linked` puts in the
descriptor that it has once it is made.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence

FORMAT = 1
"""Of `to_bytes`. Another one is not read."""
LOAD_ADDRESS, MAP_DESCRIPTOR = 0x18, 1
"""BPF_LD | BPF_DW | BPF_IMM, and the source register that says of what: BPF_PSEUDO_MAP_FD."""
INSTRUCTION = struct.Struct("=BBhi")
"""struct bpf_insn: code, registers (destination low, source high), offset, immediate."""
CALL, KERNEL_FUNCTION = 0x85, 2
"""BPF_JMP | BPF_CALL, and the source register that says what the number is of: BPF_PSEUDO_KFUNC_CALL."""
FIRST_FUNCTION = 1 << 30
"""The C programs call one of the kernel's functions as if it were a helper of this number plus its BTF id:
no helper has one so high."""
MAX_INSTRUCTIONS = 1_000_000
"""The kernel's limit, BPF_COMPLEXITY_LIMIT_INSNS."""
WORD = 1 << 32


@dataclasses.dataclass(frozen=True, slots=True)
class Map:
    """How to make one."""

    name: str
    kind: int
    """BPF_MAP_TYPE_..."""
    key_size: int
    value_size: int
    entries: int
    flags: int


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """One program."""

    name: str
    instructions: bytes
    addresses: tuple[tuple[int, int], ...]
    """(instruction, map): which instructions load which map's address, both by number."""

    def linked(self, descriptors: Sequence[int]) -> bytes:
        """The instructions for maps that have these descriptors."""
        linked = bytearray(self.instructions)
        for at, number in self.addresses:
            struct.pack_into("=i", linked, at * INSTRUCTION.size + 4, descriptors[number])
        return bytes(linked)


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A file that the compiler was made of, as it was then."""

    path: str
    size: int
    modified: int
    """ns"""


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """All maps and programs."""

    maps: tuple[Map, ...]
    functions: tuple[Function, ...]
    compiler: tuple[File, ...]
    tracepoints: tuple[str, ...] = ()
    """What the functions `on_...` are attached to, in this order."""

    def function(self, name: str) -> Function:
        """Raises KeyError."""
        for function in self.functions:
            if function.name == name:
                return function
        raise KeyError(name)

    def to_bytes(self) -> bytes:
        """JSON, for `from_bytes`."""
        document = {
            "format": FORMAT,
            "maps": [dataclasses.astuple(each) for each in self.maps],
            "functions": [[f.name, f.instructions.hex(), f.addresses] for f in self.functions],
            "compiler": [dataclasses.astuple(each) for each in self.compiler],
            "tracepoints": self.tracepoints,
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, document: bytes) -> Image:
        """Raises ValueError for whatever `to_bytes` does not make."""
        try:
            parts = json.loads(document)
            if parts["format"] != FORMAT:
                raise ValueError(f"format {parts['format']!r}")
            maps = tuple(read_map(*fields) for fields in parts["maps"])
            functions = tuple(read_function(len(maps), *fields) for fields in parts["functions"])
            compiler = tuple(read_file(*fields) for fields in parts["compiler"])
            tracepoints = tuple(text(each) for each in parts["tracepoints"])
        except (KeyError, TypeError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"no image: {error!r}") from None
        return cls(maps, functions, compiler, tracepoints)


def read_map(name: object, *numbers: object) -> Map:
    """Raises ValueError or TypeError."""
    kind, key_size, value_size, entries, flags = (number(each) for each in numbers)
    return Map(text(name), kind, key_size, value_size, entries, flags)


def read_function(maps: int, name: object, code: object, addresses: Sequence[Sequence[object]]) -> Function:
    """Raises ValueError or TypeError."""
    instructions = bytes.fromhex(text(code))
    count, rest = divmod(len(instructions), INSTRUCTION.size)
    if rest or not 0 < count <= MAX_INSTRUCTIONS:
        raise ValueError(f"{len(instructions)} bytes are no instructions")
    known = tuple((number(at), number(which, maps)) for at, which in addresses)
    if [at for at, _ in known] != map_loads(instructions):
        raise ValueError(f"other instructions of {name} load maps than it says")
    return Function(text(name), instructions, known)


def read_file(path: object, size: object, modified: object) -> File:
    """Raises ValueError or TypeError."""
    if type(modified) is not int:
        raise TypeError("a time that is no number")
    return File(text(path), number(size, 1 << 63), modified)


def text(value: object) -> str:
    """The value, if it is text. Raises TypeError."""
    if type(value) is not str:
        raise TypeError(f"{type(value).__name__} where text is due")
    return value


def number(value: object, beyond: int = WORD) -> int:
    """The value, if it is an integer from 0 and below `beyond`. Raises TypeError or ValueError."""
    if type(value) is not int:
        raise TypeError(f"{type(value).__name__} where a number is due")
    if not 0 <= value < beyond:
        raise ValueError(f"{value} is out of range")
    return value


def map_loads(instructions: bytes) -> list[int]:
    """The instructions that load a map's address, by number."""
    found = []
    at, count = 0, len(instructions) // INSTRUCTION.size
    while at < count:
        code, registers = instructions[at * INSTRUCTION.size : at * INSTRUCTION.size + 2]
        if code == LOAD_ADDRESS and registers >> 4 == MAP_DESCRIPTOR:
            found.append(at)
        at += 2 if code == LOAD_ADDRESS else 1  # its upper half is an instruction of its own
    return found


def with_kernel_functions(instructions: bytes) -> bytes:
    """The same, where a call of a helper that stands for a kernel's function calls that."""
    called = bytearray(instructions)
    at, count = 0, len(instructions) // INSTRUCTION.size
    while at < count:
        code, registers, offset, number = INSTRUCTION.unpack_from(instructions, at * INSTRUCTION.size)
        if code == CALL and not registers and number >= FIRST_FUNCTION:
            function = number - FIRST_FUNCTION
            INSTRUCTION.pack_into(called, at * INSTRUCTION.size, CALL, KERNEL_FUNCTION << 4, offset, function)
        at += 2 if code == LOAD_ADDRESS else 1
    return bytes(called)


def unlinked(name: str, instructions: bytes, numbers: Mapping[int, int]) -> Function:
    """A program whose instructions hold the descriptors of maps. `numbers`: the maps', by descriptor.

    Raises ValueError for a descriptor that is no map's.
    """
    cleared = bytearray(with_kernel_functions(instructions))
    addresses = []
    for at in map_loads(instructions):
        _, _, _, descriptor = INSTRUCTION.unpack_from(instructions, at * INSTRUCTION.size)
        if descriptor not in numbers:
            raise ValueError(f"{name} uses descriptor {descriptor}, which is no map of the programs")
        addresses.append((at, numbers[descriptor]))
        struct.pack_into("=i", cleared, at * INSTRUCTION.size + 4, 0)
    return Function(name, bytes(cleared), tuple(addresses))
