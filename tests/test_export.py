"""`rover export`: what is exported replays to the same exchanges, and tshark and readers of HAR see them."""

from __future__ import annotations

import base64
import collections
import gzip
import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import Replayer, Row
from harness import wait_until
from rover import Address, Closed, Detail, Direction, Opened, Process, Role, Syscall
from rover.recording.reader import Recording
from rover.recording.writer import Writer
from rover_plugin_export import pcapng
from rover_plugin_export.capture import MAX_HOLE, Capture
from rover_plugin_export.exchanges import Exchanges
from rover_plugin_export.segments import MAX_SEGMENT

ROVER = [sys.executable, "-m", "rover"]
EPOCH = 1_700_000_000_000_000_000
STEP = 1_000_000
"""ns between two records."""
SERVER = Address(host="10.0.0.2", port=80)
IN, OUT = Direction.INGRESS, Direction.EGRESS

Record = Process | Opened | Closed | tuple[Detail, bytes]


class Script:
    """Records of some connections, as a source would deliver them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.time = 0

    def tick(self) -> int:
        """The next record's time."""
        self.time += STEP
        return self.time

    def process(self, pid: int, name: str) -> None:
        """A process."""
        self.records.append(Process(pid=pid, name=name))

    def connection(self, role: Role | None = Role.SERVER, **fields: Any) -> Conversation:
        """Opens another one."""
        return Conversation(self, role, **fields)

    def write(self, path: Path) -> Path:
        """As a recording."""
        writer = Writer(str(path), replace=True)
        writer.begin(EPOCH, 0)
        for record in self.records:
            deliver(writer, record)
        writer.end(self.tick())
        assert not writer.failure
        return path

    def export(self, path: Path) -> Path:
        """As packets."""
        with path.open("wb") as file:
            file.write(pcapng.section("a test"))
            capture = Capture(file.write)
            capture.begin(EPOCH)
            for record in self.records:
                deliver(capture, record)
            capture.finish()
        return path


def deliver(handler: Any, record: Record) -> None:
    """One record to whoever takes records."""
    match record:
        case Process():
            handler.process(record)
        case Opened():
            handler.opened(record)
        case Closed():
            handler.closed(record)
        case (detail, payload):
            handler.data(detail, payload)


class Conversation:
    """One connection in a script."""

    numbers = itertools.count(1)

    def __init__(
        self,
        script: Script,
        role: Role | None,
        *,
        port: int = 40_000,
        pid: int = 42,
        late: bool = False,
        six: bool = False,
    ) -> None:
        self.script = script
        self.id = next(self.numbers)
        self.pid = pid
        self.role = role
        self.sequence = 0
        self.positions = [0, 0]
        client = Address(host="2001:db8::1" if six else "10.0.0.1", port=port)
        server = SERVER.replace(host="2001:db8::2") if six else SERVER
        local, remote = (client, server) if role is Role.CLIENT else (server, client)
        script.records.append(
            Opened(
                connection=self.id,
                time=script.tick(),
                local=local,
                remote=remote,
                role=role,
                pid=pid,
                late=late,
                detail=None,
            )
        )

    def move(self, direction: int, data: bytes, *, size: int = 0, captured: int | None = None) -> None:
        """A call."""
        size = size or len(data)
        detail = Detail(
            connection=self.id,
            sequence=self.sequence,
            start=self.script.time,
            end=self.script.tick(),
            position=self.positions[direction],
            size=size,
            pid=self.pid,
            fd=3,
            syscall=Syscall.WRITE if direction else Syscall.READ,
            direction=direction,
            error=0,
        )
        self.sequence += 1
        self.positions[direction] += size
        self.script.records.append((detail, data[:captured]))

    def lose(self, direction: int, size: int) -> None:
        """A call whose record was lost."""
        self.script.tick()
        self.sequence += 1
        self.positions[direction] += size

    def ask(self, data: bytes, **fields: Any) -> None:
        """What the client says."""
        self.move(OUT if self.role is Role.CLIENT else IN, data, **fields)

    def answer(self, data: bytes, **fields: Any) -> None:
        """What the server says."""
        self.move(IN if self.role is Role.CLIENT else OUT, data, **fields)

    def close(self, *, reset: bool = False) -> None:
        """Its end."""
        self.script.records.append(
            Closed(connection=self.id, time=self.script.tick(), reset=reset, detail=None)
        )


