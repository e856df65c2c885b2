"""The terminal: aligned, told at a glance, and safe from what strangers send."""

import os
import re

import pytest

from rover import AccessLog, Address, Connection, Outcome, Process, ProtocolBreak, Role
from rover_plugin_sink_log.console import ConsoleSink, _size, duration
from rover_plugin_sink_log.output import Output

CONNECTION = Connection(
    1, Address("10.0.0.1", 80), Address("10.0.0.2", 4000), Role.SERVER, Process(42, "nginx"), 0, 0
)
ATTRIBUTES = {
    "http.request.method": "GET",
    "url.original": "/a?b",
    "http.response.status_code": 200,
    "http.request.body.size": 0,
    "http.response.body.size": 615,
}
LOG = AccessLog(CONNECTION, 1_234_000_000, 1_234_850_000, "http", "1.1", ATTRIBUTES)


@pytest.fixture
def shown():
    """What the console shows of logs."""

    def show(*logs, **options):
        read, write = os.pipe()
        output = Output("-")
        output._descriptor = write
        sink = ConsoleSink(output, **options)
        sink.write([sink.prepare(log) for log in logs])
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            return pipe.read().decode().splitlines()

    return show


def test_a_line_lies_under_its_columns(shown):
    header, line = shown(LOG)
    assert re.fullmatch(
        r"\d\d:\d\d:01\.234  server  nginx\[42\] +10\.0\.0\.2:4000 +200 +850us +0 +615  GET     /a\?b", line
    )
    for column, value in [("ROLE", "server"), ("PROCESS", "nginx"), ("STATUS", "200"), ("TARGET", "/a?b")]:
        assert header.index(column) == line.index(value)


def test_a_client_shows_the_server_as_its_peer(shown):
    client = CONNECTION._replace(role=Role.CLIENT)
    assert "10.0.0.2:4000" in shown(LOG._replace(connection=client))[1]


def test_an_ipv6_address_stands_in_brackets(shown):
    six = CONNECTION._replace(remote=Address("::1", 4000))
    assert "[::1]:4000" in shown(LOG._replace(connection=six))[1]


def test_a_break_is_visible(shown):
    broken = CONNECTION._replace(protocol_break=ProtocolBreak("upgrade", "websocket", "http1"))
    line = shown(AccessLog(broken, 0, 0, outcome=Outcome.BREAK))[1]
    assert line.endswith("break   http1 to tcp: upgrade (websocket)")


def test_an_aborted_exchange_says_so(shown):
    line = shown(LOG._replace(attributes={"http.request.method": "GET"}, outcome=Outcome.ABORTED))[1]
    assert line.endswith("aborted")


def test_grpc_status_is_shown(shown):
    assert shown(LOG._replace(attributes=ATTRIBUTES | {"rpc.grpc.status_code": 5}))[1].endswith(
        "grpc-status 5"
    )


def test_a_strangers_protocol_shows_its_attributes(shown):
    line = shown(LOG._replace(protocol="redis", attributes={"db.operation": "GET", "db.key": "k"}))[1]
    assert line.endswith("redis   db.operation=GET db.key=k")


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\r", "\n", "\x9b31m", "\u202e", "\x07"])
def test_nothing_on_the_wire_steers_the_terminal(shown, hostile):
    attributes = ATTRIBUTES | {"url.original": f"/{hostile}x", "http.request.method": f"G{hostile}"}
    connection = CONNECTION._replace(process=Process(42, f"a{hostile}"))
    lines = shown(LOG._replace(attributes=attributes, connection=connection), color="never")
    assert len(lines) == 2
    assert hostile not in lines[1]


def test_colours_only_where_they_are_wanted(shown):
    assert "\x1b[" not in "".join(shown(LOG))
    assert "\x1b[32m" in shown(LOG, color="always")[1]


def test_the_header_can_be_left_out(shown):
    assert len(shown(LOG, header=False)) == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "-"), (0, "0"), (9999, "9999"), (12_345, "12.3k"), (5_200_000, "5.2M"), (10**16, "10000.0T")],
)
def test_sizes(size, text):
    assert _size(size) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"), [(85_000, "85us"), (1_200_000, "1.2ms"), (3_410_000_000, "3.41s")]
)
def test_durations(nanoseconds, text):
    assert duration(nanoseconds) == text


UNSAFE = [
    *range(0x20),
    *range(0x7F, 0xA0),
    0x61C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
]


def test_no_text_of_a_log_steers_the_terminal(shown):
    """Whoever made it: a peer, a process, a plugin."""
    text = "".join(map(chr, UNSAFE))
    http = dict.fromkeys([*ATTRIBUTES, "rpc.grpc.status_code"], text)
    other = {"key" + text: text}
    connection = CONNECTION._replace(
        process=Process(1, text),
        remote=Address(text, 1),
        protocol_break=ProtocolBreak(text, text, text),
    )
    log = LOG._replace(connection=connection, protocol=text)
    lines = [
        log._replace(attributes=http),
        log._replace(attributes=other),
        log._replace(outcome=Outcome.BREAK),
    ]
    for line in shown(*lines, header=False):
        assert not set(UNSAFE).intersection(map(ord, line))
        assert "\\x1b" in line
        assert "\\u202e" in line
