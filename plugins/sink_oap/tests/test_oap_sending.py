"""The sink against a real gRPC server: once, in order, bounded, whatever the server does."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rover import Outcome, RoverError, Syscall
from rover.pipeline.outlet import Outlet
from rover.sending.sender import Sender

Wait = Callable[[Callable[[], object]], None]


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def exchanges(traffic: Any, count: int, start: int = 0) -> list[Any]:
    connection = traffic.connection()
    return [traffic.exchange(connection, f"/{n}") for n in range(start, start + count)]


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"/{n}" for n in range(start, start + count)]


def test_everything_once_and_in_order(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(listener.address, flush_max_count=100)
    logs = exchanges(traffic, 1000)
    for n in range(0, 1000, 50):
        sink.write(logs[n : n + 50])
    listener.expect(numbered(1000))
    assert listener.totals.calls == {"read": 1000, "write": 1000}
    assert listener.totals.streams == 10
    assert sink.close() == 0
    counters = sink.counters()
    assert (counters["sent_exchanges"], counters["sent_calls"], counters["waiting_batches"]) == (
        1000,
        2000,
        0,
    )


def test_kernel_logs_of_every_kind_once_each(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(listener.address)
    connection = traffic.connection()
    calls = [Syscall.ACCEPT4, Syscall.READ, Syscall.WRITEV, Syscall.SHUTDOWN, Syscall.CLOSE]
    sink.write([traffic.call(connection, syscall) for syscall in calls])
    sink.write([traffic.exchange(connection, "/0")])
    sink.close()
    listener.expect(["/0"])
    assert listener.totals.calls == {"accept": 1, "read": 2, "write": 2, "close": 1}
    assert sink.counters()["left_out_call_shutdown"] == 1


def test_a_batch_by_count_does_not_wait_for_the_period(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(listener.address, flush_max_count=3, flush_period=3600.0)
    sink.write(exchanges(traffic, 7))
    listener.expect(numbered(6))
    assert [len(stream.messages) for stream in listener.streams] == [3, 3]
    sink.close()
    listener.expect(numbered(7))


def test_a_batch_by_period_does_not_wait_for_the_count(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(listener.address, flush_period=0.2)
    began = time.monotonic()
    sink.write(exchanges(traffic, 2))
    listener.expect(numbered(2))
    assert time.monotonic() - began >= 0.2
    assert len(listener.streams) == 1


def test_a_break_shows_as_the_connection_sent_again_as_tcp(listen: Any, make_sink: Any, traffic: Any) -> None:
    listener = listen()
    sink = make_sink(listener.address)
    connection = traffic.connection(protocol="http1")
    broken = traffic.broken(connection)
    sink.write([traffic.exchange(connection, "/0"), broken, traffic.call(broken.connection)])
    sink.close()
    listener.expect(["/0"])
    assert [message.connection.protocol for message in listener.messages] == [1, 0, 0]


@pytest.mark.parametrize("token", ["", "secret"])
def test_authentication(listen: Any, make_sink: Any, traffic: Any, token: str) -> None:
    listener = listen(authentication=token)
    make_sink(listener.address, authentication=token).write(exchanges(traffic, 1))
    listener.expect(["/0"])


REFUSALS = [
    ("UNIMPLEMENTED", "gRPC port"),
    ("UNAUTHENTICATED", "sink.oap.authentication"),
    ("PERMISSION_DENIED", "sink.oap.authentication"),
]


@pytest.mark.parametrize(("code", "fix"), REFUSALS)
def test_a_permanent_refusal_is_said_with_its_fix_once_a_minute(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    faults: Any,
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
    code: str,
    fix: str,
) -> None:
    listener = listen(faults=faults(refuse=code))
    with caplog.at_level(logging.WARNING, "rover.oap"):
        sink = make_sink(listener.address)
        sink.write(exchanges(traffic, 1))
        wait_until(lambda: sink.counters().get(f"failed_{code.lower()}", 0) >= 4)
    (line,) = [record.getMessage() for record in caplog.records]
    assert code in line
    assert fix in line
    assert listener.address in line
    listener.receiver.faults = faults()
    with caplog.at_level(logging.WARNING, "rover.oap"):
        listener.expect(["/0"])
        wait_until(lambda: "takes access logs now" in caplog.text)
    assert len(caplog.records) == 2


def test_a_wrong_token_is_refused(
    listen: Any, make_sink: Any, traffic: Any, caplog: pytest.LogCaptureFixture, wait_until: Wait
) -> None:
    listener = listen(authentication="right")
    with caplog.at_level(logging.WARNING, "rover.oap"):
        make_sink(listener.address, authentication="wrong").write(exchanges(traffic, 1))
        wait_until(lambda: "UNAUTHENTICATED" in caplog.text)
    assert not listener.paths


@pytest.mark.parametrize(
    "code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"]
)
def test_a_passing_failure_loses_nothing(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, wait_until: Wait, code: str
) -> None:
    listener = listen(faults=faults(refuse=code))
    sink = make_sink(listener.address, flush_max_count=10)
    sink.write(exchanges(traffic, 30))
    wait_until(lambda: sink.counters().get(f"failed_{code.lower()}", 0) >= 3)
    listener.receiver.faults = faults()
    listener.expect(numbered(30))
    assert sink.close() == 0


def test_a_reset_in_the_middle_sends_the_batch_again(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, wait_until: Wait
) -> None:
    listener = listen(faults=faults(reset_after=5))
    sink = make_sink(listener.address, flush_max_count=10)
    sink.write(exchanges(traffic, 30))
    wait_until(lambda: sink.counters().get("failed_cancelled", 0) >= 3)
    listener.receiver.faults = faults()
    listener.expect(numbered(30))
    assert listener.totals.unanswered >= 3


def test_a_batch_the_server_always_fails_on_does_not_hold_up_the_others_for_ever(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    faults: Any,
    wait_until: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rover.sending.sender.MAX_FAULTS", 3)
    listener = listen(faults=faults(refuse="INVALID_ARGUMENT"))
    sink = make_sink(listener.address, flush_max_count=1, retry_max=0.02)
    sink.write(exchanges(traffic, 1))
    wait_until(lambda: sink.counters().get("shed_refused") == 1)
    listener.receiver.faults = faults()
    sink.write(exchanges(traffic, 1, start=1))
    listener.expect(["/1"])
    assert sink.close() == 1


def test_pauses_grow_and_are_spread(listen: Any, make_sink: Any) -> None:
    sender = make_sink(listen().address, retry_max=8.0)._exporter.sender
    for rounds, longest in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (5000, 8.0)):
        pauses = {sender._pause(rounds) for _ in range(50)}
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(pauses) > 1


# -- a server that is away -------------------------------------------------------------------


def test_nothing_listening_is_said_in_one_line_and_works_when_it_comes_up(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    free_port: int,
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "rover.oap"):
        sink = make_sink(f"127.0.0.1:{free_port}", flush_max_count=10)
        wait_until(lambda: caplog.records)
        sink.write(exchanges(traffic, 30))
        wait_until(lambda: sink.counters().get("failed_unavailable", 0) >= 3)
        (line,) = [record.getMessage() for record in caplog.records]
        assert f"127.0.0.1:{free_port} takes no access logs (Connection refused)" in line
        listen(port=free_port).expect(numbered(30))
        wait_until(lambda: "takes access logs now" in caplog.text)
    assert len(caplog.records) == 2


def test_batches_of_an_outage_are_on_disk_and_leave_it(
    listen: Any, make_sink: Any, traffic: Any, free_port: int, wait_until: Wait, tmp_path: Path
) -> None:
    sink = make_sink(f"127.0.0.1:{free_port}", flush_max_count=10)
    sink.write(exchanges(traffic, 50))
    wait_until(lambda: len(list((tmp_path / "spool").glob("*.batch"))) == 5)
    wait_until(lambda: sink.counters()["memory_bytes"] == 0)
    listen(port=free_port).expect(numbered(50))
    wait_until(lambda: not list((tmp_path / "spool").glob("*.batch")))
    assert sink.close() == 0


def test_the_next_sink_sends_what_this_one_could_not(
    listen: Any, make_sink: Any, traffic: Any, free_port: int
) -> None:
    first = make_sink(f"127.0.0.1:{free_port}", flush_max_count=10)
    first.write(exchanges(traffic, 25))
    assert first.close() == 0
    listener = listen(port=free_port)
    second = make_sink(listener.address)
    second.write(exchanges(traffic, 5, start=25))
    listener.expect(numbered(30))
    assert second.close() == 0


def test_without_a_spool_the_end_counts_what_it_loses(make_sink: Any, traffic: Any, free_port: int) -> None:
    sink = make_sink(f"127.0.0.1:{free_port}", spool=False)
    sink.write(exchanges(traffic, 7))
    assert sink.close() == 7
    assert sink.counters()["shed_unsent"] == 7


KILLED = """
    import os, signal, sys, time
    sys.path.insert(0, {tests!r})
    import conftest
    from rover_plugin_sink_oap.settings import configure
    from rover_plugin_sink_oap.sink import OapSink
    sink = OapSink(configure({{
        "address": [{address!r}], "flush_max_count": 10, "spool_path": {spool!r}, "node_name": "host",
    }}))
    traffic = conftest.Traffic()
    connection = traffic.connection()
    sink.write([traffic.exchange(connection, f"/{{n}}") for n in range(50)])
    conftest.eventually(lambda: sink.counters()["spool_bytes"] and not sink.counters()["memory_bytes"])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_agents_spool_is_sent_by_the_next_one(
    listen: Any, make_sink: Any, free_port: int, tmp_path: Path
) -> None:
    address, spool = f"127.0.0.1:{free_port}", str(tmp_path / "spool")
    script = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), address=address, spool=spool)
    killed = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    listener = listen(port=free_port)
    sink = make_sink(address)
    listener.expect(numbered(50))
    assert sink.close() == 0
    assert listener.totals.repeated == 0


