"""TLS where it is hard: many connections at once, joined late, ended early, other files, other namespaces."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness import free_port, listening, syscalls_of, wait_until
from tls_peers import (
    COUNT,
    PEERS,
    SERVERS,
    Place,
    Start,
    begin,
    binary,
    check,
    expected,
    go_program,
    run,
    told,
)

pytestmark = pytest.mark.live

ROLES = {"client", "server"}
KERNEL_LOGS = ("--set", "sink.jsonl.kernel_logs=true")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("server", ["nginx", "node", "asyncio", "uvloop", "go"])
def test_connections_that_take_turns(
    server: str, loop: str, place: Place, start_program: Start, start_agent: Any
) -> None:
    """Fifty in one thread: no exchange is on another one's connection."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    if server not in SERVERS:
        pytest.skip("no such server")
    connections, rounds = 50, 6
    begin(server, place, start_program)
    agent = start_agent("--port", str(place.port), *KERNEL_LOGS)
    run(sys.executable, PEERS / "interleaved.py", str(place.port), str(connections), str(rounds), loop)
    wanted = collections.Counter(
        ("GET", f"/{n}?{each}", 200, n) for n in range(1, connections + 1) for each in range(1, rounds + 1)
    )
    lines = check(agent, ("client", "server"), wanted)
    paths: dict[str, set[str]] = collections.defaultdict(set)
    for line in lines:
        if "url.path" in line:
            paths[line["rover.connection"]].add(line["url.path"])
    assert len(paths) == 2 * connections
    assert all(len(each) == 1 for each in paths.values())


@pytest.mark.parametrize("server", ["nginx", "node", "asyncio", "uvloop", "apache", "go"])
@pytest.mark.parametrize("client", ["http.client", "aiohttp"])
def test_joined_late(server: str, client: str, place: Place, start_program: Start, start_agent: Any) -> None:
    """A connection that was there before: from some exchange on, each, and none is a wrong one."""
    if client == "aiohttp":
        pytest.importorskip("aiohttp")
    if server not in SERVERS:
        pytest.skip("no such server")
    begin(server, place, start_program)
    command = (sys.executable, PEERS / "client.py", client, str(place.port), str(COUNT), "0.1")
    asking = start_program(*command)
    wait_until(lambda: connections_to(place.port), "a connection")
    agent = start_agent(*KERNEL_LOGS)
    wait_until(
        lambda: all(sum(line["rover.role"] == role for line in ours(agent, place)) >= 20 for role in ROLES),
        "some of both ends",
    )
    asking.process.send_signal(signal.SIGTERM)
    assert asking.join() == 0, asking.err
    pid, last = asking.pid, int(asking.out[-1])
    wait_until(
        lambda: (
            {line["rover.role"] for line in ours(agent, place) if line["url.path"] == f"/{last}"} == ROLES
        ),
        "the last one",
    )
    assert agent.finish().records_lost == 0
    for role in ROLES:
        lines = [line for line in ours(agent, place) if line["rover.role"] == role]
        numbers = [int(line["url.path"][1:]) for line in lines]
        assert numbers == list(range(numbers[0], last + 1)), role
        assert [line["http.response.body.size"] for line in lines] == numbers
        assert all(line["tls"] for line in lines)
        if role == "client":
            assert {line["process.pid"] for line in lines} == {pid}


