"""Kernels before Linux 6.2 read each field by a helper, later ones load it: either way the same is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rover_source_ebpf.kernel
from rover.contracts.source import Selection
from rover.values.records import SYSCALL_NAMES, Direction, Role

pytestmark = pytest.mark.live


@pytest.mark.parametrize("function", [rover_source_ebpf.kernel.CAST, "no such function"])
def test_a_conversation(
    function: str,
    start_watch: Callable[..., Any],
    ports: Callable[[int], list[int]],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both ends, by calls of every shape, over IPv6 and IPv4, with calls on what is no TCP socket between."""
    monkeypatch.setattr(rover_source_ebpf.kernel, "CAST", function)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # this kernel's own programs are kept elsewhere
    watch = start_watch(Selection(ports=tuple(ports(1))))
    port = watch.port()
    child = run(
        """
port = int(sys.argv[1])
listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
null, (one, other) = os.open("/dev/null", os.O_RDWR), socket.socketpair()
for host in ("::1", "127.0.0.1"):
    client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET); client.connect((host, port))
    server = listener.accept()[0]
    os.write(client.fileno(), b"GET / HTTP/1.1\\r\\n\\r\\n"); os.write(null, b"GET /null HTTP/1.1")
    one.send(b"GET /unix HTTP/1.1"); other.recv(100)
    server.recvmsg_into([bytearray(10), bytearray(10)])
    os.writev(server.fileno(), [b"HTTP/1.1 204 ", b"OK\\r\\n\\r\\n"]); server.shutdown(socket.SHUT_WR)
    client.recv(100); client.recv(100); client.close(); server.close()
""",
        port,
    )
    assert child.end() == 0
    seen = watch.ended(port, 4)
    asked, answered = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 OK\r\n\r\n"
    for each in seen:
        assert each.opened.detail is not None
        assert not each.closed[0].unseen
        assert [detail.sequence for detail in each.details] == list(range(len(each.details)))
        if each.opened.role is Role.CLIENT:
            assert SYSCALL_NAMES[each.opened.detail.syscall] == "connect"
            assert each.moved(Direction.EGRESS) == [("write", 18, asked)]
            assert each.moved(Direction.INGRESS) == [("recvfrom", 19, answered), ("recvfrom", 0, b"")]
        else:
            assert SYSCALL_NAMES[each.opened.detail.syscall] == "accept4"
            assert each.moved(Direction.INGRESS) == [("recvmsg", 18, asked)]
            assert each.moved(Direction.EGRESS) == [("writev", 19, answered), ("shutdown", 0, b"")]
    hosts = sorted((each.opened.role.name, each.opened.local.host) for each in seen)
    assert hosts == [("CLIENT", "127.0.0.1"), ("CLIENT", "::1"), ("SERVER", "127.0.0.1"), ("SERVER", "::1")]
    assert not watch.recorder.losses
