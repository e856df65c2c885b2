"""handle_access_log: what plugins change and drop before the sinks, and what they cannot."""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest

from rover import DROP, NEVER, AccessLog, Address, Drop, Exchange, Outcome, Process, ProtocolBreak, hookimpl
from rover.pipeline.totals import MAX_RULES
from rover.values.records import MAX_NUMBER

Filter = Callable[[AccessLog], Any]


def filters(*functions: Filter) -> list[object]:
    """A plugin for each; pluggy calls the one that was registered last first."""

    def plugin(function: Filter) -> object:
        @hookimpl
        def handle_access_log(log: AccessLog) -> Any:
            return function(log)

        return types.SimpleNamespace(handle_access_log=handle_access_log)

    return [plugin(function) for function in reversed(functions)]


def talk(bench: Any, *lines: bytes) -> None:
    """One connection; each line is asked and answered, `#...` breaks it."""
    bench.open()
    for line in lines:
        bench.read(line)
        if line.startswith(b"?"):
            bench.write(b"!" + line[1:])
    bench.close()


def with_attributes(**attributes: Any) -> Filter:
    return lambda log: log.replace(attributes={**log.attributes, **attributes}) if log.protocol else None


def failures(bench: Any) -> dict[str, int]:
    return {f"{plugin}: {kind}": count for plugin, kind, count in bench.manager.failures()}


def test_every_log_that_a_sink_gets_passes_once(make_bench: Any) -> None:
    """Of an exchange, of a break, and of socket calls alone."""
    seen = []
    bench = make_bench(*filters(seen.append))
    talk(bench, b"?a\n", b"#gap\n")
    assert seen == bench.logs
    assert {(log.protocol, log.outcome) for log in seen} == {
        ("", Outcome.COMPLETE),
        ("lines", Outcome.COMPLETE),
        ("", Outcome.BREAK),
    }


def test_logs_that_no_sink_takes_are_not_made(make_bench: Any) -> None:
    seen = []
    bench = make_bench(*filters(seen.append), kernel_logs=False)
    talk(bench, b"?a\n")
    assert [log.protocol for log in seen] == ["lines"]


def test_each_gets_what_the_one_before_returned(make_bench: Any) -> None:
    first = with_attributes(x=1, request="masked")
    bench = make_bench(*filters(first, lambda log: None, with_attributes(x=2, y=3), lambda log: log))
    talk(bench, b"?secret\n")
    (log,) = bench.exchanges
    assert log.attributes == {"request": "masked", "reply": "!secret", "x": 2, "y": 3}


def test_what_is_dropped_is_counted_by_plugin_and_asked_of_nobody_else(make_bench: Any) -> None:
    asked = []

    def drop(name: str) -> Filter:
        return lambda log: DROP if log.attributes.get("request") == name else None

    bench = make_bench(
        *filters(drop("?a"), drop("?b"), lambda log: asked.append(log.attributes.get("request")))
    )
    talk(bench, b"?a\n", b"?b\n", b"?a\n", b"?c\n")
    assert [log.attributes["request"] for log in bench.exchanges] == ["?c"]
    assert [each for each in asked if each] == ["?c"]
    totals = bench.pipeline.totals
    assert totals.dropped == {"plugin2": 2, "plugin1": 1}
    assert totals.exchanges == totals.dropped.total() + len(bench.exchanges)
    assert totals.dropped_alone == 0
    assert totals.calls == totals.in_exchanges + totals.alone


def test_what_is_dropped_is_counted_by_rule_too(make_bench: Any) -> None:
    """A rule is a few words; whatever else a plugin gives counts for the plugin alone."""
    rules: dict[str, Any] = {"?a": "health", "?b": "", "?c": None, "?d": "\x1b[31m" * 20, "?e": Text("x")}
    bench = make_bench(
        *filters(lambda log: Drop(rule=rules[log.attributes["request"]]) if log.protocol else None)
    )
    talk(bench, *(b"%s\n" % asked.encode() for asked in (*rules, "?a")))
    totals = bench.pipeline.totals
    red = repr("\x1b[31m" * 8)[1:-1]
    assert totals.dropped == {"plugin0 health": 2, "plugin0": 3, f"plugin0 {red}": 1}
    assert totals.exchanges == totals.dropped.total()
    assert failures(bench) == {}


