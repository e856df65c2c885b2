"""A recording made on this kernel replays to what was logged while it was made."""

from __future__ import annotations

import fcntl
import http.server
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from select import PIPE_BUF
from typing import IO

import pytest

from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue

pytestmark = pytest.mark.live

DEADLINE = 30
PIPE_SIZE = 1 << 16
"""Bytes, see pipe(7)."""
ROVER = (sys.executable, "-m", "rover")


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode() * 20
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server in this process."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def the_plugins() -> None:
    """What these tests need besides the core."""
    manager = PluginManager()
    manager.load_entry_points()
    catalogue = Catalogue(manager)
    for kind, name in (("sources", "ebpf"), ("protocols", "http1"), ("sinks", "jsonl")):
        if name not in getattr(catalogue, kind):
            pytest.skip(f"needs {name} among the installed {kind}")


def test_a_replay_logs_what_the_recorder_logged(tmp_path: Path, port: int) -> None:
    recording, live, replayed = tmp_path / "x.rec", tmp_path / "live", tmp_path / "replayed"
    command = [*ROVER, "record", str(recording), "--port", str(port)]
    command += ["--sink", "jsonl", "--set", f"sink.jsonl.path={live}", "--set", "sink.jsonl.kernel_logs=true"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as recorder:
        assert recorder.stderr is not None
        assert "recording through ebpf" in recorder.stderr.readline()
        for page in range(50):
            url = f"http://127.0.0.1:{port}/{page}"
            with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
                assert answer.read() == f"/{page}".encode() * 20
        recorder.send_signal(signal.SIGINT)
        errors = recorder.stderr.read()
        assert recorder.wait(DEADLINE) == 0, errors
    command = [*ROVER, "replay", str(recording), "--sink", "jsonl"]
    command += ["--set", f"sink.jsonl.path={replayed}", "--set", "sink.jsonl.kernel_logs=true"]
    subprocess.run(command, check=True, timeout=DEADLINE, capture_output=True)
    assert replayed.read_bytes() == live.read_bytes()
    for page in range(50):
        assert live.read_bytes().count(b'"url.original":"/%d"' % page) == 2, "seen at both ends"


def test_a_recording_goes_through_a_pipe(port: int) -> None:
    record = [*ROVER, "record", "-", "--port", str(port)]
    replay = [*ROVER, "replay", "-", "--sink", "jsonl"]
    with (
        subprocess.Popen(record, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as recorder,
        subprocess.Popen(
            replay, stdin=recorder.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as replayer,
    ):
        assert recorder.stderr is not None
        assert recorder.stdout is not None
        recorder.stdout.close()
        assert "recording through ebpf to standard output" in recorder.stderr.readline()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/piped", timeout=DEADLINE).close()
        recorder.terminate()
        lines, errors = replayer.communicate(timeout=DEADLINE)
        assert recorder.wait(DEADLINE) == 0
        assert replayer.returncode == 0, errors
    assert lines.count(b'"url.original":"/piped"') == 2


def waiting_in(pipe: IO[str]) -> int:
    """Bytes that nobody has read."""
    (size,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(size)


def test_a_reader_that_does_not_read_keeps_the_recorder_from_nothing(port: int) -> None:
    """It waits, and ends when it is told to."""
    record = [*ROVER, "record", "-", "--port", str(port)]
    with subprocess.Popen(record, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as recorder:
        assert recorder.stderr is not None
        assert recorder.stdout is not None
        assert "recording through ebpf to standard output" in recorder.stderr.readline()
        with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as answers:
            for _ in range(100):  # some 900 kB, seen at both ends
                client.sendall(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 200))
                size = int(next(line for line in answers if line.startswith(b"Content-Length:")).split()[1])
                assert answers.readline() == b"\r\n"
                answers.read(size)
        deadline = time.monotonic() + DEADLINE
        while waiting_in(recorder.stdout) <= PIPE_SIZE - PIPE_BUF:
            assert time.monotonic() < deadline, "the pipe never fills up"
            time.sleep(0.05)
        recorder.terminate()
        assert recorder.wait(DEADLINE) == 1
        assert "cannot write to standard output: nobody reads it" in recorder.stderr.read()
