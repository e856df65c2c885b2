"""Frames that were lost whole: the rest goes on, and nothing that was in them is made up."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import Direction, Outcome
from rover.testing import check_delivery

"""Of details."""

UP, DOWN = Direction.EGRESS, Direction.INGRESS
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SECOND = 1_000_000_000
POST = [(":method", "POST"), (":scheme", "http"), (":path", "/up"), (":authority", "a.example"), ("x-a", "1")]
ANSWER = [(":status", "200"), ("server", "s"), ("x-b", "2")]


def outcomes(c: Any) -> list[tuple[int, str]]:
    return [(s.owner, s.outcome.value) for s in c.streams]


def turn(c: Any, number: int) -> None:
    """An exchange whose fields are in the tables from the first one on."""
    c.up(c.request(number, POST))
    c.down(c.response(number, ANSWER, end=False), c.data(number, b"12345"))


CONTROL = {
    "SETTINGS ACK": lambda c: c.settings(ack=True),
    "WINDOW_UPDATE": lambda c: c.window(),
    "PING": lambda c: c.ping(),
    "PRIORITY": lambda c: c.priority(1),
    "WINDOW_UPDATE and PING": lambda c: c.window() + c.ping(),
    "SETTINGS": lambda c: c.settings({1: 4096, 5: 32768}),
}


@pytest.mark.parametrize("frame", CONTROL)
def test_frames_of_the_client_without_an_exchange_cost_nothing(talk, frame):
    """The next request's number shows that none was opened in the gap: the table is as it was."""
    c = talk()
    for number in (1, 3, 5, 7):
        turn(c, number)
        c.play.lose(UP, len(CONTROL[frame](c)))
    assert outcomes(c) == [(n, "complete") for n in (1, 3, 5, 7)]
    assert all(s.request.headers.get("x-a") == "1" and s.response.body_size == 5 for s in c.streams)
    c.check_details()


def test_a_gap_too_small_for_a_header_block_costs_nothing_in_either_direction(talk):
    c = talk()
    for number in (1, 3, 5, 7):
        turn(c, number)
        c.play.lose(DOWN, 9)
        c.play.lose(UP, 9)
    assert outcomes(c) == [(n, "complete") for n in (1, 3, 5, 7)]
    assert {(s.request.body_size, s.response.body_size) for s in c.streams} == {(0, 5)}
    c.check_details()


@pytest.mark.parametrize("role", [UP, DOWN])
@pytest.mark.parametrize("size", range(1, 9))
def test_less_than_a_frame_is_the_beginning_of_a_longer_one(talk, role, size):
    c = talk()
    turn(c, 1)
    c.play.lose(role, size)
    c.play.send(role, c.ping()[size:])
    assert (c.broke.reason, c.broke.direction) == ("gap", role)


def test_an_entry_is_not_resolved_when_others_may_have_been_added_before_it(talk):
    """A response that was lost added entries: all older ones have moved."""
    c = talk()
    turn(c, 1)
    c.up(c.request(3, POST), c.request(5, POST), c.request(7, POST))
    c.play.lose(DOWN, len(c.response(3, [*ANSWER, ("x-new", "3")])))
    c.down(c.response(5, [(":status", "200"), ("x-newer", "4")]))
    c.down(c.response(7, [(":status", "200"), ("x-newer", "4")]))
    found = [(s.owner, s.outcome.value) for s in c.play.exchanges]
    assert found == [(1, "complete"), (5, "complete"), (7, "complete")]
    c.up(c.request(9, POST))
    c.down(c.response(9, ANSWER))
    assert (c.broke.reason, c.broke.direction) == ("hpack", DOWN)
    assert [s.response.headers.get("x-newer") for s in c.play.exchanges[1:3]] == ["4", "4"]
    assert [(s.owner, s.outcome.value) for s in c.play.exchanges[3:]] == [(3, "aborted"), (9, "aborted")]
    c.check_details()


def test_a_request_that_was_lost_is_told_by_the_next_ones_number(talk):
    c = talk()
    turn(c, 1)
    c.play.lose(UP, len(c.request(3, [*POST, ("x-new", "3")])))
    c.up(c.request(5, POST))
    assert (c.broke.reason, c.broke.direction) == ("hpack", UP)
    assert outcomes_of(c) == [(1, "complete")]


def test_trailers_that_were_lost_may_have_added_entries(talk):
    c = talk()
    c.up(c.request(1, POST, end=False), c.data(1, b"123", end=False))
    c.play.lose(UP, len(c.request(1, [("x-checksum", "abc")])))
    c.up(c.request(3, POST))
    assert (c.broke.reason, c.broke.direction) == ("hpack", UP)
    assert outcomes_of(c) == [(1, "aborted")]


