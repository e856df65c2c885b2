"""WebSocket for rover: what follows an HTTP/1.1 upgrade to `websocket` (RFC 6455)."""

from __future__ import annotations

from rover import ProtocolSpec, Setting, Verdict, hookimpl
from rover_plugin_websocket.decoder import WebSocketDecoder

SETTINGS = (
    Setting("log", "message", "what gets a log: each message, or each connection", ("message", "connection")),
    Setting(
        "split_after",
        180,
        "seconds a message, or connection, may be open before it is logged as far as it got",
        minimum=1,
    ),
)


def sniff(data: bytes | bytearray) -> Verdict:  # noqa: ARG001
    """Never: the two bytes that begin a frame are too few to tell it from anything else."""
    return Verdict.NO


@hookimpl
def register_protocols() -> list[ProtocolSpec]:
    """WebSocket after an upgrade from HTTP/1.1."""
    return [
        ProtocolSpec(
            name="websocket",
            sniff=sniff,
            make=WebSocketDecoder,
            settings=SETTINGS,
            upgrades=frozenset({"websocket"}),
        )
    ]
