"""What is taken for Redis by its first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rover_plugin_redis
from rover import Verdict
from rover_plugin_redis.sniff import sniff, sniff_own

YES, NO, MAYBE = Verdict

COMMANDS = [
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n",
    b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$2\r\n\r\n\r\n",
    b"*1\r\n$7\r\nCOMMAND\r\n*1\r\n",
    b"*4\r\n$9\r\nFT.SEARCH\r\n$3\r\n",
    b"*1\r\n$14\r\nRESTORE-ASKING\r\n",
]
OTHERS = [
    b"",
    b"set key 0 0 5\r\nhello\r\n",  # memcached
    b"get key\r\n",
    b"EHLO example.org\r\n",
    b"220 mail.example.org ESMTP\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"* OK IMAP4rev1 ready\r\n",
    b"*1\r\n:1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGS\r\n",
    b"*1\r\n$4\r\nPIN\r\n",
    b"*1\r\n$4\r\n12 3\r\n",
    b"*1\n$4\nPING\n",
    b"*12345678\r\n$4\r\nPING\r\n",
    b"*1\r\n$100\r\n" + b"x" * 100,
    b"+OK\r\n",
    b"$5\r\nhello\r\n",
    b"-ERR\r\n",
]


@pytest.mark.parametrize("data", COMMANDS)
def test_a_command(data: bytes) -> None:
    assert sniff(data) is YES
    assert sniff(bytearray(data)) is YES
    assert sniff_own(data) is YES


@pytest.mark.parametrize("data", COMMANDS)
def test_the_beginning_of_a_command_may_be_one(data: bytes) -> None:
    verdicts = [sniff(data[:size]) for size in range(1, len(data) + 1)]
    assert verdicts == sorted(verdicts, key=[MAYBE, YES].index)


@pytest.mark.parametrize("data", OTHERS)
def test_something_else(data: bytes) -> None:
    assert sniff(data) is NO


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"PING\r\n", YES),
        (b"PING\n", YES),
        (b"ping\r\nping\r\n", YES),
        (b"AUTH secret\r\n", YES),
        (b"info replication\r\n", YES),
        (b"PIN", MAYBE),
        (b"AUTH sec", MAYBE),
        (b"PING\r", MAYBE),
        (b"EHLO example.org\r\n", NO),
        (b"GET / HTTP/1.1\r\n", NO),
        (b"+OK\r\n", NO),
        (b"-DENIED Redis is running in protected mode\r\n", NO),
        (b"\x16\x03\x01\x02\x00\x01\x00", NO),
        (b"A" * 2000, NO),
    ],
)
def test_on_its_own_ports_a_line_of_words_may_be_a_command(data: bytes, verdict: Verdict) -> None:
    assert sniff_own(data) is verdict
    assert sniff(data) is NO


@given(st.binary(max_size=200))
def test_random_bytes_are_not(data: bytes) -> None:
    assert sniff(data) is NO or data.startswith(b"*")
    sniff_own(data)


@given(st.text("*$\r\n1239AZaz.-", max_size=60).map(str.encode))
def test_more_bytes_never_make_a_no_or_a_yes_another(data: bytes) -> None:
    for function in (sniff, sniff_own):
        verdicts = [function(data[:size]) for size in range(1, len(data) + 1)]
        told = [verdict for verdict in verdicts if verdict is not MAYBE]
        assert len(set(told)) <= 1
        assert told == verdicts[len(verdicts) - len(told) :]


def test_what_it_registers() -> None:
    (spec,) = rover_plugin_redis.register_protocols()
    assert (spec.name, spec.ports) == ("redis", {6379, 26379})
    assert spec.sniff(b"PING\r\n") is NO
    assert spec.sniff_own is not None
    assert spec.sniff_own(b"PING\r\n") is YES
