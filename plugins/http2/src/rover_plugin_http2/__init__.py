"""HTTP/2 and gRPC for rover: frames, HPACK, streams."""

from __future__ import annotations

from rover import AccessLog, Connection, Detail, ProtocolSpec, Setting, hookimpl
from rover.http import HttpStream
from rover_plugin_http2.decoder import Http2Decoder
from rover_plugin_http2.logs import access_log
from rover_plugin_http2.sniff import sniff

SETTINGS = (
    Setting(
        "split_after", 180, "seconds a stream may be open before it is logged as far as it got", minimum=1
    ),
    Setting(
        "memory",
        640,
        "KiB that the open streams and header tables of one connection may take; beyond, it breaks",
        minimum=64,
    ),
)


@hookimpl
def register_protocols() -> list[ProtocolSpec]:
    """HTTP/2 by prior knowledge, by sniffing, and after an upgrade from HTTP/1.1."""
    return [ProtocolSpec("http2", sniff, Http2Decoder, SETTINGS, upgrades=frozenset({"h2c"}))]


@hookimpl
def handle_whole_stream(
    connection: Connection, stream: HttpStream, details: tuple[Detail, ...]
) -> AccessLog | None:
    """The access log of a finished or split stream."""
    return access_log(connection, stream, details)
