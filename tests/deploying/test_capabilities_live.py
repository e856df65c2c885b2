"""The agent without root: what it sees with the unit's capabilities, and what each of them is for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import deployment
from harness import Program, RunningAgent, free_port, listening, wait_until

pytestmark = pytest.mark.live

UNIT = deployment.unit_capabilities()
DETAILS = ["sys_ptrace", "dac_read_search"]
ANOTHER = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"]
"""Begins a command of a user who is neither root nor the agent's."""

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CLIENT = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for path in sys.stdin:
    connection.request("GET", path.strip())
    print(connection.getresponse().read(), flush=True)
"""
READ = """
import json, os, sys
found, pid, descriptor = {}, sys.argv[1], sys.argv[2]
def read(name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read(4096).decode(errors="replace")
def look(name, action):
    try:
        found[name] = str(action())
    except PermissionError:
        found[name] = None
for name in ("comm", "cmdline", "cgroup", "environ"):
    look(name, lambda: read(name))
look("net/tcp", lambda: read("net/tcp")[:2])
look("syscall", lambda: read(f"task/{pid}/syscall"))
look("exe", lambda: os.readlink(f"/proc/{pid}/exe"))
look("ns/net", lambda: os.stat(f"/proc/{pid}/ns/net").st_ino)
look("fd", lambda: os.stat(f"/proc/{pid}/fd/{descriptor}").st_ino)
look("root", lambda: os.listdir(f"/proc/{pid}/root/") != [])
print(json.dumps(found))
"""


class Client:
    """Another user's, with one connection that it keeps."""

    def __init__(self, port: int) -> None:
        self.process = subprocess.Popen(
            [*ANOTHER, deployment.base_python(), "-c", CLIENT, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip

    def ask(self, path: str) -> None:
        """Waits for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        assert "ok" in self.process.stdout.readline()

    def close(self) -> None:
        """Ends the connection and the process."""
        self.process.communicate()


@pytest.fixture
def server(start_program: Callable[..., Program]) -> tuple[Program, int]:
    """Another user's, and its port."""
    port = free_port()
    program = start_program(*ANOTHER, deployment.base_python(), "-c", SERVER, str(port), cwd="/")
    wait_until(lambda: listening(port), "the server listens")
    return program, port


@pytest.fixture
def client(server: tuple[Program, int]) -> Iterator[Client]:
    """Of that server; it has asked once."""
    made = Client(server[1])
    made.ask("/before")
    yield made
    made.close()


@pytest.fixture
def start(open_path: Path, start_agent: Callable[..., RunningAgent]) -> Callable[..., RunningAgent]:
    """Starts the agent as nobody, in a directory of its own."""
    place = open_path / "agent"
    place.mkdir()
    subprocess.run(["chown", "nobody:nogroup", place], check=True)

    def begin(capabilities: list[str], port: int) -> RunningAgent:
        # Maps are the memory cgroup's affair from Linux 5.11 on, and not the limit's on locked memory.
        before = ["prlimit", "--memlock=0", *deployment.as_nobody(capabilities)]
        return start_agent("--port", str(port), directory=place, before=before)

    return begin


def rover(capabilities: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, as nobody."""
    argv = [*deployment.as_nobody(capabilities), sys.executable, "-m", "rover", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def seen(agent: RunningAgent, path: str) -> set[tuple[str, str, int]]:
    """The ends at which a request was seen: role, process, status."""
    return {
        (
            line.get("rover.role", ""),
            line["process.executable.name"],
            line.get("http.response.status_code", 0),
        )
        for line in agent.exchanges()
        if line["url.original"] == path
    }


def test_both_ends_of_another_users_http_are_seen(
    server: tuple[Program, int], client: Client, start: Callable[..., RunningAgent]
) -> None:
    agent = start(UNIT, server[1])
    status = Path(f"/proc/{agent.pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert f"CapEff:\t{sum(1 << NUMBERS[name] for name in UNIT):016x}" in status
    later = Client(server[1])
    later.ask("/later")
    later.close()
    client.ask("/first")  # on a connection that was there before, by the call its server waits in
    client.ask("/second")
    name = deployment.base_python().name[:15]
    both = {("client", name, 200), ("server", name, 200)}
    for path in ("/later", "/first", "/second"):
        wait_until(lambda path=path: seen(agent, path) == both, f"{path}: {seen(agent, path)}")
    pids = {line["process.pid"] for line in agent.exchanges("server")}
    assert pids == {server[0].pid}
    totals = agent.finish()
    assert totals.records_lost == 0
    assert not [line for line in agent.err if "without CAP" in line], agent.err


NUMBERS = {"dac_read_search": 2, "sys_ptrace": 19, "perfmon": 38, "bpf": 39}
"""include/uapi/linux/capability.h"""


@pytest.mark.parametrize("absent", ["bpf", "perfmon"])
def test_what_it_cannot_do_without_is_named(absent: str) -> None:
    ran = rover([name for name in UNIT if name != absent], "run")
    assert ran.returncode == 1
    (said,) = [line for line in ran.stderr.splitlines() if "run.nice" not in line]
    assert said.startswith(f"rover: capturing needs CAP_{absent.upper()}:")


@pytest.mark.parametrize("absent", DETAILS)
def test_what_costs_a_detail_is_said_once_and_the_agent_runs(
    absent: str, server: tuple[Program, int], client: Client, start: Callable[..., RunningAgent]
) -> None:
    """The server's call under way is not known: its next request is seen at the client only."""
    given = [name for name in UNIT if name != absent]
    agent = start(given, server[1])
    assert sum(f"without CAP_{absent.upper()} " in line for line in agent.err) == 1, agent.err
    later = Client(server[1])
    later.ask("/later")
    client.ask("/first")
    client.ask("/second")
    later.close()
    name = deployment.base_python().name[:15]
    wait_until(lambda: len(seen(agent, "/later")) == len(seen(agent, "/second")) == 2, "later and second")
    assert seen(agent, "/later") == {("client", name, 200), ("server", name, 200)}
    assert seen(agent, "/first") == {("client", name, 200)}
    agent.finish()


def verdicts(ran: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """What doctor says, by subject: its verdict and its finding."""
    lines = (re.split(r"  +", line, maxsplit=2) for line in ran.stdout.splitlines())
    return {subject: (verdict, finding) for verdict, subject, finding in lines}


def test_doctor_warns_of_what_costs_a_detail() -> None:
    whole = rover(UNIT, "doctor")
    assert whole.returncode == 0, whole.stdout
    assert verdicts(whole)["other processes"][0] == "ok"
    assert verdicts(whole)["priority"][0] == "warn"  # systemd sets it, see test_systemd_live.py
    part = rover(["bpf", "perfmon"], "doctor")
    assert part.returncode == 0, part.stdout
    verdict, finding = verdicts(part)["other processes"]
    assert verdict == "warn"
    assert finding.startswith("without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
    none = rover([], "doctor")
    assert none.returncode == 1
    assert verdicts(none)["privileges"][0] == "FAIL"


@pytest.mark.parametrize(
    ("capabilities", "refused"),
    [
        ([], {"environ", "syscall", "exe", "ns/net", "fd", "root"}),
        (["bpf", "perfmon"], {"environ", "syscall", "exe", "ns/net", "fd", "root"}),
        (["sys_ptrace"], {"environ", "syscall", "fd"}),
        (["dac_read_search"], {"environ", "syscall", "exe", "ns/net", "fd", "root"}),
        (["sys_ptrace", "dac_read_search"], set()),
        (UNIT, set()),
    ],
    ids="-".join,
)
def test_what_another_users_proc_needs(
    capabilities: list[str], refused: set[str], server: tuple[Program, int]
) -> None:
    """proc(5), ptrace(2) and capabilities(7) by trial; the rows of the table in docs/deploy.md."""
    pid = server[0].pid
    descriptors = Path(f"/proc/{pid}/fd")
    number = next(path.name for path in descriptors.iterdir() if "socket:" in str(path.readlink()))
    argv = [*deployment.as_nobody(capabilities), deployment.base_python(), "-c", READ, str(pid), number]
    ran = subprocess.run(argv, capture_output=True, text=True, cwd="/", check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    assert {name for name, value in found.items() if value is None} == refused
    assert found["comm"].strip() == deployment.base_python().name[:15]
    assert found["cmdline"].split("\0")[1] == "-c"
    assert found["cgroup"] == Path(f"/proc/{pid}/cgroup").read_text()
    if "exe" not in refused:
        assert Path(found["exe"]) == deployment.base_python()
