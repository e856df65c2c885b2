"""SIGTERM, Ctrl-C, SIGHUP and a reader that leaves, under load."""

import signal
import subprocess
import sys

import pytest

from harness import counted, wait_until

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
        assert piped.wait(20) == 1
        errors = piped.stderr.read()
        assert "rover: sink jsonl: standard output was closed by its reader\n" in errors
        assert "Traceback" not in errors
    finally:
        piped.kill()
        piped.stderr.close()
