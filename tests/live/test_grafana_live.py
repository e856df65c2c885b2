"""The page "from nothing to a Grafana panel": its commands, run as they stand up to Grafana, and all queries
of the dashboard, asked of Prometheus."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard import EXPRESSIONS
from harness import Program, free_port, wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus (Debian: prometheus)"),
]

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/grafana.md").read_text()
INSTALLS = ("pip install", "sudo apt install", "docker run")
"""What a test does not run."""


class Shell:
    """Runs commands of the page, in a directory where its files come to lie, on ports that are free."""

    def __init__(self, directory: Path, start_program: Callable[..., Program]) -> None:
        self._directory = directory
        self._start = start_program
        self.ports = {port: str(free_port()) for port in ("8000", "9090", "9464")}
        shutil.copytree(ROOT / "packaging/grafana", directory / "packaging/grafana")
        scraped = directory / "packaging/grafana/prometheus.yml"
        scraped.write_text(self.here(scraped.read_text()).replace("5s", "200ms"))
        commands = directory / "bin"
        commands.mkdir()
        (commands / "sudo").write_text('#!/bin/sh\nexec "$@"\n')  # the test is root already
        (commands / "sudo").chmod(0o755)
        (commands / "rover").symlink_to(Path(sys.executable).with_name("rover"))
        self._environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}

    def here(self, text: str) -> str:
        """The text with the ports of this test."""
        return re.sub(r"\b(8000|9090|9464)\b", lambda port: self.ports[port[0]], text)

    def run(self, command: str) -> str:
        """What a command that ends says."""
        ran = subprocess.run(
            ["bash", "-ec", self.here(command)],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def begin(self, command: str) -> Program:
        """One that lasts."""
        said = self.here(command).strip().rpartition("\n")
        if said[0]:
            self.run(said[0])
        return self._start("bash", "-c", f"exec {said[2]}", cwd=self._directory, env=self._environment)


@pytest.fixture
def commands() -> Iterator[str]:
    """The blocks of the page that a reader types, in their order, but for those that install."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.replace("\\\n", " "), re.MULTILINE | re.DOTALL)
    kept = [
        "\n".join(line for line in block.splitlines() if not line.startswith(INSTALLS)) for block in blocks
    ]
    return iter([block for block in kept if block])


def asked(port: str, query: str) -> list[dict[str, object]]:
    """Prometheus's answer."""
    address = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        said = json.loads(answer.read())
    assert said["status"] == "success"
    result: list[dict[str, object]] = said["data"]["result"]
    return result


def test_the_page(tmp_path: Path, commands: Iterator[str], start_program: Callable[..., Program]) -> None:
    shell = Shell(tmp_path, start_program)
    shell.run(next(commands))  # rover doctor
    shell.run(next(commands))  # rover.toml
    with (tmp_path / "rover.toml").open("a") as file:
        file.write(
            f"[select]\nport = [{shell.ports['8000']}]\n"
        )  # what else there is on this host is nobody's
    agent = shell.begin(next(commands))
    agent.wait_for("watching through ebpf")
    shell.begin(next(commands))
    ask = next(commands)
    count = ask.strip().splitlines()[-1]
    ask = ask.replace(count, "").replace("seq 100", "seq 10")
    files = "curl -sf http://127.0.0.1:8000/files/"
    wait_until(lambda: _runs(shell, files), "the server")

    prometheus = next(commands)
    shell.begin(prometheus)
    wait_until(lambda: _runs(shell, "curl -sf http://127.0.0.1:9090/-/ready"), "Prometheus")
    shell.run(ask)
    said = shell.run(count)
    assert re.search(
        r'http_route="/files/\{name\}",http_response_status_code="200".*\} \d+$', said, re.MULTILINE
    )
    (none,) = [line for line in said.splitlines() if 'http_response_status_code="404"' in line]
    assert "http_route" not in none

    query = next(commands)
    assert query.startswith("promtool query instant")

    def answered() -> bool:
        shell.run(ask)
        seconds = re.findall(r'\{http_route="/files/\{name\}"\} => (\S+) @', shell.run(query))
        # NaN: nothing was counted between two scrapes yet.
        return bool(seconds) and 0 < float(seconds[0]) < 10

    wait_until(answered, "the 99 % by route", 60)
    for expression in EXPRESSIONS:
        concrete = (
            expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$service", ".*")
        )
        found = asked(shell.ports["9090"], concrete)
        if "http_" in concrete and "error_type" not in concrete:
            assert found, concrete
    assert not list(commands), "every command of the page is run"


def _runs(shell: Shell, command: str) -> bool:
    try:
        shell.run(command)
    except AssertionError:
        return False
    return True
