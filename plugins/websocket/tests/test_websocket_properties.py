"""Conversations made at random, cut at random, with losses: the same messages, or none, never wrong ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Opcode

from rover import Role

SLOW = settings(max_examples=60, deadline=None)
CONTROL = {"ping": Opcode.PING, "pong": Opcode.PONG}

senders = st.sampled_from(["client", "server"])
sizes = st.integers(0, 10) | st.sampled_from([125, 126, 127, 400, 65_535, 65_536])
events = st.one_of(
    st.tuples(senders, st.sampled_from(["text", "binary"]), st.lists(sizes, min_size=1, max_size=4)),
    st.tuples(senders, st.sampled_from(list(CONTROL)), st.integers(0, 125)),
)
conversations = st.lists(events, max_size=8)
roles = st.sampled_from(list(Role))
Call = tuple[str, bytes]


def write(socket: Any, conversation: list[Any]) -> tuple[list[Call], list[tuple[Any, ...]]]:
    """The calls of a conversation, a frame each, and what is to be logged of it."""
    calls: list[Call] = []
    expected = []
    for sender, kind, content in conversation:
        if kind in CONTROL:
            calls.append((sender, socket.frame(sender, CONTROL[kind], bytes(content))))
            continue
        for number, size in enumerate(content):
            opcode = Opcode[kind.upper()] if number == 0 else Opcode.CONT
            frame = socket.frame(sender, opcode, b"\x88" * size, end=number + 1 == len(content))
            calls.append((sender, frame))
            calls.append(("server", socket.plain(Opcode.PING, b"between")))
        expected.append((sender, kind, sum(content), len(content), "complete"))
    return calls, expected


def merged(calls: list[Call]) -> Iterator[Call]:
    """As few calls as keep the order."""
    for sender, group in itertools.groupby(calls, key=lambda call: call[0]):
        yield sender, b"".join(data for _, data in group)


@SLOW
@given(conversation=conversations, role=roles, log=st.sampled_from(["message", "connection"]), data=st.data())
def test_whole_or_in_pieces_the_same(at, conversation, role, log, data):
    whole, pieces = at(role, log=log), at(role, log=log)
    calls, expected = write(whole, conversation)
    for sender, joined in merged(calls):
        whole.send(sender, joined)
        bytewise = len(joined) < 500 and data.draw(st.booleans())
        while joined:
            size = 1 if bytewise else data.draw(st.integers(1, 40_000))
            pieces.send(sender, joined[:size])
            joined = joined[size:]
    if log == "message":
        assert whole.rows == expected
    for each in (whole, pieces):
        each.close()
        assert each.broken is None
    assert [e.attributes for e in whole.exchanges] == [e.attributes for e in pieces.exchanges]
    assert [e.outcome for e in whole.exchanges] == [e.outcome for e in pieces.exchanges]


@SLOW
@given(conversation=conversations, role=roles, data=st.data())
def test_any_loss_nothing_wrong(at, conversation, role, data):
    """Each message of a side has a size of its own, so that a wrong one shows."""
    numbers = itertools.count(1)
    told = [
        (sender, kind, content if kind in CONTROL else [*content, 1000 * next(numbers)])
        for sender, kind, content in conversation
    ]
    socket = at(role)
    calls, expected = write(socket, told)
    for sender, frame in calls:
        match data.draw(st.sampled_from(["whole", "whole", "whole", "part", "lost", "middle"])):
            case "whole":
                socket.send(sender, frame)
            case "part":
                socket.send(sender, frame, captured=data.draw(st.integers(0, len(frame))))
            case "lost":
                socket.lose(sender, len(frame))
            case "middle":
                first = data.draw(st.integers(0, len(frame)))
                second = data.draw(st.integers(first, len(frame)))
                if first:
                    socket.send(sender, frame[:first])
                socket.lose(sender, second - first)
                if second < len(frame):
                    socket.send(sender, frame[second:])
    socket.close()
    complete = [row for row in socket.rows if row[-1] == "complete"]
    # In the order they ended, which is the order they were sent in: one side's, or both sides'.
    left = iter(expected)
    assert all(row in left for row in complete)
    assert socket.broken in (None, "gap")


@SLOW
@given(
    role=roles,
    calls=st.lists(st.tuples(senders, st.binary(max_size=40))),
    extensions=st.sampled_from([None, "x"]),
)
def test_any_bytes_no_exception_and_every_call_once(at, role, calls, extensions):
    socket = at(role, extensions=extensions)
    for sender, payload in calls:
        if payload:
            socket.send(sender, payload)
    socket.close()
    assert socket.broken in (None, "framing")


@pytest.mark.parametrize("kind", [Opcode.TEXT, Opcode.PING])
def test_work_grows_as_the_bytes_do_not_more(at, kind):
    """Ten thousand frames in one call, and as many by a call each: none is kept."""
    socket = at(Role.SERVER)
    frame = socket.masked(kind, b"x")
    socket.client(frame * 10_000)
    for _ in range(10_000):
        socket.client(frame)
    assert socket.play.buffers[socket.ways["client"]].size == 0
    assert len(socket.exchanges) == (20_000 if kind is Opcode.TEXT else 0)
    socket.close()
