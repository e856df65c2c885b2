"""What RFC 9113 and RFC 7541 owe: one test per rule a decoder is known to get wrong."""

from __future__ import annotations

import pytest

from rover import Direction, Outcome, Role

UP, DOWN = Direction.EGRESS, Direction.INGRESS


def get(path):
    return [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a.example")]


GRPC = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/pkg.Echo/Say"),
    (":authority", "a.example:50051"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
GRPC_OK = [(":status", "200"), ("content-type", "application/grpc")]
STATUS_OK = [("grpc-status", "0"), ("grpc-message", "")]


def test_an_ordinary_get(talk):
    """The request ends on HEADERS, the response on DATA."""
    c = talk()
    c.up(c.request(1, path="/hello?x=1"))
    c.down(c.response(1, [(":status", "200"), ("server", "s")], end=False), c.data(1, b"0123456789"))
    stream = c.stream
    request, response = stream.request, stream.response
    assert (request.method, request.target, request.version) == ("GET", "/hello?x=1", "2")
    assert (request.authority, request.scheme, request.body_size) == ("a.example", "http", 0)
    assert (response.status, response.version, response.body_size) == (200, "2", 10)
    assert list(response.headers) == [("server", "s")]
    assert (stream.owner, stream.outcome, stream.error_code) == (1, Outcome.COMPLETE, None)


def test_one_hpack_decoder_per_direction_holds_from_the_third_grpc_call_on(talk):
    c = talk()
    for number in range(1, 21, 2):
        c.up(c.request(number, GRPC, end=False), c.data(number, b"\0\0\0\0\1x"))
        c.down(
            c.response(number, GRPC_OK, end=False),
            c.data(number, b"\0\0\0\0\1y", end=False),
            c.response(number, STATUS_OK),
        )
    assert [s.request.target for s in c.streams] == ["/pkg.Echo/Say"] * 10
    assert {s.request.authority for s in c.streams} == {"a.example:50051"}
    assert [s.response.status for s in c.streams] == [200] * 10
    assert {s.response.trailers.get("grpc-status") for s in c.streams} == {"0"}


@pytest.mark.parametrize("last", ["headers", "data", "empty data", "trailers"])
@pytest.mark.parametrize("first", ["request", "response"])
def test_a_stream_ends_when_both_sides_have_ended(talk, first, last):
    """Whatever carries END_STREAM, and whichever side is last."""

    def ends(which):
        head = c.request if which == "request" else c.response
        fields = None if which == "request" else [(":status", "200")]
        if last == "headers":
            return head(1, fields)
        if last == "trailers":
            return head(1, fields, end=False), c.data(1, b"abc", end=False), head(1, [("x-t", "1")])
        return head(1, fields, end=False), c.data(1, b"abc" if last == "data" else b"")

    c = talk()
    up, down = ends("request"), ends("response")
    up = (up,) if isinstance(up, bytes) else up
    down = (down,) if isinstance(down, bytes) else down
    if first == "request":
        c.up(*up)
        c.down(*down[:-1])
        assert c.streams == []
        c.down(down[-1])
    else:  # the server answers before the request has ended
        head, *rest = up
        c.up(head)
        c.down(*down)
        if rest:
            assert c.streams == []
            c.up(*rest)
    size = {"headers": 0, "empty data": 0}.get(last, 3)
    assert (c.stream.request.body_size, c.stream.response.body_size) == (size, size)
    assert c.stream.outcome is Outcome.COMPLETE


@pytest.mark.parametrize(
    ("fields", "status"), [([(":status", "204")], 204), ([*GRPC_OK, ("grpc-status", "12")], 200)]
)
def test_an_absent_body_is_a_body_of_0_bytes(talk, fields, status):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1, fields))
    assert (c.stream.response.status, c.stream.response.body_size) == (status, 0)


@pytest.mark.parametrize("cut", [(0,), (1,), (1, 2, 3), tuple(range(60)), (10_000,)])
def test_continuation_is_joined_until_end_headers(talk, cut):
    c = talk()
    whole = talk()
    assert c.encode(UP, [("x", "y")]) == whole.encode(UP, [("x", "y")])
    c.up(c.request(1, path="/a/long/enough/path", cut=cut))
    c.down(c.response(1, cut=cut))
    whole.up(whole.request(1, path="/a/long/enough/path"))
    whole.down(whole.response(1))
    assert c.summary == whole.summary != []