def test_rules_without_end_are_told_by_plugin(make_bench: Any) -> None:
    numbers = itertools.count()
    bench = make_bench(*filters(lambda log: Drop(rule=f"{next(numbers)}") if log.protocol else None))
    talk(bench, *[b"?a\n"] * 100)
    totals = bench.pipeline.totals
    assert len(totals.dropped) == MAX_RULES + 1
    assert totals.dropped["plugin0"] == 100 - MAX_RULES


def test_a_plugin_with_nothing_to_do_is_not_asked_again(make_bench: Any) -> None:
    """Its first log, and those of the others, go on as they would."""
    asked: list[list[AccessLog]] = [[], [], []]

    def idle(log: AccessLog) -> Any:
        asked[1].append(log)
        return NEVER

    bench = make_bench(*filters(asked[0].append, idle, asked[2].append, idle))
    talk(bench, b"?a\n", b"?b\n", b"#gap\n")
    assert asked[0] == asked[2] == bench.logs
    assert asked[1] == bench.logs[:1] * 2
    assert failures(bench) == {}


def test_kernel_logs_and_breaks_that_are_dropped_count_for_themselves(make_bench: Any) -> None:
    bench = make_bench(*filters(lambda log: None if log.protocol else DROP))
    talk(bench, b"?a\n", b"#gap\n")
    assert [log.protocol for log in bench.logs] == ["lines"]
    totals = bench.pipeline.totals
    assert (totals.dropped.total(), totals.dropped_alone) == (0, 3)  # the accept, the break, the close
    assert totals.noted()["logs without an exchange dropped"] == 3


def test_a_log_that_waits_for_its_connection_passes_once_that_is_known(make_bench: Any) -> None:
    seen = []
    bench = make_bench(*filters(seen.append))
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    assert seen == []
    bench.open()
    assert [log.protocol for log in seen] == ["lines", ""]
    assert all(log.connection.remote == Address(host="10.0.0.2", port=4000) for log in seen)


def test_what_may_be_changed(make_bench: Any) -> None:
    def change(log: AccessLog) -> AccessLog:
        connection = log.connection
        masked = connection.replace(
            remote=Address(host="10.0.0.0", port=0),
            proxied=Address(host="192.0.2.0", port=1),
            process=Process(pid=7, name="masked", attributes={"pod": "a"}),
        )
        if connection.protocol_break is not None:
            masked = masked.replace(protocol_break=connection.protocol_break.replace(detail="masked"))
        named = {"protocol": "other", "version": "2"} if log.protocol else {}
        return log.replace(connection=masked, start=1, end=2, attributes={"n": True}, **named)

    bench = make_bench(*filters(change))
    talk(bench, b"?a\n", b"#gap\n")
    assert failures(bench) == {}
    assert sorted(bench.delivered, key=attrgetter("sequence")) == bench.sent
    for log in bench.logs:
        connection = log.connection
        assert (connection.id, connection.local) == (1, Address(host="10.0.0.1", port=80))
        assert connection.remote == Address(host="10.0.0.0", port=0)
        assert connection.proxied == Address(host="192.0.2.0", port=1)
        assert connection.process == Process(pid=7, name="masked", attributes={"pod": "a"})
        assert (log.start, log.end, log.attributes) == (1, 2, {"n": True})
    assert [(log.protocol, log.version) for log in bench.exchanges] == [("other", "2")]
    (broken,) = [log for log in bench.logs if log.outcome is Outcome.BREAK]
    assert (broken.connection.protocol_break.reason, broken.connection.protocol_break.detail) == (
        "gap",
        "masked",
    )


def test_what_the_pipeline_goes_by_stays(make_bench: Any) -> None:
    """Of another snapshot of the connection only what a log shows of it is taken."""
    plain = make_bench()
    talk(plain, b"?a\n")

    def change(log: AccessLog) -> AccessLog:
        return log.replace(connection=log.connection.replace(epoch=0, opened=9, role=None, tls=True))

    bench = make_bench(*filters(change))
    talk(bench, b"?a\n")
    assert bench.logs == plain.logs
    assert failures(bench) == {}


class Text(str):
    """Has code of its own."""

    def __str__(self) -> str:
        raise SystemExit


def raising(_log: AccessLog) -> Any:
    raise SystemExit(3)


def connection_with(**changes: Any) -> Filter:
    return lambda log: log.replace(connection=log.connection.replace(**changes))