def test_data_after_the_gap_shows_that_the_request_had_not_ended_in_it(talk):
    c = talk()
    c.up(c.request(1, POST, end=False), c.data(1, b"123", end=False))
    c.play.lose(UP, len(c.data(1, b"4567", end=False)))
    c.up(c.data(1, b"89"), c.request(3, POST))
    c.down(c.response(1), c.response(3))
    assert outcomes(c) == [(1, "complete"), (3, "complete")]
    assert [s.request.body_size for s in c.streams] == [None, 0]
    assert c.streams[1].request.headers.get("x-a") == "1"


def outcomes_of(c: Any) -> list[tuple[int, str]]:
    """Also of a connection that broke."""
    return [(s.owner, s.outcome.value) for s in c.play.exchanges]


def test_a_body_of_which_frames_may_be_missing_has_no_size(talk):
    c = talk()
    c.up(c.request(1), c.request(3))
    c.down(c.response(1, end=False), c.data(1, b"123", end=False))
    c.play.lose(DOWN, len(c.data(1, b"4567", end=False)))
    c.down(c.data(1, b"8"), c.response(3, end=False), c.data(3, b"12"))
    assert [(s.outcome, s.response.body_size) for s in c.streams] == [
        (Outcome.COMPLETE, None),
        (Outcome.COMPLETE, 2),
    ]


def test_the_end_of_a_stream_that_was_lost_is_not_made_up(talk):
    """It stays open until the connection ends; since when it is over is not known."""
    c = talk()
    c.up(c.request(1), c.request(3))
    c.down(c.response(1, end=False), c.data(1, b"123", end=False))
    c.play.lose(DOWN, len(c.data(1, b"")))
    c.down(c.response(3))
    c.play.expire(20 * SECOND)
    c.play.close()
    assert [(s.owner, s.outcome, s.end) for s in c.streams] == [
        (3, Outcome.COMPLETE, 0),
        (1, Outcome.ABORTED, 0),
    ]
    assert c.streams[1].response.body_size == 3


def test_a_stream_that_may_be_over_is_given_up_in_time(talk):
    c = talk(split_after=10)
    c.up(c.request(1))
    c.down(c.response(1, end=False))
    c.play.lose(DOWN, 9)
    c.down(c.ping())
    c.play.expire(9 * SECOND)
    assert c.streams == []
    c.play.expire(11 * SECOND)
    assert outcomes(c) == [(1, "aborted")]
    c.down(c.data(1, b"late"))
    c.play.expire(40 * SECOND)
    assert outcomes(c) == [(1, "aborted")]


def test_a_stream_that_goes_on_after_a_gap_is_split_as_before(talk):
    c = talk(split_after=10)
    c.up(c.request(1, end=False))
    c.down(c.response(1, end=False))
    c.play.lose(DOWN, 9)
    c.down(c.data(1, b"1", end=False))
    c.play.lose(UP, 9)
    c.up(c.data(1, b"1", end=False))
    c.play.expire(11 * SECOND)
    c.up(c.data(1, b"1"))
    c.down(c.data(1, b"12"))
    assert [(s.outcome.value, s.response.body_size) for s in c.streams] == [("split", 1), ("complete", 2)]


@pytest.mark.parametrize("way", [UP, DOWN])
def test_data_whose_header_block_was_lost_is_passed_over(talk, way):
    c = talk()
    c.up(c.request(1, end=False))
    lost = c.request(3, end=False) if way is UP else c.response(1, end=False)
    c.play.lose(way, len(lost))
    c.play.send(way, c.data(3 if way is UP else 1, b"123", end=False))
    if way is UP:
        c.up(c.data(1, b"12"))
        c.down(c.response(1))
        assert outcomes(c) == [(1, "complete")]
    else:
        c.down(c.data(1, b"4"))
        c.up(c.data(1, b"12"))
        assert [(s.owner, s.outcome, s.response) for s in c.streams] == [(1, Outcome.ABORTED, None)]
    c.check_details()


def test_answers_to_requests_that_were_lost_do_not_stay(talk):
    """The next request shows that those before it will not come."""
    c = talk(memory=64)
    turn(c, 1)
    for number in range(3, 4003, 4):
        c.play.lose(UP, 40)
        c.down(c.raw(1, number, b"\x88", 4), c.data(number, b"12345"))
        c.up(c.raw(1, number + 2, b"\x82\x84\x86", 5))
        c.down(c.raw(1, number + 2, b"\x88", 5))
    assert len(c.streams) == 1001
    assert c.play.decoder.memory < 10_000


def test_streams_whose_end_was_lost_make_room_for_others(talk):
    """A thousand ends were lost: logged as they are when there is no room left, and no break."""
    c = talk(memory=64)
    for number in range(1, 2001, 2):
        c.up(c.request(number))
        c.down(c.response(number, end=False))
        c.play.lose(DOWN, 9)
    c.down(c.ping())
    c.play.close()
    assert sorted(outcomes(c)) == [(n, "aborted") for n in range(1, 2001, 2)]


