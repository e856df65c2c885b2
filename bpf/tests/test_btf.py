"""Struct layouts out of BTF: a blob built here, cut and broken ones, and this kernel's."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_source_ebpf.btf import (
    KIND_CONST,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_INT,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
    VMLINUX,
    Btf,
    BtfError,
)
from rover_source_ebpf.kernel import FIELDS


class Blob:
    """Builds BTF (Documentation/bpf/btf.rst)."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types = b""
        self.number = 0

    def _name(self, name: str) -> int:
        if not name:
            return 0
        at = len(self.strings)
        self.strings += name.encode() + b"\0"
        return at

    def add(self, kind: int, name: str, size: int, rest: bytes = b"", vlen: int = 0, flag: int = 0) -> int:
        info = flag << 31 | kind << 24 | vlen
        self.types += struct.pack("=III", self._name(name), info, size) + rest
        self.number += 1
        return self.number

    def struct(
        self, name: str, *members: tuple[str, int, int], union: bool = False, bits: bool = False
    ) -> int:
        """Members: name, type, byte offset (bit offset if `bits`)."""
        rest = b"".join(
            struct.pack("=III", self._name(member), kind, offset if bits else offset * 8)
            for member, kind, offset in members
        )
        return self.add(KIND_UNION if union else KIND_STRUCT, name, 64, rest, len(members), int(bits))

    def bytes(self) -> bytes:
        types, strings = len(self.types), len(self.strings)
        header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, types, types, strings)
        return header + self.types + self.strings


@pytest.fixture(scope="module")
def blob() -> bytes:
    made = Blob()
    number = made.add(KIND_INT, "int", 4, bytes(4))
    inner = made.struct("inner", ("x", number, 0), ("y", number, 4))
    alias = made.add(KIND_TYPEDEF, "alias", made.add(KIND_CONST, "", inner))
    union = made.struct("", ("a", number, 0), ("b", inner, 0), union=True)
    nested = made.struct("", ("deep", number, 12))
    made.struct("outer", ("first", number, 0), ("", union, 8), ("named", alias, 24), ("", nested, 32))
    made.struct("fields", ("plain", number, 0), ("flag", number, 3 << 24 | 35), bits=True)
    made.struct("ask", ("z", number, 0))
    made.struct("task", ("ask", number, 40))
    made.add(KIND_FUNC, "first_call", made.add(KIND_FUNC_PROTO, "", number))
    made.add(KIND_FUNC, "call", made.number)
    return made.bytes()


@pytest.mark.parametrize(
    ("name", "path", "offset"),
    [
        ("outer", "first", 0),
        ("outer", "a", 8),
        ("outer", "b", 8),
        ("outer", "b.y", 12),
        ("outer", "named.y", 28),
        ("outer", "deep", 44),
        ("inner", "y", 4),
        ("fields", "flag", 4),
        ("task", "ask", 40),
        ("ask", "z", 0),
    ],
)
def test_offsets(name: str, path: str, offset: int, blob: bytes) -> None:
    """Through typedefs, const, anonymous structs and unions; of bit fields the byte they begin in."""
    assert Btf(blob).offset(name, path) == offset


@pytest.mark.parametrize(
    ("name", "path", "said"),
    [
        ("nobody", "x", "no struct nobody"),
        ("out", "first", "no struct out"),
        ("outer", "firs", "no field outer.firs"),
        ("outer", "named.z", "no field outer.named.z"),
        ("outer", "first.x", "no field outer.first.x"),
    ],
)
def test_what_is_not_there_is_named(name: str, path: str, said: str, blob: bytes) -> None:
    with pytest.raises(BtfError, match=said):
        Btf(blob).offset(name, path)


def test_ids(blob: bytes) -> None:
    """Types are numbered in their order, from 1."""
    btf = Btf(blob)
    assert btf.struct("inner") == 2
    assert btf.function("call") == btf.function("first_call") + 1 > btf.struct("task")
    for name in ("task", "nobody", "cal"):
        with pytest.raises(BtfError, match="no function"):
            btf.function(name)


def test_size(blob: bytes) -> None:
    assert Btf(blob).size("outer") == 64


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_broken_blob_is_a_btf_error(blob: bytes, data: st.DataObject) -> None:
    """Cut anywhere, or with bytes changed: an answer or a BtfError, no other exception and no hang."""
    broken = bytearray(blob[: data.draw(st.integers(0, len(blob)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BtfError):
        assert isinstance(Btf(bytes(broken)).offset("outer", "named.y"), int)


def test_a_type_that_names_itself_has_no_end() -> None:
    made = Blob()
    made.struct("loop", ("", 2, 0))
    made.add(KIND_TYPEDEF, "again", 2)
    with pytest.raises(BtfError):
        Btf(made.bytes()).offset("loop", "x")
    made = Blob()
    made.struct("loop", ("", 1, 0))
    with pytest.raises(BtfError):
        Btf(made.bytes()).offset("loop", "x")


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_this_kernel_has_every_field() -> None:
    btf = Btf.of_kernel()
    offsets = {name: btf.offset(*field) for name, field in FIELDS.items()}
    assert offsets["FDT_FD"] > offsets["FDT_MAX"] == 0
    assert len({offsets[name] for name in offsets if name.startswith("TASK_")}) == 7