WRONG: dict[str, Filter] = {
    "raises": raising,
    "False": lambda log: False,
    "a tuple": tuple,
    "attributes alone": lambda log: dict(log.attributes),
    "the class of DROP": lambda log: type(DROP),
    "the name of DROP": lambda log: "DROP",
    "the class of NEVER": lambda log: type(NEVER),
    "details twice": lambda log: log.replace(details=log.details * 2),
    "no details": lambda log: log.replace(details=()),
    "equal details": lambda log: log.replace(details=(*log.details,)),
    "outcome": lambda log: log.replace(outcome=Outcome.SPLIT),
    "outcome of another type": lambda log: log.replace(outcome="complete"),
    "a protocol where none is, or none where one is": lambda log: log.replace(
        protocol="" if log.protocol else "x"
    ),
    "protocol": lambda log: log.replace(protocol=None),
    "version": lambda log: log.replace(version=2),
    "start": lambda log: log.replace(start=0.5),
    "end": lambda log: log.replace(end=MAX_NUMBER + 1),
    "attributes": lambda log: log.replace(attributes=None),
    "an attribute": lambda log: log.replace(attributes={"a": None}),
    "an attribute's name": lambda log: log.replace(attributes={1: "a"}),
    "no connection": lambda log: log.replace(connection=None),
    "another connection": connection_with(id=2),
    "an address": connection_with(remote=("10.0.0.2", 4000)),
    "a host": connection_with(local=Address(host=None, port=1)),
    "a port": connection_with(proxied=Address(host="10.0.0.1", port="80")),
    "a large port": connection_with(proxied=Address(host="10.0.0.1", port=1 << 16)),
    "a process": connection_with(process="nginx"),
    "a process's name": connection_with(process=Process(pid=1, name=None)),
    "a process's number": connection_with(process=Process(pid=-1, name="a")),
    "a process's attributes": connection_with(process=Process(pid=1, name="a", attributes={"pod": None})),
    "a break where none is": connection_with(protocol_break="gap"),
    "an unknown field": lambda log: log.replace(colour="red"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_plugin_that_fails_changes_and_loses_nothing(make_bench: Any, wrong: str) -> None:
    """Another before it and one after it are called all the same."""
    failing = WRONG[wrong]
    plain = make_bench()
    talk(plain, b"?a\n", b"?b\n")
    bench = make_bench(*filters(with_attributes(before=1), failing, with_attributes(after=2)))
    talk(bench, b"?a\n", b"?b\n")
    assert len(bench.logs) == len(plain.logs)
    for log, own in zip(bench.logs, plain.logs, strict=True):
        added = {"before": 1, "after": 2} if log.protocol else {}
        assert log == own.replace(attributes={**own.attributes, **added})
    (failure,) = failures(bench)
    assert failure.startswith("plugin1: handle_access_log: ")
    assert sum(failures(bench).values()) >= 2
    assert not bench.pipeline.totals.dropped


@pytest.mark.parametrize(
    "broken", [None, "gap", ProtocolBreak(reason="", detail="x"), ProtocolBreak(reason="gap", position=-1)]
)
def test_a_break_stays_one(make_bench: Any, broken: Any) -> None:
    def change(log: AccessLog) -> AccessLog | None:
        if log.outcome is not Outcome.BREAK:
            return None
        return log.replace(connection=log.connection.replace(protocol_break=broken))

    bench = make_bench(*filters(change))
    talk(bench, b"#gap\n")
    (log,) = [log for log in bench.logs if log.outcome is Outcome.BREAK]
    assert log.connection.protocol_break.reason == "gap"
    assert sum(failures(bench).values()) == 1


def test_values_of_derived_classes_become_plain(make_bench: Any) -> None:
    bench = make_bench(*filters(with_attributes(a=Text("x"))))
    talk(bench, b"?a\n")
    assert type(bench.exchanges[0].attributes["a"]) is str


def test_an_exchange_of_any_hook_passes(make_bench: Any, lines: Any) -> None:
    """Also a log that a plugin made, and one of which no plugin made any."""

    class Own:
        @hookimpl
        def handle_exchange(self, connection: Any, exchange: Exchange, details: Any) -> AccessLog | None:
            if exchange.attributes["request"] == "?own":
                return AccessLog(
                    connection=connection,
                    start=exchange.start,
                    end=exchange.end,
                    protocol="own",
                    details=details,
                )
            return None

    bench = make_bench(Own(), *filters(with_attributes(seen=True)), protocols=[dataclasses.replace(lines)])
    talk(bench, b"?own\n", b"?a\n")
    assert [(log.protocol, log.attributes["seen"]) for log in bench.exchanges] == [
        ("own", True),
        ("lines", True),
    ]
