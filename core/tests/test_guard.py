"""One guard stands between the core and every plugin: whatever it raises or returns is its own failure.

Each case plays a connection of a plugin that misbehaves beside one of a plugin that does not: the second
one's log arrives, the first one's failure has a name, and nothing ends.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from http import HTTPMethod, HTTPStatus

import pytest
import typer

from rover import (
    NEED_MORE,
    RESYNCHRONISED,
    AccessLog,
    Address,
    Direction,
    Exchange,
    Opened,
    Outcome,
    ProtocolBreak,
    ProtocolSpec,
    Role,
    Setting,
    SinkSpec,
    SourceSpec,
    UsageError,
    Verdict,
    hookimpl,
)
from rover.cli.command import build
from rover.contracts.settings import Settings
from rover.http import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream
from rover.pipeline.table import IDLE_CHECK
from rover.pipeline.tracked_connection import LARGE, WORTH_TELLING
from rover.plugins.guard import MAX_YIELDED
from rover.plugins.manager import MAX_KINDS, OTHERS, PluginManager
from rover.run.configuration import CORE, Catalogue
from rover.run.report import failures_of
from rover.values.records import MAX_NUMBER


class UnreadableError(BaseException):
    """Whoever asks for its text ends."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class Hidden(type):
    """Whoever asks for the name of a class of it ends."""

    @property
    def __name__(cls):
        raise SystemExit


class NamelessError(Exception, metaclass=Hidden):
    """Of no name."""


class DisguisedError(Exception):
    """Whoever asks for its class, or where it is from, ends."""

    @property
    def __traceback__(self):
        raise SystemExit

    @property
    def __class__(self):
        raise SystemExit


ERRORS = {
    "exception": RuntimeError("boom"),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "generator's end": GeneratorExit(),
    "iterator's end": StopIteration(),
    "recursion": RecursionError(),
    "memory": MemoryError(),
    "unreadable": UnreadableError(),
    "nameless": NamelessError(),
    "disguised": DisguisedError(),
}
"""What a plugin may raise, by a name: pytest does not survive to look at some of them."""


class Subclass(str):
    def __len__(self):
        raise SystemExit


def shown(value) -> str:
    """A case's name: some of them have no repr that works."""
    try:
        return f"{value!r:.90}"
    except TypeError:
        return "without fields"


def raises(error):
    """A function that does; `error` is one, or its name."""

    def function(*args, **kwargs):
        raise ERRORS[error] if type(error) is str else error

    return function


def returns(value):
    return lambda *args, **kwargs: value


def failures(bench) -> list[str]:
    """Named as the totals name them."""
    return [f"{f.plugin}: {f.kind}" for f in failures_of(bench.manager.plugins)]


class Decent:
    """A decoder of a connection's first call, of which it makes an exchange."""

    role = Role.SERVER

    def __init__(self):
        self.asked = 0

    def decode(self, direction, buffer, now):
        if not len(buffer):
            return NEED_MORE
        buffer.consume(len(buffer), self.asked)
        self.asked += 1
        return Exchange(owner=self.asked - 1, start=1, end=now, name="decent", attributes={})

    def expire(self, now):
        return ()

    def close(self, now):
        return ()


def play(make_bench, lines, bad, *plugins):
    """A connection of the protocol `bad`, which begins with a tilde, beside one of lines."""
    spec = ProtocolSpec("bad", lambda data: Verdict.YES if data[:1] == b"~" else Verdict.NO, bad)
    spec = bad if isinstance(bad, ProtocolSpec) else spec
    bench = make_bench(*plugins, protocols=[spec, lines])
    bench.open(1)
    bench.open(2)
    bench.read(b"?a\n", 1)
    bench.read(b"~", 2)
    bench.read(b"~" * LARGE, 2)
    bench.pipeline.tick(bench.clock)
    bench.write(b"~", 2)
    bench.write(b"!a\n", 1)
    bench.close(2)
    bench.close(1)
    bench.pipeline.finish(bench.clock)
    assert [log.attributes["reply"] for log in bench.exchanges if log.connection.id == 1] == ["!a"]
    bench.check_each_once()
    return bench


def changed(**attributes):
    """What makes a decent decoder with something in it that is not."""

    def make(connection, settings, upgrade):
        return type("Changed", (Decent,), dict(attributes))()

    return make


