"""`rover export`: what is exported replays to the same exchanges, and tshark and readers of HAR see them."""

from __future__ import annotations

import collections
import itertools
import json
import shutil
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
from rover import Address, Closed, Detail, Direction, Opened, Process, Role, Syscall
from rover.recording.reader import Recording
from rover.recording.writer import Writer
from rover_plugin_export import pcapng
from rover_plugin_export.capture import MAX_HOLE, Capture
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
    """Its exchanges. What the end of a recording left unfinished, that of a capture cuts: its connections end."""
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
        # Of the calls that were lost in both directions nobody knows the order: pairs are likely, and marked so.
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
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "a.example"), (":path", path)]
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
