"""Joining a connection in its middle: what can be decoded is, and nothing is ever made up."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import Direction, Outcome, Role

UP, DOWN = Direction.EGRESS, Direction.INGRESS
STATIC_GET = [(":method", "GET"), (":scheme", "http"), (":path", "/")]


def test_fields_of_the_static_table_and_literals_decode(talk):
    c = talk(late=True)
    literal = [*STATIC_GET[:2], (":path", "/never/seen"), (":authority", "a.example"), ("x-a", "b")]
    c.up(c.request(101, literal))
    c.down(c.response(101, [(":status", "200"), ("x-c", "d")]))
    assert (c.stream.request.target, c.stream.outcome) == ("/never/seen", Outcome.COMPLETE)
    assert c.stream.response.headers.get("x-c") == "d"
    assert c.play.decoder.role is Role.CLIENT


def test_entries_added_since_have_the_right_index(talk):
    """The encoder's table is half full of entries never seen; new ones are found all the same."""
    c = talk(late=True)
    for i in range(20):
        c.encode(UP, [(f"x-before-{i}", "unseen")])
    fields = [*STATIC_GET[:2], (":path", "/new"), ("x-new", "entry")]
    for number in (41, 43, 45):
        c.up(c.request(number, fields))
        c.down(c.response(number))
    assert [s.request.headers.get("x-new") for s in c.streams] == ["entry"] * 3
    assert [s.request.target for s in c.streams] == ["/new"] * 3


def test_the_first_reference_to_an_entry_never_seen_is_the_break(talk):
    c = talk(late=True)
    c.encode(UP, [("x-before", "unseen"), (":path", "/seen/before")])
    c.up(c.request(11, [*STATIC_GET, ("x-new", "1")]))
    c.down(c.response(11))
    c.up(c.request(13, [*STATIC_GET[:2], (":path", "/seen/before")]))
    broke = c.broke
    assert (broke.reason, broke.direction) == ("hpack", UP)
    assert broke.position == c.play.calls[0].size
    assert broke.detail == (
        f"HEADERS of stream 13 at byte {broke.position}: index 63 was never seen added (1 entries are known)"
    )
    assert [(s.request.target, s.outcome) for s in c.play.exchanges] == [("/", Outcome.COMPLETE)]
    c.check_details()


def test_evictions_from_a_table_whose_past_was_not_seen(talk):
    """Theirs evicts what ours still holds: nobody refers to it. Indices stay right."""
    c = talk(late=True)
    c.encode(UP, [("x-old", "o" * 3000)])
    for number in range(1, 61, 2):
        c.up(c.request(number, [*STATIC_GET, (f"x-{number % 6}", "v" * 400), ("x-same", "s")]))
        c.down(c.response(number))
    assert [s.request.headers.get("x-same") for s in c.streams] == ["s"] * 30
    assert [s.request.headers.fields[0][0] for s in c.streams] == [f"x-{n % 6}" for n in range(1, 61, 2)]


def test_a_table_larger_than_the_default_whose_announcement_was_not_seen(talk):
    c = talk(late=True)
    c.encoders[UP].header_table_size = 65536
    c.encode(UP, [("x-first", "the size update went with it")])
    many = [*STATIC_GET, *((f"x-{i}", "v" * 200) for i in range(30))]
    c.up(c.request(1, many))
    c.down(c.response(1))
    assert len(c.stream.request.headers) == 30
    c.up(c.request(3, many))
    assert c.broke.reason == "hpack"  # the first of the thirty fell out of our 4,096 bytes

    c = talk(late=True)
    c.encoders[UP].header_table_size = 65536
    c.up(c.request(1, many), c.request(3, many))
    c.down(c.response(1), c.response(3))
    assert [len(s.request.headers) for s in c.streams] == [30, 30]


def test_a_response_whose_request_was_never_seen_is_decoded_for_its_effect_only(talk):
    c = talk(late=True)
    c.down(c.response(7, [(":status", "200"), ("x-a", "entry")], end=False), c.data(7, b"body"))
    assert c.play.decoder.role is Role.CLIENT
    c.up(c.request(9))
    c.down(c.data(5, b"of an older one"), c.response(9, [(":status", "200"), ("x-a", "entry")]))
    assert [(s.owner, s.response.headers.get("x-a")) for s in c.streams] == [(9, "entry")]
    c.check_details()
    assert [d.sequence for d in c.play.taken[0]] == [1, 2]


def test_details_of_streams_that_will_not_be_logged_go_at_once(talk):
    c = talk(late=True)
    c.down(c.response(7, end=False))
    c.down(c.data(7, b"body"))
    c.up(c.window(7))
    assert [d.sequence for d in c.play.alone] == [0, 1, 2]


def test_trailers_and_data_of_older_streams_are_passed_over(talk):
    c = talk(late=True)
    c.down(c.data(5, b"x" * 100, end=False), c.response(5, [("grpc-status", "0")]))
    c.up(c.data(6001, b"upload", end=False), c.request(6003))
    c.down(c.response(6003))
    assert [s.owner for s in c.streams] == [6003]