# -- decoders ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("method", ["decode", "expire", "close", "unneeded", "memory", "role"])
def test_whatever_a_decoder_raises(make_bench, lines, method, error):
    value = raises(error)
    bench = play(
        make_bench, lines, changed(**{method: property(value) if method in ("memory", "role") else value})
    )
    where = {"memory": "make", "role": "make"}.get(method, method)
    (failure,) = failures(bench)
    assert failure.startswith(f"protocol bad: {where}: ")


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_factory_or_a_sniff_raises(make_bench, lines, error):
    bench = play(make_bench, lines, raises(error))
    assert failures(bench)[0].startswith("protocol bad: make: ")
    assert [found.reason for found in bench.breaks] == ["plugin"]
    bench = play(make_bench, lines, ProtocolSpec("bad", raises(error), changed()))
    assert failures(bench)[0].startswith("protocol bad: sniff: ")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", ["role", "memory"])
def test_what_can_be_read_once_and_then_raises(make_bench, lines, name, error):
    reads = []

    def read(self):
        reads.append(1)
        if len(reads) > 1:
            raise ERRORS[error]
        return None if name == "role" else 0

    bench = play(make_bench, lines, changed(**{name: property(read)}))
    assert failures(bench)[0].startswith(f"protocol bad: {name}: ")


@pytest.mark.parametrize("said", [True, None, "yes", 1, NEED_MORE, {}], ids=shown)
def test_a_sniff_says_a_verdict(make_bench, lines, said):
    bench = play(make_bench, lines, ProtocolSpec("bad", returns(said), changed()))
    assert failures(bench) == ["protocol bad: sniff: TypeError"]


@pytest.mark.parametrize(
    "made",
    [
        None,
        7,
        object(),
        types.SimpleNamespace(decode=len, expire=len, close=len),
        types.SimpleNamespace(role="server", decode=len, expire=len, close=len),
        types.SimpleNamespace(role=None, decode=None, expire=len, close=len),
        types.SimpleNamespace(role=None, decode=len, close=len),
        types.SimpleNamespace(role=None, decode=len, expire=len, close=7),
    ],
    ids=shown,
)
def test_a_factory_makes_a_decoder(make_bench, lines, made):
    bench = play(make_bench, lines, returns(made))
    assert failures(bench)[0].startswith("protocol bad: make: ")
    assert [found.reason for found in bench.breaks] == ["plugin"]


def http(**fields):
    request = HttpRequest(
        method="GET",
        target="/",
        version="1.1",
        headers=Headers(),
        start=1,
        end=2,
        header_size=18,
        body_size=0,
    )
    return HttpExchange(owner=0, request=request, response=None).replace(**fields)


EXCHANGE = Exchange(owner=0, start=1, end=2, name="decent", attributes={})
NO_EXCHANGES = [
    None,
    True,
    "exchange",
    {},
    Verdict.YES,
    (0, 1, 2, "decent", {}),
    EXCHANGE.replace(owner=[]),
    EXCHANGE.replace(owner="0"),
    EXCHANGE.replace(owner=1.5),
    EXCHANGE.replace(start=None),
    EXCHANGE.replace(end="2"),
    EXCHANGE.replace(outcome="complete"),
    http(request="GET /"),
    http(request=None),
    http(response={}),
    http(outcome=True),
    http(end=None),
    http(assumed="perhaps"),
    HttpStream(owner=0, request=None, response=None),
    HttpStream(owner=0, request="GET /", response=None),
]


@pytest.mark.parametrize("result", NO_EXCHANGES, ids=shown)
def test_what_a_decoder_returns_is_an_exchange(make_bench, lines, result):
    bench = play(make_bench, lines, changed(decode=returns(result)))
    (failure,) = failures(bench)
    assert failure.startswith("protocol bad: decode: ")
    assert [found.reason for found in bench.breaks] == ["plugin"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"name": ""},
        {"attributes": None},
        {"attributes": ["a"]},
        {"attributes": {1: "a"}},
        {"attributes": {"a": object()}},
        {"attributes": {"a": None}},
        {"attributes": {"a": [1]}},
    ],
    ids=shown,
)
def test_what_the_log_of_an_exchange_is_made_of(make_bench, lines, fields):
    """It is counted, and its calls go alone."""

    def decode(self, direction, buffer, now):
        found = Decent.decode(self, direction, buffer, now)
        return found.replace(**fields) if found is not NEED_MORE else found

    bench = play(make_bench, lines, changed(decode=decode))
    assert failures(bench) == ["protocol bad: decode: TypeError"]
    assert bench.pipeline.totals.unhandled == 3
    assert bench.pipeline.totals.exchanges == len(bench.exchanges) + 3


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": None},
        {"reason": []},
        {"reason": ""},
        {"reason": "x" * 1000},
        {"reason": "\x1b[2J"},
        {"detail": b"bytes"},
        {"direction": "up"},
        {"direction": 2},
        {"direction": Direction.INGRESS, "position": "7"},
        {"direction": Direction.INGRESS, "position": -1},
        {"upgrade": ["words"]},
        {"request": "GET /"},
        {
            "request": HttpResponse(
                status=101, version="1.1", headers=Headers(), start=1, end=2, header_size=3, body_size=0
            )
        },
        {"response": 101},
    ],
    ids=shown,
)
def test_what_a_break_is_made_of(make_bench, lines, fields):
    bench = play(make_bench, lines, changed(decode=returns(ProtocolBreak(reason="gap").replace(**fields))))
    assert failures(bench) == ["protocol bad: decode: TypeError"]
    assert [found.reason for found in bench.breaks] == ["plugin"]