@pytest.mark.parametrize("pad", [None, 0, 1, 255])
@pytest.mark.parametrize("priority", [False, True])
@pytest.mark.parametrize("cut", [(), (3,)])
def test_padding_and_priority_are_stripped(talk, pad, priority, cut):
    c = talk()
    plain = talk()
    c.up(c.request(1, end=False, pad=pad, priority=priority, cut=cut), c.data(1, b"12345", pad=pad))
    c.down(c.response(1, end=False, pad=pad, priority=priority), c.data(1, b"123", pad=pad))
    plain.up(plain.request(1, end=False), plain.data(1, b"12345"))
    plain.down(plain.response(1, end=False), plain.data(1, b"123"))
    assert c.summary == plain.summary != []


@pytest.mark.parametrize("way", [UP, DOWN])
def test_the_preface_is_consumed_and_tells_the_client(talk, way):
    c = talk(late=True)
    send, answer = (c.up, c.down) if way is UP else (c.down, c.up)
    head, reply = (c.request, c.response) if way is UP else (c.response, c.request)
    request = [(":method", "GET"), (":scheme", "http"), (":path", "/p")]
    send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", c.settings())
    assert c.play.decoder.role is (Role.CLIENT if way is UP else Role.SERVER)
    send(head(1, request))
    answer(c.settings(), reply(1, [(":status", "200")]))
    assert (c.stream.request.target, c.stream.response.status) == ("/p", 200)


def test_a_push_promise_is_decoded_for_its_effect_on_hpack_and_logged_as_a_request(talk):
    c = talk()
    c.up(c.request(1, path="/page"))
    c.down(
        c.block(DOWN, 1, [(":method", "GET"), (":scheme", "http"), (":path", "/style.css")], promise=2),
        c.response(1, [(":status", "200"), ("x-new", "entry")]),
        c.response(2, [(":status", "200"), ("x-new", "entry")], end=False),
        c.data(2, b"body {}"),
    )
    page, style = c.streams
    assert (page.request.target, page.response.headers.get("x-new")) == ("/page", "entry")
    assert (style.owner, style.request.target, style.request.method) == (2, "/style.css", "GET")
    assert (style.response.headers.get("x-new"), style.response.body_size) == ("entry", 7)
    assert style.outcome is Outcome.COMPLETE


def test_header_table_size_bounds_the_other_direction(talk):
    """What the client announces lets the server's encoder grow, and not its own."""
    c = talk()
    c.up(c.settings({1: 8192}))
    c.encoders[DOWN].header_table_size = 8192
    c.up(c.request(1))
    c.down(c.response(1))
    assert c.stream.response.status == 200

    c = talk()
    c.up(c.settings({1: 8192}))
    c.encoders[UP].header_table_size = 8192
    c.up(c.request(1))
    assert c.broke.reason == "hpack"
    assert "8192 bytes where 4096 were announced" in c.broke.detail


def test_header_table_size_up_and_down(talk):
    c = talk()
    fields = [(f"x-{i}", "v" * 100) for i in range(60)]
    number = 1
    for size in (4096, 16384, 0, 1000, 65536, 4096):
        c.up(c.settings({1: size}))
        c.down(c.settings({1: size}))
        for encoder in c.encoders.values():
            encoder.header_table_size = size
        for _ in range(2):
            c.up(c.request(number, [*get(f"/{number}"), *fields]))
            c.down(c.response(number, [(":status", "200"), *fields]))
            number += 2
    assert [s.request.target for s in c.streams] == [f"/{n}" for n in range(1, number, 2)]
    assert all(list(s.response.headers) == fields for s in c.streams)


