"""Content found in bytes: of HTTP/1.x by its head, of HTTP/2 by its frames, however they came."""

from __future__ import annotations

import time
import zlib

import pytest
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame
from hypothesis import given
from hypothesis import strategies as st

from rover import Headers, HttpRequest, HttpResponse
from rover_plugin_export.content import NO_CONTENT, Content, shown
from rover_plugin_export.http1_contents import content_of_request, content_of_response
from rover_plugin_export.http2_contents import Frames
from rover_plugin_export.kept_bytes import Allowance, KeptBytes

LIMIT = 1000


def kept(*runs: tuple[int, bytes], limit: int = 1 << 20) -> KeptBytes:
    made = KeptBytes(limit, Allowance(1 << 30))
    for position, data in runs:
        made.add(position, data)
    return made


# -- bytes that are kept ---------------------------------------------------------------------------


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 6), st.binary(max_size=6)),
            st.tuples(st.just("forget"), st.integers(0, 40), st.just(b"")),
            st.tuples(st.just("find"), st.integers(0, 40), st.binary(min_size=1, max_size=2)),
            st.tuples(st.just("read"), st.integers(0, 40), st.binary(max_size=9)),
        )
    )
)
def test_what_is_kept_is_what_a_dictionary_keeps(steps):
    """The witness: each byte by its position."""
    allowance = Allowance(30)
    made = KeptBytes(20, allowance)
    model: dict[int, int] = {}
    end = 0
    for what, number, data in steps:
        if what == "add":
            end += number
            room = min(20 - len(model), 30 - len(model))
            model |= dict(enumerate(data[:room], end))
            made.add(end, data)
            end += len(data)
        elif what == "forget":
            made.forget(number)
            model = {position: byte for position, byte in model.items() if position >= number}
        elif what == "find":
            places = [
                start
                for start in sorted(model)
                if start >= number
                and bytes(model.get(start + i, 256) % 256 for i in range(len(data))) == data
                and all(start + i in model for i in range(len(data)))
            ]
            assert made.find(data, number) == (places[0] if places else -1)
        else:
            expected = bytearray()
            while len(expected) < len(data) and number + len(expected) in model:
                expected.append(model[number + len(expected)])
            assert made.read(number, number + len(data)) == expected
        assert allowance.left == 30 - len(model)
    made.clear()
    assert allowance.left == 30


def test_connections_share_what_may_be_kept():
    allowance = Allowance(10)
    one, two = KeptBytes(8, allowance), KeptBytes(8, allowance)
    one.add(0, b"x" * 8)
    two.add(0, b"y" * 8)
    assert (one.read(0, 8), two.read(0, 8)) == (b"x" * 8, b"y" * 2)
    one.forget(8)
    two.add(8, b"z" * 8)
    assert (two.read(0, 8), two.read(8, 16)) == (b"y" * 2, b"z" * 6)


# -- HTTP/1.x --------------------------------------------------------------------------------------


def asked(target: str, head: bytes, body: int | None, **headers: str) -> HttpRequest:
    return HttpRequest(
        method="POST",
        target=target,
        version="1.1",
        headers=Headers((name.replace("_", "-"), value) for name, value in headers.items()),
        start=0,
        end=0,
        header_size=len(head),
        body_size=body,
    )


HEAD = b"POST /a HTTP/1.1\r\nhost: h\r\n\r\n"


def test_content_by_length():
    bytes_ = kept((100, b"\r\n" + HEAD + b"content" + HEAD + b"next"))
    request = asked("/a", HEAD, 7, host="h")
    assert content_of_request(bytes_, request, LIMIT) == Content(b"content", 7)
    assert content_of_request(bytes_, asked("/a", HEAD, 4, host="h"), LIMIT) == Content(b"next", 4)
    assert content_of_request(bytes_, request, LIMIT) == NO_CONTENT


@pytest.mark.parametrize("what", ["a hole", "the end", "the limit"])
def test_content_that_is_not_whole(what):
    request = asked("/a", HEAD, 10, host="h")
    runs = [(0, HEAD + b"01234")] + ([(len(HEAD) + 6, b"6789")] if what == "a hole" else [])
    if what == "the limit":
        runs = [(0, HEAD + b"0123456789")]
    content = content_of_request(kept(*runs), request, 5)
    assert (content.data, content.size, content.whole) == (b"01234", 10, False)