def request(target: str, body: bytes = b"", extra: str = "", method: str = "GET") -> bytes:
    """Of HTTP/1.1."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: shop.example\r\n{extra}{length}\r\n".encode() + body


def response(body: bytes, extra: str = "", status: str = "200 OK", size: int | None = None) -> bytes:
    """Of HTTP/1.1."""
    length = len(body) if size is None else size
    return f"HTTP/1.1 {status}\r\n{extra}Content-Length: {length}\r\n\r\n".encode() + body


# -- pcapng ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_recording() -> Replayer:
    return Replayer(opened=Recording)


@pytest.fixture(scope="module")
def of_capture() -> Replayer:
    return Replayer()


def rows(replayer: Replayer, path: Path) -> collections.Counter[Row]:
    """Its exchanges. What the end of a recording leaves unfinished, that of a capture cuts."""
    replayed = replayer(path)
    assert not replayed.error
    ends = {"unfinished": "aborted"}
    return collections.Counter(
        row._replace(outcome=ends.get(row.outcome, row.outcome)) for _, row in replayed.rows
    )


def proven(found: collections.Counter[Row]) -> set[Row]:
    """Those without the mark of pairs that nothing proves."""
    return {row for row in found if not row.assumed}


sizes = st.one_of(st.integers(0, 40), st.sampled_from([MAX_SEGMENT - 1, MAX_SEGMENT, 200_000]))
turns = st.lists(
    st.tuples(
        sizes,  # of the request's content
        sizes,  # of the response's
        st.integers(1, 3),  # calls that each message takes
        st.sampled_from(["", "", "", "half", "head", "lost", "unasked"]),  # what is captured of it
        st.booleans(),  # chunked
    ),
    min_size=1,
    max_size=6,
)


def chunked(body: bytes) -> bytes:
    """A response in two chunks."""
    half = len(body) // 2
    parts = [part for part in (body[:half], body[half:]) if part]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@settings(max_examples=100)
@given(
    turns=turns, role=st.sampled_from(Role), end=st.sampled_from(["", "close", "reset"]), six=st.booleans()
)
def test_packets_replay_to_the_same_exchanges(
    of_recording, of_capture, tmp_path_factory, turns, role, end, six
):
    script = Script()
    script.process(42, "nginx")
    talk = script.connection(role, six=six)
    out = OUT if role is Role.SERVER else IN
    for number, (asked, answered, calls, captured, in_chunks) in enumerate(turns):
        asks = request(f"/{number}", b"q" * asked, method="POST")
        if captured == "unasked" and number:
            talk.lose(1 - out, len(asks))
        else:
            for part in cut(asks, calls):
                talk.ask(part)
        body = b"a" * answered
        whole = chunked(body) if in_chunks else response(body)
        if captured == "lost" and number:
            talk.lose(out, len(whole))
        elif captured == "half" and not in_chunks:
            talk.answer(whole, captured=len(whole) - answered // 2)
        elif captured == "head" and not in_chunks:
            talk.answer(whole[: len(whole) - answered])
            if answered:
                talk.answer(b"", size=answered)
        else:
            for part in cut(whole, calls):
                talk.answer(part)
    if end:
        talk.close(reset=end == "reset")
    folder = tmp_path_factory.mktemp("export")
    wanted = rows(of_recording, script.write(folder / "a.rec"))
    found = rows(of_capture, script.export(folder / "a.pcapng"))
    assert wanted
    if {"lost", "unasked"} <= {captured for _, _, _, captured, _ in turns}:
        # Of calls that were lost in both directions nobody knows the order: pairs are likely, and marked so.
        assert proven(found) == proven(wanted)
    else:
        assert found == wanted


def cut(data: bytes, parts: int) -> Iterable[bytes]:
    """In so many pieces, about."""
    size = max(1, -(-len(data) // parts))
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_a_connection_that_was_there_before(of_recording, of_capture, tmp_path):
    script = Script()
    talk = script.connection(Role.SERVER, late=True)
    talk.answer(b"the end of an answer")
    for number in range(3):
        talk.ask(request(f"/{number}"))
        talk.answer(response(b"x"))
    wanted = rows(of_recording, script.write(tmp_path / "a.rec"))
    assert sum(wanted.values()) == 3
    assert rows(of_capture, script.export(tmp_path / "a.pcapng")) == wanted


def test_what_is_never_captured_costs_no_exchange(of_recording, of_capture, tmp_path):
    """sendfile of 3 GB, twice: sequence numbers go around."""
    script = Script()
    talk = script.connection(Role.SERVER)
    for number in range(2):
        talk.ask(request(f"/{number}"))
        talk.answer(response(b"", size=3_000_000_000))
        talk.answer(b"", size=1_500_000_000)
        talk.answer(b"", size=1_500_000_000)
    talk.ask(request("/last"))
    talk.answer(response(b"x"))
    wanted = rows(of_recording, script.write(tmp_path / "a.rec"))
    assert {row.response_body for row in wanted} == {3_000_000_000, 1}
    assert rows(of_capture, script.export(tmp_path / "a.pcapng")) == wanted


def test_a_hole_larger_than_a_window(of_capture, tmp_path):
    """What comes after it is another connection's, joined late: no time and no file without bound."""
    script = Script()
    talk = script.connection(Role.SERVER)
    talk.ask(request("/a"))
    talk.answer(response(b"x"))
    talk.lose(OUT, 1 << 61)
    talk.ask(request("/b"))
    talk.answer(response(b"x"))
    talk.lose(IN, MAX_HOLE + 1)
    talk.ask(request("/c"))
    talk.answer(response(b"x"))
    path = script.export(tmp_path / "a.pcapng")
    assert path.stat().st_size < 4000
    targets = {row.target for row in rows(of_capture, path) if row.outcome == "complete"}
    assert {"/a", "/c"} <= targets