def test_max_frame_size_bounds_the_other_direction(talk):
    c = talk()
    c.up(c.settings({5: 32768}))
    c.up(c.request(1))
    c.down(c.response(1, end=False), c.data(1, bytes(32768)))
    assert c.stream.response.body_size == 32768

    c = talk()
    c.up(c.settings({5: 32768}))
    c.up(c.request(1, end=False), c.data(1, bytes(32768)))
    assert c.broke.reason == "framing"
    assert "32768 bytes long, 16384 were announced" in c.broke.detail


def test_request_or_response_told_by_method_or_status_not_by_who_came_first(talk):
    """A reader's call may return, and be recorded, before the writer's that it answers."""
    c = talk()
    c.down(c.response(1, end=False))
    c.up(c.request(1))
    c.down(c.data(1, b"12"))
    assert (c.stream.request.method, c.stream.response.body_size) == ("GET", 2)

    c = talk()
    c.down(c.response(1, end=False), c.data(1, b"12"))
    c.up(c.request(1, path="/late"))
    assert (c.stream.request.target, c.stream.response.status) == ("/late", 200)
    c.check_details()
    assert len(c.play.taken[0]) == 2


def test_1xx_headers_are_not_final(talk):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1, [(":status", "103"), ("link", "</s.css>")], end=False))
    c.down(c.response(1, [(":status", "100")], end=False))
    c.down(c.response(1, [(":status", "200"), ("x", "y")], end=False), c.data(1, b"!"))
    response = c.stream.response
    assert (response.status, list(response.headers), response.body_size) == (200, [("x", "y")], 1)
    assert response.header_size == len(talk().encode(DOWN, [(":status", "200"), ("x", "y")]))


def test_trailers_belong_to_their_own_message(talk):
    c = talk()
    c.up(c.request(1, end=False), c.data(1, b"q", end=False), c.request(1, [("x-checksum", "1")]))
    c.down(c.response(1, end=False), c.data(1, b"r", end=False), c.response(1, [("x-end", "2")]))
    request, response = c.stream.request, c.stream.response
    assert (list(request.headers), list(response.headers)) == ([], [])
    assert list(response.trailers) == [("x-end", "2")]
    assert (request.body_size, response.body_size) == (1, 1)


def test_sizes_count_header_block_and_data_bytes_not_frame_headers_or_padding(talk):
    """Trailers count into the header size of their message."""
    c, blocks = talk(), talk()
    request = len(blocks.encode(UP, get("/sized")))
    response = len(blocks.encode(DOWN, [(":status", "200")]))
    trailers = len(blocks.encode(DOWN, [("x-end", "2")]))
    c.up(
        c.request(1, get("/sized"), end=False, pad=20, priority=True, cut=(2, 5)),
        c.data(1, b"12345", end=False, pad=100),
        c.data(1, b"", pad=9),
    )
    c.down(c.response(1, end=False, pad=3), c.data(1, b"123", end=False), c.response(1, [("x-end", "2")]))
    stream = c.stream
    assert (stream.request.header_size, stream.request.body_size) == (request, 5)
    assert (stream.response.header_size, stream.response.body_size) == (response + trailers, 3)


def test_details_never_twice_though_frames_of_many_streams_share_one_write(talk):
    c = talk()
    c.up(c.request(1), c.request(3), c.request(5))
    c.down(c.response(3), c.response(5, end=False))
    c.down(c.response(1), c.data(5, b"x"))
    assert [s.owner for s in c.streams] == [3, 1, 5]
    sequences = [[d.sequence for d in details] for details in c.play.taken]
    assert sequences == [[3], [2, 4], []]
    c.check_details()


def test_data_is_skipped_by_length_never_buffered(talk):
    c = talk()
    c.up(c.settings({5: (1 << 24) - 1}), c.request(1))
    frame = c.raw(0, 1, length=(1 << 24) - 1, flags=1)
    c.down(c.response(1, end=False), frame)
    for _ in range(15):
        c.down(bytes(1 << 20))
        assert c.play.buffers[DOWN].size == 0
    c.down(size=(1 << 20) - 1)
    assert c.stream.response.body_size == (1 << 24) - 1


