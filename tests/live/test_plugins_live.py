"""A stranger's plugin works as ours do; a broken one costs nobody anything."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import venv
from pathlib import Path

import pytest

from harness import DEADLINE, Program, free_port, tcp_connection, wait_until

ROOT = Path(__file__).parent.parent.parent
OURS = ["core", "bpf", "plugins/http1", "plugins/http2", "plugins/sink_log"]


def serve_lines(port: int) -> threading.Thread:
    """Answers every `ask x` of one connection with `say X`."""
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(DEADLINE)

    def serve() -> None:
        with listener, listener.accept()[0] as connection, connection.makefile("rwb") as stream:
            for line in stream:
                stream.write(b"say " + line[4:].upper())
                stream.flush()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def ask(port: int, questions: list[bytes]) -> None:
    with tcp_connection(port) as connection, connection.makefile("rwb") as stream:
        for question in questions:
            stream.write(b"ask " + question + b"\n")
            stream.flush()
            assert stream.readline() == b"say " + question.upper() + b"\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A clean virtual environment with wheels of our packages and the stranger's."""
    directory = tmp_path_factory.mktemp("installed")
    wheels = directory / "wheels"
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels]
    stranger = shutil.copytree(ROOT / "tests/stranger", directory / "stranger")
    plain = os.environ | {"ROVER_COMPILE": "0"}  # compiling takes minutes, and changes nothing here
    subprocess.run([*build, *(ROOT / part for part in OURS), stranger], check=True, timeout=300, env=plain)
    venv.create(directory / "venv", with_pip=True)
    pip = [directory / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *wheels.glob("*.whl")], check=True, timeout=300)
    return directory / "venv/bin/rover"


@pytest.mark.timeout(600)
def test_a_strangers_wheel_is_listed(installed):
    listed = subprocess.run([installed, "plugins"], capture_output=True, text=True, check=True, timeout=60)
    (row,) = [line for line in listed.stdout.splitlines() if line.startswith("lines ")]
    assert "rover-plugin-lines 3.2.1" in row
    assert "protocol lines, sink tally" in row
    assert "failed" not in listed.stdout


@pytest.mark.live
@pytest.mark.timeout(600)
def test_a_strangers_protocol_is_logged_live(installed, tmp_path, start_program):
    port = free_port()
    tally, log = tmp_path / "tally", tmp_path / "log"
    agent: Program = start_program(
        *(installed, "run", "--sink", "tally", "--sink", "jsonl", "--port", str(port)),
        *("--set", f"sink.tally.file={tally}", "--set", f"sink.jsonl.path={log}"),
    )
    agent.wait_for("watching")
    server = serve_lines(port)
    ask(port, [b"one", b"two", b"three"])
    server.join()
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= 6, f"six lines: {agent.err}")
    assert agent.stop() == 0
    assert agent.err[-3:] == [
        "rover: tally logged 6, lost 0",
        "rover: jsonl logged 6, lost 0",
        "rover: 0 records lost",
    ]
    assert tally.read_text().count('["lines", {"lines.question": "two", "lines.answer": "TWO"}') == 2
    assert log.read_text().count('"network.protocol.name":"lines"') == 6


BROKEN = """
    from rover import hookimpl

    @hookimpl(tryfirst=True)
    def handle_http_data(connection, request, response, details):
        raise RuntimeError("boom")

    @hookimpl
    def on_protocol_break(connection, protocol_break):
        raise RuntimeError("boom")

    @hookimpl
    def register_protocols():
        raise RuntimeError("boom")

    @hookimpl
    def register_sources():
        raise RuntimeError("boom")

    @hookimpl
    def register_sinks():
        raise RuntimeError("boom")

    @hookimpl
    def register_commands(cli):
        raise RuntimeError("boom")

    @hookimpl
    def startup(settings):
        raise RuntimeError("boom")

    @hookimpl
    def shutdown():
        raise RuntimeError("boom")
"""
MISSPELT = """
    from rover import hookimpl

    @hookimpl
    def handle_http_dat(connection):
        pass
"""


@pytest.fixture
def broken_plugins(tmp_path) -> dict[str, str]:
    """Three plugins beside ours, each broken its own way, put on the path like installed ones."""
    site = tmp_path / "site"
    for name, code in {"raises": BROKEN, "misspelt": MISSPELT, "unimportable": "import nowhere"}.items():
        info = site / f"rover_plugin_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rover-plugin-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[rover]\n{name} = rover_plugin_{name}\n")
        (site / f"rover_plugin_{name}.py").write_text(textwrap.dedent(code))
    return {**os.environ, "PYTHONPATH": str(site)}


def test_broken_plugins_are_named(broken_plugins):
    listed = subprocess.run(
        [sys.executable, "-m", "rover", "plugins"],
        env=broken_plugins,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    failed = [line for line in listed.stdout.splitlines() if line.startswith("failed: ")]
    assert any("misspelt" in line and "did you mean handle_http_data?" in line for line in failed)
    assert any("unimportable" in line and "No module named 'nowhere'" in line for line in failed)
    for hook in ("register_sinks", "register_commands"):
        assert any("raises" in line and f"{hook}: RuntimeError" in line for line in failed)


@pytest.mark.live
def test_everything_else_is_logged(nginx, start_agent, broken_plugins):
    agent = start_agent("--pid", str(nginx.program.pid), "--port", str(nginx.port), env=broken_plugins)
    for n in range(50):
        subprocess.run(["curl", "-s", "-o", "/dev/null", f"{nginx.url}/?{n}"], check=True)
    lines = agent.wait_for_exchanges(50)
    assert agent.stop() == 0
    assert len(lines) == 50
    totals = agent.totals()
    assert (totals.seen, totals.logged["jsonl"], totals.lost["jsonl"]) == (50, 50, 0)
    assert any("plugin raises failed 50 times: handle_http_data: RuntimeError" in line for line in agent.err)
    # Said once a minute, not once an exchange.
    assert sum("plugin raises: handle_http_data" in line for line in agent.err) == 1
