"""The compiled programs as values: linked to maps, kept as JSON, and nothing else taken for it."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_source_ebpf.image import FIRST_FUNCTION, File, Function, Image, Map, unlinked


def load_map(descriptor: int, source: int = 1) -> bytes:
    """r1 = a map's address (BPF_LD_IMM64), two instructions' room."""
    return struct.pack("=BBhiBBhi", 0x18, source << 4 | 1, 0, descriptor, 0, 0, 0, 0)


MOVE = struct.pack("=BBhi", 0xB7, 0, 0, 7)
"""r0 = 7, a number that is also a map's."""
EXIT = struct.pack("=BBhi", 0x95, 0, 0, 0)
LOOKALIKE = struct.pack("=BBhiBBhi", 0x18, 1, 0, 7, 0x18, 0x11, 0, 7)
"""A number of 64 bits whose upper half would read as the load of a map."""
CODE = load_map(7) + MOVE + LOOKALIKE + load_map(9) + load_map(7) + EXIT


def test_descriptors_are_taken_out_and_put_in() -> None:
    function = unlinked("f", CODE, {9: 0, 7: 1})
    assert function.addresses == ((0, 1), (5, 0), (7, 1))
    assert function.linked([9, 7]) == CODE
    expected = load_map(1 << 30) + MOVE + LOOKALIKE + load_map(3) + load_map(1 << 30) + EXIT
    assert function.linked([3, 1 << 30]) == expected


def test_a_descriptor_that_is_no_map() -> None:
    with pytest.raises(ValueError, match="f uses descriptor 9"):
        unlinked("f", CODE, {7: 0})


def test_calls_of_kernel_functions() -> None:
    """What calls a helper of an impossible number calls the function it stands for; nothing else changes."""
    helper = struct.pack("=BBhi", 0x85, 0, 0, 113)
    function = struct.pack("=BBhi", 0x85, 0, 0, FIRST_FUNCTION + 70_000)
    jump = struct.pack("=BBhi", 0x05, 0, 1, FIRST_FUNCTION + 1)
    number = struct.pack("=BBhiBBhi", 0x18, 1, 0, 7, 0x85, 0, 0, FIRST_FUNCTION + 1)
    found = unlinked("f", helper + function + jump + number + EXIT, {})
    called = struct.pack("=BBhi", 0x85, 0x20, 0, 70_000)
    assert found.instructions == helper + called + jump + number + EXIT


IMAGE = Image(
    (Map("conns", 1, 8, 88, 65536, 0), Map("events_0", 27, 0, 0, 1 << 25, 0)),
    (unlinked("on_sys_enter", CODE, {7: 0, 9: 1}), Function("f", EXIT, ())),
    (File("/usr/lib/libbcc.so.0", 5_000_000, 1_700_000_000_123_456_789),),
    ("sys_enter",),
)
DOCUMENT = json.loads(IMAGE.to_bytes())


def test_it_comes_back() -> None:
    assert Image.from_bytes(IMAGE.to_bytes()) == IMAGE
    assert IMAGE.function("f").instructions == EXIT
    with pytest.raises(KeyError):
        IMAGE.function("g")


def changed(path: str, value: object) -> bytes:
    """The document with one value replaced."""
    document = json.loads(json.dumps(DOCUMENT))
    at, *keys = path.split(".")
    place = document
    for key in (at, *keys)[:-1]:
        place = place[int(key) if key.isdigit() else key]
    last = (at, *keys)[-1]
    place[int(last) if last.isdigit() else last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2),
        ("format", None),
        ("maps", None),
        ("maps", [7]),
        ("maps.0", ["conns"]),
        ("maps.0.0", 7),
        ("maps.0.1", "1"),
        ("maps.0.1", True),
        ("maps.0.2", -1),
        ("maps.0.3", 1 << 32),
        ("maps.0.4", 1.5),
        ("functions.0.0", None),
        ("functions.0.1", "zz"),
        ("functions.0.1", ""),
        ("functions.0.1", "00" * 7),
        ("functions.0.1", 7),
        ("functions.0.2", None),
        ("functions.0.2", [[2, 0]]),  # no instruction that loads a map
        ("functions.0.2", [[4, 0]]),  # within another
        ("functions.0.2", [[0, 2]]),  # no such map
        ("functions.0.2", [[1000, 0]]),
        ("functions.0.2", [[-1, 0]]),
        ("functions.0.2", [[0]]),
        ("compiler.0.0", None),
        ("compiler.0.1", -1),
        ("compiler.0.2", "now"),
        ("tracepoints", [7]),
        ("tracepoints", None),
    ],
)
def test_what_is_no_image_is_not_read(path: str, value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong
        Image.from_bytes(changed(path, value))


@pytest.mark.parametrize("document", [b"", b"null", b"[]", b"7", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_document_is_not_read(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Image.from_bytes(document)


@given(st.integers(0, len(IMAGE.to_bytes()) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_read(at: int, byte: int) -> None:
    document = bytearray(IMAGE.to_bytes())
    document[at] = byte
    try:
        read = Image.from_bytes(bytes(document))
    except ValueError:
        return
    for function in read.functions:
        function.linked(range(len(read.maps)))
