"""`rover run --workers`: real traffic shared by processes, every exchange once, and none left behind."""

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import counted, curl, free_port, listening, syscalls_of, tcp_connection, wait_until

pytestmark = pytest.mark.live

PEERS = Path(__file__).parent / "peers"
REQUESTS = 300


def children_of(pid):
    """The processes that were forked by it and live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid):
    """Ended, whether or not somebody has reaped it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def ask_on_many_connections(nginx, directory):
    """A fresh connection for each of many requests, so that every worker has some; then a kept one."""
    urls = directory / "urls"
    urls.write_text("".join(f'url = "{nginx.url}/?n={n}"\noutput = /dev/null\n' for n in range(REQUESTS)))
    curl("-H", "Connection: close", "-K", str(urls))
    curl("-K", str(urls))


@pytest.mark.parametrize("workers", ["2", "3"])
def test_every_exchange_once_whoever_has_its_connection(nginx, start_agent, tmp_path, workers):
    agent = start_agent("--port", str(nginx.port), "--workers", workers)
    assert len(children_of(agent.pid)) == int(workers)
    ask_on_many_connections(nginx, tmp_path)
    lines = agent.wait_for_exchanges(4 * REQUESTS)
    expected = collections.Counter({("GET", f"/?n={n}", 200, 615): 2 for n in range(REQUESTS)})
    for role, name in (("server", "nginx"), ("client", "curl")):
        own = [line for line in lines if line["rover.role"] == role]
        assert counted(own) == expected
        assert {line["process.executable.name"] for line in own} == {name}
    totals = agent.finish()
    assert totals.seen == totals.logged["jsonl"] == 4 * REQUESTS
    assert totals.records_lost == 0
    for calls in syscalls_of(agent.lines()).values():
        assert calls == sorted(set(calls))


def test_each_worker_has_a_part_and_both_ends_of_a_connection(nginx, start_agent, tmp_path):
    """The remainder of the connection's number says whose it is."""
    agent = start_agent("--port", str(nginx.port), "--workers", "2")
    ask_on_many_connections(nginx, tmp_path)
    lines = agent.wait_for_exchanges(4 * REQUESTS)
    owners = collections.defaultdict(set)
    for line in lines:
        owners[line["client.port"]].add(int(line["rover.connection"], 16) % 2)
    assert all(len(found) == 1 for found in owners.values())
    shares = collections.Counter(owner for found in owners.values() for owner in found)
    assert set(shares) == {0, 1}
    assert max(shares.values()) < 0.7 * sum(shares.values())
    agent.finish()


def test_the_console_has_one_header_and_whole_lines(nginx, start_agent, tmp_path):
    agent = start_agent("--port", str(nginx.port), "--workers", "2", sinks=("console",))
    ask_on_many_connections(nginx, tmp_path)
    wait_until(lambda: len(agent.out) > 4 * REQUESTS, "all lines")
    agent.finish()
    assert [number for number, line in enumerate(agent.out) if line.startswith("TIME")] == [0]
    assert all("  GET     /?n=" in line for line in agent.out[1:])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everything_that_ended_before_is_in_the_file(nginx, start_agent, start_program, number):
    """The signal reaches the whole process group, as at a terminal."""
    agent = start_agent(
        "--pid", str(nginx.program.pid), "--port", str(nginx.port), "--workers", "2", start_new_session=True
    )
    load = start_program("wrk", "-t1", "-c8", "-d20s", nginx.url + "/?load")
    agent.wait_for_exchanges(500, "server")
    before = len(nginx.entries())
    os.killpg(agent.pid, number)
    assert agent.join() == 0, agent.err
    after = len(nginx.entries())
    load.stop()
    totals = agent.totals()
    assert totals.seen == totals.logged["jsonl"] + totals.lost["jsonl"]
    assert totals.logged["jsonl"] == len(agent.exchanges())
    complete = [line for line in agent.exchanges("server") if line["rover.outcome"] == "complete"]
    if totals.records_lost == 0:
        assert before <= len(complete) <= after
    assert {key[3] for key in counted(complete)} == {615}
    assert not [line for line in agent.err if "Traceback" in line]


UPGRADE = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x-echo\r\n\r\n"
BODY = 200_000


def test_a_break_stops_the_upload(start_agent, start_program):
    """A worker tells the kernel: several connections go on in what nobody decodes, and a lot of it."""
    port = free_port()
    start_program(sys.executable, PEERS / "switching_server.py", str(port))
    wait_until(lambda: listening(port), "the server")
    agent = start_agent("--port", str(port), "--workers", "2")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(tcp_connection(port)) for _ in range(8)]
        for each in sockets:
            each.sendall(UPGRADE)
            assert b"101" in each.recv(65536)
        wait_until(
            lambda: sum(line.get("rover.outcome") == "break" for line in agent.lines()) == 16,
            "a break of both ends of each",
        )
        for each in sockets:
            each.sendall(b"z" * BODY)
            left = BODY
            while left > 0:
                left -= len(each.recv(65536))
    totals = agent.finish()
    assert totals.breaks == {"upgrade": 16}
    (uploaded,) = re.findall(r"uploaded_bytes (\d+)", "".join(agent.err))
    assert 16 * len(UPGRADE) < int(uploaded) < BODY


