"""JSON lines: the keys, absent when not known, and every log a line of valid JSON."""

import json
import os
import subprocess
import sys
import textwrap
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import (
    AccessLog,
    Address,
    Connection,
    Detail,
    Outcome,
    Process,
    ProtocolBreak,
    Role,
    RoverError,
    SinkError,
    Syscall,
)
from rover_plugin_sink_log.jsonl import JsonLinesSink
from rover_plugin_sink_log.output import Output

CONNECTION = Connection(
    id=0xABC,
    local=Address(host="10.0.0.1", port=80),
    remote=Address(host="10.0.0.2", port=4000),
    role=Role.SERVER,
    process=Process(pid=42, name="nginx"),
    opened=0,
    epoch=1_700_000_000_000_000_000,
    protocol="http1",
)
DETAIL = Detail(
    connection=0xABC,
    sequence=3,
    start=1_000,
    end=2_500,
    position=0,
    size=18,
    pid=42,
    fd=7,
    syscall=Syscall.RECVFROM,
    direction=0,
    error=0,
)
LOG = AccessLog(
    connection=CONNECTION,
    start=2_500,
    end=10_000,
    protocol="http",
    version="1.1",
    attributes={"http.request.method": "GET", "url.original": "/"},
    details=(DETAIL,),
)


@pytest.fixture
def written(tmp_path):
    """Writes logs, returns the objects of their lines."""
    path = tmp_path / "log"

    def write(*logs, **options):
        sink = JsonLinesSink(Output(str(path)), **options)
        sink.write([sink.prepare(log) for log in logs])
        assert sink.close() == 0
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    return write


def test_an_exchange(written):
    assert written(LOG) == [
        {
            "timestamp": "2023-11-14T22:13:20.000002500Z",
            "duration_ns": 7500,
            "network.protocol.name": "http",
            "network.protocol.version": "1.1",
            "network.transport": "tcp",
            "client.address": "10.0.0.2",
            "client.port": 4000,
            "server.address": "10.0.0.1",
            "server.port": 80,
            "rover.role": "server",
            "process.pid": 42,
            "process.executable.name": "nginx",
            "tls.established": False,
            "http.request.method": "GET",
            "url.original": "/",
            "rover.connection": "0000000000000abc",
            "rover.outcome": "complete",
            "rover.syscalls": [
                {
                    "name": "recvfrom",
                    "sequence": 3,
                    "start_unix_ns": 1_700_000_000_000_001_000,
                    "duration_ns": 1500,
                    "size": 18,
                    "pid": 42,
                    "fd": 7,
                }
            ],
        }
    ]


def described(**attributes):
    process = Process(
        pid=42,
        name="nginx",
        attributes={name.replace("__", "."): value for name, value in attributes.items()},
    )
    return LOG.replace(connection=CONNECTION.replace(process=process))


def test_what_plugins_say_of_the_process(written):
    """In every log of it."""
    log = described(service__name="shop", k8s__pod__name="shop-1\n", replicas=3, canary=True)
    kernel = AccessLog(connection=log.connection, start=5, end=6, details=(DETAIL,))
    for line in written(log, log, kernel, log.replace(outcome=Outcome.BREAK)):
        assert (line["service.name"], line["k8s.pod.name"]) == ("shop", "shop-1\n")
        assert (line["replicas"], line["canary"]) == (3, True)
        assert (line["process.pid"], line["rover.connection"]) == (42, "0000000000000abc")


def test_a_log_s_own_values_are_not_replaced_by_those_of_its_process(written):
    """Each key stands once, also where a line is not parsed but searched."""
    (plain,) = written(LOG)
    own = {name.replace(".", "__"): "?" for name in plain}
    log = described(**own, x="process").replace(attributes={"x": "log"})
    sink = JsonLinesSink(Output("-"))
    for each in (log, log.replace(attributes={}), LOG, log):
        pairs = json.loads(sink.prepare(each)[0], object_pairs_hook=list)
        names = [name for name, _ in pairs]
        assert sorted(set(names)) == sorted(names)
    line = written(log)[-1]
    assert line["x"] == "log"
    assert line["url.original"] == "?"
    assert {name: line[name] for name in plain if name not in LOG.attributes} == {
        name: value for name, value in plain.items() if name not in LOG.attributes
    }