def test_a_breaks_detail_is_one_line_that_a_terminal_can_show(make_bench, lines):
    bench = play(
        make_bench,
        lines,
        changed(decode=returns(ProtocolBreak(reason="gap", detail="\x1b[2J\n" + "x" * 5000))),
    )
    (told,) = bench.breaks
    assert told.detail.startswith("\\x1b[2J\\n")
    assert len(told.detail) < 1100


def test_reasons_without_number_are_counted_as_one(make_bench, lines):
    numbers = itertools.count()

    def make(connection, settings, upgrade):
        return changed(decode=returns(ProtocolBreak(reason=f"reason{next(numbers)}")))(0, 0, 0)

    bench = make_bench(protocols=[dataclasses.replace(lines, make=make)])
    for identity in range(1, 101):
        bench.open(identity)
        bench.read(b"?", identity)
    breaks = bench.pipeline.totals.breaks
    assert (sum(breaks.values()), len(breaks) < 40) == (100, True)


@pytest.mark.parametrize("consumes", [True, False])
def test_an_upgrade_to_itself(make_bench, lines, consumes):
    def decode(self, direction, buffer, now):
        if consumes and len(buffer):
            buffer.consume(1)
        return ProtocolBreak(reason="upgrade", upgrade="words")

    make = changed(decode=decode)
    sniff = lambda data: Verdict.YES if data[:1] == b"~" else Verdict.NO  # noqa: E731
    bench = play(make_bench, lines, ProtocolSpec("bad", sniff, make, upgrades=frozenset({"words"})))
    assert failures(bench) == ["protocol bad: make: RuntimeError"]


def test_a_decoder_that_never_comes_to_an_end(make_bench, lines):
    def decode(self, direction, buffer, now):
        return RESYNCHRONISED

    bench = play(make_bench, lines, changed(decode=decode))
    assert bench.pipeline.totals.resynchronised


def test_a_decoder_that_never_says_that_it_needs_more(make_bench, lines):
    bench = play(make_bench, lines, changed(decode=returns(EXCHANGE)))
    assert failures(bench) == ["protocol bad: decode: RuntimeError"]
    assert bench.pipeline.totals.exchanges <= MAX_YIELDED + 10


def generator(*parts):
    def method(self, now) -> Iterator[object]:
        for part in parts:
            if isinstance(part, BaseException):
                raise part
            yield part

    return method


@pytest.mark.parametrize("method", ["expire", "close"])
@pytest.mark.parametrize(
    "yields",
    [
        returns(None),
        returns(7),
        returns("exchange"),
        returns({"a": 1}),
        returns([NEED_MORE]),
        returns([ProtocolBreak(reason="gap")]),
        returns([EXCHANGE, None]),
        generator(EXCHANGE, SystemExit()),
        generator(EXCHANGE, UnreadableError()),
        generator(EXCHANGE, StopIteration()),
        *(returns([result]) for result in NO_EXCHANGES),
    ],
)
def test_what_expire_and_close_yield(make_bench, lines, method, yields):
    """What came before the failure is logged."""
    bench = play(make_bench, lines, changed(**{method: yields}))
    assert failures(bench)[0].startswith(f"protocol bad: {method}: ")
    seen = bench.pipeline.totals
    assert seen.exchanges == len(bench.exchanges) + seen.unhandled


@pytest.mark.parametrize("method", ["expire", "close"])
def test_an_iterator_without_end(make_bench, lines, method):
    bench = play(make_bench, lines, changed(**{method: returns(itertools.repeat(EXCHANGE))}))
    assert failures(bench)[0] == f"protocol bad: {method}: RuntimeError"
    assert bench.pipeline.totals.exchanges <= MAX_YIELDED + 10