def connections_to(port: int) -> bool:
    """Whether one of TCP is established to a port of this host (/proc/net/tcp: state 01)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(row[2].split(":")[1], 16) == port and row[3] == "01" for row in rows)


def ours(agent: Any, place: Place) -> list[dict[str, Any]]:
    return [line for line in agent.exchanges() if line["server.port"] == place.port]


def test_five_hundred_programs(place: Place, start_program: Start, start_agent: Any) -> None:
    """Each from its first byte, as the library was known before."""
    begin("nginx", place, start_program)
    agent = start_agent("--port", str(place.port), *KERNEL_LOGS)
    curl = binary("curl")
    shell = (
        f"seq 500 | xargs -P 4 -I N {curl} -sSk -o /dev/null --http1.1 'https://127.0.0.1:{place.port}/7?N'"
    )
    run("sh", "-c", shell, timeout=200)
    wanted = collections.Counter(("GET", f"/7?{n}", 200, 7) for n in range(1, 501))
    check(agent, ("client", "server"), wanted)


def test_go_programs_that_end_at_once(place: Place, start_program: Start, start_agent: Any) -> None:
    """The last answer ends the client, which closes the connection while the server's write returns, and its
    own last write may not return at all: what was written is told when the socket has it."""
    begin("go", place, start_program)
    agent = start_agent("--port", str(place.port), *KERNEL_LOGS)
    for version in ("1", "2") * 50:
        run(go_program(), str(place.port), "2", version)
    check(agent, ("client", "server"), expected([1, 2] * 100))


def test_killed_in_the_middle(place: Place, start_program: Start, start_agent: Any) -> None:
    """What a dead program was in the middle of is forgotten, and others are seen as before."""
    begin("nginx", place, start_program)
    agent = start_agent("--port", str(place.port), *KERNEL_LOGS)
    for _ in range(5):
        command = (sys.executable, PEERS / "client.py", "http.client", str(place.port), str(COUNT), "0.001")
        asking = start_program(*command)
        count = len(agent.exchanges("client"))
        wait_until(lambda before=count: len(agent.exchanges("client")) > before + 20, "some")
        asking.stop(signal.SIGKILL)
    before = len(agent.exchanges("server"))
    run(binary("curl"), "-sSk", "-o", "/dev/null", f"https://127.0.0.1:{place.port}/[1-{COUNT}]")
    agent.wait_for_exchanges(before + COUNT, "server")
    assert agent.finish().records_lost == 0
    assert told(agent.exchanges("server")) >= expected()
    assert all(
        line["http.response.body.size"] == int(line["url.path"][1:])
        for line in agent.exchanges()
        if line["rover.outcome"] == "complete"
    )


def test_the_agent_ends_under_load(
    tmp_path: Path, place: Place, start_program: Start, start_agent: Any
) -> None:
    """Within a second of its own time, with probes in forty files more, and nothing stays attached; the
    programs go on. To let go of one file after the other would take two seconds more, which is what the clock
    is asked: it also counts what others do meanwhile, so that the best of three ends counts."""
    if not Path(LIBSSL).exists():
        pytest.skip("needs Debian's OpenSSL 3")
    for number in range(40):
        shutil.copy(LIBSSL, tmp_path / f"libssl-{number}.so.3")
    begin("nginx", place, start_program)
    start_program(sys.executable, "-c", HOLD, tmp_path).wait_for("loaded")
    taken = []
    while not taken or (min(taken) > 2 and len(taken) < 3):
        agent = start_agent()
        url = f"https://127.0.0.1:{place.port}/9"
        load = start_program(binary("h2load"), "--h1", "-c", "8", "-D", "6", url)
        wait_until(lambda agent=agent: len(ours(agent, place)) >= 2000, "some of both ends")
        links = links_of(agent.pid)
        assert len(links) > 40
        before = processor_time(agent.pid)
        began, reaped = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        assert agent.stop() == 0, agent.err
        taken.append(time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - reaped.ru_utime - reaped.ru_stime - before
        assert own < 1.0, "seconds of processor time at its end"
        wait_until(lambda links=links: not any(map(is_attached, links)), "the end of its links")
        assert load.join() == 0
        assert "0 failed, 0 errored" in "\n".join(load.out)
    assert min(taken) < 2.0, taken


LIBSSL = "/usr/lib/x86_64-linux-gnu/libssl.so.3"
HOLD = """
import ctypes, os, signal, sys
held = [ctypes.CDLL(os.path.join(sys.argv[1], name)) for name in os.listdir(sys.argv[1])]
print("loaded", flush=True)
signal.pause()
"""


def processor_time(pid: int) -> float:
    """Seconds that a process and its children have used (proc(5), stat: utime to cstime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def links_of(pid: int) -> list[int]:
    """The numbers of the BPF links that a process holds."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += re.findall(r"^link_id:\s+(\d+)", descriptor.read_text(), re.MULTILINE)
    return [int(number) for number in found]


def is_attached(link: int) -> bool:
    """Whether there is a BPF link of this number (bpf(2), BPF_LINK_GET_FD_BY_ID)."""
    attributes = struct.pack("=III", link, 0, 0)
    descriptor = ctypes.CDLL(None, use_errno=True).syscall(321, 30, attributes, len(attributes))
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor >= 0


def test_a_library_that_is_replaced(
    tmp_path: Path, place: Place, start_program: Start, start_agent: Any
) -> None:
    """The process that runs the old file stays read, and one that runs the new file is."""
    libraries = Path("/usr/lib/x86_64-linux-gnu")
    if not (libraries / "libssl.so.3").exists() or not Path("/usr/bin/python3").exists():
        pytest.skip("needs Debian's OpenSSL 3 and python3")
    copies = tmp_path / "lib"
    copies.mkdir()
    shutil.copy(libraries / "libssl.so.3", copies)
    shutil.copy(libraries / "libcrypto.so.3", copies)
    begin("nginx", place, start_program)
    environment = os.environ | {"LD_LIBRARY_PATH": str(copies)}
    agent = start_agent("--port", str(place.port), *KERNEL_LOGS)
    command = ("/usr/bin/python3", PEERS / "client.py", "http.client", str(place.port), str(COUNT))
    old = start_program(*command, "0.02", env=environment)
    agent.wait_for_exchanges(10, "client")
    shutil.copy(libraries / "libssl.so.3", copies / "new")
    os.replace(copies / "new", copies / "libssl.so.3")
    new = start_program(*command, "0.02", env=environment)
    assert old.join() == new.join() == 0
    wait_until(lambda: sum(e["url.path"] == f"/{COUNT}" for e in agent.exchanges("client")) == 2, "both")
    assert agent.finish().records_lost == 0
    counts = collections.Counter(line["process.pid"] for line in agent.exchanges("client"))
    # A program that is as fast as this one may have asked before the file was read.
    assert set(counts) == {old.pid, new.pid}
    assert all(count >= COUNT - 5 for count in counts.values()), counts


def test_a_container(tmp_path: Path, place: Place, start_program: Start, start_agent: Any) -> None:
    """A root and namespaces of its own, with its own copy of the library."""
    curl, unshare = binary("curl"), binary("unshare")
    root = tmp_path / "root"
    listed = subprocess.run(["ldd", curl], capture_output=True, text=True, check=True).stdout
    files = [curl, *(word for line in listed.splitlines() for word in line.split() if word.startswith("/"))]
    for file in files:
        copy = root / file.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    begin("nginx", place, start_program)
    agent = start_agent("--port", str(place.port), *KERNEL_LOGS)
    url = f"https://127.0.0.1:{place.port}/[1-{COUNT}]"
    command = [unshare, "--mount", "--pid", "--fork", "chroot", root, curl, "-sSk", "--http1.1"]
    # A program whose library nobody has run before may be faster than who reads the library.
    for runs in range(1, 6):
        run(*command, url)
        agent.wait_for_exchanges(runs * COUNT, "server")
        by_connection = collections.Counter(line["rover.connection"] for line in agent.exchanges("client"))
        if COUNT in by_connection.values():
            break
        time.sleep(1)
    assert COUNT in by_connection.values(), by_connection
    assert agent.finish().records_lost == 0
    assert told(agent.exchanges("server")) == expected([*range(1, COUNT + 1)] * runs)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_proxy(scheme: str, place: Place, start_program: Start, start_agent: Any) -> None:
    """The exchange with the proxy, and, behind it, those with the server. Where the proxy itself is spoken to
    over TLS the client's end has TLS within TLS, of which only the exchange with the proxy is told."""
    port = free_port()
    begin("nginx", place, start_program)
    secured = (place.certificate, place.key) if scheme == "https" else ()
    start_program(sys.executable, PEERS / "proxy.py", str(port), *secured)
    wait_until(lambda: listening(port), "the proxy")
    agent = start_agent("--port", str(port), "--port", str(place.port), *KERNEL_LOGS)
    proxied = ("-x", f"{scheme}://127.0.0.1:{port}", "--proxy-insecure")
    url = f"https://127.0.0.1:{place.port}/[1-50]"
    run(binary("curl"), "-sSk", *proxied, "--http1.1", "-o", "/dev/null", url)
    agent.wait_for_exchanges(50, "server")
    wanted = [("CONNECT", f"127.0.0.1:{place.port}"), *(("GET", f"/{n}") for n in range(1, 51))]
    if scheme == "https":
        wanted = wanted[:1]
    wait_until(lambda: len(at(agent, port, "client")) >= len(wanted), "the client's")
    assert agent.finish().records_lost == 0
    client = at(agent, port, "client")
    assert [(line["http.request.method"], line["url.original"]) for line in client] == wanted
    assert [line["tls"] for line in client] == [scheme == "https", *(True for _ in wanted[1:])]
    assert told(at(agent, place.port, "server")) == expected(range(1, 51))
    for connection, numbers in syscalls_of(agent.lines()).items():
        assert sorted(numbers) == list(range(len(numbers))), connection


def at(agent: Any, port: int, role: str) -> list[dict[str, Any]]:
    return [line for line in agent.exchanges(role) if line["server.port"] == port]


def test_an_unselected_process_is_nowhere(
    tmp_path: Path, place: Place, start_program: Start, start_agent: Any
) -> None:
    """Not in access logs, nor in a recording, nor in what --debug tells."""
    secret = "hunter2-" + os.urandom(8).hex()
    begin("python", place, start_program)
    other = Place(free_port(), place.directory, place.certificate, place.key)
    begin("nginx", other, start_program)
    agent = start_agent("--comm", "nginx", *KERNEL_LOGS)
    recorded = tmp_path / "recording"
    recorder = start_program(sys.executable, "-m", "rover", "record", str(recorded), "--comm", "nginx")
    recorder.wait_for("recording|watching")
    curl = binary("curl")
    for port in (place.port, other.port):
        header = ("-H", f"X-Secret: {secret}") if port == place.port else ()
        run(curl, "-sSk", "--http1.1", *header, "-o", "/dev/null", f"https://127.0.0.1:{port}/[1-20]")
    agent.wait_for_exchanges(20, "server")
    assert recorder.stop() == 0, recorder.err
    agent.finish()
    assert {line["process.executable.name"] for line in agent.exchanges()} == {"nginx"}
    for content in (agent.path.read_bytes(), recorded.read_bytes(), repr([agent.err, recorder.err]).encode()):
        assert secret.encode() not in content
    assert b"GET /20 " in recorded.read_bytes() or recorded.stat().st_size > 1000


@pytest.mark.parametrize("server", ["nginx", "node"])
def test_several_workers(server: str, place: Place, start_program: Start, start_agent: Any) -> None:
    """Each reads its own connections, of either way to tell them."""
    begin(server, place, start_program)
    agent = start_agent("--workers", "3", "--port", str(place.port), *KERNEL_LOGS)
    for _ in range(5):
        run(sys.executable, PEERS / "client.py", "http.client", str(place.port), "40")
    run(sys.executable, PEERS / "interleaved.py", str(place.port), "20", "3")
    wanted = expected([*range(1, 41)] * 5)
    wanted.update(("GET", f"/{n}?{each}", 200, n) for n in range(1, 21) for each in range(1, 4))
    check(agent, ("client", "server"), wanted)


def test_no_tls(place: Place, start_program: Start, start_agent: Any) -> None:
    """It is a switch."""
    begin("nginx", place, start_program)
    agent = start_agent("--no-tls", "--port", str(place.port), *KERNEL_LOGS)
    run(binary("curl"), "-sSk", "-o", "/dev/null", f"https://127.0.0.1:{place.port}/[1-5]")
    wait_until(lambda: len(syscalls_of(agent.lines())) == 2, "the calls of both ends")
    assert agent.finish().records_lost == 0
    assert agent.exchanges() == []
    assert [line for line in agent.err if "2 TLS connections unread" in line]


@pytest.mark.parametrize("kind", ["socket", "memory"])
def test_a_fork_after_the_handshake(kind: str, place: Place, start_program: Start, start_agent: Any) -> None:
    """The child has the connection, and what the library has of it at the same address."""
    server = start_program(
        *(sys.executable, PEERS / "forking_server.py", kind, str(place.port)), place.certificate, place.key
    )
    wait_until(lambda: listening(place.port), f"the server: {server.err}")
    agent = start_agent("--port", str(place.port), *KERNEL_LOGS)
    for _ in range(4):
        run(sys.executable, PEERS / "client.py", "http.client", str(place.port), "50")
    check(agent, ("client", "server"), expected([*range(1, 51)] * 4))