def test_a_stream_open_longer_than_3_minutes_is_logged_as_split_and_goes_on(talk):
    c = talk()
    minute = 60_000_000_000
    c.up(c.request(1, GRPC, end=False), c.data(1, b"12345", end=False))
    c.down(c.response(1, GRPC_OK, end=False), c.data(1, b"123", end=False))
    c.play.expire(2 * minute)
    assert c.streams == []
    c.play.expire(3 * minute + 1000)
    assert [s.outcome for s in c.streams] == [Outcome.SPLIT]
    c.play.expire(5 * minute)
    c.up(c.data(1, b"6789", end=False))
    c.down(c.data(1, b"4567890", end=False))
    c.play.expire(7 * minute)
    c.up(c.data(1, b"", end=True))
    c.down(c.data(1, b"x", end=False), c.response(1, STATUS_OK))
    sizes = [(s.outcome.value, s.request.body_size, s.response.body_size) for s in c.streams]
    assert sizes == [("split", 5, 3), ("split", 4, 7), ("complete", 0, 1)]
    first, second, last = c.streams
    assert first.request.header_size > 0
    assert (second.request.header_size, second.response.header_size) == (0, 0)
    assert last.response.header_size > 0  # the trailers
    assert {s.request.target for s in c.streams} == {"/pkg.Echo/Say"}
    assert {s.request.start for s in c.streams} == {first.request.start}
    assert [len(details) for details in c.play.taken] == [2, 2, 2]
    c.check_details()


def test_split_after_is_a_setting(talk):
    c = talk(split_after=5)
    c.up(c.request(1))
    c.play.expire(4_000_000_000)
    assert c.streams == []
    c.play.expire(6_000_000_000)
    assert (c.stream.outcome, c.stream.response) == (Outcome.SPLIT, None)


def test_names_lower_case_as_sent_and_cookie_crumbs_joined(talk):
    c = talk()
    fields = [("cookie", "a=1"), ("x-one", "1"), ("cookie", "b=2"), ("x-two", ""), ("cookie", "c=3")]
    c.up(c.request(1, [*get("/"), *fields]))
    c.down(c.response(1, [(":status", "200"), ("set-cookie", "a"), ("set-cookie", "b")]))
    headers = c.stream.request.headers
    assert list(headers) == [("cookie", "a=1; b=2; c=3"), ("x-one", "1"), ("x-two", "")]
    assert headers.get("cookie") == "a=1; b=2; c=3"
    assert headers.get("x-two") == ""
    assert headers.get("x-three") is None
    assert c.stream.response.headers.get_all("set-cookie") == ["a", "b"]


def test_a_line_feed_in_a_value_makes_no_field(talk):
    """RFC 9110 section 5.5: it is replaced by a space."""
    c = talk()
    c.up(c.request(1, [*get("/"), ("x-evil", "1\nuser-agent\0forged")]))
    c.down(c.response(1))
    headers = c.stream.request.headers
    assert headers.get("user-agent") is None
    assert list(headers) == [("x-evil", "1 user-agent\0forged")]


@pytest.mark.parametrize("value", ["caf\xe9".encode(), b"\xff\xfe", b"caf\xe9"])
def test_values_are_text_whatever_their_bytes(talk, value):
    c = talk()
    c.up(c.request(1, [*get("/"), (b"x-bytes", value)]))
    c.down(c.response(1))
    (field,) = c.stream.request.headers
    assert field[1] in (value.decode("utf-8", "ignore"), value.decode("latin-1"))


def test_headers_cut_by_the_end_of_what_has_arrived_so_far_wait(talk):
    c = talk()
    head = c.request(1, path="/cut")
    for i in range(len(head)):
        c.up(head[i : i + 1])
        assert c.play.exchanges == []
    c.down(c.response(1))
    assert c.stream.request.target == "/cut"
    assert len(c.play.taken[0]) == len(head) + 1
    c.check_details()


# -- the break ---------------------------------------------------------------------------------


def test_break_hpack_header_block_that_cannot_be_decoded(talk):
    c = talk()
    position = c.play.buffers[UP].position
    c.up(c.raw(1, 1, b"\xc6", flags=0x5))
    assert (c.broke.reason, c.broke.direction, c.broke.position) == ("hpack", UP, position)
    assert c.broke.detail == (
        f"HEADERS of stream 1 at byte {position}: index 70 was never seen added (0 entries are known)"
    )
    c.check_details()