def test_data_on_a_stream_above_the_newest_one_is_still_a_break(talk):
    c = talk(late=True)
    c.up(c.request(9), c.data(11, b"x"))
    assert c.broke.reason == "unknown-stream"


def test_one_direction_late_the_other_not(talk):
    """The first call of the server was lost; the client's preface was seen."""
    c = talk(late=True)
    c.up(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", c.settings(), c.request(1), c.request(3))
    c.play.lose(DOWN, 200)  # its SETTINGS, and the head of stream 1
    c.down(c.data(1, b"rest"), c.response(3))
    assert [(s.owner, s.outcome, s.response) for s in c.streams if s.owner == 1] == [
        (1, Outcome.ABORTED, None)
    ]
    assert [(s.owner, s.outcome) for s in c.streams if s.owner == 3] == [(3, Outcome.COMPLETE)]


@pytest.mark.parametrize("first", ["HEADERS", "the server's SETTINGS", "the client's SETTINGS"])
def test_frames_larger_than_the_default_whose_announcement_was_not_seen(talk, first):
    """SETTINGS in the middle of a connection, as gRPC sends to widen windows, are no beginning."""
    c = talk(late=True)
    if first == "the server's SETTINGS":
        c.down(c.settings({4: 1 << 20}))
    elif first == "the client's SETTINGS":
        c.up(c.settings({4: 1 << 20}))
    c.up(c.request(9, end=False), c.data(9, bytes(1 << 20)))
    c.down(c.data(7, bytes(1 << 20)), c.response(9))
    assert c.stream.request.body_size == 1 << 20


@pytest.mark.parametrize("lost", [False, True])
def test_settings_behind_lost_bytes_are_no_beginning(talk, lost):
    """Stream 1 got its head in the lost bytes, so its DATA is no break; else it would be one."""
    c = talk(late=True)
    c.up(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", c.settings(), c.request(1))
    if lost:
        c.play.lose(DOWN, 100)
    c.down(c.settings(), c.data(1, b"x"))
    if lost:
        assert (c.stream.outcome, c.stream.response) == (Outcome.ABORTED, None)
    else:
        assert c.broke.reason == "unknown-stream"


IMPLAUSIBLE = {
    "text": b"HTTP/1.1 200 OK\r\n\r\n",
    "type above 0x09": b"\0\0\0\x0c\0\0\0\0\0",
    "flags no type has": b"\0\0\x01\0\x02\0\0\0\x01x",
    "reserved bit": b"\0\0\x01\0\0\x80\0\0\x01x",
    "DATA on stream 0": bytes(9),
    "HEADERS longer than the default": b"\x01\0\0\x01\x04\0\0\0\x01",
    "a field name in capitals": b"\0\0\x05\x01\x04\0\0\0\x01\0\x01A\x01b",
    "a field name of nothing": b"\0\0\x04\x01\x04\0\0\0\x01\0\0\x01b",
    "zeros": bytes(100),
    "0xff": b"\xff" * 100,
}


@pytest.mark.parametrize("case", IMPLAUSIBLE)
def test_first_bytes_that_are_no_frame_break(talk, case):
    c = talk(late=True)
    c.down(c.response(1))  # the other direction is well
    c.up(IMPLAUSIBLE[case])
    assert (c.broke.reason, c.broke.position) == ("framing", 0)
    c.check_details()


def test_role_is_known_from_the_source_before_any_request(talk):
    c = talk(late=True, role=Role.SERVER)
    assert c.play.decoder.role is Role.SERVER


fields = st.lists(
    st.tuples(
        st.sampled_from(["x-a", "x-b", "accept", "user-agent", "x-long-name-for-eviction"]),
        st.sampled_from(["", "1", "v" * 50, "w" * 900]),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    blocks=st.lists(fields, min_size=1, max_size=25),
    join=st.integers(0, 24),
    size=st.sampled_from([0, 300, 4096, 20_000]),
)
def test_joined_anywhere_what_is_logged_is_what_was_sent(talk, blocks, join, size):
    """Wherever we join: a run of right exchanges, then at most one break, and that is `hpack`."""
    c = talk(late=True)
    c.encoders[UP].header_table_size = size
    for i, extra in enumerate(blocks):
        number = 2 * i + 1
        sent = [*STATIC_GET[:2], (":path", f"/{i % 7}"), *extra]
        head, reply = c.request(number, sent), c.response(number, [(":status", "200"), *extra])
        if i >= join:
            c.up(head)
            c.down(reply)
    logged = c.play.exchanges
    first = join
    for i, stream in enumerate(logged, first):
        assert stream.owner == 2 * i + 1
        assert stream.request.target == f"/{i % 7}"
        assert list(stream.request.headers) == blocks[i]
        if stream.response is None:  # cut by the break
            assert (stream.outcome, i) == (Outcome.ABORTED, first + len(logged) - 1)
            assert c.broke.direction is DOWN
        else:
            assert list(stream.response.headers) == blocks[i]
    if c.play.protocol_break is None:
        assert len(logged) == max(0, len(blocks) - join)
    else:
        assert c.broke.reason == "hpack"
    c.check_details()