def test_what_only_looks_like_the_head_is_passed_over():
    """A message that was lost, or content that quotes one."""
    other = b"POST /a HTTP/1.1\r\nhost: g\r\n\r\n"
    bytes_ = kept((0, other + b"wrong" + b"POST /a HTTP/1.1 and more text" + HEAD + b"right"))
    assert content_of_request(bytes_, asked("/a", HEAD, 5, host="h"), LIMIT).data == b"right"


@pytest.mark.parametrize(
    ("chunks", "data", "size"),
    [
        (b"0\r\n\r\n", b"", 0),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc", 3),
        (b"3;x=1\r\nabc\r\n2 \r\nde\r\n0\r\nT: 1\r\n\r\n", b"abcde", 5),
        (b"3\nabc\n0\n\n", b"abc", 3),
        (b"0003\r\nabc\r\n000\r\n\r\n", b"abc", 3),
        (b"3\r\nabc\r\n", b"abc", -1),
        (b"3\r\nab", b"ab", -1),
        (b"-3\r\nabc\r\n0\r\n\r\n", b"", -1),
        (b"_3\r\nabc\r\n0\r\n\r\n", b"", -1),
        (b"ffffffffffffffff\r\nabc", b"abc", -1),
        (b"11111111111111111\r\nabc", b"", -1),
        (b"3" + b";" * 9000 + b"\r\nabc\r\n0\r\n\r\n", b"", -1),
        (b"", b"", -1),
    ],
)
def test_chunks(chunks, data, size):
    head = b"POST /a HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n"
    request = asked("/a", head, None, transfer_encoding="gzip, chunked")
    assert content_of_request(kept((0, head + chunks)), request, LIMIT) == Content(data, size)


def test_a_million_chunks_take_no_time():
    head = b"POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    request = asked("/a", head, 200_000, transfer_encoding="chunked")
    bytes_ = kept((0, head + b"1\r\nx\r\n" * 170_000 + b"0\r\n\r\n"))
    began = time.process_time()
    assert content_of_request(bytes_, request, 1 << 20).size == 170_000
    assert time.process_time() - began < 5


def test_a_reason_phrase():
    head = b"HTTP/1.1 404 Nobody is here\r\n\r\n"
    response = HttpResponse(
        status=404, version="1.1", headers=Headers(), start=0, end=0, header_size=len(head), body_size=0
    )
    bytes_ = kept((0, b"HTTP/1.1 100 Continue\r\n\r\n" + head))
    assert content_of_response(bytes_, response, LIMIT) == (Content(b"", 0), "Nobody is here")


def test_a_target_that_is_no_utf8():
    head = b"POST /caf\xe9 HTTP/1.1\r\n\r\n"
    assert content_of_request(kept((0, head + b"x")), asked("/café", head, 1), LIMIT).data == b"x"


# -- HTTP/2 ----------------------------------------------------------------------------------------

frames = st.lists(
    st.one_of(
        st.builds(
            lambda stream, data, pad: DataFrame(
                stream, data, pad_length=pad or 0, flags=[] if pad is None else ["PADDED"]
            ),
            st.sampled_from([1, 3]),
            st.binary(max_size=20),
            st.sampled_from([None, 0, 1, 7]),
        ),
        st.builds(lambda data: HeadersFrame(1, data, flags=["END_HEADERS"]), st.binary(max_size=9)),
        st.just(PingFrame(0, b"12345678")),
    ),
    max_size=9,
)


@given(frames=frames, cuts=st.lists(st.integers(1, 30), min_size=1), limit=st.sampled_from([3, LIMIT]))
def test_data_frames_however_they_are_cut(frames: list[Frame], cuts, limit):
    wire = b"".join(frame.serialize() for frame in frames)
    allowance = Allowance(1 << 20)
    made = Frames(100, limit, allowance)
    position = turn = 0
    while position < len(wire):
        size = cuts[turn % len(cuts)]
        piece = wire[position : position + size]
        made.feed(100 + position, piece, len(piece))
        position, turn = position + len(piece), turn + 1
    for stream in (1, 3):
        data = [frame.data for frame in frames if isinstance(frame, DataFrame) and frame.stream_id == stream]
        content = made.take(stream)
        assert content == (Content(b"".join(data)[:limit], len(b"".join(data))) if data else NO_CONTENT)
        assert made.take(stream) == NO_CONTENT
    assert allowance.left == 1 << 20


