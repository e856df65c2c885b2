"""WebSockets in captures, from the handshake on, however the segments are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from captures import Line, Replayer, Segment, random_sizes, recut, write_capture

TEXT = b"GET /not/a/request HTTP/1.1\r\n\r\n"


@pytest.fixture(scope="module")
def replayer() -> Replayer:
    return Replayer()


def converse(segments: list[Segment], port: int, *, compress: bool) -> None:
    """A server that greets in the segment of its 101, some messages, and the closing handshake."""
    line = Line(segments, port)
    client = ClientProtocol(
        parse_uri(f"ws://a.example/chat?port={port}"),
        extensions=[ClientPerMessageDeflateFactory()] if compress else None,
    )
    server = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()] if compress else None)

    def flush() -> None:
        """What each has to send, a segment at a time."""
        while sent := b"".join(client.data_to_send()):
            line.client(sent)
            server.receive_data(sent)
            if answer := b"".join(server.data_to_send()):
                line.server(answer)
                client.receive_data(answer)

    client.send_request(client.connect())
    asked = b"".join(client.data_to_send())
    line.client(asked)
    server.receive_data(asked)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    server.send_text(b"welcome")
    granted = b"".join(server.data_to_send())
    line.server(granted)
    client.receive_data(granted)
    client.send_text(TEXT)
    client.send_binary(b"0" * 1000, fin=False)
    client.send_ping(b"between")
    client.send_continuation(b"1" * 1000, fin=True)
    flush()
    client.send_close(1000, "done")
    flush()
    line.close()


def told(replayer: Replayer, path: Path) -> list[tuple[Any, ...]]:
    logs, error = replayer.logs(path)
    assert error == ""
    return [
        (
            log.protocol,
            log.attributes["url.original"],
            log.attributes.get("websocket.message.sender"),
            log.attributes.get("websocket.message.type"),
            log.attributes.get("websocket.message.frames"),
            log.attributes.get("websocket.message.compressed"),
            log.attributes.get("websocket.close.code"),
            log.outcome.value,
        )
        for log in logs
        if log.protocol
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("compress", [False, True])
def test_what_follows_the_handshake(replayer, tmp_path, compress, seed):
    segments: list[Segment] = []
    converse(segments, 40_000, compress=compress)
    if seed:
        segments = list(recut(segments, random_sizes(seed, 1 if seed == 1 else 300)))
    path = write_capture(tmp_path / "c.pcap", segments)
    squeezed = True if compress else None
    target = "/chat?port=40000"
    assert told(replayer, path) == [
        ("http", target, None, None, None, None, None, "complete"),
        ("websocket", target, "server", "text", 1, squeezed, None, "complete"),
        ("websocket", target, "client", "text", 1, squeezed, None, "complete"),
        ("websocket", target, "client", "binary", 2, squeezed, None, "complete"),
        ("websocket", target, None, None, None, None, 1000, "complete"),
    ]
    sizes = [log.attributes.get("websocket.message.size") for log in replayer.logs(path)[0]]
    if not compress:
        assert sizes == [None, 7, len(TEXT), 2000, None]
    else:
        assert 0 < sizes[3] < 100  # a thousand times the same byte, twice


def test_without_the_plugin_it_is_a_break(tmp_path):
    segments: list[Segment] = []
    converse(segments, 40_000, compress=False)
    logs, _ = Replayer(without=["websocket"]).logs(write_capture(tmp_path / "c.pcap", segments))
    assert [(log.protocol, log.outcome.value) for log in logs] == [("http", "complete"), ("", "break")]
    broken = logs[1].connection.protocol_break
    assert (broken.reason, broken.upgrade, broken.protocol) == ("upgrade", "websocket", "http1")
