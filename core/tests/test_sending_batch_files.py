"""A batch in a file comes back as it was, or is found out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.sending.batch import HEADER_SIZE, Batch, CorruptBatch, counts, pack, unpack

batches = st.builds(
    Batch,
    st.binary(max_size=20),
    st.lists(st.binary(max_size=40), min_size=1, max_size=10),
    st.integers(0, 1000),
    st.integers(0, 1000),
)


@settings(deadline=None)
@given(batch=batches)
def test_it_comes_back(batch: Batch) -> None:
    data = pack(batch)
    assert unpack(data) == batch
    assert counts(data[:HEADER_SIZE]) == (batch.exchanges, batch.calls)


@given(batch=batches, data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_changed_byte_is_found(batch: Batch, data: st.DataObject) -> None:
    packed = bytearray(pack(batch))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptBatch):
        unpack(bytes(packed))


@settings(deadline=None)
@given(batch=batches, data=st.data())
def test_any_cut_is_found(batch: Batch, data: st.DataObject) -> None:
    packed = pack(batch)
    with pytest.raises(CorruptBatch):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@settings(deadline=None)
@given(junk=st.binary(max_size=200))
def test_anything_else_is_found(junk: bytes) -> None:
    with pytest.raises(CorruptBatch):
        unpack(junk)


def test_the_node_begins_the_first_message() -> None:
    assert list(Batch(b"node", [b"1", b"2"], 0, 0).stream()) == [b"node1", b"2"]
