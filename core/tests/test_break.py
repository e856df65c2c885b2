"""The protocol break: decoding ends for good, the connection is TCP, nothing buffered is lost."""

import dataclasses

import pytest

from rover import (
    NEED_MORE,
    UPLOAD_ALL,
    UPLOAD_NONE,
    Closed,
    Direction,
    Headers,
    HttpRequest,
    HttpResponse,
    Outcome,
    ProtocolBreak,
    Syscall,
    hookimpl,
)
from rover.pipeline.table import BREAK_KEPT_FOR
from rover.streams.buffer import MAX_SIZE


@pytest.fixture
def broken(bench):
    """A connection that broke with a request and half a line buffered."""
    bench.open()
    bench.read(b"?a\n")
    bench.read(b"?half")
    bench.write(b"#framing\n")
    return bench


def break_logs(bench):
    return [log for log in bench.logs if log.outcome is Outcome.BREAK]


def test_the_hook_is_called_once_with_reason_protocol_and_position(broken):
    (told,) = broken.breaks
    assert (told.reason, told.protocol) == ("framing", "lines")
    assert (told.direction, told.position) == (Direction.EGRESS, 0)


def test_the_hook_sees_the_connection_as_it_was(make_bench):
    seen = []

    class Watch:
        @hookimpl
        def on_protocol_break(self, connection, protocol_break):
            seen.append(connection.protocol)

    bench = make_bench(Watch())
    bench.open()
    bench.read(b"#hpack\n")
    assert seen == ["lines"]


def test_the_connection_reads_tcp(broken):
    (log,) = break_logs(broken)
    assert log.connection.protocol == ""
    assert log.connection.protocol_break.reason == "framing"


def test_everything_buffered_is_delivered_as_kernel_logs_at_once(broken):
    broken.check_each_once()
    (log,) = break_logs(broken)
    assert [d.syscall for d in log.details] == [Syscall.READ, Syscall.READ, Syscall.WRITE]


def test_the_source_is_told_to_upload_nothing(broken):
    assert broken.uploads == [(1, UPLOAD_ALL), (1, UPLOAD_NONE)]


def test_later_calls_go_straight_out_and_later_payload_is_dropped(broken):
    broken.read(b"?b\n")
    broken.write(b"!b\n")
    assert broken.exchanges == []
    assert [len(log.details) for log in broken.logs[-2:]] == [1, 1]
    assert broken.pipeline.totals.late_payload == 6
    broken.check_each_once()


def test_no_later_record_raises_the_protocol_again(broken):
    broken.read(b"?b\n")
    broken.eof()
    broken.close()
    after = broken.logs[broken.logs.index(break_logs(broken)[0]) :]
    assert {log.connection.protocol for log in after} == {""}
    assert len(broken.breaks) == 1
    assert broken.pipeline.totals.breaks == {"framing": 1}


def test_concurrent_connections_are_untouched(broken):
    broken.open(2)
    broken.read(b"?x\n", 2)
    broken.write(b"!x\n", 2)
    assert [log.connection.id for log in broken.exchanges] == [2]


def test_exchanges_that_ended_before_the_break_are_logged(bench):
    bench.open()
    bench.read(b"?a\n")
    bench.write(b"!a\n#framing\n")
    assert len(bench.exchanges) == 1
    assert len(break_logs(bench)) == 1
    bench.check_each_once()


@pytest.mark.parametrize("end", ["close", "finish"])
def test_a_break_at_the_very_end_is_a_break(bench, end):
    bench.open()
    bench.read(b"?a\n")
    bench.write(b"#tunnel\n")
    if end == "close":
        bench.close()
    else:
        bench.pipeline.finish(bench.clock)
    assert len(break_logs(bench)) == 1
    bench.check_each_once()


class TestBeforeTheConnectionIsBuilt:
    def test_the_fact_is_applied_when_it_is(self, bench):
        bench.read(b"#hpack\n")
        assert bench.logs == []
        bench.open()
        assert bench.logs[0].outcome is Outcome.BREAK
        assert bench.logs[0].connection.local is not None
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert bench.exchanges == []
        assert len(bench.breaks) == 1
        assert bench.uploads[-1] == (1, UPLOAD_NONE)

    def test_it_is_kept_for_a_minute(self, bench):
        bench.read(b"#hpack\n")
        bench.pipeline.tick(bench.clock + BREAK_KEPT_FOR - 1_000_000_000)
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert bench.exchanges == []

    def test_and_not_longer(self, bench):
        bench.read(b"#hpack\n")
        bench.pipeline.tick(bench.clock + BREAK_KEPT_FOR + 1)
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert len(bench.exchanges) == 1
        bench.check_each_once()