def test_the_other_view_of_a_connection_is_left_out(of_capture, tmp_path):
    """On loopback both ends are watched; a server may accept when its client has closed."""
    script = Script()
    client = script.connection(Role.CLIENT, pid=1)
    client.ask(request("/a"))
    client.answer(response(b"x"))
    client.close()
    server = script.connection(Role.SERVER, pid=2)
    server.ask(request("/a"))
    server.answer(response(b"x"))
    server.close()
    again = script.connection(Role.CLIENT, pid=1)  # from the same port
    again.ask(request("/b"))
    again.answer(response(b"x"))
    found = rows(of_capture, script.export(tmp_path / "a.pcapng"))
    assert collections.Counter(row.target for row in found.elements()) == {"/a": 1, "/b": 1}


def test_plaintext_takes_the_place_of_ciphertext(of_capture, tmp_path):
    """As of a source that reads inside TLS libraries: its records have the fields of a call."""

    class Plaintext:
        def __init__(self, detail: Detail) -> None:
            self.connection, self.direction, self.position = (
                detail.connection,
                detail.direction,
                detail.position,
            )
            self.size, self.pid, self.end = detail.size, detail.pid, detail.end
            self.sequence = detail.sequence

    hello, secret, plain = Script(), Script(), Script()
    talk = hello.connection(Role.CLIENT)
    talk.ask(b"\x16\x03\x01\x00\x05hello")
    said = plain.connection(Role.CLIENT)
    said.ask(request("/a"))
    said.answer(response(b"x"))
    with (tmp_path / "a.pcapng").open("wb") as file:
        file.write(pcapng.section("a test"))
        capture = Capture(file.write)
        capture.begin(EPOCH)
        for record in hello.records:
            deliver(capture, record)
        for record in plain.records[1:]:
            detail, payload = record
            capture.plaintext(Plaintext(detail.replace(connection=talk.id)), payload)
            talk.move(detail.direction, b"\x17\x03\x03ciphertext")
            deliver(capture, hello.records[-1])
        deliver(capture, Closed(connection=talk.id, time=plain.tick(), reset=False, detail=None))
    assert secret.records == []
    assert [row.target for row in rows(of_capture, tmp_path / "a.pcapng")] == ["/a"]
    assert b"ciphertext" not in (tmp_path / "a.pcapng").read_bytes()


