"""Redis for rover: one access log per command, with what its reply says. RESP2 and RESP3.

Arguments and replies are never shown; the first key is, where a user asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rover import ProtocolSpec, Setting, hookimpl
from rover_plugin_redis.decoder import RedisDecoder
from rover_plugin_redis.sniff import sniff, sniff_own

OPENING = 98_304
"""Bytes of the first reply that are needed on ports that are not Redis's own: of what clients ask first the
largest answer is that of `COMMAND`, with 90 kB in Redis 7. A connection that nobody recognises pays for it
until recognition gives up, which is after 4 kB of each direction or 64 kB of one."""
PORTS = frozenset({6379, 26379})
"""Redis's own, and Sentinel's (IANA has the first)."""

SETTINGS = (Setting("keys", False, "show the first key of each command, up to 256 bytes: it may be private"),)


@hookimpl
def register_protocols() -> Sequence[ProtocolSpec]:
    """The protocol of this package."""
    return [
        ProtocolSpec(
            "redis",
            sniff=sniff,
            make=RedisDecoder,
            settings=SETTINGS,
            opening=OPENING,
            ports=PORTS,
            sniff_own=sniff_own,
        )
    ]
