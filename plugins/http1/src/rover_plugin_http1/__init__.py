"""HTTP/1.x for rover: recognises it, decodes it, and makes the access log of each exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rover import Connection, ProtocolBreak, hookimpl
from rover.contracts.protocol import ProtocolSpec
from rover.contracts.settings import Setting
from rover_plugin_http1.decoder import Http1Decoder
from rover_plugin_http1.logs import handle_http_data
from rover_plugin_http1.sniff import sniff

__all__ = ["MAX_HEAD", "SETTINGS", "TIMEOUT", "handle_http_data", "make", "register_protocols"]

# Four times what nginx and Node.js take by default (32 and 16 KiB), above Tomcat and IIS;
# curl reads up to 300 KiB of response heads, which nobody sends.
MAX_HEAD = 128 << 10
# Long polls and slow reports answer within minutes; proxies give up after one (nginx) to ten.
TIMEOUT = 600
SETTINGS = (
    Setting("max_head", MAX_HEAD, "bytes of a message's head; a longer one is not read", minimum=1024),
    Setting(
        "exchange_timeout",
        TIMEOUT,
        "seconds of silence after which unfinished exchanges are logged as aborted; 0 for never",
        minimum=0,
    ),
)


def make(
    connection: Connection,  # noqa: ARG001
    settings: Mapping[str, Any],
    upgrade: ProtocolBreak | None,  # noqa: ARG001
) -> Http1Decoder:
    """A decoder for one connection."""
    return Http1Decoder(settings.get("max_head", MAX_HEAD), settings.get("exchange_timeout", TIMEOUT))


@hookimpl
def register_protocols() -> Sequence[ProtocolSpec]:
    """HTTP/1.x, as `http1`."""
    return [ProtocolSpec("http1", sniff, make, SETTINGS)]