def http2(*streams: tuple[str, bytes, bytes]) -> tuple[bytes, bytes]:
    """What both sides say: (path, content asked, content answered) of each stream."""
    up, down = Encoder(), Encoder()
    asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
    answered = SettingsFrame(0).serialize()
    for number, (path, question, reply) in enumerate(streams):
        stream = 2 * number + 1
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "shop.example"), (":path", path)]
        asked += HeadersFrame(stream, up.encode(head), flags=["END_HEADERS"]).serialize()
        asked += DataFrame(stream, question, pad_length=3, flags=["PADDED"]).serialize()
        asked += DataFrame(stream, b"", flags=["END_STREAM"]).serialize()
        answered += HeadersFrame(
            stream, down.encode([(":status", "200"), ("content-type", "text/plain")]), flags=["END_HEADERS"]
        ).serialize()
        half = len(reply) // 2
        answered += DataFrame(stream, reply[:half]).serialize()
        answered += DataFrame(stream, reply[half:], flags=["END_STREAM"]).serialize()
    return asked, answered


needs_tshark = pytest.mark.skipif(not shutil.which("tshark"), reason="needs tshark")


@needs_tshark
def test_tshark_sees_the_same_exchanges(tmp_path):
    """The witness. Checksums are right, and a process is told of each packet."""
    script = Script()
    script.process(42, "nginx")
    script.process(7, "café \udcff")
    wanted = []
    for port, role, six in ((40_000, Role.SERVER, False), (40_001, Role.CLIENT, True)):
        talk = script.connection(role, port=port, six=six, pid=42 if role is Role.SERVER else 7)
        for number in range(3):
            talk.ask(request(f"/{port}/{number}"))
            body = b"x" * (number * 70_000)
            talk.answer(response(body))
            wanted.append(("GET", f"/{port}/{number}", "200"))
        talk.close()
    talk = script.connection(Role.SERVER, port=40_002)
    asked, answered = http2(("/two", b"question", b"reply"), ("/three", b"", b"y" * 10_000))
    talk.ask(asked)
    talk.answer(answered)
    wanted += [("POST", "/two", "200"), ("POST", "/three", "200")]
    path = script.export(tmp_path / "a.pcapng")
    fields = [
        *("frame.interface_name", "tcp.stream", "http2.streamid"),
        *("http.request.method", "http.request.uri", "http.response.code"),
        *("http2.headers.method", "http2.headers.path", "http2.headers.status", "frame.comment"),
    ]
    done = subprocess.run(
        [
            *(
                "tshark",
                "-r",
                path,
                "-T",
                "json",
                "-J",
                "frame tcp http http2",
                "-o",
                "tcp.check_checksum:TRUE",
            ),
            *("-o", "ip.check_checksum:TRUE", "--no-duplicate-keys"),
            *(
                part
                for field in [*fields, "tcp.checksum.status", "_ws.expert.message"]
                for part in ("-e", field)
            ),
        ],
        capture_output=True,
        timeout=60,
    )
    packets = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    assert {status for packet in packets for status in packet["tcp.checksum.status"]} == {"1"}  # good
    asked_of: dict[Any, Any] = {}
    seen = []
    for packet in packets:
        stream = packet["tcp.stream"][0]
        for method, target in zip(
            packet.get("http.request.method", ()), packet.get("http.request.uri", ()), strict=True
        ):
            asked_of.setdefault(stream, []).append((method, target))
        seen += [(*asked_of[stream].pop(0), status) for status in packet.get("http.response.code", ())]
        for method, target in zip(
            packet.get("http2.headers.method", ()), packet.get("http2.headers.path", ()), strict=True
        ):
            asked_of.setdefault(stream, []).append((method, target))
        seen += [(*asked_of[stream].pop(0), status) for status in packet.get("http2.headers.status", ())]
    assert sorted(seen) == sorted(wanted)
    assert {name for packet in packets for name in packet["frame.interface_name"]} == {
        "nginx[42]",
        "café \\udcff[7]",
    }
    comments = [packet["frame.comment"][0] for packet in packets if "frame.comment" in packet]
    assert [comment.partition(",")[0] for comment in comments] == [
        "nginx[42] is the server",
        "café \\udcff[7] is the client",
        "nginx[42] is the server",
    ]