@pytest.mark.parametrize("said", [None, "all", 1.5, True, [], {}], ids=shown)
def test_what_is_unneeded_is_a_number(make_bench, lines, said):
    bench = play(make_bench, lines, changed(unneeded=returns(said)))
    assert failures(bench) == ["protocol bad: unneeded: TypeError"]


@pytest.mark.parametrize("said", [1 << 100, -(1 << 100)])
def test_and_bounded(make_bench, lines, said):
    bench = play(make_bench, lines, changed(unneeded=returns(said)))
    assert failures(bench) == []
    assert all(position <= MAX_NUMBER for _, _, position in bench.unneeded)


@pytest.mark.parametrize("said", [None, "much", -1, 1 << 70, 1.5, True], ids=shown)
def test_what_a_decoder_keeps_is_a_number(make_bench, lines, said):
    bench = play(make_bench, lines, changed(memory=said))
    assert failures(bench) == ["protocol bad: memory: TypeError"]
    assert [found.reason for found in bench.breaks] == ["plugin"]


# -- hooks -------------------------------------------------------------------------------------


def hooks(**functions):
    plugin = types.SimpleNamespace()
    for name, function in functions.items():
        setattr(plugin, name, hookimpl(tryfirst=True)(function))
    return plugin


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_hooks_raise(make_bench, lines, error):
    def handle_exchange(connection):
        raise ERRORS[error]

    def on_protocol_break(connection):
        raise ERRORS[error]

    plugin = hooks(handle_exchange=handle_exchange, on_protocol_break=on_protocol_break)
    bench = play(make_bench, lines, changed(decode=returns(ProtocolBreak(reason="gap"))), plugin)
    assert [told.reason for told in bench.breaks] == ["gap"], "others are told of it"
    assert {failure.rpartition(": ")[0] for failure in failures(bench)} == {
        "plugin0: handle_exchange",
        "plugin0: on_protocol_break",
    }


LOG = AccessLog(connection=None, start=1, end=2, protocol="x")


class Hostile(str):
    """Text with code of its own."""

    def __str__(self):
        raise SystemExit

    __hash__ = __repr__ = __format__ = encode = __str__


class HostileNumber(int):
    """A number with code of its own."""

    def __str__(self):
        raise SystemExit

    __int__ = __repr__ = __format__ = __index__ = __le__ = __ge__ = __str__


@pytest.mark.parametrize(
    "log",
    [
        {},
        "log",
        7,
        True,
        (None, 1, 2, "x"),
        LOG.replace(start="1"),
        LOG.replace(end=None),
        LOG.replace(protocol=None),
        LOG.replace(protocol=""),
        LOG.replace(protocol=b"x"),
        LOG.replace(version=1.1),
        LOG.replace(attributes=None),
        LOG.replace(attributes=[("a", 1)]),
        LOG.replace(attributes={1: 1}),
        LOG.replace(attributes={"a": 1.5}),
        LOG.replace(attributes={"a": {}}),
        LOG.replace(attributes={"a": ("b", 1)}),
        LOG.replace(attributes={"a": ["b", None]}),
        LOG.replace(attributes={"a": (("b",),)}),
        LOG.replace(attributes={"a": b"bytes"}),
        LOG.replace(attributes={"a": 1 << 62}),
        LOG.replace(attributes={"a": -(1 << 64)}),
        LOG.replace(start=10**30),
        LOG.replace(start=-(10**30)),
        LOG.replace(end=1 << 62),
        EXCHANGE,
    ],
    ids=shown,
)
def test_what_a_hook_returns_is_an_access_log(make_bench, lines, log):
    """Or else the next one is asked, and at last the core makes one."""
    asked = []

    def handle_exchange(connection):
        return log

    class Next:
        @hookimpl
        def handle_exchange(self, connection):
            asked.append(connection)

    bench = play(make_bench, lines, changed(), hooks(handle_exchange=handle_exchange), Next())
    assert len(asked) == 4
    assert failures(bench)[0].startswith("plugin0: handle_exchange: ")


@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_hook_that_is_a_coroutine(make_bench, lines):
    async def handle_exchange(connection):
        return LOG

    bench = play(make_bench, lines, changed(), hooks(handle_exchange=handle_exchange))
    assert failures(bench) == ["plugin0: handle_exchange: TypeError"]


test_a_hook_that_is_a_coroutine = pytest.mark.filterwarnings("ignore:coroutine")(
    test_a_hook_that_is_a_coroutine
)


def test_attributes_may_be_any_mapping_and_any_text(make_bench, lines):
    attributes = types.MappingProxyType({"reply": "!a", "flag": True, "verdict": Outcome.SPLIT.value})

    def handle_exchange(connection):
        return LOG.replace(attributes=attributes)

    bench = play(make_bench, lines, changed(), hooks(handle_exchange=handle_exchange))
    assert failures(bench) == []
    assert all(type(log.attributes) is dict for log in bench.exchanges)