def test_what_is_not_known_is_absent(written):
    bare = Connection(id=1, local=None, remote=None, role=None, process=None, opened=0, epoch=0)
    (line,) = written(AccessLog(connection=bare, start=0, end=0, protocol="lines"))
    assert line == {
        "timestamp": "1970-01-01T00:00:00.000000000Z",
        "duration_ns": 0,
        "network.protocol.name": "lines",
        "network.transport": "tcp",
        "tls.established": False,
        "rover.connection": "0000000000000001",
        "rover.outcome": "complete",
    }


def test_without_a_role_the_ends_are_local_and_peer(written):
    (line,) = written(LOG.replace(connection=CONNECTION.replace(role=None)))
    assert (line["network.local.port"], line["network.peer.port"]) == (80, 4000)
    assert "client.address" not in line
    assert "rover.role" not in line


@pytest.mark.parametrize(
    ("role", "process", "local", "peer"),
    [
        (Role.SERVER, Process(pid=42, name="nginx"), None, ("10.0.0.2", 4000)),
        (Role.CLIENT, Process(pid=42, name="haproxy"), ("10.0.0.1", 80), ("10.0.0.2", 4000)),
        (Role.CLIENT, Process(pid=0, name=""), None, ("10.0.0.1", 80)),
        (Role.CLIENT, None, None, ("10.0.0.1", 80)),
    ],
)
def test_the_client_behind_a_proxy_and_the_sockets_own_ends(written, role, process, local, peer):
    """In a capture, where nobody was watched, the peer is the server's: the proxy."""
    proxied = CONNECTION.replace(role=role, process=process, proxied=Address(host="192.0.2.1", port=5))
    (line,) = written(LOG.replace(connection=proxied))
    server = CONNECTION.local if role is Role.SERVER else CONNECTION.remote
    assert (line["client.address"], line["client.port"]) == ("192.0.2.1", 5)
    assert (line["server.address"], line["server.port"]) == (server.host, server.port)
    assert (line["network.peer.address"], line["network.peer.port"]) == peer
    found = line.get("network.local.address"), line.get("network.local.port")
    assert found == (local or (None, None))


def test_a_break(written):
    broken = CONNECTION.replace(
        protocol="", protocol_break=ProtocolBreak(reason="hpack", detail="index 70", protocol="http2")
    )
    (line,) = written(AccessLog(connection=broken, start=5, end=5, details=(DETAIL,), outcome=Outcome.BREAK))
    assert line["rover.outcome"] == "break"
    assert line["rover.break.reason"] == "hpack"
    assert line["rover.break.detail"] == "index 70"
    assert line["rover.break.protocol"] == "http2"
    assert "network.protocol.name" not in line
    assert len(line["rover.syscalls"]) == 1


def test_a_kernel_log_has_no_outcome(written):
    (line,) = written(AccessLog(connection=CONNECTION, start=5, end=6, details=(DETAIL,)))
    assert "rover.outcome" not in line
    assert line["rover.syscalls"][0]["sequence"] == 3


def test_a_segment_of_a_capture_is_no_syscall(written):
    (line,) = written(LOG.replace(details=(DETAIL.replace(syscall=Syscall.NONE),)))
    assert "rover.syscalls" not in line


def test_syscalls_can_be_left_out(written):
    assert "rover.syscalls" not in written(LOG, syscalls=False)[0]


@pytest.mark.parametrize("value", ["\ud800", "a\nb\x00\u2028", 1 << 80, "käse"])
def test_any_attribute_makes_valid_json_on_one_line(written, value):
    (line,) = written(LOG.replace(attributes={"x": value}))
    assert line["x"] == value


ESCAPED = {
    *range(0x20),
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
}
"""What a terminal would obey, or not show where it stands: C0 and C1 controls, DEL, line and paragraph
separators, bidirectional controls (Unicode's Bidi_Control)."""
ATTENDED = sorted({c + n for c in ESCAPED for n in (-1, 0, 1) if c + n >= 0})


