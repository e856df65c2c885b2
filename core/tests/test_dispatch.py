"""From records to access logs: pairing, exactly-once details, recognition, bounds, endings."""

import dataclasses

import pytest

from rover import (
    NEED_MORE,
    UPLOAD_ALL,
    UPLOAD_NONE,
    AccessLog,
    Closed,
    Direction,
    Exchange,
    Outcome,
    Process,
    ProtocolSpec,
    Role,
    Syscall,
    Verdict,
    hookimpl,
)
from rover.http import Headers, HttpExchange, HttpRequest
from rover.pipeline.processes import MAX_PROCESSES
from rover.pipeline.recognition import MAX_GREETING, MAX_ONE_WAY
from rover.pipeline.table import HELD_FOR, IDLE_CHECK
from rover.pipeline.tracked_connection import LARGE, WORTH_TELLING

GREETINGS = {
    "SOCKS5": (
        ("client", b"\5\1\2"),
        ("server", b"\5\2"),
        ("client", b"\1\377" + b"u" * 255 + b"\377" + b"p" * 255),
        ("server", b"\1\0"),
        ("client", b"\5\1\0\3\377" + b"h" * 255 + b"\0\120"),
        ("server", b"\5\0\0\1\0\0\0\0\0\0"),
    ),
    "SMTP": (
        ("server", b"220 mail.example.org ready\r\n"),
        ("client", b"EHLO me\r\n"),
        ("server", b"250-mail.example.org\r\n" * 40),
        ("client", b"STARTTLS\r\n"),
        ("server", b"220 go\r\n"),
    ),
    "telnet": (("server", b"\xff\xfd\x18\xff\xfd\x20" * 30), ("client", b"\xff\xfb\x18\xff\xfc\x20" * 30)),
    "a long banner": (("server", b"* welcome *\n" * 3000),),
}


def test_an_exchange_carries_the_calls_that_moved_it(bench):
    bench.open()
    bench.read(b"?a\n")
    bench.write(b"!b\n")
    (log,) = bench.exchanges
    assert log.attributes == {"request": "?a", "reply": "!b"}
    assert [d.syscall for d in log.details] == [Syscall.READ, Syscall.WRITE]
    assert (log.start, log.end) == (log.details[0].end, log.details[1].end)
    assert log.connection.process == Process(pid=42, name="app")
    assert log.connection.protocol == "lines"


def test_connect_accept_and_close_go_alone(bench):
    bench.open()
    bench.close()
    assert [[d.syscall for d in log.details] for log in bench.logs] == [[Syscall.ACCEPT4], [Syscall.CLOSE]]
    assert all(log.protocol == "" for log in bench.logs)


def test_every_call_is_delivered_once_over_the_life_of_a_connection(bench):
    bench.open()
    for piece in (b"?a\n?b", b"\n?c\n"):
        bench.read(piece)
    bench.write(b"!a\n!b\n!c")
    bench.write(b"\n")
    bench.read(b"?cut")
    bench.eof()
    bench.close()
    bench.check_each_once()
    totals = bench.pipeline.totals
    assert (totals.calls, totals.in_exchanges + totals.alone) == (len(bench.sent), len(bench.sent))
    assert totals.exchanges == 3


def test_an_exchange_cut_by_close_is_handed_over(bench):
    bench.open()
    bench.read(b"?a\n")
    bench.close()
    (log,) = bench.exchanges
    assert log.attributes == {"request": "?a"}


def test_interleaved_connections_do_not_mix(bench):
    for identity in (1, 2, 3):
        bench.open(identity)
    for identity in (1, 2, 3):
        bench.read(b"?%d\n" % identity, identity)
    for identity in (3, 1, 2):
        bench.write(b"!%d\n" % identity, identity)
    assert [(log.connection.id, log.attributes["reply"]) for log in bench.exchanges] == [
        (3, "!3"),
        (1, "!1"),
        (2, "!2"),
    ]


def test_the_process_that_uses_a_passed_descriptor_is_named(bench):
    bench.open()
    bench.pipeline.process(Process(pid=77, name="worker"))
    bench.pipeline.data(bench.detail(1, Syscall.READ, Direction.INGRESS, 3).replace(pid=77), b"?a\n")
    bench.write(b"!a\n")
    assert bench.exchanges[0].connection.process == Process(pid=77, name="worker")


