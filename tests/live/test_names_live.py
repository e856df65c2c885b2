"""Names in the access logs of the real agent: of containers in real cgroups, by engines on real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import grpc
import pytest

import deployment
from harness import DEADLINE, Program, RunningAgent, free_port, listening, wait_until
from rover_plugin_names.cri import SERVICE
from rover_plugin_names.messages import CLASSES

pytestmark = pytest.mark.live

NOBODY = ("plugin.names.cri=", "plugin.names.docker=", "plugin.names.podman=", "plugin.names.files=false")
"""Settings with which nobody on this host is asked."""


def naming(*settings: str) -> list[str]:
    """Arguments of rover: only those are asked who are named here."""
    return [part for setting in (*NOBODY, *settings) for part in ("--set", setting)]


@pytest.fixture
def in_cgroup(start_program: Callable[..., Program]) -> Iterator[Callable[[str], tuple[int, Program]]]:
    """Starts a server in a cgroup of this name; its port, and its process."""
    mounted = deployment.cgroup_directory()
    if mounted is None:
        pytest.skip("needs cgroup v2")
    top = mounted / f"rover-test-{uuid.uuid4().hex[:8]}"
    programs = []

    def start(name: str) -> tuple[int, Program]:
        directory = top / name
        directory.mkdir(parents=True)
        port = free_port()
        program = start_program(
            *(
                sys.executable,
                "-m",
                "http.server",
                "--protocol",
                "HTTP/1.1",
                "--bind",
                "127.0.0.1",
                str(port),
            ),
            cwd=Path(__file__).parent / "peers",
        )
        (directory / "cgroup.procs").write_text(str(program.pid))
        programs.append(program)
        wait_until(lambda: listening(port), f"the server listens: {program.err}")
        return port, program

    yield start
    for program in programs:
        program.stop()
    for directory, _, _ in os.walk(top, topdown=False):
        Path(directory).rmdir()


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """An engine: the path of its socket, and what it tells of containers, by their ids."""
    containers: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            version = {"Components": [{"Name": "Engine"}], "Version": "27.1"}
            identity = self.path.removeprefix("/containers/").removesuffix("/json")
            told = version if self.path == "/version" else containers.get(identity)
            self.send_response(404 if told is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(told or {"message": "no such container"}).encode())

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            pass

    path = str(tmp_path / "docker.sock")
    with ThreadingUnixStreamServer(path, Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path, containers
        server.shutdown()
        thread.join()


class Asking:
    """A client that keeps its connection, and reads the server's log of each request."""

    def __init__(self, agent: RunningAgent, port: int) -> None:
        self._agent = agent
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)

    def __call__(self) -> dict[str, Any]:
        """Asks once; the log of it."""
        before = len(self._agent.exchanges("server"))
        self._connection.request("GET", "/")
        self._connection.getresponse().read()
        return self._agent.wait_for_exchanges(before + 1, "server")[-1]

    def until(self, name: str) -> dict[str, Any]:
        """Asks until the log has this attribute; the log. The first may miss it: nobody waits long for a
        name, and this machine may be busy."""
        asked = [self()]
        wait_until(lambda: name in asked[-1] or asked.append(self()), name)
        return asked[-1]

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_containers_logs_have_its_names(
    start_agent: Callable[..., RunningAgent],
    start_receiver: Callable[..., Any],
    in_cgroup: Callable[[str], tuple[int, Program]],
    docker: tuple[str, dict[str, Any]],
    workers: int,
) -> None:
    """In JSON lines, and as a service of the OAP server's topology."""
    path, containers = docker
    identity = uuid.uuid4().hex * 2
    labels = {"com.docker.compose.service": "web", "com.docker.compose.project": "shop"}
    containers[identity] = {"Name": "/shop-web-1", "Config": {"Labels": labels}}
    port, server = in_cgroup(f"docker-{identity}.scope")
    receiver = start_receiver()
    agent = start_agent(
        *("--port", str(port), "--workers", str(workers), *naming(f"plugin.names.docker={path}")),
        *("--set", f"sink.oap.address=127.0.0.1:{receiver.port}", "--set", "sink.oap.flush_period=100ms"),
        *("--set", "sink.oap.spool=false"),
        sinks=("jsonl", "oap"),
    )
    asking = Asking(agent, port)
    served = asking.until("container.name")
    asking.close()
    assert served["process.pid"] == server.pid
    names = {name: value for name, value in served.items() if name.startswith(("service.", "container."))}
    assert names == {
        "service.name": "web",
        "service.namespace": "shop",
        "container.id": identity,
        "container.name": "shop-web-1",
    }
    asked = agent.wait_for_exchanges(1, "client")[-1]
    assert asked["service.name"] == asked["process.executable.name"]
    assert "container.id" not in asked
    agent.finish()
    connections = [message["connection"] for message in receiver.messages() if "connection" in message]
    ends = {(each.get("role", "client"), each["local"]["kubernetes"]["serviceName"]) for each in connections}
    assert {("server", "web.shop"), ("client", asked["service.name"])} <= ends