def test_break_unknown_stream_data_on_a_stream_never_opened(talk):
    for send in ("up", "down"):
        c = talk()
        getattr(c, send)(c.data(7, b"x"))
        assert c.broke.reason == "unknown-stream"
        assert "DATA of stream 7" in c.broke.detail


def test_data_on_a_stream_closed_a_moment_ago_is_ignored(talk):
    c = talk()
    c.up(c.request(1, end=False), c.request(3))
    c.down(c.reset(1, 8), c.response(3))
    c.up(c.data(1, b"already under way"), c.request(5))
    c.down(c.response(5))
    assert [(s.owner, s.outcome.value) for s in c.streams] == [
        (1, "aborted"),
        (3, "complete"),
        (5, "complete"),
    ]
    c.check_details()


def test_break_gap_inside_a_header_block(talk):
    c = talk()
    head = c.request(1)
    c.up(head, captured=len(head) - 2)
    assert c.broke.reason == "gap"
    assert "inside the header block" in c.broke.detail


def test_break_gap_that_hides_frame_boundaries(talk):
    """The frame that begins in it is longer: what follows is its payload."""
    c = talk()
    c.up(c.request(1, end=False))
    c.play.lose(UP, 20)
    c.up(c.data(1, b"whatever is uploaded")[20:])
    c.up(c.request(3))
    assert (c.broke.reason, c.broke.direction) == ("gap", UP)
    c.check_details()


@pytest.mark.parametrize("lost", [False, True])
def test_a_gap_inside_a_data_payload_is_harmless(talk, lost):
    c = talk()
    c.up(c.request(1))
    frame = c.data(1, bytes(5000))
    c.down(c.response(1, end=False), frame[:1000])
    if lost:
        c.play.lose(DOWN, 3000)
        c.down(frame[4000:])
    else:
        c.down(frame[1000:4000], captured=10)
        c.down(frame[4000:])
    assert (c.stream.response.body_size, c.stream.outcome) == (5000, Outcome.COMPLETE)
    c.check_details()


def test_a_gap_that_hides_the_pad_length_leaves_the_body_size_unknown(talk):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1, end=False))
    c.down(c.data(1, bytes(500), end=False, pad=10), captured=9)
    c.down(c.data(1, b"rest"))
    assert (c.stream.response.body_size, c.stream.outcome) == (None, Outcome.COMPLETE)


NOT_SENT = {
    "a length above the announced maximum": (0, 1, bytes(16385), 0),
    "HEADERS on stream 0": (1, 0, b"\x82", 4),
    "DATA on stream 0": (0, 0, b"x", 0),
    "CONTINUATION out of place": (9, 1, b"", 4),
    "SETTINGS on a stream": (4, 1, b"", 0),
    "SETTINGS cut": (4, 0, bytes(5), 0),
    "SETTINGS that acknowledges and announces": (4, 0, bytes(6), 1),
    "SETTINGS_MAX_FRAME_SIZE too small": (4, 0, b"\0\5\0\0\0\1", 0),
    "SETTINGS_ENABLE_PUSH 2": (4, 0, b"\0\2\0\0\0\2", 0),
    "PING on a stream": (6, 1, bytes(8), 0),
    "PING cut": (6, 0, bytes(7), 0),
    "GOAWAY cut": (7, 0, bytes(7), 0),
    "WINDOW_UPDATE long": (8, 0, bytes(5), 0),
    "RST_STREAM on the connection": (3, 0, bytes(4), 0),
    "RST_STREAM long": (3, 1, bytes(5), 0),
    "PRIORITY cut": (2, 1, bytes(4), 0),
    "more padding than payload": (0, 1, b"\x05abc", 8),
    "DATA padded without a pad length": (0, 1, b"", 8),
    "HEADERS padded beyond its end": (1, 3, b"\x05\x82", 12),
    "HEADERS too short for its priority": (1, 3, b"\0\0\0", 0x24),
    "a request on an even stream": (1, 2, b"\x82\x84\x86", 5),
    "a request after a later one": (1, 1, b"\x82\x84\x86", 5),
    "PUSH_PROMISE from the client": (5, 1, b"\0\0\0\2\x82\x84\x86", 4),
    "a status from the client": (1, 1, b"\x88", 5),
    "DATA after END_STREAM": (0, 5, b"x", 0),
    "trailers after END_STREAM": (1, 5, b"\0\1a\1b", 5),
    "HEADERS that open nothing": (1, 9, b"\0\1a\1b", 5),
}