@pytest.mark.parametrize("kind", [dict, types.MappingProxyType])
@pytest.mark.parametrize("texts", [("b", "c"), ["b", "c"], (), (Hostile("b"), "c")], ids=range(4))
def test_lists_of_texts_are_tuples_that_nobody_changes(make_bench, lines, texts, kind):
    def handle_exchange(connection):
        return LOG.replace(attributes=kind({"a": texts, "reply": "!a"}))

    bench = play(make_bench, lines, changed(), hooks(handle_exchange=handle_exchange))
    assert failures(bench) == []
    logged = [log.attributes["a"] for log in bench.exchanges]
    assert set(map(type, logged)) == {tuple}
    assert {type(text) for each in logged for text in each} <= {str}
    assert {len(each) for each in logged} == {len(texts)}


@pytest.mark.parametrize(
    "derived",
    [HTTPStatus.OK, HTTPMethod.GET, Hostile("x"), HostileNumber(7)],
    ids=["status", "method", "text", "number"],
)
@pytest.mark.parametrize("kind", [dict, types.MappingProxyType])
def test_attributes_of_derived_classes_are_what_they_are_derived_from(make_bench, lines, derived, kind):
    """No code of theirs runs in a sink: what it raised would be the sink's failure."""

    def handle_exchange(connection):
        return LOG.replace(attributes=kind({"a": derived, "reply": "!a"}))

    bench = play(make_bench, lines, changed(), hooks(handle_exchange=handle_exchange))
    assert failures(bench) == []
    assert {type(log.attributes["a"]) for log in bench.exchanges} <= {str, int}
    assert all(list(log.attributes) == ["a", "reply"] for log in bench.exchanges)
    assert bench.exchanges


@pytest.mark.parametrize("error", ERRORS)
def test_the_hooks_of_start_and_end(error):
    def register_protocols():
        raise ERRORS[error]

    def register_sources():
        raise ERRORS[error]

    def register_sinks():
        yield SinkSpec("first", print)
        raise ERRORS[error]

    def startup(settings):
        raise ERRORS[error]

    def shutdown():
        raise ERRORS[error]

    given = locals()
    names = ("register_protocols", "register_sources", "register_sinks", "startup", "shutdown")
    manager = PluginManager()
    plugin = manager.register(hooks(**{name: given[name] for name in names}), "bad")
    called = []
    manager.register(hooks(shutdown=lambda: called.append(1)), "good")
    catalogue = Catalogue(manager)
    manager.hook.startup(settings=Settings(CORE))
    manager.hook.shutdown()
    assert called == [1]
    assert dict(catalogue.sinks) == {}
    assert {kind.partition(":")[0] for kind in plugin.failures} == set(names)


def test_startup_may_refuse_the_run():
    def startup(settings):
        raise UsageError("set it")

    manager = PluginManager()
    manager.register(hooks(startup=startup), "careful")
    with pytest.raises(UsageError, match="set it"):
        manager.hook.startup(settings=Settings(CORE))
    assert not list(manager.failures())


def test_a_hook_that_returns_nothing_returns_nothing():
    def shutdown():
        yield

    manager = PluginManager()
    plugin = manager.register(hooks(shutdown=shutdown), "lazy")
    manager.hook.shutdown()
    assert plugin.failures == {"shutdown: TypeError": 1}


def test_kinds_of_failure_are_bounded(caplog):
    manager = PluginManager()
    plugin = manager.register(types.SimpleNamespace(), "inventive")
    for number in range(1000):
        plugin.failed("decode", type(f"Error{number}" + "x" * 10_000 + "\x1b[2J", (Exception,), {})("why"))
    assert len(plugin.failures) == MAX_KINDS + 1
    assert sum(plugin.failures.values()) == 1000
    assert plugin.failures[OTHERS] == 1000 - MAX_KINDS
    assert "\x1b" not in caplog.text
    assert len(caplog.records) == MAX_KINDS + 1


def test_a_traceback_shows_no_text_of_the_plugins(caplog):
    caplog.set_level(logging.DEBUG)
    manager = PluginManager()
    manager.register(hooks(shutdown=raises(RuntimeError("\x1b]0;title\x07"))), "escaping")
    manager.hook.shutdown()
    assert "test_guard.py" in caplog.text
    assert "\x1b" not in caplog.text


# -- what is registered ------------------------------------------------------------------------


