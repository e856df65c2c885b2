"""An OAP server that misbehaves: who else is served is not delayed, memory is bounded, all is counted."""

import json
import re
import statistics
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import Load, tcp_connection, wait_until
from oap_witness import by_stream, exchanges_told, oap_counters

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

FAULTS = {
    "slow": (("--delay", "5"), "CANCELLED"),
    "refuses": (("--refuse", "UNAUTHENTICATED"), "UNAUTHENTICATED"),
    "resets": (("--reset-after", "1"), "CANCELLED"),
    "exhausted": (("--refuse", "RESOURCE_EXHAUSTED"), "RESOURCE_EXHAUSTED"),
}
"""The receiver's options, and how a call to it fails (the slow one's by the end of the agent)."""
PACED = 1200
"""Lines that are timed."""
LATE = 0.5
"""Seconds that a line may be later than without the sink: far more than it is on a busy machine,
far less than a receiver's 5 s, or than the pauses between attempts add up to."""
BURST = 3000
"""Requests as fast as they go."""
PATH = "/" + "x" * 3000
"""Makes some 18 MB of messages of a burst, seen from both ends."""
GROWTH = 12.0
"""MB that memory may grow while two more bursts, 36 MB, go by."""


class Ages:
    """How old exchanges are when their lines show up in a file, in seconds."""

    def __init__(self, path):
        self.seen = []
        self._path = path
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self):
        wait_until(self._path.exists, "the file")
        with self._path.open("rb") as file:
            rest = b""
            while not self._end.wait(0.005):
                *whole, rest = (rest + file.read()).split(b"\n")
                now = time.time_ns()
                self.seen += [(now - told.end) / 1e9 for told in exchanges_told(map(json.loads, whole))]


@pytest.fixture
def start(nginx, start_agent, tmp_path):
    """Starts agents of the same traffic, each with a directory of its own."""

    def start(name, *settings, sinks):
        directory = tmp_path / name
        directory.mkdir()
        given = [part for setting in settings for part in ("--set", setting)]
        return start_agent("--port", str(nginx.port), *given, sinks=sinks, directory=directory)

    return start


def settings_for(receiver):
    return (
        f"sink.oap.address=127.0.0.1:{receiver.port}",
        *("sink.oap.spool=false", "sink.oap.queue_mb=1"),
        *("sink.oap.flush_period=0.1", "sink.oap.flush_max_count=500"),
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_another_sink_is_not_delayed(nginx, start, start_receiver, fault):
    options, code = FAULTS[fault]
    receiver = start_receiver(*options)
    # Two agents at the same time: the one without the sink is the measure.
    alone = start("alone", sinks=("jsonl",))
    agent = start("agent", *settings_for(receiver), sinks=("oap", "jsonl"))
    with Ages(alone.path) as undisturbed, Ages(agent.path) as ages, Load(nginx.port):
        wait_until(lambda: len(ages.seen) >= PACED <= len(undisturbed.seen), f"the lines: {agent.err}")
    late = [statistics.median(ages.seen) - statistics.median(undisturbed.seen)]
    late.append(statistics.quantiles(ages.seen)[2] - statistics.quantiles(undisturbed.seen)[2])
    assert max(late) < LATE
    alone.finish()
    totals, counters = agent.finish(), oap_counters(agent)
    counted = receiver.finish()

    told = exchanges_told(agent.lines())
    assert (totals.seen, totals.logged["jsonl"]) == (len(told), len(told))
    assert totals.lost["oap"] == counters["shed_queue_full"] + counters["shed_unsent"] > 0
    failed = {name: n for name, n in counters.items() if name.startswith("failed_")}
    assert failed.keys() == {f"failed_{code.lower()}"}
    streams = by_stream(receiver.messages())
    answered = counters["sent_batches"]
    # The last answer may be on its way when the agent ends: taken there, not counted as sent here.
    unheard = len(streams) - answered
    assert unheard in (0, fault == "slow")
    assert counted["unanswered"] + unheard == sum(failed.values())
    exchanges = [each for stream, _ in streams[:answered] for each in stream]
    calls = [each for _, stream in streams[:answered] for each in stream]
    assert set(exchanges) <= set(told)
    assert len(exchanges) == counters["sent_exchanges"] == totals.logged["oap"]
    assert len(calls) == counters["sent_calls"]
    said = [line for line in agent.err if code in line]
    assert len(said) == (fault != "slow")


@pytest.mark.parametrize("fault", ["slow", "exhausted"])
def test_memory_is_bounded(nginx, start, start_receiver, fault):
    receiver = start_receiver(*FAULTS[fault][0])
    agent = start("agent", *settings_for(receiver), "sink.jsonl.syscalls=false", sinks=("oap", "jsonl"))

    def resident_after_burst(number):
        burst = ["h2load", "--h1", f"-n{BURST}", "-c4", nginx.url + PATH]
        subprocess.run(burst, check=True, capture_output=True)
        mark = b"/burst/%d" % number
        with tcp_connection(nginx.port) as connection:
            connection.sendall(b"HEAD %b HTTP/1.0\r\n\r\n" % mark)
            connection.recv(4096)
        wait_until(lambda: mark in agent.path.read_bytes()[-20_000:], f"the burst's end: {agent.err}")
        return resident(agent.pid)

    filled, *later = map(resident_after_burst, range(3))
    assert max(later) - filled < GROWTH
    assert agent.finish().lost["oap"] > 0
    assert oap_counters(agent)["shed_queue_full"] > 2 * BURST
    receiver.finish()


def resident(pid):
    """MB of memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024