class TestRecognition:
    def test_a_claimed_connection_is_uploaded_whole(self, bench):
        bench.open()
        bench.read(b"?a\n")
        assert bench.uploads == [(1, UPLOAD_ALL)]

    def test_a_connection_nobody_claims_stops_being_uploaded(self, bench):
        bench.open()
        for _ in range(MAX_GREETING // 64):
            assert bench.uploads == []
            bench.read(b"\x00binary!" * 8)
            bench.write(b"\x00binary!" * 8)
        assert bench.uploads == [(1, UPLOAD_NONE)]
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert bench.exchanges == []
        bench.check_each_once()

    def test_one_that_only_ever_speaks_one_way_stops_too(self, bench):
        bench.open()
        for _ in range(MAX_ONE_WAY // 1024):
            assert bench.uploads == []
            bench.write(b"\x00log line" + bytes(1015))
        assert bench.uploads == [(1, UPLOAD_NONE)]

    @pytest.mark.parametrize("step", [1, 7, 5000])
    @pytest.mark.parametrize("greeting", GREETINGS)
    def test_a_greeting_hides_nothing_however_it_trickles(self, bench, greeting, step):
        """Recognition counts bytes, not calls."""
        bench.open()
        for speak, said in GREETINGS[greeting]:
            for at in range(0, len(said), step):
                (bench.read if speak == "client" else bench.write)(said[at : at + step])
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        (log,) = bench.exchanges
        assert [detail.size for detail in log.details] == [3, 3]
        bench.check_each_once()

    def test_what_was_answered_by_nothing_known_is_no_part_of_a_later_message(self, make_bench, lines):
        def sniff(data: bytes | bytearray) -> Verdict:
            if data[:1] in b"~?!":
                return Verdict.YES if b"\n" in data else Verdict.MAYBE
            return Verdict.NO

        bench = make_bench(protocols=[dataclasses.replace(lines, sniff=sniff)])
        bench.open()
        bench.read(b"~")
        bench.write(b"\x00")
        bench.read(b"?")
        bench.read(b"a\n")
        bench.write(b"!a\n")
        assert [log.attributes["request"] for log in bench.exchanges] == ["?a"]
        bench.check_each_once()

    def test_a_call_that_opens_a_message_is_seen_behind_one_that_only_seemed_to(self, make_bench, lines):
        def sniff(data: bytes | bytearray) -> Verdict:
            if data[:1] == b"~":
                return Verdict.MAYBE if len(data) < 3 else Verdict.NO
            return Verdict.YES if data[:1] in b"?!" else Verdict.NO

        bench = make_bench(protocols=[dataclasses.replace(lines, sniff=sniff)])
        bench.open()
        bench.read(b"~")
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert [log.attributes["request"] for log in bench.exchanges] == ["?a"]
        bench.check_each_once()

    def test_a_preamble_before_the_first_message_is_passed_over(self, bench):
        bench.open()
        bench.read(b"PROXY TCP4 1.2.3.4\n")
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert len(bench.exchanges) == 1

    def test_a_connection_joined_late_is_never_given_up(self, bench):
        bench.open(role=None, late=True)
        for _ in range(100):
            bench.read(b"\x00middle of a body")
            bench.write(b"\x00middle of a body")
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        (log,) = bench.exchanges
        assert log.connection.role is Role.SERVER
        bench.check_each_once()

    def test_too_few_bytes_are_asked_about_again(self, make_bench, lines):
        def sniff(data: bytes | bytearray) -> Verdict:
            if len(data) < 3:
                return Verdict.MAYBE
            return Verdict.YES if data.startswith(b"?ab") else Verdict.NO

        bench = make_bench(protocols=[dataclasses.replace(lines, sniff=sniff)])
        bench.open()
        for byte in (b"?", b"a", b"b", b"\n"):
            bench.read(byte)
        bench.write(b"!\n")
        assert bench.exchanges[0].attributes["request"] == "?ab"
        assert len(bench.exchanges[0].details) == 5

    def test_a_pinned_port_needs_no_sniff(self, make_bench, lines):
        never = dataclasses.replace(lines, sniff=lambda data: Verdict.NO)
        bench = make_bench(protocols=[never], ports={"80": "lines"})
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert len(bench.exchanges) == 1

    def test_the_higher_priority_is_asked_first(self, make_bench, lines):
        other = ProtocolSpec("other", lines.sniff, lines.make, priority=1)
        bench = make_bench(protocols=[lines, other])
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert bench.exchanges[0].connection.protocol == "other"

    def test_both_directions_are_decoded_from_their_beginning(self, make_bench, lines):
        """What the peer had said before the claim counts too."""

        def sniff(data: bytes | bytearray) -> Verdict:
            return Verdict.YES if data.startswith(b"!") else Verdict.MAYBE

        bench = make_bench(protocols=[dataclasses.replace(lines, sniff=sniff)])
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert len(bench.exchanges) == 1


def test_bytes_that_no_call_moved_are_counted_and_no_exchange_is_made_up(bench):
    bench.open()
    bench.read(b"?a\n")
    detail = bench.detail(1, Syscall.CLOSE, Direction.EGRESS)
    bench.pipeline.closed(Closed(connection=1, time=bench.clock, reset=False, detail=detail, unseen=700))
    bench.pipeline.closed(
        Closed(connection=2, time=bench.clock, reset=False, detail=None, unseen=5)
    )  # of which nothing else arrived
    bench.pipeline.closed(Closed(connection=3, time=bench.clock, reset=False, detail=None))
    totals = bench.pipeline.totals
    assert (totals.unseen_bytes, totals.unseen_connections) == (705, 2)
    assert [log.attributes for log in bench.exchanges] == [{"request": "?a"}]
    bench.check_each_once()


class TestHooks:
    def test_the_first_log_wins_and_keeps_the_core_facts(self, make_bench):
        class Rename:
            @hookimpl
            def handle_exchange(self, connection, exchange):
                return AccessLog(
                    connection=connection,
                    start=exchange.start,
                    end=exchange.end,
                    protocol="renamed",
                    outcome=Outcome.SPLIT,
                )

        bench = make_bench(Rename())
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        (log,) = bench.exchanges
        assert log.protocol == "renamed"
        assert log.outcome is Outcome.COMPLETE
        assert len(log.details) == 2

    def test_a_raising_plugin_costs_nobody_anything(self, make_bench):
        class Broken:
            @hookimpl
            def handle_exchange(self, connection, exchange, details):
                raise RuntimeError("boom")

            @hookimpl
            def on_protocol_break(self, connection, protocol_break):
                raise RuntimeError("boom")

        bench = make_bench(Broken())
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        bench.write(b"#framing\n")
        assert len(bench.exchanges) == 1
        assert [b.reason for b in bench.breaks] == ["framing"]
        assert dict(bench.manager.plugins[1].failures) == {
            "handle_exchange: RuntimeError": 1,
            "on_protocol_break: RuntimeError": 1,
        }

    def test_what_no_plugin_logs_goes_as_kernel_logs(self, make_bench, lines):
        """Of HTTP the core makes no log of its own."""

        class Http(type(lines.make(None, {}, None))):
            def decode(self, direction, buffer, now):
                if not len(buffer):
                    return NEED_MORE
                buffer.consume(len(buffer), 0)
                return HttpExchange(
                    owner=0,
                    request=HttpRequest(
                        method="GET",
                        target="/",
                        version="1.1",
                        headers=Headers(),
                        start=1,
                        end=2,
                        header_size=18,
                        body_size=0,
                    ),
                    response=None,
                )

        spec = dataclasses.replace(lines, make=lambda connection, settings, upgrade: Http())
        bench = make_bench(protocols=[spec])
        bench.open()
        bench.read(b"?a\n")
        assert bench.exchanges == []
        assert bench.pipeline.totals.unhandled == 1
        bench.check_each_once()


class TestUnbuilt:
    """Data before the record that opens the connection."""

    def test_logs_wait_for_the_addresses(self, bench):
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert bench.logs == []
        bench.open()
        (log,) = bench.exchanges
        assert log.connection.local.port == 80

    def test_they_go_without_addresses_when_those_never_come(self, bench):
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        bench.pipeline.tick(bench.clock + HELD_FOR + 1)
        (log,) = bench.exchanges
        assert log.connection.local is None

    def test_a_stream_begins_where_it_was_first_seen(self, bench):
        bench.positions[1, Direction.INGRESS] = 1000
        bench.sequences[1] = 17
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        bench.open(late=True)
        assert len(bench.exchanges) == 1
        assert bench.pipeline.totals.missing == 0

    def test_the_first_call_that_is_known_overlaps_none(self, make_bench, lines):
        overlapping = []

        def make(connection, settings, upgrade):
            decoder = lines.make(connection, settings, upgrade)
            decode = decoder.decode

            def watched(direction, buffer, now):
                overlapping.append(buffer.overlapping)
                return decode(direction, buffer, now)

            decoder.decode = watched
            return decoder

        bench = make_bench(protocols=[dataclasses.replace(lines, make=make)])
        bench.read(b"?1\n")
        bench.write(b"!1\n")
        assert len(overlapping) > 1
        assert not any(overlapping)


class TestBounds:
    def test_the_idlest_connection_makes_room(self, make_bench):
        bench = make_bench(max_connections=3)
        for identity in range(1, 5):
            bench.open(identity)
            bench.read(b"?%d\n" % identity, identity)
            bench.read(b"?again\n", 1)
        assert bench.pipeline.totals.evicted == 1
        assert [log.connection.id for log in bench.exchanges] == [2]

    def test_it_is_never_one_that_is_used(self, make_bench):
        """However long it has been there, and however many come and go."""
        bench = make_bench(max_connections=200)
        for identity in range(1, 1000):
            bench.open(identity)
            for used in (1, 2, 3):
                if used <= identity:
                    bench.read(b"?%d\n" % identity, used)
                    bench.write(b"!%d\n" % identity, used)
        assert len(bench.exchanges) == 999 + 998 + 997
        assert bench.pipeline.totals.evicted == 999 - 200
        assert bench.pipeline.totals.returned == 0

    def test_one_that_goes_on_keeps_its_facts(self, make_bench):
        bench = make_bench(max_connections=2)
        for identity in (1, 2, 3):
            bench.open(identity)
        for turn in range(4):
            for identity in (1, 2, 3):
                bench.read(b"?%d\n" % turn, identity)
                bench.write(b"!%d\n" % turn, identity)
        logs = bench.exchanges
        assert [log.attributes["reply"] for log in logs] == [f"!{turn}" for turn in range(4) for _ in "123"]
        assert {log.connection.local.port for log in logs} == {80}
        assert [log.connection.opened for log in logs[:3]] == [bench.known[i].time for i in (1, 2, 3)]
        assert {log.outcome for log in logs} == {Outcome.COMPLETE}
        totals = bench.pipeline.totals
        assert (totals.connections, totals.evicted, totals.returned, totals.missing) == (3, 13, 12, 0)
        bench.pipeline.finish(bench.clock)
        bench.check_each_once()

    def test_and_its_streams_begin_where_they_go_on(self, make_bench):
        """In the direction that comes second as well, unless a record is missing between."""
        bench = make_bench(max_connections=1)
        for lost, expected in ((0, ["!a", "!b"]), (1, ["!a"])):
            bench.open(1)
            bench.read(b"?a\n")
            bench.write(b"!a\n")
            bench.open(2)
            bench.read(b"?b\n")
            bench.sequences[1] += lost
            bench.write(b"!b\n")
            assert [log.attributes["reply"] for log in bench.exchanges] == expected
            bench = make_bench(max_connections=1)

    def test_names_of_processes_are_kept_by_use(self, make_bench):
        bench = make_bench()
        for pid in range(1000, 1000 + MAX_PROCESSES):
            bench.pipeline.process(Process(pid=pid, name="short"))
            if pid % 1000 == 0:
                bench.open(pid)
        bench.read(b"?a\n", 1000)
        bench.write(b"!a\n", 1000)
        assert bench.exchanges[-1].connection.process == Process(pid=42, name="app")

    def test_a_connection_whose_end_was_lost_is_noticed(self, bench):
        bench.open()
        bench.read(b"?a\n")
        bench.gone.add(1)
        bench.pipeline.tick(bench.clock + IDLE_CHECK + 1)
        assert [log.attributes for log in bench.exchanges] == [{"request": "?a"}]
        bench.check_each_once()

    def test_one_that_is_merely_idle_stays(self, bench):
        bench.open()
        bench.read(b"?a\n")
        bench.pipeline.tick(bench.clock + IDLE_CHECK + 1)
        bench.write(b"!a\n")
        assert [log.attributes["reply"] for log in bench.exchanges] == ["!a"]

    def test_a_record_that_comes_late_is_no_loss_of_those_after_it(self, bench):
        bench.open()
        late = bench.detail(1, Syscall.READ, Direction.INGRESS, 3)
        bench.write(b"!a\n")
        bench.pipeline.data(late, b"?a\n")
        bench.write(b"!b\n")
        assert bench.pipeline.totals.missing == 1

    def test_what_is_behind_a_gap_is_recognised_anew(self, bench):
        bench.open()
        bench.read(b"no", size=5)
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        assert [log.attributes["reply"] for log in bench.exchanges] == ["!a"]

    def test_lost_records_are_counted_by_sequence(self, bench):
        bench.open()
        bench.sequences[1] += 3
        bench.read(b"?a\n")
        assert bench.pipeline.totals.missing == 3

    def test_a_close_of_an_unknown_connection_is_delivered(self, bench):
        detail = bench.detail(9, Syscall.CLOSE, Direction.EGRESS)
        bench.pipeline.closed(Closed(connection=9, time=bench.clock, reset=False, detail=detail))
        bench.pipeline.closed(Closed(connection=10, time=bench.clock, reset=False, detail=None))
        assert bench.delivered == [detail]

    @pytest.mark.parametrize(
        ("ending", "outcome"), [("close", "aborted"), ("gone", "aborted"), ("finish", "unfinished")]
    )
    def test_what_is_under_way_at_the_end(self, make_bench, lines, ending, outcome):
        """It is the traffic's doing, or the agent's; what ended before is as it was."""

        class Cut(type(lines.make(None, {}, None))):
            def decode(self, direction, buffer, now):
                if buffer.ended:
                    return Exchange(
                        owner=9, start=1, end=now, name="lines", attributes={"reply": "by close"}
                    ).replace(outcome=self.end())
                return super().decode(direction, buffer, now)

            def end(self):
                self.decode = lambda direction, buffer, now: NEED_MORE
                return Outcome.COMPLETE

            def close(self, now):
                return [found.replace(outcome=Outcome.ABORTED) for found in super().close(now)]

        bench = make_bench(protocols=[dataclasses.replace(lines, make=lambda *_: Cut())])
        bench.open()
        bench.read(b"?a\n")
        bench.write(b"!a\n")
        bench.read(b"?b\n")
        if ending == "close":
            bench.close()
        elif ending == "gone":
            bench.gone.add(1)
            bench.pipeline.tick(bench.clock + IDLE_CHECK + 1)
        else:
            bench.pipeline.finish(bench.clock)
        by_close = ["complete"] if ending == "close" else []
        assert [log.outcome.value for log in bench.exchanges] == ["complete", *by_close, outcome]
        bench.check_each_once()

    def test_the_end_of_the_run_delivers_everything(self, bench):
        bench.open()
        bench.read(b"?a\n")
        bench.read(b"?half")
        bench.open(2)
        bench.pipeline.finish(bench.clock)
        bench.check_each_once()
        assert len(bench.exchanges) == 1


class TestLargeBodies:
    def spoken(self, make_bench, lines, unneeded):
        """A bench whose decoder leaves this many bytes, or raises this."""

        def answer(direction):
            if isinstance(unneeded, Exception):
                raise unneeded
            return unneeded if direction is Direction.EGRESS else 0

        def make(connection, settings, upgrade):
            decoder = lines.make(connection, settings, upgrade)
            decoder.unneeded = answer
            return decoder

        bench = make_bench(protocols=[dataclasses.replace(lines, make=make)])
        bench.open()
        bench.read(b"?a\n")
        return bench

    def test_the_source_is_told_what_it_need_not_deliver(self, make_bench, lines):
        bench = self.spoken(make_bench, lines, WORTH_TELLING)
        bench.write(b"!" * LARGE)
        assert bench.unneeded == [(1, Direction.EGRESS, LARGE + WORTH_TELLING)]

    def test_but_not_for_little(self, make_bench, lines):
        bench = self.spoken(make_bench, lines, WORTH_TELLING - 1)
        bench.write(b"!" * LARGE)
        bench.read(b"?" * LARGE)
        assert bench.unneeded == []

    def test_nor_behind_calls_that_brought_little(self, make_bench, lines):
        """Once told, they bring nothing, and nothing is asked again."""
        bench = self.spoken(make_bench, lines, 1 << 30)
        bench.write(b"!" * (LARGE - 1))
        bench.write(b"", size=1 << 20)
        assert bench.unneeded == []

    def test_a_decoder_that_raises_is_a_break(self, make_bench, lines):
        bench = self.spoken(make_bench, lines, ValueError("a bug"))
        bench.write(b"!" * LARGE)
        assert [found.reason for found in bench.breaks] == ["plugin"]
        assert bench.uploads[-1] == (1, UPLOAD_NONE)
        bench.close()
        bench.check_each_once()

    def test_a_decoder_without_it_needs_everything(self, bench):
        bench.open()
        bench.read(b"?" * LARGE)
        assert bench.unneeded == []
