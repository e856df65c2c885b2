"""The terminal: aligned, told at a glance, and safe from what strangers send."""

import ctypes
import fcntl
import locale
import os
import re
import struct
import termios
import tty

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import AccessLog, Address, Connection, Outcome, Process, ProtocolBreak, Role
from rover_plugin_sink_log.columns import columns, cut
from rover_plugin_sink_log.console import ConsoleSink, _size, duration, printable
from rover_plugin_sink_log.output import Output

CONNECTION = Connection(
    id=1,
    local=Address(host="10.0.0.1", port=80),
    remote=Address(host="10.0.0.2", port=4000),
    role=Role.SERVER,
    process=Process(pid=42, name="nginx"),
    opened=0,
    epoch=0,
)
ATTRIBUTES = {
    "http.request.method": "GET",
    "url.original": "/a?b",
    "http.response.status_code": 200,
    "http.request.header.host": ("a.example",),
    "http.request.body.size": 0,
    "http.response.body.size": 615,
}
LOG = AccessLog(
    connection=CONNECTION,
    start=1_234_000_000,
    end=1_234_850_000,
    protocol="http",
    version="1.1",
    attributes=ATTRIBUTES,
)


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
        r"\d\d:\d\d:01\.234  server  nginx\[42\] +10\.0\.0\.2:4000 +a\.example +200 +850us +0 +615"
        r"  GET     /a\?b",
        line,
    )
    for column, value in [("ROLE", "server"), ("PROCESS", "nginx"), ("STATUS", "200"), ("TARGET", "/a?b")]:
        assert header.index(column) == line.index(value)