UNLIKE_FRAMES = {
    "text": b"GET / HTTP/1.1\r\n",
    "a continuation": b"\0\0\0\x09\x04\0\0\0\x01",
    "longer than announced": b"\0\x40\x01\0\0\0\0\0\x01",
    "a stream far away": b"\0\0\x01\0\0\0\x01\0\x01x",
    "DATA on stream 0": bytes(9),
    "a field in capitals": b"\0\0\x08\x01\x05\0\0\0\x03\x82\x84\x86\0\x01A\x01b",
    "a type nobody knows": b"\0\0\0\x0c\0\0\0\0\0",
}


@pytest.mark.parametrize("case", UNLIKE_FRAMES)
def test_what_does_not_look_like_frames_after_a_gap_is_the_break(talk, case):
    c = talk()
    c.up(c.request(1, end=False))
    c.play.lose(UP, 100)
    c.up(UNLIKE_FRAMES[case])
    assert (c.broke.reason, c.broke.direction) == ("gap", UP)
    c.check_details()


def test_bytes_missing_inside_a_frame_of_known_length_hide_no_boundary(talk):
    c = talk()
    c.up(c.request(1), c.request(3))
    for frame in (c.settings({3: 7}), c.goaway(1, 2), c.ping(), c.window()):
        c.down(frame, captured=9)
    c.down(c.response(1), c.response(3, end=False))
    c.down(c.reset(3, 8), captured=10)
    assert [(s.owner, s.outcome.value, s.error_code) for s in c.streams] == [
        (1, "complete", None),
        (3, "aborted", None),
    ]
    c.check_details()


def test_several_frames_of_one_call_of_which_only_the_beginning_was_captured(talk):
    """As the kernel's copy limit leaves it: the gap begins inside one frame and ends with another."""
    c = talk()
    c.up(c.request(1), c.request(3))
    c.down(c.response(1, end=False), *[c.data(1, bytes(5000), end=False)] * 3, captured=200)
    c.down(c.data(1, b"1"), c.response(3))
    assert [(s.owner, s.outcome.value, s.response.body_size) for s in c.streams] == [
        (1, "complete", None),
        (3, "complete", 0),
    ]


# -- any frames of a conversation between two h2 endpoints ---------------------------------------

fields = st.lists(
    st.tuples(st.sampled_from(["x-a", "x-b", "via", "accept"]), st.sampled_from(["", "1", "v" * 40])),
    max_size=3,
)
made = st.lists(
    st.tuples(
        fields,
        fields,
        st.sampled_from(["200", "204", "404", "503", "201"]),
        st.sampled_from([0, 0, 1, 4, 700]),
        st.sampled_from(["answer", "answer", "early hints", "trailers", "reset", "request trailers", "push"]),
        st.sampled_from(["", "", "ping", "window", "settings"]),
        st.booleans(),
    ),
    min_size=2,
    max_size=9,
)


def conversation(made: Any) -> list[tuple[Direction, bytes]]:
    """What two h2 endpoints write: (direction, one frame), some exchanges beside each other."""
    config = h2.config.H2Configuration
    client = h2.connection.H2Connection(config(client_side=True, header_encoding="utf-8"))
    server = h2.connection.H2Connection(config(client_side=False, header_encoding="utf-8"))
    written: list[tuple[Direction, bytes]] = []

    def flush() -> None:
        while True:
            quiet = True
            for end, other, way in ((client, server, UP), (server, client, DOWN)):
                if sent := end.data_to_send():
                    quiet = False
                    written.extend((way, frame) for frame in frames_of(sent))
                    for event in other.receive_data(sent):
                        if isinstance(event, h2.events.DataReceived):
                            other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if quiet:
                return

    for end in (client, server):
        end.initiate_connection()
    flush()
    held: list[int] = []
    for asked, answered, status, size, how, control, hold in made:
        if control == "ping":
            server.ping(b"12345678")
            client.ping(b"12345678")
        elif control == "window":
            client.increment_flow_control_window(1000)
            server.increment_flow_control_window(1000)
        elif control == "settings":
            client.update_settings({3: 50})
        flush()
        stream = client.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", f"/{stream}")]
        client.send_headers(stream, [*head, *asked])
        flush()
        if size:
            client.send_data(stream, bytes(size))
        if how == "reset":
            flush()
            server.reset_stream(stream, 8)
            flush()
            continue
        if how == "request trailers":
            client.send_headers(stream, [("x-end", "1")], end_stream=True)
        else:
            client.end_stream(stream)
        flush()
        if how == "early hints":
            server.send_headers(stream, [(":status", "103"), *answered])
        if how == "push":
            pushed = server.get_next_available_stream_id()
            server.push_stream(
                stream, pushed, [(":method", "GET"), *head[1:3], (":path", f"/{pushed}"), *answered]
            )
            server.send_headers(pushed, [(":status", "200")], end_stream=True)
        server.send_headers(stream, [(":status", status), *answered])
        if size:
            server.send_data(stream, bytes(size + 1))
        if hold:
            held.append(stream)
        elif how == "trailers":
            server.send_headers(stream, [("x-end", "1")], end_stream=True)
        else:
            server.end_stream(stream)
        flush()
        if len(held) > 2:
            server.end_stream(held.pop(0))
            flush()
    return written


