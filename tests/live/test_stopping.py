"""SIGTERM, Ctrl-C, SIGHUP and a reader that leaves, under load."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import Program, counted, wait_until

pytestmark = pytest.mark.live


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everything_that_ended_before_is_in_the_file(nginx, start_agent, start_program, number):
    agent = start_agent("--pid", str(nginx.program.pid), "--port", str(nginx.port))
    load = start_program("wrk", "-t1", "-c4", "-d20s", nginx.url + "/?load")
    agent.wait_for_exchanges(500, "server")
    before = len(nginx.entries())
    assert agent.stop(number) == 0
    after = len(nginx.entries())
    load.stop()
    totals = agent.totals()
    logged = agent.exchanges("server")
    assert totals.seen == totals.logged["jsonl"] + totals.lost["jsonl"]
    assert totals.logged["jsonl"] == len(agent.exchanges())
    complete = [line for line in logged if line["rover.outcome"] == "complete"]
    if totals.records_lost == 0:
        assert before <= len(complete) <= after
    assert {key[3] for key in counted(complete)} == {615}


def test_rotation(nginx, start_agent):
    agent = start_agent("--pid", str(nginx.program.pid), "--port", str(nginx.port))
    subprocess.run(["curl", "-s", "-o", "/dev/null", nginx.url + "/?first"], check=True)
    agent.wait_for_exchanges(1)
    agent.path.rename(agent.path.with_suffix(".1"))
    agent.process.send_signal(signal.SIGHUP)
    wait_until(agent.path.exists, "the new file")
    subprocess.run(["curl", "-s", "-o", "/dev/null", nginx.url + "/?second"], check=True)
    assert [line["url.original"] for line in agent.wait_for_exchanges(1)] == ["/?second"]
    agent.finish()


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["alone", "workers"])
def test_a_reader_that_leaves_ends_the_agent(nginx, start_program, workers):
    argv = [sys.executable, "-m", "rover", "run", *workers, "--sink", "jsonl", "--port", str(nginx.port)]
    piped = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert piped.stdout is not None
        assert piped.stderr is not None
        assert "watching" in piped.stderr.readline()
        piped.stdout.close()
        start_program("wrk", "-t1", "-c1", "-d2s", nginx.url + "/")
        assert piped.wait(20) == -signal.SIGPIPE
        assert piped.stderr.read() == ""
    finally:
        piped.kill()
        piped.stderr.close()


WORKERS = [[], ["--workers", "2"]]


@pytest.mark.parametrize("workers", WORKERS, ids=["alone", "workers"])
def test_hangups_without_end_and_rotations_under_load(nginx, start_agent, start_program, workers):
    """A hundred a second: none stops it, nothing is lost, no line is torn, and it ends in time."""
    stop_seconds = 15
    setting = f"limits.stop_seconds={stop_seconds}"
    agent = start_agent("--port", str(nginx.port), "--set", setting, *workers)
    load = start_program("wrk", "-t1", "-c4", "-d60s", nginx.url + "/?load")
    agent.wait_for_exchanges(100)
    old = []
    for count in range(500):
        agent.process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
        if count % 50 == 25 and agent.path.exists():
            old.append(agent.path.with_suffix(f".{len(old)}"))
            agent.path.rename(old[-1])
    wait_until(agent.path.exists, "the newest file")
    began = time.monotonic()
    assert agent.stop() == 0, agent.err
    assert time.monotonic() - began < stop_seconds
    load.stop()
    totals = agent.totals()
    lines = [line for path in (*old, agent.path) for line in path.read_bytes().splitlines()]
    assert all(line.startswith(b'{"timestamp"') and line.endswith(b"}") for line in lines)
    assert len(lines) == totals.seen == totals.logged["jsonl"]
    assert totals.lost["jsonl"] == 0
    assert not [line for line in agent.err if "Traceback" in line]


def takes(pid: int, number: int) -> bool:
    """Whether a signal does not do what it does by default (proc(5), SigBlk, SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(status.partition(f"{name}:")[2].split()[0], 16) for name in ("SigBlk", "SigCgt")]
    return any(mask >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("workers", WORKERS, ids=["alone", "workers"])
def test_a_hangup_before_it_watches_does_not_end_it(tmp_path, workers):
    path = tmp_path / "log"
    agent = Program(
        [
            *(sys.executable, "-m", "rover", "run", "--sink", "jsonl", *workers),
            *("--set", f"sink.jsonl.path={path}", "--port", "1"),
        ]
    )
    try:
        wait_until(lambda: takes(agent.pid, signal.SIGHUP), "its first moment")
        while not any("watching" in line for line in agent.err):
            assert agent.process.poll() is None, agent.err
            agent.process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
        agent.process.send_signal(signal.SIGTERM)
        while agent.process.poll() is None:
            agent.process.send_signal(signal.SIGHUP)
            time.sleep(0.001)
    finally:
        assert agent.stop() == 0, agent.err


@pytest.mark.parametrize("workers", WORKERS, ids=["alone", "workers"])
def test_a_closed_terminal_ends_it(tmp_path, workers):
    pid, terminal = pty.fork()
    if pid == 0:
        sink = ["--sink", "jsonl", "--set", f"sink.jsonl.path={tmp_path / 'log'}"]
        command = [sys.executable, "-m", "rover", "run", *workers, *sink, "--port", "1"]
        os.execv(sys.executable, command)
    said = b""
    while b"watching" not in said:
        said += os.read(terminal, 4096)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 2 * bool(workers)
    os.close(terminal)
    ended = []
    wait_until(lambda: ended.append(os.waitpid(pid, os.WNOHANG)) or ended[-1][0], "its end", 12)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