def test_a_connection_that_is_open_gets_the_names_that_come_later(
    tmp_path: Path,
    start_agent: Callable[..., RunningAgent],
    in_cgroup: Callable[[str], tuple[int, Program]],
) -> None:
    """Of a container runtime that was down when it was first asked."""
    path = tmp_path / "containerd.sock"
    path.touch()  # what is left of it
    identity, pod = uuid.uuid4().hex * 2, str(uuid.uuid4())
    port, _ = in_cgroup(f"kubepods/besteffort/pod{pod}/{identity}")
    agent = start_agent("--port", str(port), *naming(f"plugin.names.cri={path}"))
    asking = Asking(agent, port)
    first = asking()
    agent.wait_for(f"names: {re.escape(str(path))}: no answer of gRPC; until it answers")
    assert (first["container.id"], first["k8s.pod.uid"]) == (identity, pod)
    assert "k8s.pod.name" not in first
    path.unlink()
    with runtime(path, identity):
        named = asking.until("k8s.pod.name")
    asking.close()
    assert {name: value for name, value in named.items() if name.startswith(("service.", "k8s."))} == {
        "service.name": "shop",
        "service.namespace": "prod",
        "k8s.namespace.name": "prod",
        "k8s.pod.name": "shop-6d4b75cb6d-x7k2p",
        "k8s.pod.uid": pod,
        "k8s.container.name": "app",
        "k8s.deployment.name": "shop",
    }
    assert named["rover.connection"] == first["rover.connection"]
    agent.finish()


@contextlib.contextmanager
def runtime(path: Path, identity: str) -> Iterator[None]:
    """A container runtime with one container, in one pod."""
    sandbox = uuid.uuid4().hex * 2
    metadata = {"name": "shop-6d4b75cb6d-x7k2p", "namespace": "prod"}
    answers = {
        "ListContainers": CLASSES["ListContainersResponse"](
            containers=[{"id": identity, "pod_sandbox_id": sandbox, "metadata": {"name": "app"}}]
        ),
        "ListPodSandbox": CLASSES["ListPodSandboxResponse"](
            items=[{"id": sandbox, "metadata": metadata, "labels": {"pod-template-hash": "6d4b75cb6d"}}]
        ),
    }
    server = grpc.server(futures.ThreadPoolExecutor(2))
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            lambda request, _, answer=answer: answer,
            request_deserializer=CLASSES[f"{name}Request"].FromString,
            response_serializer=CLASSES[f"{name}Response"].SerializeToString,
        )
        for name, answer in answers.items()
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE[1:], handlers)])
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait(DEADLINE)


