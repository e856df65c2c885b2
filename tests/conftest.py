"""Fixtures that start the real agent, real servers and real clients."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import NGINX, Nginx, Program, RunningAgent, free_port, listening, wait_until
from oap_witness import OapReceiver


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    """Starts agents, and stops whatever still runs at the end of the test."""
    agents: list[RunningAgent] = []

    def start(*arguments: str, directory: Path | None = None, **options: Any) -> RunningAgent:
        agent = RunningAgent(directory or tmp_path, *arguments, **options)
        agents.append(agent)
        return agent

    yield start
    for agent in agents:
        agent.stop()


@pytest.fixture
def start_program() -> Iterator[Callable[..., Program]]:
    """Starts programs, and stops whatever still runs at the end of the test."""
    programs: list[Program] = []

    def start(*argv: str | Path, **options: Any) -> Program:
        program = Program([str(part) for part in argv], **options)
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.stop()


@pytest.fixture
def start_receiver() -> Iterator[Callable[..., OapReceiver]]:
    """Starts OAP receivers, and stops whatever still runs at the end of the test."""
    receivers: list[OapReceiver] = []

    def start(*arguments: str, port: int = 0) -> OapReceiver:
        receivers.append(OapReceiver(*arguments, port=port))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.stop()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every user may enter. pytest's own are root's alone, and are made so again by every
    other pytest that starts meanwhile."""
    with tempfile.TemporaryDirectory(prefix="rover-test-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def nginx(open_path: Path, start_program: Callable[..., Program]) -> Nginx:
    """Serves files, proxies to itself, redirects, says 204."""
    binary = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if binary is None:
        pytest.skip("needs nginx (Debian: nginx-light)")
    root = open_path / "nginx"
    (root / "www").mkdir(parents=True)
    for directory in (root, root / "www"):
        directory.chmod(0o755)
    (root / "www/index.html").write_text("<p>" + "x" * 612)
    (root / "www/big.bin").write_bytes(os.urandom(5_000_000))
    port, backend = free_port(), free_port()
    (root / "nginx.conf").write_text(NGINX.format(root=root, port=port, backend=backend, extra=""))
    program = start_program(binary, "-e", str(root / "error.log"), "-c", root / "nginx.conf", "-p", root)
    wait_until(lambda: listening(port) and listening(backend), f"nginx: {program.err}")
    return Nginx(port, root, root / "witness.log", program)
