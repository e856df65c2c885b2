"""What holds for any conversation, cut anywhere, captured in part, with any calls lost; and for any bytes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Direction, Role
from rover.testing import check_delivery

INGRESS, EGRESS = Direction
FILLING = b"+OK\r\n*1\r\n$4\r\nPING\r\n$2\r\nab\r\n:1\r\n*2\r\n"
"""What commands and replies hold looks like commands and replies."""
MOST = 400


def filled(size: int) -> bytes:
    return (FILLING * (size // len(FILLING) + 1))[:size]


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def asked(number: int) -> bytes:
    """A command whose number shows in its size."""
    return b"*2\r\n$4\r\nECHO\r\n" + bulk(filled(100 + number))


SHAPES = {
    "bulk": lambda n: bulk(filled(100 + n)),
    "array": lambda n: b"*2\r\n:1\r\n" + bulk(filled(200 + n)),
    "nested": lambda n: b"*3\r\n*1\r\n" + bulk(filled(300 + n)) + b"_\r\n$-1\r\n",
    "map": lambda n: b"%1\r\n+k\r\n" + bulk(filled(400 + n)),
    "attribute": lambda n: b"|1\r\n+ttl\r\n:1\r\n" + bulk(filled(500 + n)),
    "line": lambda n: b"+" + b"x" * n + b"\r\n",
    "numbers": lambda n: b"*%d\r\n" % (n + 1) + b":1\r\n" * (n + 1),
    "error": lambda n: b"-ERR " + b"x" * n + b"\r\n",
}
ANSWERS = {(shape, n): make(n) for shape, make in SHAPES.items() for n in range(MOST)}


def right(log: dict[str, Any], shapes: list[str]) -> bool:
    """Whether command and reply have the same number."""
    sizes = [len(asked(n)) for n in range(len(shapes))]
    number = sizes.index(log["redis.request.size"])
    return bool(log["redis.response.size"] == len(ANSWERS[shapes[number], number]))


Call = tuple[Direction, bytes]


@st.composite
def conversations(
    draw: st.DrawFn, *, depth: int | None = None, split: bool = True
) -> tuple[list[str], list[Call]]:
    """(what each reply is like, the calls): a client that takes turns first, and then keeps up to `depth`
    commands open, sends as soon as it may, in calls of one or more commands; the server answers in calls that
    end anywhere."""
    shapes = draw(st.lists(st.sampled_from(list(SHAPES)), min_size=1, max_size=12))
    window = depth or draw(st.integers(1, 6))
    turns = draw(st.integers(0, len(shapes)))  # with so many it waits for each reply
    calls: list[Call] = []
    sent = answered = 0  # commands whose last byte was sent, replies of which the same is true
    stream = b""  # of replies that are due
    while answered < len(shapes):
        while sent < len(shapes) and sent - answered < (window if sent >= turns else 1):
            most = min(window - (sent - answered), len(shapes) - sent) if sent >= turns else 1
            number = draw(st.integers(1, most)) if most > 1 else 1
            batch = b"".join(asked(n) for n in range(sent, sent + number))
            stream += b"".join(ANSWERS[shapes[n], n] for n in range(sent, sent + number))
            sent += number
            calls.append((INGRESS, batch))
        size = draw(st.one_of(st.just(len(stream)), st.integers(1, len(stream)))) if split else None
        if size is None:
            size = len(ANSWERS[shapes[answered], answered])
        calls.append((EGRESS, stream[:size]))
        stream = stream[size:]
        left = len(stream)
        answered = sent
        while left > 0:
            answered -= 1
            left -= len(ANSWERS[shapes[answered], answered])
    return shapes, calls


def play(talk: Any, calls: list[Call]) -> Any:
    for direction, data in calls:
        talk.send(direction, data)
    talk.close()
    return talk


@given(conversation=conversations())
def test_each_command_has_its_reply(conversation: tuple[list[str], list[Call]], make_talk) -> None:
    shapes, calls = conversation
    talk = play(make_talk(), calls)
    assert len(talk.said) == len(shapes)
    assert all(right(log, shapes) for log in talk.said)
    assert not [log for log in talk.said if "rover.pairing" in log or log["outcome"] != "complete"]
    check_delivery(talk)


def seen_of(talk: Any) -> Any:
    return talk.said, talk.protocol_break and talk.protocol_break.reason


@given(conversation=conversations(), data=st.data())
def test_cut_anywhere_it_is_the_same(
    conversation: tuple[list[str], list[Call]], data: Any, make_talk
) -> None:
    _, calls = conversation
    pieces = []
    for direction, payload in calls:
        cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(payload) - 1)), max_size=5)))
        ends = [0, *cuts, len(payload)]
        pieces += [(direction, payload[a:b]) for a, b in itertools.pairwise(ends) if a < b]
    assert seen_of(play(make_talk(), pieces)) == seen_of(play(make_talk(), calls))


@settings(max_examples=30, deadline=None)
@given(conversation=conversations(split=False))
def test_byte_by_byte_it_is_the_same(conversation: tuple[list[str], list[Call]], make_talk) -> None:
    _, calls = conversation
    talk = make_talk()
    for direction, payload in calls:
        talk.send_all(direction, (payload[n : n + 1] for n in range(len(payload))))
    talk.close()
    assert seen_of(talk) == seen_of(play(make_talk(), calls))


BITS = [
    b"*",
    b"$",
    b"+",
    b"-",
    b":",
    b"%",
    b"|",
    b">",
    b"!",
    b"=",
    b"~",
    b"_",
    b"#",
    b",",
    b"(",
    b"\r\n",
    b"\n",
]
BITS += [b"0", b"1", b"2", b"10", b"-1", b"9" * 13, b"9" * 14, b"PING", b"CLIENT", b"REPLY", b"OFF", b"MULTI"]
BITS += [
    b"SUBSCRIBE",
    b"message",
    b"subscribe",
    b"*1\r\n$4\r\nPING\r\n",
    b"+OK\r\n",
    b"*3\r\n$7\r\nmessage\r\n",
]
BITS += [
    b"*1\r\n$7\r\nMONITOR\r\n",
    b"*1\r\n$4\r\nSYNC\r\n",
    b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n",
    b"*2\r\n",
]
streams = st.lists(st.one_of(st.sampled_from(BITS), st.binary(max_size=3)), max_size=30).map(b"".join)


@pytest.mark.parametrize("role", [Role.SERVER, None])
@given(first=streams, second=streams, late=st.booleans())
def test_hostile_bytes_are_the_same_byte_by_byte(
    role, first: bytes, second: bytes, late: bool, make_talk
) -> None:
    """And end in exchanges, a break or nothing; never in an exception or a loop."""
    for a, b in ((INGRESS, EGRESS), (EGRESS, INGRESS)):
        calls = [(a, first), (b, second)]
        whole = play(make_talk(role=role, late=late), [call for call in calls if call[1]])
        bitten = make_talk(role=role, late=late)
        for direction, payload in calls:
            bitten.send_all(direction, (payload[n : n + 1] for n in range(len(payload))))
        bitten.close()
        check_delivery(whole)
        check_delivery(bitten)
        if not late and role is not None:  # else calls are what decoding goes by where it has to begin again
            assert seen_of(bitten) == seen_of(whole)


# -- losses -------------------------------------------------------------------------------------


def play_lossy(talk: Any, calls: list[Call], lost: set[int]) -> Any:
    for number, (direction, payload) in enumerate(calls):
        if number in lost:
            talk.lose(direction, len(payload))
        else:
            talk.send(direction, payload)
    talk.close()
    return talk


def check_marked(talk: Any, shapes: list[str]) -> None:
    """No wrong pair without a mark, no command twice."""
    paired = [log for log in talk.said if "redis.request.size" in log and "redis.response.size" in log]
    wrong = [log for log in paired if "rover.pairing" not in log and not right(log, shapes)]
    assert not wrong
    sizes = [log["redis.request.size"] for log in talk.said if "redis.request.size" in log]
    assert len(sizes) == len(set(sizes))
    check_delivery(talk)


@settings(max_examples=400, deadline=None)
@given(conversation=conversations(), data=st.data())
def test_whatever_calls_are_lost_no_pair_is_wrong_without_a_mark(
    conversation: tuple[list[str], list[Call]], data: Any, make_talk
) -> None:
    shapes, calls = conversation
    lost = data.draw(st.sets(st.integers(0, len(calls) - 1), max_size=4))
    check_marked(play_lossy(make_talk(), calls, lost), shapes)


@settings(max_examples=200, deadline=None)
@given(conversation=conversations(), data=st.data())
def test_whatever_is_captured_in_part_no_pair_is_wrong_without_a_mark(
    conversation: tuple[list[str], list[Call]], data: Any, make_talk
) -> None:
    shapes, calls = conversation
    talk = make_talk()
    for direction, payload in calls:
        captured = data.draw(st.one_of(st.just(len(payload)), st.integers(0, len(payload))))
        talk.send(direction, payload, captured=captured)
    talk.close()
    check_marked(talk, shapes)


@settings(max_examples=200, deadline=None)
@given(conversation=conversations(depth=1, split=False), data=st.data())
def test_of_a_client_that_takes_turns_a_lost_reply_costs_its_own_command_alone(
    conversation: tuple[list[str], list[Call]], data: Any, make_talk
) -> None:
    """All others are complete, with proof, once the client was seen to take turns."""
    shapes, calls = conversation
    numbers = range(min(2, len(shapes)), len(shapes))
    lost = data.draw(st.sets(st.sampled_from(numbers))) if numbers else set()
    talk = play_lossy(make_talk(), calls, {2 * number + 1 for number in lost})
    assert len(talk.said) == len(shapes)
    for log in talk.said:
        number = [len(asked(n)) for n in range(len(shapes))].index(log["redis.request.size"])
        assert log["outcome"] == ("aborted" if number in lost else "complete")
        assert number in lost or right(log, shapes)
        assert "rover.pairing" not in log


@settings(max_examples=200, deadline=None)
@given(conversation=conversations(depth=1, split=False), data=st.data())
def test_of_a_client_that_takes_turns_a_lost_command_costs_itself_alone(
    conversation: tuple[list[str], list[Call]], data: Any, make_talk
) -> None:
    shapes, calls = conversation
    lost = data.draw(st.sets(st.integers(0, len(shapes) - 1)))
    talk = play_lossy(make_talk(), calls, {2 * number for number in lost})
    assert len(talk.said) == len(shapes) - len(lost)
    assert all(right(log, shapes) and log["outcome"] == "complete" for log in talk.said)


@settings(max_examples=100, deadline=None)
@given(conversation=conversations(), joined=st.integers(0, 20))
def test_joined_late_every_pair_is_marked(
    conversation: tuple[list[str], list[Call]], joined: int, make_talk
) -> None:
    _, calls = conversation
    talk = play(make_talk(late=True), calls[joined:])
    assert all("rover.pairing" in log for log in talk.said if "redis.response.size" in log)
    assert talk.protocol_break is None


@settings(max_examples=50, deadline=None)
@given(
    conversation=conversations(depth=1, split=False),
    joined=st.integers(0, 20),
    role=st.sampled_from([Role.SERVER, None]),
)
def test_joined_late_pairs_are_right_from_the_next_command_on(
    conversation: tuple[list[str], list[Call]], joined: int, role: Role | None, make_talk
) -> None:
    shapes, calls = conversation
    talk = play(make_talk(role=role, late=True), calls[joined:])
    assert len(talk.said) == len([1 for direction, _ in calls[joined:] if direction is INGRESS])
    assert all(right(log, shapes) and log["outcome"] == "complete" for log in talk.said)


LOST = object()


@pytest.mark.parametrize(
    "calls",
    [
        # Two commands in one call, answered one by one; the first answer was lost, and the client sends on.
        [1, -1, 1, -1, 2, LOST, 1, -1, 1, -1, -1, -1],
        # The beginning of an answer was lost, and meanwhile the client has begun to send more than one.
        [1, -1, 1, -1, 1, -1, 1, (LOST, 0.5), 4, -2, -1, -1, -1, -1],
        [1, -1, 1, -1, 1, -1, 1, (LOST, 0.5), 1, 1, -2, -1, -1, -1],
        # So has one that had not been seen to take turns.
        [1, (LOST, 0.5), 1, -2, -1, 1, -1],
    ],
)
def test_losses_that_only_look_like_those_of_a_client_that_takes_turns(calls: list[Any], make_talk) -> None:
    """`calls`: a number of commands, or -1 for an answer, -2 for the rest of one. Answers are arrays of
    numbers, cut where one of these ends."""
    shapes = ["numbers"] * 12
    talk = make_talk()
    sent = answered = 0
    rest = b""
    for call in calls:
        if call is LOST or call == -1:
            answer = ANSWERS["numbers", answered]
            answered += 1
            if call is LOST:
                talk.lose(EGRESS, len(answer))
            else:
                talk.send(EGRESS, answer)
        elif call == -2:
            talk.send(EGRESS, rest)
        elif isinstance(call, tuple):
            answer = ANSWERS["numbers", answered]
            answered += 1
            cut = answer.index(b"\r\n") + 2 if len(answer) < 12 else len(answer) - 4
            talk.lose(EGRESS, cut)
            rest = answer[cut:]
        else:
            talk.send(INGRESS, b"".join(asked(n) for n in range(sent, sent + call)))
            sent += call
    talk.close()
    check_marked(talk, shapes)
    assert [log for log in talk.said if "rover.pairing" in log]
