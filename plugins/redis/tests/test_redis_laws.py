"""What the core relies on, for each kind of conversation."""

from __future__ import annotations

import pytest

import rover_plugin_redis
from rover import Role
from rover.testing import check_decoder

(SPEC,) = rover_plugin_redis.register_protocols()
CLIENT, SERVER = Role.CLIENT, Role.SERVER
OK = b"+OK\r\n"

TURNS = [
    (CLIENT, b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"),
    (SERVER, b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"),
    (CLIENT, b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"),
    (SERVER, OK),
    (CLIENT, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n+OK\r\n\r\n"),
    (SERVER, OK),
    (CLIENT, b"*2\r\n$5\r\nLPUSH\r\n$1\r\nk\r\n"),
    (SERVER, b"-WRONGTYPE no\r\n"),
    (CLIENT, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    (SERVER, b"$5\r\n+OK\r\n\r\n"),
    (CLIENT, b"*1\r\n$4\r\nPING\r\n"),
    (SERVER, b"+PONG\r\n"),
]
PIPELINE = [
    (CLIENT, b"*1\r\n$5\r\nMULTI\r\n"),
    (CLIENT, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    (CLIENT, b"*1\r\n$4\r\nEXEC\r\n"),
    (CLIENT, b"*4\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n$1\r\n0\r\n$2\r\n-1\r\n"),
    (SERVER, OK),
    (SERVER, b"+QUEUED\r\n"),
    (SERVER, b"*1\r\n$-1\r\n"),
    (SERVER, b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n%1\r\n+k\r\n,3.14\r\n"),
]
SUBSCRIBER = [
    (CLIENT, b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n"),
    (SERVER, b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"),
    (SERVER, b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
    (SERVER, b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
    (CLIENT, b"*1\r\n$11\r\nUNSUBSCRIBE\r\n"),
    (SERVER, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n"),
    (SERVER, b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n"),
    (CLIENT, b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n"),
    (CLIENT, b"*1\r\n$4\r\nPING\r\n"),
    (CLIENT, b"*1\r\n$4\r\nPING\r\n"),
    (SERVER, b"+PONG\r\n"),
]


INLINE = [
    (CLIENT, b"PING\r\n"),
    (SERVER, b"+PONG\r\n"),
    (CLIENT, b"set k v\r\n"),
    (SERVER, OK),
]
"""As people send it, and on ports of Redis only."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "conversations",
    [[TURNS], [PIPELINE], [SUBSCRIBER], [INLINE, TURNS[-2:]]],
    ids=["turns", "pipeline", "subscriber", "inline"],
)
def test_the_laws(conversations: list[list[tuple[Role, bytes]]]) -> None:
    check_decoder(SPEC, conversations, examples=20)
