"""Field offsets of kernel structs, read from the running kernel's own BTF.

bcc compiles C without CO-RE relocations, so a struct taken from the headers of another kernel
reads garbage, silently. These offsets are handed to the C programs as macros instead: no kernel
headers needed, right for every kernel. Format: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

MAGIC = 0xEB9F
KIND_INT, KIND_ARRAY, KIND_STRUCT, KIND_UNION, KIND_ENUM = 1, 3, 4, 5, 6
KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT = 8, 9, 10, 11
KIND_FUNC, KIND_FUNC_PROTO, KIND_VAR, KIND_DATASEC, KIND_DECL_TAG = 12, 13, 14, 15, 17
KIND_TYPE_TAG, KIND_ENUM64 = 18, 19

# What follows the 12 bytes of struct btf_type: (bytes, bytes for each of vlen).
TRAILING: dict[int, tuple[int, int]] = {
    KIND_INT: (4, 0),
    KIND_ARRAY: (12, 0),
    KIND_STRUCT: (0, 12),
    KIND_UNION: (0, 12),
    KIND_ENUM: (0, 8),
    KIND_FUNC_PROTO: (0, 8),
    KIND_VAR: (4, 0),
    KIND_DATASEC: (0, 12),
    KIND_DECL_TAG: (4, 0),
    KIND_ENUM64: (0, 12),
}
TRAILING_BY_KIND = [TRAILING.get(kind, (0, 0)) for kind in range(32)]
MODIFIERS = frozenset({KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT, KIND_TYPE_TAG})
MAX_DEPTH = 32
"""Modifiers and anonymous structs within each other; the kernel's nest four deep."""


class BtfError(Exception):
    """The blob is not BTF, or the kernel has no such field."""


class Btf:
    """Struct layouts of one BTF blob."""

    def __init__(self, blob: bytes) -> None:
        """Raises BtfError when the blob is no BTF of this byte order."""
        try:
            magic, _, _, header, type_off, type_len, str_off, str_len = struct.unpack_from("=HBBIIIII", blob)
            if magic != MAGIC:
                raise BtfError(f"magic number {magic:#x} is not BTF's")
            self._types = blob[header + type_off : header + type_off + type_len]
            self._strings = blob[header + str_off : header + str_off + str_len]
            self._index()
        except struct.error as error:
            raise BtfError(f"cut short: {error}") from None

    @classmethod
    def of_kernel(cls, path: Path = VMLINUX) -> Btf:
        """Of the running kernel. Raises OSError when it has none."""
        return cls(path.read_bytes())

    def _index(self) -> None:
        self._starts = [0]  # by type id; id 0 is void
        # Type ids by offset of the name.
        structs: dict[int, int] = {}
        functions: dict[int, int] = {}
        self._named = {KIND_STRUCT: structs, KIND_FUNC: functions}
        types, starts, trailing = self._types, self._starts, TRAILING_BY_KIND
        unpack = struct.Struct("=III").unpack_from
        at, end = 0, len(types)
        while at < end:
            name, info, _ = unpack(types, at)
            kind = (info >> 24) & 0x1F
            if kind == KIND_FUNC:
                functions.setdefault(name, len(starts))
            elif kind == KIND_STRUCT and name:
                structs.setdefault(name, len(starts))
            starts.append(at)
            fixed, each = trailing[kind]
            at += 12 + fixed + each * (info & 0xFFFF)

    def _type(self, type_id: int) -> tuple[int, int, int, int]:
        """(kind, info, size or type, where its members start)."""
        if not 0 < type_id < len(self._starts):
            raise BtfError(f"no type {type_id}")
        at = self._starts[type_id]
        _, info, size = struct.unpack_from("=III", self._types, at)
        return (info >> 24) & 0x1F, info, size, at + 12

    def _id(self, kind: int, name: str) -> int | None:
        at = self._strings.find(b"\0" + name.encode() + b"\0") + 1
        # A name may end another's string ("sk\0" in "task\0"), but the search above is for whole
        # ones, which linkers keep once.
        return self._named[kind].get(at) if at else None

    def struct(self, name: str) -> int:
        """The id of a struct. Raises BtfError."""
        found = self._id(KIND_STRUCT, name)
        if found is None:
            raise BtfError(f"no struct {name} in this kernel")
        return found

    def function(self, name: str) -> int:
        """The id of one of the kernel's functions. Raises BtfError."""
        found = self._id(KIND_FUNC, name)
        if found is None:
            raise BtfError(f"no function {name} in this kernel")
        return found

    def _is(self, offset: int, name: bytes) -> bool:
        return self._strings.startswith(name + b"\0", offset)

    def _resolve(self, type_id: int) -> int:
        for _ in range(MAX_DEPTH):
            kind, _, target, _ = self._type(type_id)
            if kind not in MODIFIERS:
                return type_id
            type_id = target
        raise BtfError(f"type {type_id} has no end")

    def _find(self, type_id: int, field: bytes, base: int, depth: int = 0) -> tuple[int, int] | None:
        kind, info, _, members = self._type(self._resolve(type_id))
        if kind not in (KIND_STRUCT, KIND_UNION) or depth > MAX_DEPTH:
            return None
        bitfields = info >> 31
        for i in range(info & 0xFFFF):
            name, member, bits = struct.unpack_from("=III", self._types, members + 12 * i)
            bits = base + (bits & 0xFFFFFF if bitfields else bits)
            if name:
                if self._is(name, field):
                    return member, bits
            elif found := self._find(member, field, bits, depth + 1):
                return found
        return None

    def offset(self, struct_name: str, path: str) -> int:
        """Byte offset of `path` ("a.b.c", anonymous members looked through) in a struct.

        Raises BtfError naming what the kernel has not.
        """
        type_id, bits = self.struct(struct_name), 0
        for field in path.split("."):
            found = self._find(type_id, field.encode(), bits)
            if found is None:
                raise BtfError(f"no field {struct_name}.{path} in this kernel")
            type_id, bits = found
        return bits // 8

    def has_tracepoint(self, name: str) -> bool:
        """Whether the kernel has a (raw) tracepoint: each leaves a typedef `btf_trace_NAME`."""
        return b"\0btf_trace_" + name.encode() + b"\0" in self._strings

    def size(self, struct_name: str) -> int:
        """Bytes of a struct."""
        return self._type(self.struct(struct_name))[2]