def frames_of(sent: bytes) -> list[bytes]:
    """The preface is a part of the first frame."""
    frames = []
    while sent:
        start = 24 if sent.startswith(b"PRI") else 0
        size = start + 9 + int.from_bytes(sent[start : start + 3], "big")
        frames.append(sent[:size])
        sent = sent[size:]
    return frames


def agrees(found: Any, full: Any) -> bool:
    """Equal, except for body sizes that are not known."""
    if isinstance(found, tuple) and isinstance(full, tuple):
        return len(found) == len(full) and all(map(agrees, found, full))
    return found == full or found is None


@SLOW
@given(made, st.data())
def test_any_frames_lost_nothing_wrong_is_logged(talk, made, data):
    written = conversation(made)
    whole = talk(late=True)
    for way, frame in written:
        whole.play.send(way, frame)
    whole.play.close()
    full = {s[0]: s for s in whole.summary}
    lost = data.draw(st.sets(st.integers(0, len(written) - 1), min_size=1, max_size=6))
    c = talk(late=True)
    for i, (way, frame) in enumerate(written):
        if i in lost:
            c.play.lose(way, len(frame))
        else:
            c.play.send(way, frame)
    c.play.close()
    owners = [s[0] for s in c.summary]
    assert len(owners) == len(set(owners))
    for found in c.summary:
        owner, outcome, error, request, response = found
        sent = full[owner]
        if outcome is Outcome.COMPLETE:
            assert agrees(found, sent)
            continue
        assert error in (None, sent[2])
        assert request[:5] == sent[3][:5]
        assert request[6] is None or request[6] <= sent[3][6]
        if response is not None:
            assert response[:2] == sent[4][:2]
            assert response[2] in ((), sent[4][2])
            assert response[4] is None or response[4] <= sent[4][4]
    if c.play.protocol_break is not None:
        assert c.broke.reason == "hpack"
    check_delivery(c.play)


@SLOW
@given(made, st.data())
def test_frames_without_an_exchange_lost_by_the_client_cost_nothing(talk, made, data):
    """PING, WINDOW_UPDATE, PRIORITY and SETTINGS of a client that trails no fields."""
    plain = [(*m[:4], "answer" if m[4] == "request trailers" else m[4], *m[5:]) for m in made]
    written = conversation(plain)
    control = [i for i, (way, f) in enumerate(written) if way is UP and i > 0 and f[3] in (4, 6, 8)]
    lost = data.draw(st.sets(st.sampled_from(control), min_size=1)) if control else set()
    whole, c = talk(late=True), talk(late=True)
    for i, (way, frame) in enumerate(written):
        whole.play.send(way, frame)
        if i in lost:
            c.play.lose(way, len(frame))
        else:
            c.play.send(way, frame)
    for each in (whole, c):
        each.play.close()
    if not any(m[4] == "reset" for m in plain):
        assert c.play.protocol_break is None
        assert len(c.summary) == len(whole.summary)
        assert all(map(agrees, c.summary, whole.summary))


def test_the_first_bytes_of_an_answer_that_were_lost_leave_its_end_unknown(talk):
    """What was lost before anything was seen of the server may have ended streams, too."""
    c = talk(late=True)
    c.up(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", c.settings(), c.request(1), c.request(3))
    c.play.lose(DOWN, 200)
    c.down(c.response(3))
    c.play.expire(20 * SECOND)
    c.play.close()
    assert [(s.owner, s.outcome.value, s.end) for s in c.streams] == [(3, "complete", 0), (1, "aborted", 0)]


def test_a_request_that_was_reset_before_it_was_recorded_and_needs_the_room(talk):
    """It is cut while its header block is read, once."""
    c = talk(memory=64)
    c.down(c.reset(1, 8))
    c.play.lose(DOWN, 9)
    c.down(c.ping())
    c.up(
        c.request(
            1, [*POST, ("x-large", "v" * 70_000)], end=False, huffman=False, cut=range(0, 70_000, 16_000)
        )
    )
    assert [(s.owner, s.outcome.value, s.error_code) for s in c.streams] == [(1, "aborted", 8)]
    c.check_details()