@pytest.mark.parametrize("case", NOT_SENT)
def test_break_framing(talk, case):
    kind, stream, payload, flags = NOT_SENT[case]
    c = talk()
    c.up(c.request(1, end=False), c.request(5))
    c.up(c.raw(kind, stream, payload, flags))
    assert (c.broke.reason, c.broke.direction) == ("framing", UP), c.broke
    c.check_details()


@pytest.mark.parametrize(
    "inside", [(0, 1, b"x", 0), (9, 3, b"", 4), (1, 1, b"\x82", 4), (6, 0, bytes(8), 0), (0xB, 1, b"", 0)]
)
def test_break_framing_anything_inside_a_header_block(talk, inside):
    c = talk()
    kind, stream, payload, flags = inside
    c.up(c.raw(1, 1, b"\x82", 0), c.raw(kind, stream, payload, flags))
    assert c.broke.reason == "framing"
    assert "inside its header block" in c.broke.detail


@pytest.mark.parametrize("status", ["abc", "", "20", "2000", "-20", "\u0662\u0660\u0660"])
def test_break_framing_a_status_that_is_none(talk, status):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1, [(":status", status)]))
    assert (c.broke.reason, c.broke.direction) == ("framing", DOWN)


@pytest.mark.parametrize("trailers", [False, True])
def test_break_framing_what_a_message_has_once(talk, trailers):
    c = talk()
    c.up(c.request(1))
    c.down(c.response(1, end=False))
    again = [("x-end", "1")] if trailers else [(":status", "200")]
    if trailers:
        c.down(c.response(1, again, end=False))
    c.down(c.response(1, again))
    assert (c.broke.reason, c.broke.direction) == ("framing", DOWN)


STREAMS_OF_THE_SERVER = {
    "a response on a stream not promised": (4, 0),
    "promised a second time": (0, 2),
    "promised on an odd stream": (0, 3),
}


@pytest.mark.parametrize("watched", [Role.CLIENT, Role.SERVER])
@pytest.mark.parametrize("case", STREAMS_OF_THE_SERVER)
def test_break_framing_stream_ids_of_the_server(talk, case, watched):
    answered, promised = STREAMS_OF_THE_SERVER[case]
    c = talk(late=True)
    asked = get("/p")
    client, server = (UP, DOWN) if watched is Role.CLIENT else (DOWN, UP)
    c.play.send(client, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + c.settings() + c.block(client, 1, asked))
    c.play.send(server, c.settings() + c.block(server, 1, asked, promise=2))
    if answered:
        c.play.send(server, c.block(server, answered, [(":status", "200")]))
    else:
        c.play.send(server, c.block(server, 1, asked, promise=promised))
    assert (c.broke.reason, c.broke.direction) == ("framing", server)
    assert c.play.decoder.role is watched


def test_unknown_frame_types_and_control_frames_are_passed_over(talk):
    c = talk()
    noise = [
        c.ping(),
        c.window(),
        c.window(1),
        c.priority(1),
        c.priority(99),
        c.settings(ack=True),
        c.settings({0xFE03: 1, 0x4A4A: 7}),
        c.raw(0xB, 1, b"whatever", 0xFF),
        c.raw(0x10, 0, b"\0\0\0\1u=3"),
        c.raw(0xFA, 1, bytes(3000)),
    ]
    c.up(*noise, c.request(1, end=False), *noise, c.data(1, b"x"), *noise)
    c.down(*noise, c.response(1, end=False), *noise, c.data(1, b"y"), *noise)
    assert (c.stream.request.body_size, c.stream.response.body_size) == (1, 1)
    c.check_details()