class Terminal:
    """A window of so many columns, and what is shown in it."""

    def __init__(self, width, **options):
        self.read, self.write = os.openpty()
        tty.setraw(self.write)
        self.resize(width)
        output = Output("-")
        output._descriptor = self.write
        self.sink = ConsoleSink(output, **options)

    def resize(self, width):
        fcntl.ioctl(self.write, termios.TIOCSWINSZ, struct.pack("4H", 24, width, 0, 0))

    def show(self, *logs):
        """The lines of these logs, in one batch, without colours; each fits the window."""
        self.sink.write(logs)
        os.write(self.write, b"\0")  # the end: nothing that the console shows has it
        shown = b""
        while not shown.endswith(b"\0"):
            shown += os.read(self.read, 4096)
        lines = re.sub(r"\x1b\[\d+m", "", shown[:-1].decode()).split("\n")
        assert lines.pop() == ""
        return lines

    def close(self):
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def terminal():
    made = []

    def make(width, **options):
        made.append(Terminal(width, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


LONG = LOG.replace(
    connection=CONNECTION.replace(
        remote=Address(host="255.255.255.255", port=65535),
        process=Process(pid=4_194_304, name="a-process-of-15"),
    ),
    attributes=ATTRIBUTES
    | {"url.original": "/" + "x" * 3000, "http.request.header.host": ("www." + "long." * 40 + "example",)},
    end=LOG.start + 4_000_000_000_000,
)


@pytest.mark.parametrize(
    ("width", "header", "line"),
    [
        (
            80,
            "TIME     ROLE   PROCESS    PEER            STAT    DUR      TARGET",
            ":01 server a-process… 255.255.255.255 200   4000s GET  /xxxxxxxxxxxxxxxxxx…",
        ),
        (
            120,
            "TIME          ROLE    PROCESS           PEER                   STATUS  DURATION  METHOD  TARGET",
            ":01.234  server  a-proc…[4194304]  255.255.255.255:65535  200     4000.00s  GET     /xxxxxxxxx",
        ),
        (
            160,
            "PEER                   HOST                      STATUS  DURATION  METHOD  TARGET",
            "255.255.255.255:65535  www.long.long.long.long…  200     4000.00s  GET     /xxxxxxxxx",
        ),
        (
            200,
            "HOST                      STATUS  DURATION   REQUEST  RESPONSE  METHOD  TARGET",
            "www.long.long.long.long…  200     4000.00s         0       615  GET     /xxxxxxxxx",
        ),
    ],
)
def test_a_terminal_shows_what_it_has_room_for(terminal, width, header, line):
    shown = terminal(width).show(LONG)
    assert header in shown[0]
    assert line in shown[1]
    assert columns(shown[1]) == width
    assert shown[1].endswith("x…")


def test_what_is_not_a_terminal_is_never_cut(shown):
    line = shown(LONG)[1]
    for text in (LONG.attributes["url.original"], *LONG.attributes["http.request.header.host"]):
        assert text in line
    assert "a-process-of-15[4194304]  255.255.255.255:65535  " in line


def test_a_window_that_gets_another_size_is_followed(terminal):
    window = terminal(80)
    assert len(window.show(LONG)) == 2
    window.resize(100)  # the same columns, and more room for the target
    (line,) = window.show(LONG)
    assert columns(line) == 100
    window.resize(200)
    header, line = window.show(LONG)
    assert "HOST" in header
    assert columns(line) == 200
    window.resize(0)  # it does not tell
    assert columns(window.show(LONG)[1]) == 80


def test_without_a_header_none_comes_after_a_change_of_size(terminal):
    window = terminal(80, header=False)
    assert len(window.show(LONG)) == 1
    window.resize(200)
    assert len(window.show(LONG)) == 1


def test_of_an_address_the_port_stays(terminal):
    client = LOG.replace(
        connection=CONNECTION.replace(
            role=Role.CLIENT, remote=Address(host="2001:db8:1:2:3:4:5:6", port=8443)
        )
    )
    assert "[2001:db…]:8443 " in terminal(80).show(client)[1]
    assert "[2001:db8:1:2:…]:8443 " in terminal(120).show(client)[1]


texts = st.text(st.characters(codec="utf-8"), max_size=80) | st.sampled_from(
    ["/日本語" * 30, "e\u0301" * 100, "\u0301" * 100, "\x1b[31m" * 40, "\u202e" * 20, "한국어/각" * 20]
)


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(60, 250),
    texts=st.lists(texts, min_size=7, max_size=7),
    outcome=st.sampled_from(Outcome),
    grpc=st.sampled_from([None, "OK", "UNAUTHENTICATED", "77"]),
    role=st.sampled_from([None, *Role]),
)
def test_no_line_is_wider_than_its_terminal(width, texts, outcome, grpc, role):
    process, host, target, method, header, reason, key = texts
    broken = ProtocolBreak(reason=reason, detail=reason, protocol="http1")
    connection = CONNECTION.replace(
        role=role,
        process=Process(pid=42, name=process),
        remote=Address(host=host, port=65535),
        protocol_break=broken,
    )
    attributes = {
        "http.request.method": method[:20],
        "url.original": target,
        "http.request.header.host": (header,),
        "http.response.status_code": 200,
    } | ({} if grpc is None else {"rpc.status_code": grpc})
    log = LOG.replace(connection=connection, attributes=attributes, outcome=outcome)
    window = Terminal(width)
    try:
        for line in window.show(log, log.replace(protocol="redis", attributes={key: target})):
            assert columns(line) <= width
            assert line.isprintable()
    finally:
        window.close()


def test_columns_are_those_of_the_c_library():
    """The witness: wcwidth(3), for scripts that have not changed for long."""
    wcwidth = ctypes.CDLL(None).wcwidth
    wcwidth.argtypes = [ctypes.c_wchar]
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    try:
        blocks = [(0x20, 0x7F), (0xA1, 0x370), (0x370, 0x600), (0x900, 0x980), (0xE00, 0xE80)]
        blocks += [(0x1100, 0x1200), (0x2190, 0x2300), (0x3040, 0x3100), (0x4E00, 0x9FA0)]
        blocks += [(0xAC00, 0xD7FC), (0xFF01, 0xFFBF), (0x1F600, 0x1F640)]
        for first, last in blocks:
            for character in filter(str.isprintable, map(chr, range(first, last))):
                assert columns(character) == wcwidth(character), f"U+{ord(character):04X}"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


@given(text=texts, width=st.integers(0, 40))
def test_a_cut_text_is_its_beginning(text, width):
    text = printable(text)
    found = cut(text, width)
    assert columns(found) <= width
    if found != text:
        assert text.startswith(found.removesuffix("…"))
        assert found.endswith("…") or width == 0


def test_a_text_without_end_costs_what_is_shown_of_it():
    assert len(cut("\u0301" * 1_000_000, 20)) <= 8 * 20 + 1


def test_a_client_shows_the_server_as_its_peer(shown):
    client = CONNECTION.replace(role=Role.CLIENT)
    assert "10.0.0.2:4000" in shown(LOG.replace(connection=client))[1]


def test_an_ipv6_address_stands_in_brackets(shown):
    six = CONNECTION.replace(remote=Address(host="::1", port=4000))
    assert "[::1]:4000" in shown(LOG.replace(connection=six))[1]


def test_a_break_is_visible(shown):
    broken = CONNECTION.replace(
        protocol_break=ProtocolBreak(reason="upgrade", detail="websocket", protocol="http1")
    )
    line = shown(AccessLog(connection=broken, start=0, end=0, outcome=Outcome.BREAK))[1]
    assert line.endswith("break   http1 to tcp: upgrade (websocket)")


def test_an_aborted_exchange_says_so(shown):
    line = shown(LOG.replace(attributes={"http.request.method": "GET"}, outcome=Outcome.ABORTED))[1]
    assert line.endswith("aborted")


def test_grpc_status_is_shown(shown):
    line = shown(LOG.replace(attributes=ATTRIBUTES | {"rpc.status_code": "NOT_FOUND"}))[1]
    assert line.endswith("grpc-status NOT_FOUND")


@pytest.mark.parametrize(("hosts", "text"), [(("a.example", "b.example"), "a.example"), ((), "-")])
def test_of_several_hosts_the_first_is_shown(shown, hosts, text):
    line = shown(LOG.replace(attributes=ATTRIBUTES | {"http.request.header.host": hosts}))[1]
    assert text in line.split()
    assert "b.example" not in line


def test_a_strangers_protocol_shows_its_attributes(shown):
    said = {"db.operation": "GET", "db.keys": ("k", "l")}
    line = shown(LOG.replace(protocol="redis", attributes=said))[1]
    assert line.endswith("redis   db.operation=GET db.keys=k, l")


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\r", "\n", "\x9b31m", "\u202e", "\x07"])
def test_nothing_on_the_wire_steers_the_terminal(shown, hostile):
    attributes = ATTRIBUTES | {"url.original": f"/{hostile}x", "http.request.method": f"G{hostile}"}
    connection = CONNECTION.replace(process=Process(pid=42, name=f"a{hostile}"))
    lines = shown(LOG.replace(attributes=attributes, connection=connection), color="never")
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
    ("nanoseconds", "text", "short"),
    [
        (85_000, "85us", "85us"),
        (1_200_000, "1.2ms", "1.2ms"),
        (999_900_000, "999.9ms", "1000ms"),
        (3_410_000_000, "3.41s", "3.41s"),
        (614_900_000_000, "614.90s", "615s"),
    ],
)
def test_durations(nanoseconds, text, short):
    assert duration(nanoseconds) == text
    assert duration(nanoseconds, 6) == short


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
    http = dict.fromkeys([*ATTRIBUTES, "rpc.status_code"], text) | {"http.request.header.host": (text,)}
    other = {"key" + text: text, "keys": (text, text)}
    connection = CONNECTION.replace(
        process=Process(pid=1, name=text),
        remote=Address(host=text, port=1),
        protocol_break=ProtocolBreak(reason=text, detail=text, protocol=text),
    )
    log = LOG.replace(connection=connection, protocol=text)
    lines = [
        log.replace(attributes=http),
        log.replace(attributes=other),
        log.replace(outcome=Outcome.BREAK),
    ]
    for line in shown(*lines, header=False):
        assert not set(UNSAFE).intersection(map(ord, line))
        assert "\\x1b" in line
        assert "\\u202e" in line
