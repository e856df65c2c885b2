"""`rover replay` under other Pythons: `python -m tests.distributions.replay PYTHON...`.

For each interpreter, the packages are built plain and compiled, from copies of the checkout, and replay a
capture to the same access logs, to the byte. This needs the standard library alone: any of them runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
COMPILED = (
    *("core", "plugins/http1", "plugins/http2", "plugins/redis"),
    *("plugins/sink_log", "plugins/source_pcap"),
)
"""The packages a replay needs; each has modules that are compiled."""
WITNESS = (
    "import sys; from rover.streams import buffer;"
    "print(buffer.__file__.rpartition('.')[2], sys.version.split()[0])"
)

FIN, SYN, ACK = 0x01, 0x02, 0x10
SETTINGS = bytes.fromhex("000000040000000000")  # an empty one


Row = tuple[str | int | None, ...]
"""What is compared of an exchange: method, target, status, outcome."""


class Capture:
    """A pcap file of raw IPv4 packets, a millisecond apart."""

    def __init__(self) -> None:
        self.bytes = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
        self._packets = 0

    def conversation(self, port: int, *messages: tuple[str, bytes]) -> None:
        """A connection to port 80, from its first packet to its last. A message is (sender, bytes)."""
        sent = {"client": 1_000, "server": 9_000}

        def packet(sender: str, flags: int, data: bytes = b"") -> None:
            other = "server" if sender == "client" else "client"
            ports = (port, 80) if sender == "client" else (80, port)
            ends = (b"\x0a\0\0\1", b"\x0a\0\0\2")[:: 1 if sender == "client" else -1]
            acknowledged = sent[other] if flags & ACK else 0
            segment = struct.pack(">HHIIBBHHH", *ports, sent[sender], acknowledged, 0x50, flags, 65535, 0, 0)
            size = 20 + len(segment) + len(data)
            header = struct.pack(">BBHHHBBH", 0x45, 0, size, self._packets, 0x4000, 64, 6, 0) + b"".join(ends)
            seconds, milliseconds = divmod(self._packets, 1_000)
            self.bytes += struct.pack("<IIII", 1_700_000_000 + seconds, milliseconds * 1_000, size, size)
            self.bytes += header + segment + data
            self._packets += 1
            sent[sender] += len(data) + bool(flags & (SYN | FIN))

        packet("client", SYN)
        packet("server", SYN | ACK)
        packet("client", ACK)
        for sender, data in messages:
            packet(sender, ACK, data)
        packet("client", FIN | ACK)
        packet("server", FIN | ACK)
        packet("client", ACK)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113 section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(index: int, value: bytes) -> bytes:
    """RFC 7541 section 6.2.2: the name from the static table, the value as it is."""
    return bytes([index, len(value)]) + value


def write_capture(path: Path) -> list[Row]:
    """Writes it; returns its exchanges."""
    capture = Capture()
    ok, length = b"HTTP/1.1 200 OK\r\n", b"Content-Length: %d\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    host = b" HTTP/1.1\r\nHost: x\r\n"
    capture.conversation(
        40_001,
        ("client", b"GET /a?b=c" + host + b"\r\n"),
        ("server", ok + length % 5 + b"hello"),
        ("client", b"POST /chunked" + host + chunked + b"3\r\nabc\r\n0\r\n\r\n"),
        ("server", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n" + length % 0),
        ("client", b"GET /1" + host + b"\r\nHEAD /2" + host + b"\r\n"),
        ("server", ok + chunked + b"4;x\r\nwiki\r\n0\r\n\r\n" + ok + length % 9),
    )
    capture.conversation(40_002, ("client", "GET /nöbody".encode() + host + b"\r\n"))
    request = b"\x82\x86" + literal(4, b"/h2") + literal(1, b"x")  # :method GET, :scheme http
    capture.conversation(
        40_003,
        ("client", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS + frame(1, 5, 1, request)),
        ("server", SETTINGS + frame(1, 4, 1, b"\x88") + frame(0, 1, 1, b"hello")),  # :status 200
        ("client", frame(1, 5, 3, request)),
        ("server", frame(1, 5, 3, b"\x8d")),  # :status 404
    )
    path.write_bytes(capture.bytes)
    return [
        ("GET", "/a?b=c", 200, "complete"),
        ("POST", "/chunked", 201, "complete"),
        ("GET", "/1", 200, "complete"),
        ("HEAD", "/2", 200, "complete"),
        ("GET", "/nöbody", None, "aborted"),
        ("GET", "/h2", 200, "complete"),
        ("GET", "/h2", 404, "complete"),
    ]


def quietly(*argv: str | Path, **options: str) -> str:
    """Runs a program, shows what it said when it fails; its output."""
    environment = {**os.environ, **options}
    done = subprocess.run([str(word) for word in argv], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, argv))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(python: str, form: str, folder: Path) -> Path:
    """An environment with the packages in one form, from a copy of the checkout; its interpreter."""
    left_out = shutil.ignore_patterns("build", "*.so", "*.egg-info", "tests")
    copies = [folder / "checkout" / member for member in COMPILED]
    for member, copy in zip(COMPILED, copies, strict=True):
        shutil.copytree(CHECKOUT / member, copy, ignore=left_out)
    quietly(python, "-m", "venv", folder / "venv")
    quietly(folder / "venv/bin/pip", "install", "-q", *copies, ROVER_COMPILE=str(int(form == "compiled")))
    return folder / "venv/bin/python"


def rows_of(lines: bytes) -> list[Row]:
    """What is known of each exchange."""
    names = ("http.request.method", "url.original", "http.response.status_code", "rover.outcome")
    logs = [json.loads(line) for line in lines.splitlines()]
    return [tuple(log.get(name) for name in names) for log in logs if names[0] in log]


def main(pythons: list[str]) -> int:
    """Prints a line for each interpreter and form; 1 when one of them differs."""
    first: bytes | None = None
    failed = False
    with tempfile.TemporaryDirectory() as name:
        capture = Path(name, "capture.pcap")
        expected = write_capture(capture)
        for python in pythons:
            for form in ("plain", "compiled"):
                start = time.monotonic()
                folder = Path(name, python.replace("/", "_"), form)
                interpreter = build(python, form, folder)
                suffix, version = quietly(interpreter, "-c", WITNESS).split()
                output = folder / "access.jsonl"
                replay = (interpreter, "-W", "error", "-m", "rover", "replay", capture)
                quietly(*replay, "--sink", "jsonl", "--set", f"sink.jsonl.path={output}")
                lines = output.read_bytes()
                first = first or lines
                wrong = [
                    *([f"runs {suffix}"] if suffix != {"plain": "py", "compiled": "so"}[form] else []),
                    *([f"other exchanges: {rows_of(lines)}"] if rows_of(lines) != expected else []),
                    *(["other lines than the first"] if lines != first else []),
                ]
                failed |= bool(wrong)
                verdict = "; ".join(wrong) or f"{len(expected)} exchanges as they should be"
                print(f"Python {version} {form:8} {time.monotonic() - start:4.0f} s  {verdict}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [sys.executable]))