# -- HAR -------------------------------------------------------------------------------------------

TEXT, NUMBER, FLAG = (str,), (int, float), (bool,)
NAMED = {"name": TEXT, "value": TEXT, "comment?": TEXT}
COOKIE = {
    "name": TEXT,
    "value": TEXT,
    "path?": TEXT,
    "domain?": TEXT,
    "expires?": TEXT,
    "httpOnly?": FLAG,
    "secure?": FLAG,
    "sameSite?": TEXT,
    "comment?": TEXT,
}
MESSAGE = {
    "httpVersion": TEXT,
    "cookies": [COOKIE],
    "headers": [NAMED],
    "headersSize": NUMBER,
    "bodySize": NUMBER,
    "comment?": TEXT,
}
SCHEMA: Any = {
    "log": {
        "version": TEXT,
        "creator": {"name": TEXT, "version": TEXT, "comment?": TEXT},
        "browser?": {"name": TEXT, "version": TEXT},
        "pages?": [{"startedDateTime": TEXT, "id": TEXT, "title": TEXT, "pageTimings": {}}],
        "entries": [
            {
                "pageref?": TEXT,
                "startedDateTime": TEXT,
                "time": NUMBER,
                "request": {
                    **MESSAGE,
                    "method": TEXT,
                    "url": TEXT,
                    "queryString": [NAMED],
                    "postData?": {
                        "mimeType": TEXT,
                        "params": [{"name": TEXT, "value?": TEXT}],
                        "text": TEXT,
                        "comment?": TEXT,
                    },
                },
                "response": {
                    **MESSAGE,
                    "status": NUMBER,
                    "statusText": TEXT,
                    "content": {
                        "size": NUMBER,
                        "compression?": NUMBER,
                        "mimeType": TEXT,
                        "text?": TEXT,
                        "encoding?": TEXT,
                        "comment?": TEXT,
                    },
                    "redirectURL": TEXT,
                },
                "cache": {},
                "timings": {
                    "blocked?": NUMBER,
                    "dns?": NUMBER,
                    "connect?": NUMBER,
                    "ssl?": NUMBER,
                    "send": NUMBER,
                    "wait": NUMBER,
                    "receive": NUMBER,
                    "comment?": TEXT,
                },
                "serverIPAddress?": TEXT,
                "connection?": TEXT,
                "comment?": TEXT,
            }
        ],
        "comment?": TEXT,
    }
}
"""HAR 1.2, http://www.softwareishard.com/blog/har-12-spec/: the fields of each object, those with a question
mark optional, and of which types they are. Fields that begin with an underscore are the program's own."""


def check(value: Any, schema: Any, where: str) -> None:
    """That a value is what the schema says."""
    if isinstance(schema, tuple):
        assert type(value) in schema, f"{where} is {value!r}"
    elif isinstance(schema, list):
        assert type(value) is list, where
        for number, each in enumerate(value):
            check(each, schema[0], f"{where}[{number}]")
    else:
        assert type(value) is dict, where
        own = {name for name in value if name.startswith("_")}
        known = {name.removesuffix("?") for name in schema}
        assert set(value) - own <= known, where
        assert {name for name in schema if not name.endswith("?")} <= set(value), where
        for name, each in schema.items():
            if name.removesuffix("?") in value:
                check(value[name.removesuffix("?")], each, f"{where}.{name}")