def test_what_would_steer_a_terminal_is_escaped_wherever_it_stands():
    """Each character and its neighbours, at each place in eight bytes, in every text of a line."""
    lines = JsonLinesSink(Output("-"))
    for code in ATTENDED:
        for around in (*("abcdefg"[:size] for size in range(8)), "ü", "漢字", "\U0001f600"):
            text = f"{around}{chr(code)}{around}{chr(code)}"
            broken = ProtocolBreak(reason=text, detail=text, protocol=text)
            connection = CONNECTION.replace(process=Process(pid=1, name=text), protocol_break=broken)
            log = LOG.replace(connection=connection, protocol=text, version=text, attributes={text: text})
            for each in (log, AccessLog(connection=connection, start=5, end=5, outcome=Outcome.BREAK)):
                line = lines.prepare(each)[0].decode()
                assert line.endswith("\n")
                assert not ESCAPED.intersection(map(ord, line[:-1]))
                told = json.loads(line)
                assert told["process.executable.name"] == text
            told = json.loads(lines.prepare(log)[0])
            assert told["network.protocol.name"] == told["network.protocol.version"] == told[text] == text
            # Nothing else is.
            assert chr(code) in lines.prepare(log)[0].decode() or code in (*ESCAPED, 0x22, 0x5C)


@settings(max_examples=500, deadline=None)
@given(
    text=st.text(st.sampled_from([*map(chr, ATTENDED), *'ab"\\', "ü", "漢", "\U0001f600"]) | st.characters())
)
def test_any_text_is_escaped_and_read_back(text):
    line = JsonLinesSink(Output("-")).prepare(LOG.replace(attributes={"x": text}))[0].decode()
    assert not ESCAPED.intersection(map(ord, line[:-1]))
    assert json.loads(line)["x"] == text


def test_a_text_that_is_all_escaped_takes_no_object_for_each_character():
    """A field of a hostile head may have a hundred thousand of them."""
    lines = JsonLinesSink(Output("-"))
    log = LOG.replace(attributes={"x": "\x8f" * 100_000})
    lines.prepare(log)
    tracemalloc.start()
    try:
        assert len(lines.prepare(log)[0]) > 600_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_file_is_appended_to(written):
    written(LOG)
    assert len(written(LOG)) == 2


def test_a_path_that_cannot_be_opened_is_named():
    with pytest.raises(RoverError, match="cannot open /nowhere/log for writing: No such file or directory"):
        Output("/nowhere/log")


def test_reopening_follows_the_path_after_rotation(tmp_path):
    path = tmp_path / "log"
    sink = JsonLinesSink(Output(str(path)))
    sink.write([sink.prepare(LOG)])
    path.rename(tmp_path / "log.1")
    sink.reopen()
    sink.write([sink.prepare(LOG)] * 2)
    sink.close()
    assert len((tmp_path / "log.1").read_bytes().splitlines()) == 1
    assert len(path.read_bytes().splitlines()) == 2


def test_a_reader_that_left_closes_the_sink():
    read, write = os.pipe()
    os.close(read)
    output = Output("-")
    output._descriptor = write
    sink = JsonLinesSink(output)
    with pytest.raises(SinkError, match="standard output was closed by its reader") as raised:
        sink.write([sink.prepare(LOG)])
    assert raised.value.closed
    os.close(write)


FULL_DISK = """
    import resource, signal, sys
    from rover import SinkError
    from rover_plugin_sink_log.output import Output

    path, limit = sys.argv[1], 1000
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    output = Output(path)
    lines = [(b"%04d " % n + b"x" * 40 + b"\\n", True) for n in range(100)]
    try:
        output.write(lines[:50])
    except SinkError as error:
        print(error)
    try:
        output.write(lines[50:])
    except SinkError:
        pass
    if sys.argv[2] == "freed":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        output.flush()
    print(output.close())
"""


@pytest.mark.parametrize(("then", "lost"), [("freed", 0), ("stays full", 79)])
def test_a_disk_that_fills_up_tears_no_line(tmp_path, then, lost):
    """The file size limit stands for the disk: the same short write, then an error."""
    path = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(path), then],
        capture_output=True,
        text=True,
        check=True,
    )
    said, unwritten = done.stdout.splitlines()
    assert said == f"cannot write to {path}: File too large"
    assert int(unwritten) == lost
    whole = [line for line in path.read_bytes().split(b"\n") if len(line) == 45]
    assert [int(line[:4]) for line in whole] == list(range(100 - lost))