def test_a_parent_that_is_killed_leaves_nobody_and_nothing_behind(nginx, start_agent):
    agent = start_agent("--port", str(nginx.port), "--workers", "3")
    children = children_of(agent.pid)
    assert len(children) == 3
    assert agent.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: all(gone(child) for child in children), "the workers' end")


def test_a_worker_that_dies_is_started_again(nginx, start_agent, tmp_path):
    """What comes while there is none waits in its ring: nothing is lost but what the dead one had in hand,
    and nothing is told twice."""
    agent = start_agent("--port", str(nginx.port), "--workers", "2")
    for round_ in range(1, 4):
        ask_on_many_connections(nginx, tmp_path)
        agent.wait_for_exchanges(4 * REQUESTS * round_)
        before = children_of(agent.pid)
        os.kill(before[-1], signal.SIGKILL)
        wait_until(lambda before=before: len(set(children_of(agent.pid)) - set(before)) == 1, "another")
    ask_on_many_connections(nginx, tmp_path)
    lines = agent.wait_for_exchanges(4 * REQUESTS * 4)
    expected = collections.Counter({("GET", f"/?n={n}", 200, 615): 8 for n in range(REQUESTS)})
    for role in ("server", "client"):
        assert counted([line for line in lines if line["rover.role"] == role]) == expected
    assert agent.stop() == 1
    assert agent.err.count("rover: workers: died 3, started_again 3") == 1
    died = [line for line in agent.err if "died (signal 9): the exchanges it had in hand are lost" in line]
    assert len(died) == 4  # each when it did, and the first as the run's failure
    totals = agent.totals()
    assert totals.seen == totals.logged["jsonl"] + totals.lost["jsonl"]
    assert totals.records_lost == 0
    assert 2 * REQUESTS < totals.seen <= 4 * REQUESTS * 4


def test_workers_killed_under_load_tear_no_line(nginx, start_agent, start_program):
    agent = start_agent("--port", str(nginx.port), "--workers", "2")
    load = start_program("wrk", "-t1", "-c8", "-d60s", nginx.url + "/?load")
    for count in range(1, 6):
        size = agent.path.stat().st_size
        wait_until(lambda size=size: agent.path.stat().st_size > size + 500_000, "lines")
        os.kill(children_of(agent.pid)[-1], signal.SIGKILL)
        wait_until(lambda count=count: sum("died" in line for line in agent.err) == count, "its death")
        wait_until(lambda: len(children_of(agent.pid)) == 2, "another")
    load.stop()
    assert agent.stop() == 1
    assert agent.totals().seen > 0
    torn = 0
    for line in agent.path.read_bytes().splitlines():
        try:
            json.loads(line)
        except ValueError:
            torn += 1
    assert torn <= 5  # a line that the dead one was writing, each on its own
    assert not [line for line in agent.err if "Traceback" in line]


def test_rotation(nginx, start_agent, tmp_path):
    agent = start_agent("--port", str(nginx.port), "--workers", "2")
    ask_on_many_connections(nginx, tmp_path)
    agent.wait_for_exchanges(4 * REQUESTS)
    agent.path.rename(agent.path.with_suffix(".1"))
    agent.process.send_signal(signal.SIGHUP)
    wait_until(agent.path.exists, "the new file")
    # A worker reopens when its sink's thread comes to it: until then it writes to the old file.
    old = agent.path.with_suffix(".1")
    ask_on_many_connections(nginx, tmp_path)
    wait_until(
        lambda: old.read_bytes().count(b"\n") + len(agent.lines()) >= 8 * REQUESTS, "all of both rounds"
    )
    assert agent.lines()
    agent.finish()


def test_the_agents_own_connections_are_not_seen(nginx, start_agent, start_receiver, tmp_path):
    """Each worker sends to an OAP server, over loopback, and nothing but it watches."""
    receiver = start_receiver()
    agent = start_agent(
        *("--workers", "2", "--set", f"sink.oap.address=127.0.0.1:{receiver.port}"),
        *("--set", f"sink.oap.spool_path={tmp_path / 'spool'}", "--set", "sink.oap.flush_period=0.2"),
        sinks=("jsonl", "oap"),
    )
    children = children_of(agent.pid)
    ask_on_many_connections(nginx, tmp_path)
    agent.wait_for_exchanges(4 * REQUESTS)

    def pids() -> set[object]:
        return {line.get("process.pid") for line in agent.lines()}

    wait_until(lambda: receiver.pid in pids(), "the other end of what they send")
    totals = agent.finish()
    # Whatever else this host does is seen, too; what got no answer is not sent.
    unanswered = [line for line in agent.exchanges() if "http.response.status_code" not in line]
    assert totals.logged["oap"] == totals.seen - len(unanswered)
    assert not pids() & {agent.pid, *children}


def test_a_source_error_is_one_line(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "rover", "run", "--workers", "2"),
            *("--sink", "jsonl", "--set", "sink.jsonl.path=/nowhere/x"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == "rover: cannot open /nowhere/x for writing: No such file or directory\n"