def protocol(**fields):
    return dataclasses.replace(ProtocolSpec("x", returns(Verdict.NO), returns(None)), **fields)


def setting(**fields):
    return dataclasses.replace(Setting("path", "-", "a file"), **fields)


SPECS = [
    ("register_protocols", protocol(name=None)),
    ("register_protocols", protocol(name="")),
    ("register_protocols", protocol(name=["x"])),
    ("register_protocols", protocol(name="a.b")),
    ("register_protocols", protocol(name="\x1b[2J")),
    ("register_protocols", protocol(name=Subclass("x"))),
    ("register_protocols", protocol(sniff=None)),
    ("register_protocols", protocol(sniff="GET")),
    ("register_protocols", protocol(make=7)),
    ("register_protocols", protocol(upload="all")),
    ("register_protocols", protocol(upload=None)),
    ("register_protocols", protocol(priority="high")),
    ("register_protocols", protocol(upgrades=None)),
    ("register_protocols", protocol(upgrades=[[]])),
    ("register_protocols", protocol(opening="4096")),
    ("register_protocols", protocol(opening=-1)),
    ("register_protocols", protocol(opening=1 << 30)),
    ("register_protocols", protocol(ports=6379)),
    ("register_protocols", protocol(ports=[6379])),
    ("register_protocols", protocol(ports=frozenset({"6379"}))),
    ("register_protocols", protocol(ports=frozenset({65_536}))),
    ("register_protocols", protocol(sniff_own=1)),
    ("register_protocols", protocol(settings=None)),
    ("register_protocols", protocol(settings=7)),
    ("register_protocols", protocol(settings={"path": "-"})),
    ("register_protocols", protocol(settings=["path"])),
    ("register_protocols", protocol(settings=[setting(name=7)])),
    ("register_protocols", protocol(settings=[setting(name="")])),
    ("register_protocols", protocol(settings=[setting(default=None)])),
    ("register_protocols", protocol(settings=[setting(default={})])),
    ("register_protocols", protocol(settings=[setting(default=[None])])),
    ("register_protocols", protocol(settings=[setting(help=None)])),
    ("register_protocols", protocol(settings=[setting(minimum="1")])),
    ("register_protocols", protocol(settings=[setting(choices=None)])),
    ("register_protocols", protocol(settings=[setting(choices=("a", "b"))])),
    ("register_protocols", protocol(settings=[setting(default=1, minimum=2)])),
    ("register_protocols", protocol(settings=[setting(items=dict)])),
    ("register_protocols", protocol(settings=[setting(environment=7)])),
    ("register_protocols", protocol(settings=[setting(), setting()])),
    ("register_protocols", SinkSpec("x", print)),
    ("register_protocols", ProtocolSpec),
    ("register_protocols", "http1"),
    ("register_sinks", SinkSpec("x", None)),
    ("register_sinks", SinkSpec(7, print)),
    ("register_sinks", SinkSpec("x", print, make_for_worker=7)),
    ("register_sinks", SinkSpec("x", print, settings=[7])),
    ("register_sources", SourceSpec("x", None)),
    ("register_sources", SourceSpec("x", print, opens=b"magic")),
    ("register_sources", SourceSpec("x", print, check=7)),
    ("register_sources", SourceSpec("x", print, rehearse="yes")),
    ("register_sources", SourceSpec("x", print, settings="path")),
]


@pytest.mark.parametrize(("hook", "spec"), SPECS, ids=shown)
def test_a_specification_that_cannot_be_read(hook, spec):
    """It is left out, with the reason; what else the plugin registers is there."""
    good = {
        "register_protocols": protocol(name="good"),
        "register_sinks": SinkSpec("good", print),
        "register_sources": SourceSpec("good", print),
    }
    manager = PluginManager()
    plugin = manager.register(hooks(**{hook: lambda: [spec, good[hook]]}), "bad")
    catalogue = Catalogue(manager)
    assert [*catalogue.protocols, *catalogue.sinks, *catalogue.sources] == ["good"]
    catalogue.settings(None, (), {})
    assert sum(plugin.failures.values()) == 1


@pytest.mark.parametrize("returned", [7, object(), True, itertools.count(), protocol()], ids=shown)
def test_what_registers_returns_a_sequence(returned):
    manager = PluginManager()
    plugin = manager.register(hooks(register_protocols=lambda: returned), "bad")
    assert dict(Catalogue(manager).protocols) == {}
    assert plugin.failures