def exported(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """What `rover export` says."""
    done = subprocess.run(
        [*ROVER, "export", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    return done


def entries(path: Path) -> dict[str, Any]:
    """The entries of an archive that is as the schema says, by the path of their URL."""
    archive = json.loads(path.read_text())
    check(archive, SCHEMA, "")
    found = archive["log"]["entries"]
    for entry in found:
        timings = entry["timings"]
        assert min(timings.values()) >= 0
        assert entry["time"] == pytest.approx(sum(timings.values()))
    return {entry["request"]["url"].partition("shop.example")[2].partition("?")[0]: entry for entry in found}


ZIPPED = gzip.compress(b"zipped " * 100)
BINARY = bytes(range(256))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a recording that has everything, exported together with its packets."""
    folder = tmp_path_factory.mktemp("har")
    script = Script()
    script.process(42, "nginx")
    talk = script.connection(Role.SERVER)
    talk.ask(request("/plain?a=1&b=%C3%A9+x&c", extra="Cookie: id=7; theme=dark\r\n"))
    cookie = "Set-Cookie: id=8; Path=/; HttpOnly; Expires=Wed, 21 Oct 2026 07:28:00 GMT\r\n"
    talk.answer(response("né".encode(), extra=f"Content-Type: text/plain; charset=utf-8\r\n{cookie}"))
    talk.ask(request("/zipped") + request("/binary") + request("/chunks"))
    talk.answer(response(ZIPPED, extra="Content-Encoding: gzip\r\nContent-Type: text/plain\r\n"))
    talk.answer(response(BINARY, extra="Content-Type: image/x-any\r\n") + chunked(b"in two chunks")[:-3])
    talk.answer(b"\n\r\n"[-3:])
    talk.ask(request("/posted", b"a=b&c=d", method="POST"))
    talk.answer(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    talk.answer(response(b"", extra="Location: /there\r\n", status="303 See Other"))
    talk.ask(request("/brotli"))
    talk.answer(response(b"whatever", extra="Content-Encoding: br\r\n"))
    talk.ask(request("/large"))
    talk.answer(response(b"x" * 20_000))
    talk.ask(request("/larger"))
    for part in cut(response(b"x" * 1_000_000), 10):
        talk.answer(part)
    talk.ask(request("/cut"))
    talk.answer(response(b"y" * 20, size=5000))
    talk.answer(b"", size=4980)
    talk.ask(request("/head", method="HEAD"))
    talk.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    talk.ask(request("/after"))
    talk.answer(response(b"after"))
    talk.ask(request("/never"))
    talk.close()
    two = script.connection(Role.CLIENT, port=40_001, pid=7)
    asked, answered = http2(("/two", b"question", b"reply"))
    two.ask(asked)
    for part in cut(answered, 7):
        two.answer(part)
    paths = [folder / "a.har", folder / "a.pcapng"]
    done = exported(
        *(script.write(folder / "a.rec"), "--har", paths[0], "--pcapng", paths[1], "--content", "10KiB")
    )
    assert "nothing is masked" in done.stderr
    assert "13 entries in" in done.stderr
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    found = entries(paths[0])
    found["packets"] = paths[1]
    return found


def test_an_entry(archive):
    entry = archive["/plain"]
    assert entry["startedDateTime"].startswith("2023-11-14T22:13:20.0")
    assert entry["connection"]
    assert entry["serverIPAddress"] == "10.0.0.2"
    assert (entry["comment"], entry["_role"]) == ("nginx[42]", "server")
    asked, answered = entry["request"], entry["response"]
    assert asked["url"] == "http://shop.example/plain?a=1&b=%C3%A9+x&c"
    assert asked["queryString"] == [
        {"name": "a", "value": "1"},
        {"name": "b", "value": "é x"},
        {"name": "c", "value": ""},
    ]
    assert asked["cookies"] == [{"name": "id", "value": "7"}, {"name": "theme", "value": "dark"}]
    assert {"name": "host", "value": "shop.example"} in asked["headers"]
    assert "postData" not in asked
    assert (answered["status"], answered["statusText"], answered["bodySize"]) == (200, "OK", 3)
    (cookie,) = answered["cookies"]
    assert (cookie["name"], cookie["value"], cookie["path"], cookie["httpOnly"]) == ("id", "8", "/", True)
    assert cookie["expires"] == "2026-10-21T07:28:00+00:00"
    assert (answered["content"]["text"], answered["content"]["size"]) == ("né", 3)


def test_content_is_decoded(archive):
    zipped = archive["/zipped"]["response"]
    assert (zipped["content"]["text"], zipped["content"]["size"]) == ("zipped " * 100, 700)
    assert zipped["content"]["compression"] == 700 - len(ZIPPED)
    binary = archive["/binary"]["response"]["content"]
    assert (binary["encoding"], base64.b64decode(binary["text"])) == ("base64", BINARY)
    assert archive["/chunks"]["response"]["content"]["text"] == "in two chunks"
    assert archive["/two"]["response"]["content"]["text"] == "reply"


def test_what_was_posted(archive):
    asked, answered = archive["/posted"]["request"], archive["/posted"]["response"]
    assert (asked["postData"]["text"], asked["bodySize"]) == ("a=b&c=d", 7)
    assert (answered["status"], answered["statusText"]) == (303, "See Other")
    assert answered["redirectURL"] == "/there"
    assert archive["/two"]["request"]["postData"]["text"] == "question"


@pytest.mark.parametrize(
    ("path", "size", "why"),
    [
        ("/brotli", 8, "br"),
        ("/large", 20_000, "larger"),
        ("/larger", 1_000_000, "larger"),
        ("/cut", 5000, "recorded"),
    ],
)
def test_content_that_is_not_there(archive, path, size, why):
    content = archive[path]["response"]["content"]
    assert "text" not in content
    assert content["size"] == size
    assert why in content["comment"]


def test_messages_after_those_without_content(archive):
    assert archive["/head"]["response"]["content"]["size"] == 0
    assert archive["/after"]["response"]["content"]["text"] == "after"


def test_a_request_that_was_not_answered(archive):
    entry = archive["/never"]
    assert (entry["response"]["status"], entry["response"]["_error"]) == (0, "aborted")
    assert entry["_outcome"] == "aborted"


def test_both_are_written_in_one_run(archive, of_capture):
    found = rows(of_capture, archive["packets"])
    assert {row.target.partition("?")[0] for row in found} == set(archive) - {"packets"}


def test_a_capture_is_exported_too(archive, tmp_path):
    exported(archive["packets"], "--har", tmp_path / "b.har", "--content", "10KiB")
    again = entries(tmp_path / "b.har")
    for path, entry in archive.items():
        if path != "packets":
            assert again[path]["response"]["content"] == entry["response"]["content"]
            assert "_process" not in again[path]


def test_files_follow_each_other(tmp_path):
    """Connections of different files may have the same number."""
    for name in ("one", "two"):
        script = Script()
        Conversation.numbers = itertools.count(1)
        talk = script.connection(Role.SERVER)
        talk.ask(request(f"/{name}"))
        talk.answer(response(name.encode()))
        script.write(tmp_path / f"{name}.rec")
    out = tmp_path / "a.har"
    exported(tmp_path / "one.rec", tmp_path / "two.rec", "--har", out)
    assert {path: each["response"]["content"]["text"] for path, each in entries(out).items()} == {
        "/one": "one",
        "/two": "two",
    }


def test_wrong_use(tmp_path):
    recording = Script().write(tmp_path / "a.rec")
    assert "--har OUT or --pcapng OUT" in exported(recording, code=2).stderr
    assert "cannot both be" in exported(recording, "--har", "-", "--pcapng", "-", code=2).stderr
    assert "a size" in exported(recording, "--har", tmp_path / "x", "--content", "much", code=2).stderr
    (tmp_path / "there.har").write_text("mine")
    assert "--force replaces it" in exported(recording, "--har", tmp_path / "there.har", code=2).stderr
    assert (tmp_path / "there.har").read_text() == "mine"
    exported(recording, "--har", tmp_path / "there.har", "--force")
    assert entries(tmp_path / "there.har") == {}
    assert "no/such" in exported("/no/such", "--har", tmp_path / "y", code=2).stderr
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("what", ["--har", "--pcapng"])
def test_a_full_disk(archive, tmp_path, what):
    assert exported(archive["packets"], what, "/dev/full", code=1).stderr.endswith(
        "rover: cannot write to /dev/full: No space left on device\n"
    )


@pytest.mark.parametrize("what", ["--har", "--pcapng"])
def test_a_reader_that_leaves(archive, what):
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}', "-", *ROVER, "export"]
        + [str(archive["packets"])] * 40
        + [what, "-"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "standard output was closed by its reader" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_archive_that_is_interrupted_is_whole(tmp_path, archive):
    """Ctrl-C while a pipe gives nothing: what was read is there, and the file ends as it should."""
    out = tmp_path / "a.har"
    command = [*ROVER, "export", "-", "--har", out]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(archive["packets"].read_bytes())
            process.stdin.flush()
            wait_until(lambda: out.exists() and b"/after" in out.read_bytes(), "an entry")
            process.send_signal(signal.SIGINT)
            wait_until(lambda: process.poll() is not None, "the end")
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
    assert "/after" in entries(out)


records = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(1, 3), st.sampled_from([None, *Role]), st.booleans()),
        st.tuples(st.just("close"), st.integers(1, 4), st.booleans(), st.just(0)),
        st.tuples(
            st.sampled_from(["data", "data", "data", "plaintext"]),
            st.integers(1, 4),
            st.integers(0, 1),
            st.tuples(
                st.sampled_from([0, 0, 0, 1, -5, 1 << 31, (1 << 61)]),  # what the position jumps by
                st.sampled_from([0, 1, 40, 70_000, 3_000_000]),  # size
                st.sampled_from([b"", b"x", http2(("/a", b"b", b"c"))[0], request("/a")]),
                st.sampled_from([1, 1, 1, 2, 5, 0, -1]),  # what the sequence goes on by
            ),
        ),
    ),
    max_size=25,
)


@settings(max_examples=100)
@given(steps=records)
def test_any_records_make_a_capture(of_capture, tmp_path_factory, steps):
    """Whatever a recording tells: a capture that can be read, in bounded time and space."""
    path = tmp_path_factory.mktemp("any") / "a.pcapng"
    exchanges = Exchanges(1000)
    positions = collections.Counter[tuple[int, int]]()
    sequences = collections.Counter[int]()
    with path.open("wb") as file:
        file.write(pcapng.section("a test"))
        capture = Capture(file.write)
        listeners = [capture, exchanges]
        for listener in listeners:
            listener.begin(EPOCH)
        for time, (what, number, first, rest) in enumerate(steps):
            for listener in listeners:
                if what == "open":
                    listener.opened(
                        Opened(
                            connection=number,
                            time=time,
                            local=Address(host="10.0.0.1", port=40_000 + number),
                            remote=SERVER,
                            role=first,
                            pid=number,
                            late=rest,
                            detail=None,
                        )
                    )
                elif what == "close":
                    listener.closed(Closed(connection=number, time=time, reset=first, detail=None))
                else:
                    jump, size, payload, step = rest
                    detail = Detail(
                        connection=number,
                        sequence=max(sequences[number] + step, 0),
                        start=time,
                        end=time,
                        position=max(positions[number, first] + jump, 0) & (1 << 62) - 1,
                        size=max(size, len(payload)),
                        pid=number,
                        fd=3,
                        syscall=1,
                        direction=first,
                        error=0,
                    )
                    (listener.data if what == "data" else listener.plaintext)(detail, payload)
            if what in ("data", "plaintext"):
                sequences[number] = detail.sequence
                positions[number, first] = detail.position + detail.size
        capture.finish()
    assert path.stat().st_size < 10_000_000
    assert not of_capture(path).error
