"""Several workers and one page: everything is on it once, whatever dies."""

import contextlib
import os
import random
import re
import signal
import socket
import threading
import time
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import AccessLog, Address, Connection, Outcome, Process, Role, RoverError, Worker
from rover.contracts.lock import locks
from rover.metrics import INSTRUMENTS, Exemplar, Point, Requests
from rover.run.report import Report, SinkReport
from rover_plugin_sink_prometheus import SETTINGS, page, relay
from rover_plugin_sink_prometheus.figures import add
from rover_plugin_sink_prometheus.relay import Collection, Relay
from rover_plugin_sink_prometheus.share import Portion, Share, decode, encode
from rover_plugin_sink_prometheus.sink import PrometheusSink

SECONDS = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The port is tried for often."""
    monkeypatch.setattr(relay, "TRY", 0.05)


def log(route, took=1_000_000):
    connection = Connection(
        id=1,
        local=Address(host="10.0.0.1", port=80),
        remote=Address(host="10.0.0.2", port=4000),
        role=Role.SERVER,
        process=Process(pid=1, name="nginx"),
        opened=0,
        epoch=0,
    )
    attributes = {"http.request.method": "GET", "http.route": route, "http.response.status_code": 200}
    return AccessLog(
        connection=connection,
        start=0,
        end=took,
        protocol="http",
        attributes=attributes,
        outcome=Outcome.COMPLETE,
    )


def wait_until(condition):
    __tracebackhide__ = True
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- what is handed over ------------------------------------------------------------------------

PAIRS = st.lists(st.tuples(st.text(), st.text() | st.integers() | st.booleans())).map(tuple)
EXEMPLARS = st.none() | st.builds(Exemplar, st.text(), st.text(), st.integers(0), st.integers(0))


@st.composite
def points(draw):
    instrument = draw(st.sampled_from(INSTRUMENTS))
    buckets = len(instrument.bounds) + 1
    return Point(
        instrument,
        draw(PAIRS),
        draw(PAIRS),
        tuple(draw(st.lists(st.integers(0), min_size=buckets, max_size=buckets))),
        draw(st.integers(0)),
        draw(st.just(()) | st.lists(EXEMPLARS, min_size=buckets, max_size=buckets).map(tuple)),
        draw(st.integers(0)),
    )


@given(
    st.lists(points(), max_size=3), st.dictionaries(st.tuples(st.text(), PAIRS), st.integers(), max_size=3)
)
def test_a_portion_comes_as_it_was(some, counts):
    portion = Portion(7, 1, some, counts)
    found = decode(encode(portion))
    assert found == portion
    assert [point.instrument for point in found.points] == [point.instrument for point in some]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"[1,2,[[]],[]]", b'[1,2,[["x",[],[],[],0,[],0]],[]]', b"[" * 99_999]
)
def test_what_is_no_portion(data):
    with pytest.raises(RoverError, match="none of its figures"):
        decode(data)


def figures(seen, **more):
    return lambda: Report(exchanges=seen(), sinks=[SinkReport("jsonl", seen())], **more)


def test_what_is_not_received_is_told_again():
    requests, seen = Requests(), [3]
    share = Share(requests)
    share.begin(figures(lambda: seen[0]), whole=True)
    requests.observe([log("/a")] * 3, 1)
    first = share.portion()
    assert ([point.total for point in first.points], first.counts["rover_exchanges", ()]) == ([3], 3)
    requests.observe([log("/a")], 1)
    seen[0] = 4
    assert share.portion() is first
    share.received()
    second = share.portion()
    assert second.number == first.number + 1
    assert [point.total for point in second.points] == [1]
    assert {key: count for key, count in second.counts.items() if count} == {
        ("rover_exchanges", ()): 1,
        ("rover_sink_exchanges_logged", (("sink", "jsonl"),)): 1,
    }
    assert set(second.counts) == set(first.counts)
    assert share.withdraw(1) == second.counts
    assert [point.total for point in requests.points(1)] == [1]
    assert share.withdraw(1) == {}


def test_what_went_wrong_before_the_fork_is_told_by_one():
    """All workers have it of their parent."""
    from rover.run.report import PluginFailure

    told = []
    for whole in (True, False):
        share = Share(Requests())
        share.begin(
            figures(lambda: 0, failures=[PluginFailure("broken", "make: ValueError", "no", 2)]), whole=whole
        )
        told.append(share.portion().counts.get(("rover_plugin_failures", (("plugin", "broken"),)), 0))
    assert told == [2, 0]


# -- from one to the other ----------------------------------------------------------------------


@pytest.fixture
def give():
    """A worker that can be asked, in this process; nobody lets it have the port."""
    relays = []

    def make(name, requests):
        share = Share(requests)
        made = Relay(name, share, lambda: False)
        made.start()
        relays.append(made)
        return share

    yield make
    for each in relays:
        each.stop()
    for each in relays:
        each._thread.join(SECONDS)
        assert not each._thread.is_alive()


def name(number=0):
    return f"\0rover-test-{os.getpid()}-{number}".encode()


def gathered(collection, merged):
    return collection.gather(lambda portion: merged.add(portion.points, 1))


def total(requests):
    return sum(point.total for point in requests.points(1))


def test_all_are_asked_and_nothing_is_counted_twice(give):
    workers = [Requests() for _ in range(3)]
    for number, worker in enumerate(workers):
        give(name(number), worker)
    collection, merged = Collection([name(number) for number in range(4)]), Requests()
    wait_until(lambda: gathered(collection, merged) == 3)
    rng, sent = random.Random(3), 0
    for _ in range(20):
        for worker in workers:
            count = rng.randrange(5)
            worker.observe([log("/a")] * count, 1)
            sent += count
        assert gathered(collection, merged) == 3
        assert total(merged) == sent


@pytest.mark.parametrize("end", ["nothing", "length", "half", "all"])
def test_one_that_has_the_port_dies_while_it_is_told(give, end):
    """At any moment: the next gets what was not received."""
    requests = Requests()
    give(name(), requests)
    requests.observe([log("/a")] * 500, 1)

    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(SECONDS)
        wait_until(lambda: sock.connect_ex(name()) == 0)
        if end == "length":
            sock.recv(8, socket.MSG_WAITALL)
        elif end == "half":
            sock.recv(100, socket.MSG_WAITALL)
        elif end == "all":
            length = int.from_bytes(sock.recv(8, socket.MSG_WAITALL), "big")
            sock.recv(length, socket.MSG_WAITALL)
    merged = Requests()
    assert gathered(Collection([name()]), merged) == 1
    assert total(merged) == 500


def test_a_receipt_that_is_lost_counts_nothing_twice(give, monkeypatch):
    requests, merged = Requests(), Requests()
    share = give(name(), requests)
    collection = Collection([name()])
    wait_until(lambda: gathered(collection, merged) == 1)
    wait_until(lambda: share._pending is None)
    monkeypatch.setattr(share, "received", lambda: None)
    requests.observe([log("/a")] * 5, 1)
    for _ in range(3):
        assert gathered(collection, merged) == 1
    assert total(merged) == 5
    monkeypatch.undo()
    requests.observe([log("/a")] * 2, 1)
    for _ in range(2):
        gathered(collection, merged)
    assert total(merged) == 7


def test_workers_that_do_not_answer_cost_a_bounded_time(monkeypatch):
    monkeypatch.setattr(relay, "PATIENCE", 0.3)
    with contextlib.ExitStack() as stack:
        for number in range(4):
            deaf = stack.enter_context(socket.socket(socket.AF_UNIX))
            deaf.bind(name(number))
            deaf.listen()
        begin = time.monotonic()
        assert Collection([name(number) for number in range(4)]).gather(lambda portion: None) == 0
        assert time.monotonic() - begin < SECONDS / 2


@pytest.mark.parametrize("said", [b"", b"\0" * 8, b"\xff" * 8, b"\0" * 7 + b"\x02[]"])
def test_whoever_says_something_else_is_left_out(said):
    with socket.socket(socket.AF_UNIX) as liar:
        liar.bind(name())
        liar.listen()

        def lie():
            with liar.accept()[0] as connection:
                connection.sendall(said)

        thread = threading.Thread(target=lie)
        thread.start()
        assert Collection([name()]).gather(lambda portion: pytest.fail("taken")) == 0
        thread.join(SECONDS)


def test_another_users_process_is_not_believed(monkeypatch):
    one, other = socket.socketpair()
    with one, other:
        assert relay.is_own(one)
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        assert not relay.is_own(one)


def test_a_portion_that_comes_slowly_is_given_up(monkeypatch):
    monkeypatch.setattr(relay, "PATIENCE", 0.2)
    one, other = socket.socketpair()
    with one, other:
        stop = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not stop.wait(0.02):
                    other.send(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TimeoutError):
            relay._exactly(one, 1 << 20, time.monotonic() + 0.2)
        stop.set()
        thread.join(SECONDS)


# -- worker processes ---------------------------------------------------------------------------


class Workers:
    """Sinks in processes of their own, as `rover run --workers` has them."""

    def __init__(self, port, count, fork):
        self.port, self.count, self.fork = port, count, fork
        self.lock = locks(1)[0]
        self.pids = {}

    def start(self, number, requests, again=False):
        """One that has counted so many."""
        ready, begun = os.pipe()

        def work():
            settings = {each.name: each.default for each in SETTINGS} | {"port": self.port}
            sink = PrometheusSink(settings, Worker(number, self.count, self.lock, again))
            seen = [0]
            sink.inform(figures(lambda: seen[0]))
            sink.write([log(f"/{number}")] * requests)
            seen[0] = requests
            os.write(begun, b"+")
            signal.pause()

        self.pids[number] = self.fork(work)
        os.close(begun)
        assert os.read(ready, 1) == b"+"
        os.close(ready)

    def kill(self, number):
        os.kill(self.pids[number], signal.SIGKILL)
        os.waitpid(self.pids.pop(number), 0)

    def page(self):
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=SECONDS) as response:
            return response.read().decode()

    def counts(self):
        """By route, and of all exchanges seen; how many workers are on the page."""
        with contextlib.suppress(OSError):
            text = self.page()
            routes = re.findall(r'duration_seconds_count{.*http_route="/(\d)".*} (\d+)', text)
            (seen,) = re.findall(r"^rover_exchanges_total (\d+)", text, re.MULTILINE)
            (workers,) = re.findall(r"^rover_workers (\d+)", text, re.MULTILINE)
            return {int(number): int(count) for number, count in routes}, int(seen), int(workers)


@pytest.fixture
def workers(monkeypatch, fork):
    monkeypatch.setattr(page, "FRESH", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return Workers(port, 3, fork)


def test_one_page_for_all_of_them(workers):
    for number, requests in enumerate((5, 6, 7)):
        workers.start(number, requests)
    wait_until(lambda: workers.counts() == ({0: 5, 1: 6, 2: 7}, 18, 3))
    assert workers.counts() == ({0: 5, 1: 6, 2: 7}, 18, 3)


def test_what_a_dead_worker_told_stays_and_its_successor_is_added(workers):
    for number, requests in enumerate((5, 6, 7)):
        workers.start(number, requests)
    wait_until(lambda: workers.counts() == ({0: 5, 1: 6, 2: 7}, 18, 3))
    workers.kill(1)
    assert workers.counts() == ({0: 5, 1: 6, 2: 7}, 18, 2)
    workers.start(1, 20, again=True)
    wait_until(lambda: workers.counts() == ({0: 5, 1: 26, 2: 7}, 38, 3))


def test_another_has_the_page_when_its_worker_dies(workers):
    """It begins with what nobody had been asked for."""
    for number, requests in enumerate((5, 6, 7)):
        workers.start(number, requests)
    wait_until(lambda: workers.counts() == ({0: 5, 1: 6, 2: 7}, 18, 3))
    workers.kill(0)
    workers.start(0, 1, again=True)
    wait_until(lambda: workers.counts() and workers.counts()[2] == 3)
    assert workers.counts()[0] == {0: 1}
    assert 'target_info{service_name="rover"' in workers.page()


def test_a_worker_that_comes_in_place_of_the_first_waits_for_the_port(workers):
    workers.start(0, 1)
    workers.start(1, 2)
    wait_until(lambda: workers.counts() == ({0: 1, 1: 2}, 3, 2))
    workers.kill(0)
    wait_until(lambda: workers.counts() == ({}, 0, 1))


def test_a_port_that_is_taken_refuses_the_run():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {each.name: each.default for each in SETTINGS} | {"port": taken.getsockname()[1]}
        for worker in (None, Worker(0, 2, locks(1)[0])):
            with pytest.raises(RoverError, match="Address already in use"):
                PrometheusSink(settings, worker)
        # Nobody can say so any more: it tries again and again.
        PrometheusSink(settings, Worker(1, 2, locks(1)[0])).close()
        PrometheusSink(settings, Worker(0, 2, locks(1)[0], again=True)).close()


def test_counts_add_up():
    counts = {("a", ()): 1}
    add(counts, {("a", ()): 2, ("b", (("x", "y"),)): 3})
    assert counts == {("a", ()): 3, ("b", (("x", "y"),)): 3}