def test_memory_and_disk_are_bounded_while_the_server_is_away(
    make_sink: Any, traffic: Any, free_port: int
) -> None:
    sink = make_sink(f"127.0.0.1:{free_port}", flush_max_count=100, queue_mb=1, spool_max_mb=1)
    written = 0
    connection = traffic.connection()
    for _ in range(60):
        # Bytes that do not shrink: paths of random digits.
        logs = [traffic.exchange(connection, "/" + os.urandom(1000).hex()) for _ in range(100)]
        sink.write(logs)
        written += len(logs)
        counters = sink.counters()
        assert counters["memory_bytes"] <= 2 << 20  # the queue, and the batch that goes to disk
        assert counters["spool_bytes"] <= 1 << 20
    lost = sink.close()
    counters = sink.counters()
    assert lost == counters["shed_spool_full"] > 0
    assert counters["spool_bytes"] <= 1 << 20


# -- faults of our own -----------------------------------------------------------------------


class Fails:
    """Stands before a method, and raises in its place a number of times."""

    def __init__(self, times: int, error: Exception, method: Callable[..., Any]) -> None:
        self._times = times
        self._error = error
        self._method = method

    def __call__(self, *arguments: Any) -> Any:
        if self._times:
            self._times -= 1
            raise self._error
        return self._method(*arguments)


