"""Plaintext that waits until its connection is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rover.values.records import MAX_NUMBER, Plaintext
from rover_source_ebpf import waiting
from rover_source_ebpf.waiting import UNKNOWN, Waiting, moved_by


def plaintext(serial: int = 7, sequence: int = 0, **values: int) -> Plaintext:
    fields = {"start": 1, "end": 2, "position": 0, "size": 3, "ciphertext": -1, "pid": 9, "direction": 0}
    fields |= values
    return Plaintext(connection=serial, sequence=sequence, **fields)


def place(waits: Waiting, serial: int = 7) -> list[tuple[Plaintext, bytes]]:
    return waits.placed(serial, 1000, 5, (100, 200), (50, None))


def test_it_gets_the_connections_numbers() -> None:
    waits = Waiting()
    assert waits.add(plaintext(ciphertext=30), b"one") == 0
    assert waits.add(plaintext(sequence=1, direction=1, ciphertext=40), b"two") == 0
    assert waits.add(plaintext(sequence=2, position=3), b"") == 0
    assert place(waits) == [
        (plaintext(1000, 5, position=100, ciphertext=80), b"one"),
        (plaintext(1000, 6, position=200, direction=1), b"two"),  # what its ciphertext is, is not known
        (plaintext(1000, 7, position=103), b""),
    ]
    assert place(waits) == []
    assert waits.clear() == 0


def test_it_is_placed_by_its_own_serial() -> None:
    waits = Waiting()
    waits.add(plaintext(1), b"a")
    waits.add(plaintext(2), b"b")
    assert [payload for _, payload in place(waits, 2)] == [b"b"]
    assert place(waits, 3) == []
    assert [payload for _, payload in place(waits, 1)] == [b"a"]


def test_it_waits_for_a_time() -> None:
    waits = Waiting()
    waits.add(plaintext(1, end=10), b"a")
    waits.add(plaintext(1, 1, end=20), b"a")
    waits.add(plaintext(2, end=15), b"b")
    assert waits.expire(9) == 0
    assert waits.expire(10) == 2
    assert waits.add(plaintext(3, end=15 + waiting.PATIENCE), b"c") == 1
    assert waits.clear() == 1


def test_its_bytes_and_its_records_are_bounded() -> None:
    waits = Waiting()
    piece = bytes(64 << 10)
    given_up = sum(waits.add(plaintext(serial), piece) for serial in range(1, 101))
    assert given_up == 100 - waiting.MAX_BYTES // len(piece)
    assert waits.clear() == waiting.MAX_BYTES // len(piece)
    given_up = sum(waits.add(plaintext(serial), b"") for serial in range(1, waiting.MAX_RECORDS + 11))
    assert given_up == 10


@given(counted=st.integers(-1, UNKNOWN), offset=st.none() | st.integers(0, UNKNOWN))
def test_any_count_is_a_position_or_unknown(counted: int, offset: int | None) -> None:
    """Counts are read in the memory of processes, which may hold anything."""
    assert -1 <= moved_by(counted, offset) <= MAX_NUMBER