class TestUpgrade:
    def test_an_installed_protocol_claims_what_follows(self, make_bench, lines):
        other = dataclasses.replace(lines, name="other", upgrades=frozenset({"words"}), priority=-1)
        bench = make_bench(protocols=[lines, other])
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n#upgrade words\n")
        bench.read(b"?b\n")
        bench.write(b"!b\n")
        assert [log.connection.protocol for log in bench.exchanges] == ["lines", "other"]
        assert bench.breaks == []
        bench.check_each_once()

    def test_otherwise_it_is_a_break(self, bench):
        bench.open()
        bench.write(b"#upgrade websocket\n")
        assert [b.reason for b in bench.breaks] == ["upgrade"]

    def test_what_led_to_it_is_told_and_not_kept(self, make_bench, lines):
        """The heads may be large, and every later log of the connection has the break."""
        request = HttpRequest(
            method="GET",
            target="/",
            version="1.1",
            headers=Headers([("host", "x")]),
            start=1,
            end=2,
            header_size=3,
            body_size=0,
        )
        response = HttpResponse(
            status=101, version="1.1", headers=Headers(), start=3, end=4, header_size=5, body_size=0
        )

        class Switches:
            role = None

            def decode(self, direction, buffer, now):
                return ProtocolBreak(reason="upgrade", upgrade="words", request=request, response=response)

            def expire(self, now):
                return ()

            close = expire

        bench = make_bench(protocols=[dataclasses.replace(lines, make=lambda *_: Switches())])
        bench.open()
        bench.write(b"?a\n")
        assert [(b.request, b.response) for b in bench.breaks] == [(request, response)]
        (kept,) = [log.connection.protocol_break for log in break_logs(bench)]
        assert (kept.upgrade, kept.request, kept.response) == ("words", None, None)


class TestPluginFaults:
    def test_a_decoder_that_raises_breaks_its_connection_only(self, bench):
        bench.open()
        bench.open(2)
        bench.read(b"?a\n#raise\n")
        bench.read(b"?x\n", 2)
        bench.write(b"!x\n", 2)
        assert [b.reason for b in bench.breaks] == ["plugin"]
        assert len(bench.exchanges) == 1

    def test_one_that_never_consumes_is_stopped(self, bench):
        bench.open()
        bench.read(b"?")
        chunk = b"x" * 65536
        for _ in range(MAX_SIZE // len(chunk) + 1):
            bench.read(chunk)
        assert [b.reason for b in bench.breaks] == ["overflow"]
        bench.check_each_once()

    def test_what_is_under_way_when_it_is_stopped_is_cut_first(self, bench):
        bench.open()
        bench.read(b"?a\n?b")
        for _ in range(MAX_SIZE // 65536 + 1):
            bench.read(b"x" * 65536)
        assert [log.attributes.get("request") for log in bench.logs if log.protocol] == ["?a"]
        assert [log.outcome for log in bench.logs if log.protocol or log.outcome is Outcome.BREAK][-1] is (
            Outcome.BREAK
        )
        bench.check_each_once()


def test_a_connection_the_source_no_longer_knows_is_no_error(bench):
    bench.gone.add(1)
    bench.open()
    bench.read(b"#gap\n")
    bench.pipeline.closed(Closed(connection=1, time=bench.clock, reset=True, detail=None))
    assert len(break_logs(bench)) == 1


@pytest.mark.parametrize(("reset", "seen"), [(False, [True, True]), (True, [])])
def test_a_reset_ends_no_stream(make_bench, lines, reset, seen):
    """What a message that lasts until the end needs to know (RFC 9112 section 8)."""
    ended = []

    class Ends:
        role = None

        def decode(self, direction, buffer, now):
            buffer.consume(len(buffer))
            if buffer.ended:
                ended.append(buffer.ended)
            return NEED_MORE

        def expire(self, now):
            return ()

        close = expire

    bench = make_bench(protocols=[dataclasses.replace(lines, make=lambda *_: Ends())])
    bench.open()
    bench.read(b"?a\n")
    bench.pipeline.closed(Closed(connection=1, time=bench.clock, reset=reset, detail=None))
    assert ended == seen