def test_a_refused_plugin_has_no_hook_that_is_called():
    """Though some of them are as they should be."""
    called = []
    manager = PluginManager()
    plugin = manager.register(
        hooks(
            register_sinks=lambda: called.append(1),
            shutdown=lambda when: called.append(2),
            startup=lambda: called.append(3),
        ),
        "misspelt",
    )
    Catalogue(manager)
    manager.hook.startup(settings=Settings(CORE))
    manager.hook.shutdown()
    assert called == []
    assert list(plugin.failures) == ["refused: PluginValidationError"]


# -- commands ----------------------------------------------------------------------------------


def untypable(cli):
    @cli.command()
    def broken(value: dict[object, type]):
        """Typer makes nothing of its argument."""


def taken(cli):
    @cli.command("run")
    def mine():
        """Not the real one."""


def nothing(cli):
    cli.registered_commands = None


def junk(cli):
    cli.registered_commands.append(None)


@pytest.mark.parametrize("add", [untypable, taken, junk, nothing, *map(raises, ERRORS)])
def test_commands_that_break_the_command(add):
    def good(cli):
        @cli.command()
        def fine():
            """A command."""

    manager = PluginManager()

    def register_commands(cli):
        add(cli)

    bad = manager.register(hooks(register_commands=register_commands), "bad")
    manager.register(hooks(register_commands=good), "good")
    app = build(manager)
    assert typer.main.get_command(app).commands.keys() >= {"run", "plugins", "fine"}
    assert [kind.partition(":")[0] for kind in bad.failures] == ["register_commands"]


PLUGIN = """
import sys
from rover import hookimpl, UsageError

class Loud(BaseException):
    def __str__(self):
        raise SystemExit

{code}
"""


def command(tmp_path, arguments, **modules):
    """Runs `rover` with these modules installed as plugins."""
    for name, code in modules.items():
        (tmp_path / f"{name}.py").write_text(PLUGIN.format(code=textwrap.dedent(code)))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[rover]\n{name} = {name}\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-m", "rover", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "code",
    ["sys.exit(0)", "raise Loud", "raise KeyboardInterrupt", "raise GeneratorExit", "import nowhere", "("],
)
def test_a_module_that_cannot_be_imported(tmp_path, code):
    ran = command(tmp_path, ["plugins"], evil=code)
    assert ran.returncode == 0
    assert "failed: evil: import: " in ran.stdout
    assert "sink_log" in ran.stdout


def test_what_nobody_catches_is_one_line(tmp_path):
    """A thread of a plugin's own, and what is called as the process ends."""
    code = """
    import atexit, threading

    def die():
        raise Loud

    atexit.register(die)
    thread = threading.Thread(target=die, name="own")
    thread.start()
    thread.join()
    """
    ran = command(tmp_path, ["plugins"], evil=code)
    assert ran.returncode == 0
    lines = ran.stderr.splitlines()
    assert lines[0] == "rover: thread 'own' ended: Loud: its message cannot be read: SystemExit"
    assert len(lines) == 2, lines
    assert lines[1].endswith(": Loud: its message cannot be read: SystemExit")


def test_a_help_text_is_one_line_that_a_terminal_can_show(tmp_path):
    code = """
    from rover import Setting, SinkSpec

    @hookimpl
    def register_sinks():
        return [SinkSpec("evil", print, [Setting("a", False, "clear\x1b[2J\nall")])]
    """
    ran = command(
        tmp_path, ["plugins", "--settings"], evil=code.replace("\x1b", "\\x1b").replace("\nall", "\\nall")
    )
    assert ran.stdout.split("[sink.evil]\n")[1].splitlines()[:3] == [
        "# clear\\x1b[2J\\nall",
        "# true or false; default false",
        "a = false",
    ]


def test_a_source_that_cannot_be_made_is_named(tmp_path):
    code = """
    from rover import SourceSpec

    @hookimpl
    def register_sources():
        return [SourceSpec("evil", lambda: None, live=True)]
    """
    ran = command(tmp_path, ["run", "--source", "evil"], evil=code)
    assert ran.returncode == 1
    lines = ran.stderr.splitlines()
    assert [line.partition("TypeError")[0] for line in lines] == [
        "rover: plugin evil: make: ",
        "rover: source evil: ",
    ]


SOURCE = """
from rover import SourceSpec

class Nothing:
    epoch = 0
    def __init__(self, settings, selection): self.closed = False
    def start(self): ...
    def poll(self, handler, timeout): return False
    def now(self): return 1
    def set_upload(self, connection, limit): ...
    def is_open(self, connection): return True
    def counters(self): return {}
    def stop(self, handler): ...
    def close(self): sys.stderr.write("source closed\\n")

@hookimpl
def register_sources():
    return [SourceSpec("nothing", Nothing)]
"""
RUN = ("run", "--source", "nothing", "--sink", "jsonl", "--set", "run.nice=0")


