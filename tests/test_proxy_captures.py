"""What a proxy puts in front of a connection, in captures: however the segments are cut, the exchanges of
HTTP/1.x and HTTP/2 after it are those of a connection without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import Line, Replayer, Row, Segment, random_sizes, recut, write_capture

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = b"\xc0\0\2\7\xc0\0\2\x08\x13\x88\0\x50"
HEADERS = {
    "v1": b"PROXY TCP4 192.0.2.7 192.0.2.8 5000 80\r\n",
    "v2": SIGNATURE + b"\x21\x11\0\x0c" + ADDRESSES,
    "v2 with TLVs": SIGNATURE + b"\x21\x11\x20\x0c" + ADDRESSES + bytes(8192),
}
NOBODY = {"v1 UNKNOWN": b"PROXY UNKNOWN\r\n", "v2 LOCAL": SIGNATURE + b"\x20\0\0\0"}


def frames(*sent: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in sent)


def http1(number: int) -> list[tuple[bytes, bytes]]:
    return [
        (
            b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n,
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + bytes(n),
        )
        for n in range(number)
    ]


def http2(number: int) -> list[tuple[bytes, bytes]]:
    ask, answer = Encoder(), Encoder()
    turns = []
    for n in range(number):
        opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames(SettingsFrame(0)) if n == 0 else b""
        fields = [(":method", "GET"), (":scheme", "http"), (":path", f"/{n}"), (":authority", "a")]
        request = HeadersFrame(2 * n + 1, ask.encode(fields), flags=["END_HEADERS", "END_STREAM"])
        head = HeadersFrame(2 * n + 1, answer.encode([(":status", "200")]), flags=["END_HEADERS"])
        body = DataFrame(2 * n + 1, bytes(n), flags=["END_STREAM"])
        answered = frames(SettingsFrame(0)) if n == 0 else b""
        turns.append((opening + frames(request), answered + frames(head, body)))
    return turns


def rows(
    replayer: Replayer, path: Path, header: bytes, turns: list[tuple[bytes, bytes]], seed: int
) -> list[Row]:
    segments: list[Segment] = []
    line = Line(segments, 40_000)
    for request, response in turns:
        line.client(header + request)
        header = b""
        line.server(response)
    line.close()
    cut = segments if seed == 0 else recut(segments, random_sizes(seed, 1 if seed == 1 else 60))
    return replayer(write_capture(path, cut)).of(line.ends)


@pytest.fixture(scope="module")
def replayer() -> Replayer:
    return Replayer()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.sampled_from(sorted({**HEADERS, **NOBODY})),
    converse=st.sampled_from([http1, http2]),
    number=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_a_header_takes_nothing_away(replayer, tmp_path, header, converse, number, seed):
    turns, path = converse(number), tmp_path / "capture.pcap"
    found = rows(replayer, path, {**HEADERS, **NOBODY}[header], turns, seed)
    assert [(row.target, row.response_body, row.outcome) for row in found] == [
        (f"/{n}", n, "complete") for n in range(number)
    ]
    assert found == rows(replayer, path, b"", turns, seed)


@pytest.mark.parametrize("converse", [http1, http2])
@pytest.mark.parametrize("header", [*HEADERS, *NOBODY])
def test_who_the_client_is(tmp_path, replayer, header, converse):
    path = tmp_path / "capture.pcap"
    rows(replayer, path, {**HEADERS, **NOBODY}[header], converse(2), 0)
    command = [sys.executable, "-m", "rover", "replay", str(path), "--sink", "jsonl"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["url.original"] for line in lines] == ["/0", "/1"]
    for line in lines:
        client = line["client.address"], line["client.port"]
        peer = line.get("network.peer.address"), line.get("network.peer.port")
        if header in NOBODY:
            assert (client, peer) == (("10.0.0.1", 40_000), (None, None))
        else:
            assert (client, peer) == (("192.0.2.7", 5000), ("10.0.0.1", 40_000))
        assert (line["server.address"], line["server.port"]) == ("10.0.0.2", 80)