@pytest.mark.parametrize("kind", ["cri", "docker"])
def test_one_that_hangs_holds_up_neither_logs_nor_the_end(
    tmp_path: Path,
    start_agent: Callable[..., RunningAgent],
    in_cgroup: Callable[[str], tuple[int, Program]],
    kind: str,
) -> None:
    """It takes connections and says nothing; the agent ends while it is asked."""
    path = tmp_path / "hangs.sock"
    identity = uuid.uuid4().hex * 2
    port, _ = in_cgroup(f"docker-{identity}.scope")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        agent = start_agent("--port", str(port), *naming(f"plugin.names.{kind}={path}"))
        asking = Asking(agent, port)
        logs = [asking() for _ in range(5)]
        asking.close()
        began = time.monotonic()
        totals = agent.finish()
        assert time.monotonic() - began < DEADLINE / 2
    assert [log["container.id"] for log in logs] == [identity] * 5
    assert totals.seen == totals.logged["jsonl"]


def test_the_doctor_says_who_answers(docker: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    path, _ = docker
    stale = tmp_path / "podman.sock"
    stale.touch()
    settings = naming(
        f"plugin.names.docker={path}", f"plugin.names.podman={stale}", "plugin.names.cri=/nowhere"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "rover", "doctor", *settings], capture_output=True, text=True, timeout=60
    )
    told = {line.split(None, 3)[2]: line for line in ran.stdout.splitlines() if " names " in line}
    assert told["docker"].startswith("ok ")
    assert f"Docker Engine 27.1 answers at {path}" in told["docker"]
    assert told["podman"].startswith("warn ")
    assert f"{stale}: Connection refused; let the agent's user connect to it" in told["podman"]
    assert told["cri"].startswith("- ")
    assert told["cri"].endswith("no /nowhere")


# -- podman itself ----------------------------------------------------------------------------


@pytest.fixture
def podman(tmp_path: Path, start_program: Callable[..., Program]) -> Iterator[Callable[..., str]]:
    """Runs podman, with storage of its own; what it printed. Its socket is `podman.sock`."""
    if missing := deployment.missing_commands(["podman", "runc", "busybox"]):
        pytest.skip(f"needs {', '.join(missing)} (Debian: podman, runc, busybox-static)")
    # Paths of sockets below it are short ones.
    directory = Path(f"/run/rover-test-{uuid.uuid4().hex[:8]}")
    command = [
        *("podman", "--root", tmp_path / "storage", "--runroot", directory, "--tmpdir", directory / "tmp"),
        *("--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"),
    ]

    def run(*arguments: object) -> str:
        argv = [str(part) for part in (*command, *arguments)]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    service = start_program(*command, "system", "service", "--time", "0", f"unix://{tmp_path}/podman.sock")
    wait_until((tmp_path / "podman.sock").exists, f"podman's service: {service.err}")
    yield run
    run("rm", "--all", "--force", "--time", "0")
    service.stop()
    shutil.rmtree(directory, ignore_errors=True)


def test_a_container_of_podman(
    tmp_path: Path, start_agent: Callable[..., RunningAgent], podman: Callable[..., str]
) -> None:
    """The one that was there before the agent, and the one that comes later."""
    root = tmp_path / "rootfs"
    (root / "bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    (root / "index.html").write_text("hello\n")

    def start(name: str, port: int, *more: str) -> str:
        # Limits within those of this test: who may not raise them starts containers, too.
        limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=512:512")
        server = ("/bin/busybox", "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", "/")
        identity = podman(
            *("run", "--detach", "--name", name, "--network", "host", *limits, *more),
            "--rootfs",
            root,
            *server,
        )
        wait_until(lambda: listening(port), f"the server of {name}")
        return identity

    ports = free_port(), free_port()
    first = start("shop-web-1", ports[0], "--label", "com.docker.compose.service=web")
    agent = start_agent(
        *("--port", str(ports[0]), "--port", str(ports[1])),
        *naming(f"plugin.names.podman={tmp_path}/podman.sock"),
    )
    assert named(agent, ports[0]) == ("web", "shop-web-1", first)
    second = start("mail", ports[1])
    assert named(agent, ports[1]) == ("mail", "mail", second)
    agent.finish()


def named(agent: RunningAgent, port: int) -> tuple[str, str, str]:
    """What the newest log of the server at this port says, as soon as it has the container's name. The server
    forks for each connection."""
    asking = Asking(agent, port)
    log = asking.until("container.name")
    asking.close()
    return log["service.name"], log["container.name"], log["container.id"]
