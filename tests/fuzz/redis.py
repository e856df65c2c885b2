"""The Redis decoder: commands and replies, lost or not captured, in one piece or cut anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rover.contracts.protocol import Verdict
from rover.testing import Play, connection
from rover.values.records import Role
from rover_plugin_redis.decoder import RedisDecoder
from rover_plugin_redis.sniff import sniff, sniff_own

from . import conversation
from .conversation import DOWN, FIN, LATER, LOST, UNSEEN, UP, control
from .script import Step, read, write

WORDS = (
    *(
        b"*1\r\n$4\r\nPING\r\n",
        b"+PONG\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"_\r\n",
    ),
    *(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$5\r\nhello\r\n", b"-ERR no\r\n", b"!5\r\nERR x\r\n", b"#t\r\n"),
    *(b"%1\r\n", b"~2\r\n", b"|1\r\n", b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", b"=5\r\ntxt:a\r\n"),
    *(b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n", b"+QUEUED\r\n", b"*1\r\n$5\r\nRESET\r\n"),
    *(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n", b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", b"PING\r\n"),
    *(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n", b"*1\r\n$7\r\nMONITOR\r\n", b"+1339518083.1 ["),
    *(b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n", b"+FULLRESYNC ", b"$1000000\r\n", b"*1000000\r\n"),
)
KEYS, ROLE = 1, 2
"""Bits of the second setting: first keys are told; it is known which end is watched."""


def _make_decoder(number: int) -> Any:
    role = Role.CLIENT if number & ROLE else None
    return RedisDecoder(connection(role), {"keys": bool(number & KEYS)})


def _counts(whole: Play, pieces: Play) -> Callable[[Play], list[Any]]:
    """Once a pair is assumed, socket calls are a hint which reply is whose: a client that took turns sends
    its next call when it has the last one's reply. Then what is left to be the same are the commands."""
    assumed = any(exchange.assumed for play in (whole, pieces) for exchange in play.exchanges)
    return _commands if assumed else conversation.told


def _commands(play: Play) -> list[Any]:
    by_owner = sorted(play.exchanges, key=lambda exchange: exchange.owner)
    return [
        (each.owner, each.attributes.get("db.operation.name"), each.attributes.get("redis.request.size"))
        for each in by_owner
    ]


def check(data: bytes) -> int:
    """See KEYS and ROLE for what the second setting is."""
    settings, steps = read(data)
    for step in steps:
        assert sniff(step.payload) in Verdict
        assert sniff_own(step.payload) in Verdict
    return conversation.check(
        steps, settings[0], lambda: _make_decoder(settings[1]), conversation.log_of, _counts
    )


def _decoder_of(data: bytes) -> tuple[Any, list[Step]]:
    settings, steps = read(data)
    return _make_decoder(settings[1]), steps


RUNS = conversation.runs(_decoder_of)


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def seeds() -> list[bytes]:
    """Conversations, and what may happen to them."""
    get, value = _command(b"GET", b"k"), b"$5\r\nhello\r\n"
    ping, pong, ok = _command(b"PING"), b"+PONG\r\n", b"+OK\r\n"
    set_ = _command(b"SET", b"k", bytes(300))
    subscribe, told = _command(b"SUBSCRIBE", b"a"), b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
    nested = b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n%1\r\n+k\r\n,3.14\r\n"
    watched = b'+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"\r\n'
    talks: list[list[tuple[int, bytes]]] = [
        [(UP, get), (DOWN, value), (UP, set_), (DOWN, ok), (UP, ping), (DOWN, b"-ERR no\r\n")],
        [(UP, get + set_ + ping), (DOWN, value + ok), (DOWN, pong)],
        [(UP, _command(b"HELLO", b"3")), (DOWN, b"%1\r\n$5\r\nproto\r\n:3\r\n"), (UP, get), (DOWN, nested)],
        [
            (UP, _command(b"MULTI") + get + _command(b"SELECT", b"3") + _command(b"EXEC")),
            (DOWN, ok + b"+QUEUED\r\n" * 2 + b"*2\r\n$-1\r\n+OK\r\n"),
        ],
        [(UP, subscribe), (DOWN, told), (DOWN, message), (UP, ping), (DOWN, message), (DOWN, pong)],
        [(UP, subscribe), (DOWN, told.replace(b"*", b">", 1) + message.replace(b"*", b">", 1)), (UP, get)],
        [(UP, _command(b"CLIENT", b"REPLY", b"SKIP") + ping + ping), (DOWN, pong)],
        [(UP, _command(b"MONITOR")), (DOWN, ok + watched + watched), (UP, _command(b"RESET"))],
        [
            (UP, _command(b"PSYNC", b"?", b"-1")),
            (DOWN, b"\n\n+FULLRESYNC a 0\r\n"),
            (DOWN, b"$9\r\nREDIS0011"),
        ],
        [(UP, b"PING\r\nset k v\r\n"), (DOWN, pong + ok), (UP, b"\r\nGET k\r\n"), (DOWN, value)],
        [(UP, get), (control(DOWN, UNSEEN, 9), b"$1003\r\nabc"), (UP, get), (DOWN, value)],
        [(UP, get), (control(DOWN, LOST, 7), b""), (UP, ping), (DOWN, pong), (UP, get), (DOWN, value)],
        [(control(UP, LOST, 7), b""), (UP, b"il\r\n" + get), (DOWN, pong + value), (UP, ping), (DOWN, pong)],
        [(UP, get + get[:9]), (control(UP, LATER), b""), (DOWN, value), (control(UP, FIN), b"")],
        [(DOWN, value), (UP, get), (DOWN, b"*1\r\n" * 200 + b":1\r\n"), (control(DOWN, FIN), b"")],
    ]
    return [write(bytes([number, number & 3]), talk) for number, talk in enumerate(talks)]