def test_a_run_that_a_plugin_refuses(tmp_path):
    refuses = (
        SOURCE
        + """
@hookimpl
def startup(settings):
    raise UsageError("evil.path: no such file")
"""
    )
    ran = command(tmp_path, RUN, evil=refuses)
    assert ran.returncode == 2
    assert "source closed" in ran.stderr
    assert ran.stderr.splitlines()[-1] == "rover: evil.path: no such file"


def test_a_run_beside_a_plugin_that_ends_wherever_it_can(tmp_path):
    loud = (
        SOURCE
        + """
@hookimpl
def startup(settings):
    raise Loud

@hookimpl
def shutdown():
    sys.exit(5)
"""
    )
    ran = command(tmp_path, RUN, evil=loud)
    assert ran.returncode == 0
    text = "its message cannot be read: SystemExit"
    assert f"rover: plugin evil failed 1 time: startup: Loud: {text}" in ran.stderr
    assert "rover: plugin evil failed 1 time: shutdown: SystemExit: 5" in ran.stderr


@pytest.mark.parametrize("method", ["start", "now", "counters", "close"])
def test_a_run_whose_source_fails_at_its_edges(tmp_path, method):
    """The plugin is named; the totals are told where there are any."""
    broken = (
        SOURCE
        + f"""
def fails(self): raise Loud
Nothing.{method} = fails
"""
    )
    ran = command(tmp_path, RUN, evil=broken)
    assert ran.returncode == 1
    assert f"rover: plugin evil: {method}: Loud: its message cannot be read: SystemExit" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ("rover: seen 0 exchanges" in ran.stderr) == (method != "start")


# -- sources -----------------------------------------------------------------------------------


class Source:
    """What the pipeline calls of a source, all of it by `answer`."""

    def __init__(self, answer):
        self.set_upload = self.set_unneeded = self.is_open = self.describe = answer


def opened_by(make_bench, lines, source):
    """A connection that is told of after its data, and the names of what failed."""
    spec = dataclasses.replace(lines, make=changed(unneeded=returns(WORTH_TELLING)))
    bench = make_bench(protocols=[spec], source=source)
    bench.read(b"?")
    bench.read(b"?" * LARGE)
    bench.open()
    bench.pipeline.tick(bench.clock + IDLE_CHECK + 1)
    bench.write(b"?")
    bench.pipeline.finish(bench.clock)
    assert len(bench.exchanges) == 3, "a source that cannot say whether it is open has it open"
    bench.check_each_once()
    return {failure.rpartition(": ")[0] for failure in failures(bench)}


@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_source_raises_when_it_is_told_or_asked(make_bench, lines, error):
    methods = ("set_upload", "set_unneeded", "is_open", "describe")
    assert opened_by(make_bench, lines, Source(raises(error))) == {f"Source: {name}" for name in methods}


@pytest.mark.parametrize("said", [7, "open", {}, EXCHANGE, ProtocolBreak(reason="x")], ids=shown)
def test_whatever_a_source_answers(make_bench, lines, said):
    assert opened_by(make_bench, lines, Source(returns(said))) == {"Source: is_open", "Source: describe"}


HERE = Address(host="10.0.0.1", port=80)


@pytest.mark.parametrize(
    "fields",
    [
        {"local": None},
        {"local": ("10.0.0.1", 80)},
        {"remote": Address(host=None, port=80)},
        {"remote": Address(host="10.0.0.1", port="80")},
        {"role": "server"},
        {"pid": None},
        {"time": "now"},
    ],
    ids=shown,
)
def test_what_a_connection_is_described_as(make_bench, lines, fields):
    source = Source(returns(True))
    source.describe = returns(
        Opened(
            connection=1, time=0, local=HERE, remote=HERE, role=None, pid=42, late=True, detail=None
        ).replace(**fields)
    )
    assert opened_by(make_bench, lines, source) == {"Source: describe"}


def test_methods_that_a_source_has_are_no_methods(make_bench, lines):
    class Properties:
        set_upload = is_open = staticmethod(returns(True))
        set_unneeded = property(raises(SystemExit()))
        describe = 7

    assert opened_by(make_bench, lines, Properties()) == {"Properties: set_unneeded", "Properties: describe"}


def test_the_plugin_that_made_the_source_is_named():
    manager = PluginManager()
    here = types.ModuleType(__name__)
    plugin = manager.register(here, "mine")
    assert manager.maker(Source(print)) is plugin
    assert manager.maker(HERE).name == "Address"