class UnknownError(Exception):
    """Nobody knows of it."""


ERRORS = [UnknownError("a\x1b[31m\nb"), AssertionError(), KeyError(1), MemoryError(), UnicodeError("x")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_call_that_raises_anything_is_a_failed_attempt(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = listen()
    with caplog.at_level(logging.WARNING, "rover.oap"):
        sink = make_sink(listener.address, flush_max_count=10)
        backend = sink._exporter.sender._backend
        monkeypatch.setattr(backend, "send", Fails(3, error, backend.send))
        sink.write(exchanges(traffic, 30))
        listener.expect(numbered(30))
        assert sink.close() == 0
    assert sink.counters()["failed_defect"] == 3
    assert sink.counters()["sent_exchanges"] == 30
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert type(error).__name__ in lines[0]
    assert "report it" in lines[0]
    assert lines[0].isprintable()
    assert "takes access logs now" in lines[1]


@pytest.mark.parametrize("part", ["_look", "_next", "_sent"])
@pytest.mark.parametrize("times", [1, 2])
def test_whatever_fails_in_the_thread_it_goes_on(
    listen: Any,
    make_sink: Any,
    traffic: Any,
    part: str,
    times: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails = getattr(Sender, part)
    left = [times]

    def failing(self: Sender, *arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise UnknownError("oh")
        return fails(self, *arguments)

    monkeypatch.setattr(Sender, part, failing)
    listener = listen()
    with caplog.at_level(logging.WARNING, "rover.oap"):
        sink = make_sink(listener.address, flush_max_count=10)
        sink.write(exchanges(traffic, 30))
        listener.expect(numbered(30))
        assert sink.close() == 0
    assert sink.counters()["defects"] == min(times, 1 if part == "_look" else times)
    assert len(caplog.records) == 1
    assert "UnknownError: oh" in caplog.text


# -- a server that is slow -------------------------------------------------------------------


def test_writing_never_waits_for_a_slow_server(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rover_plugin_sink_oap.sink.CLOSE_PATIENCE", 0.5)
    listener = listen(faults=faults(delay=60.0))
    sink = make_sink(listener.address, flush_max_count=10, queue_mb=1, spool=False)
    logs = exchanges(traffic, 500)
    slowest = 0.0
    for n in range(0, 500, 10):
        began = time.monotonic()
        sink.write(logs[n : n + 10])
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 20
    began = time.monotonic()
    assert sink.close() == 500
    assert time.monotonic() - began < 20


def test_a_slow_answer_within_the_deadline_is_an_answer(
    listen: Any, make_sink: Any, traffic: Any, faults: Any
) -> None:
    listener = listen(faults=faults(delay=0.3))
    sink = make_sink(listener.address, flush_max_count=5)
    sink.write(exchanges(traffic, 15))
    listener.expect(numbered(15))
    assert sink.close() == 0
    assert "failed_deadline_exceeded" not in sink.counters()


def test_an_answer_after_the_deadline_is_none(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, wait_until: Wait
) -> None:
    listener = listen(faults=faults(delay=60.0))
    sink = make_sink(listener.address, timeout=0.2)
    sink.write(exchanges(traffic, 3))
    wait_until(lambda: sink.counters().get("failed_deadline_exceeded", 0) >= 2)
    listener.receiver.faults = faults()
    listener.expect(numbered(3))


def test_the_end_waits_a_few_seconds_for_a_slow_server_then_saves(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rover_plugin_sink_oap.sink.CLOSE_PATIENCE", 0.2)
    listener = listen(faults=faults(delay=60.0))
    sink = make_sink(listener.address, flush_max_count=10)
    sink.write(exchanges(traffic, 30))
    began = time.monotonic()
    assert sink.close() == 0
    assert time.monotonic() - began < 20
    failed = {name: n for name, n in sink.counters().items() if name.startswith("failed_")}
    assert failed == {"failed_cancelled": 1}  # by this end, not by the server's doing
    listener.receiver.faults = faults()
    make_sink(listener.address)
    listener.expect(numbered(30))


@pytest.fixture
def mute() -> Iterator[str]:
    """A server that takes connections and never reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_never_reads_is_given_up_at_the_deadline(
    make_sink: Any, traffic: Any, mute: str, wait_until: Wait
) -> None:
    sink = make_sink(mute, timeout=0.2)
    sink.write([traffic.exchange(traffic.connection(), "/" + "x" * 4000) for _ in range(1000)])
    wait_until(lambda: sink.counters().get("failed_deadline_exceeded", 0) >= 2)
    assert sink.close() == 0


def test_an_http1_server_is_named_as_such(
    make_sink: Any, traffic: Any, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    import http.server
    import threading

    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with caplog.at_level(logging.WARNING, "rover.oap"):
            sink = make_sink(f"127.0.0.1:{server.server_port}")
            sink.write(exchanges(traffic, 1))
            wait_until(lambda: "speaks no HTTP/2" in caplog.text)
        sink.close()
        server.shutdown()
        thread.join()


def test_in_the_cores_hands_the_totals_add_up(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, wait_until: Wait
) -> None:
    """seen = logged + lost, with a server that refuses, then dies, and no spool."""
    listener = listen()
    sink = make_sink(listener.address, flush_max_count=10, spool=False)
    outlet = Outlet("oap", sink)
    outlet.start()
    for log in exchanges(traffic, 20):
        outlet.put(log)
    outlet.wake()
    listener.expect(numbered(20))
    wait_until(lambda: sink.counters().get("sent_exchanges") == 20)
    listener.receiver.faults = faults(refuse="RESOURCE_EXHAUSTED")
    for log in exchanges(traffic, 25, start=20):
        outlet.put(log)
    outlet.wake()
    wait_until(lambda: sink.counters().get("failed_resource_exhausted", 0) >= 2)
    outlet.stop(time.monotonic() + 10)
    assert (outlet.logged, dict(outlet.lost)) == (20, {"unwritten": 25})


def test_what_the_protocol_has_no_message_for_is_lost_by_name(
    listen: Any, make_sink: Any, traffic: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen()
    sink = make_sink(listener.address)
    connection = traffic.connection()
    other = {"attributes": {"http.request.method": "PROPFIND"}}
    unanswered = {"attributes": {"http.request.method": "GET"}, "outcome": Outcome.ABORTED}
    with caplog.at_level(logging.WARNING, "rover.oap"):
        sink.write([traffic.exchange(connection, "/0"), traffic.exchange(connection, **other)])
        sink.write([traffic.exchange(connection, protocol="redis"), traffic.exchange(connection, start=-1)])
        sink.write([traffic.exchange(connection, **unanswered)])
        assert sink.close() == 4
    assert "invalid 1, method 1, protocol 1, unanswered 1" in caplog.text
    listener.expect(["/0"])
    assert listener.totals.calls == {"read": 4, "write": 4}


def test_an_unanswered_exchange_with_the_status_the_user_sets(
    listen: Any, make_sink: Any, traffic: Any
) -> None:
    listener = listen()
    sink = make_sink(listener.address, unanswered_status=504)
    attributes = {"http.request.method": "GET", "url.path": "/slow"}
    connection = traffic.connection()
    sink.write([traffic.exchange(connection, attributes=attributes, outcome=Outcome.ABORTED)])
    sink.write([traffic.exchange(connection, attributes=attributes, outcome=Outcome.UNFINISHED)])
    assert sink.close() == 1
    listener.expect(["/slow"])
    assert listener.messages[0].protocolLog.http.response.statusCode == 504
    assert listener.totals.calls == {"read": 2, "write": 2}


# -- addresses -------------------------------------------------------------------------------


def test_the_next_address_is_tried_when_one_fails(
    listen: Any, make_sink: Any, traffic: Any, free_port: int
) -> None:
    listener = listen()
    sink = make_sink([f"127.0.0.1:{free_port}", listener.address], flush_max_count=1, retry_max=3600.0)
    sink.write(exchanges(traffic, 3))
    listener.expect(numbered(3))
    # Only once did the dead one cost an attempt: the one that answers is kept.
    assert sink.counters()["failed_unavailable"] == 1


def test_an_address_that_is_down_gives_way_to_the_other_and_back(
    listen: Any, make_sink: Any, traffic: Any, wait_until: Wait
) -> None:
    first, second = listen(), listen()
    port = first.receiver.port
    sink = make_sink([first.address, second.address], flush_max_count=1)
    sink.write(exchanges(traffic, 1))
    first.expect(["/0"])
    wait_until(lambda: sink.counters().get("sent_batches") == 1)
    first.receiver.stop()
    sink.write(exchanges(traffic, 1, start=1))
    second.expect(["/1"])
    wait_until(lambda: sink.counters()["sent_batches"] == 2)
    second.receiver.stop()
    sink.write(exchanges(traffic, 1, start=2))
    listen(port=port).expect(["/2"])


def test_at_the_end_every_address_is_tried_once(
    listen: Any, make_sink: Any, traffic: Any, free_port: int, tmp_path: Path
) -> None:
    listener = listen()
    sink = make_sink([f"127.0.0.1:{free_port}", f"[::1]:{free_port}", listener.address], flush_period=60)
    sink.write(exchanges(traffic, 3))
    assert sink.close() == 0
    assert not list((tmp_path / "spool").glob("*.batch"))
    listener.expect(numbered(3))


def test_a_refusal_at_the_end_is_said(
    listen: Any, make_sink: Any, traffic: Any, faults: Any, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(faults=faults(refuse="UNAUTHENTICATED"))
    with caplog.at_level(logging.WARNING, "rover.oap"):
        sink = make_sink(listener.address, flush_period=60, spool=False)
        sink.write(exchanges(traffic, 3))
        assert sink.close() == 3
    assert "UNAUTHENTICATED" in caplog.text


def test_a_name_with_several_addresses(
    listen: Any, make_sink: Any, traffic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listen()
    resolve = socket.getaddrinfo

    def resolver(host: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
        if host == "oap.example":
            # 127.0.0.2 is this host, where nobody listens.
            return [*resolve("127.0.0.2", port, **options), *resolve("127.0.0.1", port, **options)]
        return resolve(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    sink = make_sink(f"oap.example:{listener.receiver.port}", flush_max_count=1, retry_max=3600.0)
    sink.write(exchanges(traffic, 3))
    listener.expect(numbered(3))


def test_a_name_that_does_not_resolve_is_said(
    make_sink: Any, wait_until: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "rover.oap"):
        make_sink("nowhere.invalid:11800")
        wait_until(lambda: "nowhere.invalid:11800 takes no access logs" in caplog.text)


# -- the spool's directory -------------------------------------------------------------------


def test_a_chosen_spool_that_cannot_be_used_is_an_error(make_sink: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RoverError, match="spool_path"):
        make_sink("127.0.0.1:1", spool_path=str(tmp_path / "file" / "spool"))


def test_the_default_spool_that_cannot_be_used_is_a_warning(
    make_sink: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    default = str(tmp_path / "file" / "spool")
    monkeypatch.setattr("rover_plugin_sink_oap.settings.SPOOL_PATH", default)
    with caplog.at_level(logging.WARNING, "rover.oap"):
        make_sink("127.0.0.1:1", spool_path=default)
    assert "memory only" in caplog.text
