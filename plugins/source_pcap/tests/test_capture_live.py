"""What tcpdump wrote of real traffic is what was sent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rover.values.records import Role

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to capture"),
    pytest.mark.skipif(shutil.which("tcpdump") is None, reason="needs tcpdump"),
]


@contextmanager
def tcpdump(path: Path, port: int, *options: str) -> Iterator[None]:
    """Captures what loopback carries to and from a port."""
    command = [
        "tcpdump",
        "-U",
        "--immediate-mode",
        "-B",
        "65536",
        "-w",
        str(path),
        *options,
        "tcp",
        "port",
        str(port),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "listening on" in line:
                break
        try:
            yield
        finally:
            process.terminate()


def both_ends_have_ended(recorded: Any) -> bool:
    return bool(recorded.egress.ended and recorded.ingress.ended and not recorded.error)


def serve(listener: socket.socket, answer: bytes) -> None:
    with listener, listener.accept()[0] as peer:
        while peer.recv(65536):
            pass
        peer.sendall(answer)


@pytest.mark.parametrize("interface", ["lo", "any"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_loopback_traffic_is_read_back(tmp_path: Path, replay: Any, interface: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    request = bytes(range(256)) * 2000
    answer = request[::-1]
    path = tmp_path / "capture.pcap"
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip(f"no {address} here")
    port = listener.getsockname()[1]
    with tcpdump(path, port, "-i", interface, "-s", "262144"):
        server = threading.Thread(target=serve, args=(listener, answer))
        server.start()
        with socket.create_connection((address, port)) as client:
            local = client.getsockname()[:2]
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            received = b""
            while some := client.recv(65536):
                received += some
        server.join()
        deadline = time.monotonic() + 30
        # tcpdump writes what it sees a little later.
        while not both_ends_have_ended(recorded := replay(path.read_bytes())):
            assert time.monotonic() < deadline, recorded.error
            time.sleep(0.02)
    assert received == answer
    (opened,) = recorded.opens
    assert (opened.local.host, opened.local.port) == local
    assert (opened.remote.host, opened.remote.port, opened.role) == (address, port, Role.CLIENT)
    assert recorded.egress.data == request
    assert recorded.ingress.data == answer
    assert recorded.closes[0].reset is False