def test_streams_share_what_may_be_kept():
    allowance = Allowance(30)
    made = Frames(0, LIMIT, allowance)
    wire = b"".join(DataFrame(stream, b"x" * 20).serialize() for stream in (1, 3))
    made.feed(0, wire, len(wire))
    assert allowance.left == 0
    assert (made.take(1), made.take(3)) == (Content(b"x" * 20, 20), Content(b"x" * 10, 20))
    made.feed(len(wire), wire, len(wire))
    made.clear()
    assert allowance.left == 30


def test_bytes_missing_within_content():
    """A call that was not captured whole: its stream's content is not, and all others are."""
    wire = b"".join(DataFrame(stream, b"x" * 20).serialize() for stream in (1, 3))
    made = Frames(0, LIMIT, Allowance(1 << 20))
    made.feed(0, wire[:15], 25)
    made.feed(25, wire[25:], len(wire) - 25)
    assert made.take(1) == NO_CONTENT
    assert made.take(3) == Content(b"x" * 20, 20)


@pytest.mark.parametrize("position", [3, 29 + 4, 1 << 61])
def test_bytes_missing_between_frames(position):
    wire = b"".join(DataFrame(stream, b"x" * 20).serialize() for stream in (1, 3))
    made = Frames(0, LIMIT, Allowance(1 << 20))
    made.feed(0, wire[:2], 2)
    made.feed(position, wire[position : position + 40], 40)
    assert made.lost
    assert (made.take(1), made.take(3)) == (NO_CONTENT, NO_CONTENT)


@given(st.lists(st.tuples(st.integers(-3, 40), st.binary(max_size=40), st.integers(0, 9))))
def test_any_bytes_are_taken(calls):
    made = Frames(0, LIMIT, Allowance(1 << 20))
    position = 0
    for step, data, more in calls:
        position += step
        made.feed(position, data, len(data) + more)
        position += len(data) + more
    assert len(made.take(1).data) <= LIMIT


# -- how it is shown -------------------------------------------------------------------------------

TEXT = "text " * 20
DEFLATE = zlib.compressobj(wbits=-15)
RAW = DEFLATE.compress(TEXT.encode()) + DEFLATE.flush()
GZIP = zlib.compressobj(wbits=31)
ZIPPED = GZIP.compress(TEXT.encode()) + GZIP.flush()


@pytest.mark.parametrize(
    ("data", "coding", "kind", "text", "size"),
    [
        (b"text", "", "", "text", 4),
        (b"text", "identity", "", "text", 4),
        (ZIPPED, "gzip", "", TEXT, 100),
        (ZIPPED, "X-GZIP", "", TEXT, 100),
        (zlib.compress(TEXT.encode()), "deflate", "", TEXT, 100),
        (RAW, "deflate", "", TEXT, 100),
        (zlib.compress(ZIPPED), "gzip, deflate", "", TEXT, 100),
        (b"", "gzip", "", "", 0),
        ("é".encode("latin-1"), "", "text/plain; charset=ISO-8859-1", "é", 1),
        ("é".encode("utf-16"), "", 'text/plain; charset="utf-16"', "é", 4),
        (b"\xff", "", "text/plain", None, 1),
        (b"a\0b", "", "text/plain", None, 3),
        (b"abc", "", "image/png", None, 3),
        (b"616263", "", "text/plain; charset=hex", None, 6),
        (b"abc", "", "text/plain; charset=punycode", None, 3),
        (b"abc", "", "text/plain; charset=\0", None, 3),
    ],
)
def test_content_as_text(data, coding, kind, text, size):
    """What is none is in base64."""
    headers = Headers([("content-encoding", coding), ("content-type", kind)])
    found = shown(Content(data, len(data)), headers, LIMIT)
    assert (found.size, found.base64, found.comment) == (size, text is None, "")
    if text is not None:
        assert found.text == text


@pytest.mark.parametrize(
    ("content", "coding"),
    [
        (Content(b"x", 2), ""),
        (NO_CONTENT, ""),
        (Content(b"xyz", 3), "br"),
        (Content(b"xyz", 3), "gzip"),
        (Content(ZIPPED[:-9], len(ZIPPED) - 9), "gzip"),
    ],
)
def test_content_that_cannot_be_shown(content, coding):
    found = shown(content, Headers([("content-encoding", coding)]), LIMIT)
    assert found.text is None
    assert found.comment


def test_content_that_unpacks_to_a_great_deal_is_not_unpacked():
    bomb = zlib.compress(zlib.compress(b"\0" * 50_000_000))
    found = shown(Content(bomb, len(bomb)), Headers([("content-encoding", "deflate, deflate")]), 100_000)
    assert found.text is None
