"""Each hook, called with what the contract says."""

import dataclasses
import inspect
from typing import get_args

import pytest

from rover import (
    NEED_MORE,
    AccessLog,
    AnyExchange,
    Exchange,
    Outcome,
    Settings,
    hookimpl,
)
from rover.contracts import hooks
from rover.http import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream
from rover.plugins.manager import PluginManager
from rover.run.configuration import CORE, Catalogue


def request() -> HttpRequest:
    return HttpRequest(
        method="GET",
        target="/",
        version="1.1",
        headers=Headers(),
        start=1,
        end=2,
        header_size=18,
        body_size=0,
    )


def response() -> HttpResponse:
    return HttpResponse(
        status=200, version="1.1", headers=Headers(), start=3, end=4, header_size=19, body_size=0
    )


def scripted(*results):
    """A protocol whose decoder yields `results`, one per line read."""

    class Script:
        role = None

        def __init__(self):
            self.left = list(results)

        def decode(self, direction, buffer, now):
            if not len(buffer):
                return NEED_MORE
            buffer.consume(len(buffer), 0)
            return self.left.pop(0)

        def expire(self, now):
            return self.left

        def close(self, now):
            return ()

    return Script


def play(make_bench, lines, plugin, *results):
    script = scripted(*results)
    spec = dataclasses.replace(lines, make=lambda connection, settings, upgrade: script())
    bench = make_bench(plugin, protocols=[spec])
    bench.open()
    bench.read(b"?a\n")
    return bench


@pytest.mark.parametrize("kind", get_args(AnyExchange))
def test_an_exchange_names_the_hook_that_it_goes_to(kind):
    """And calls it with what that declares."""
    exchange = {
        HttpExchange: HttpExchange(owner=0, request=request(), response=response()),
        HttpStream: HttpStream(owner=1, request=request(), response=response()),
        Exchange: Exchange(owner=0, start=1, end=2, name="lines", attributes={}),
    }[kind]
    given = {"connection": object(), "exchange": exchange, "stream": exchange, "details": ()}
    given |= {"request": request(), "response": response()}
    names = list(inspect.signature(getattr(hooks, kind.hook())).parameters)
    assert list(exchange.arguments(given["connection"], ())) == [given[name] for name in names]


def test_an_exchange_of_any_protocol_can_be_assumed(make_bench, lines):
    bench = play(
        make_bench,
        lines,
        object(),
        Exchange(owner=0, start=1, end=2, name="lines", attributes={"a": 1}, assumed=True),
    )
    (log,) = bench.exchanges
    assert log.attributes == {"a": 1, "rover.pairing": "assumed"}


def test_handle_http_data(make_bench, lines):
    class Plugin:
        @hookimpl
        def handle_http_data(self, connection, request, response, details):
            assert response is not None
            return AccessLog(
                connection=connection, start=request.start, end=response.end, protocol="http", details=details
            )

    bench = play(
        make_bench,
        lines,
        Plugin(),
        HttpExchange(owner=0, request=request(), response=response(), outcome=Outcome.ABORTED),
    )
    (log,) = bench.exchanges
    assert (log.protocol, log.start, log.end, log.outcome) == ("http", 1, 4, Outcome.ABORTED)
    assert len(log.details) == 1


class Logs:
    """The log of an exchange, as short as it can be."""

    @hookimpl
    def handle_http_data(self, connection, request, response, details):
        return AccessLog(
            connection=connection,
            start=request.start,
            end=request.end,
            protocol="http",
            attributes={"a": 1},
            details=details,
        )

    @hookimpl
    def handle_whole_stream(self, connection, stream, details):
        return AccessLog(connection=connection, start=0, end=1, protocol="http", details=details)


def test_an_exchange_that_waited_for_an_answer_lasts_as_long(make_bench, lines):
    unanswered = HttpExchange(owner=0, request=request(), response=None, outcome=Outcome.ABORTED, end=4_000)
    (log,) = play(make_bench, lines, Logs(), unanswered).exchanges
    assert (log.start, log.end) == (1, 4_000)
    (log,) = play(
        make_bench, lines, Logs(), HttpStream(owner=0, request=request(), response=None, end=9)
    ).exchanges
    assert (log.start, log.end) == (0, 9)


def test_a_pair_that_nothing_proves_is_marked(make_bench, lines):
    (log,) = play(
        make_bench, lines, Logs(), HttpExchange(owner=0, request=request(), response=response(), assumed=True)
    ).exchanges
    assert log.attributes == {"a": 1, "rover.pairing": "assumed"}
    (log,) = play(
        make_bench, lines, Logs(), HttpExchange(owner=0, request=request(), response=response())
    ).exchanges
    assert log.attributes == {"a": 1}


def test_handle_whole_stream_is_called_when_finished_and_when_split(make_bench, lines):
    streams = []

    class Plugin:
        @hookimpl
        def handle_whole_stream(self, connection, stream, details):
            streams.append((stream.outcome, len(details)))
            return AccessLog(connection=connection, start=0, end=1, protocol="http", details=details)

    whole = HttpStream(owner=0, request=request(), response=response())
    split = whole.replace(outcome=Outcome.SPLIT)
    bench = play(make_bench, lines, Plugin(), whole, split)
    bench.pipeline.tick(bench.clock)
    assert streams == [(Outcome.COMPLETE, 1), (Outcome.SPLIT, 0)]
    assert [log.outcome for log in bench.exchanges] == [Outcome.COMPLETE, Outcome.SPLIT]


def test_handle_exchange_falls_back_to_the_attributes(make_bench, lines):
    class Plugin:
        @hookimpl
        def handle_exchange(self, connection, exchange, details):
            return None

    bench = play(
        make_bench, lines, Plugin(), Exchange(owner=0, start=1, end=2, name="x", attributes={"x.y": 1})
    )
    assert bench.exchanges[0].attributes == {"x.y": 1}


def test_registrations_startup_and_shutdown():
    called = []

    class Plugin:
        @hookimpl
        def register_protocols(self):
            called.append("protocols")

        @hookimpl
        def register_sources(self):
            called.append("sources")

        @hookimpl
        def register_sinks(self):
            called.append("sinks")

        @hookimpl
        def register_commands(self, cli):
            called.append(cli)

        @hookimpl
        def startup(self, settings):
            called.append(settings["run.source"])

        @hookimpl
        def shutdown(self):
            called.append("shutdown")

    manager = PluginManager()
    plugin = manager.register(Plugin(), "plugin")
    Catalogue(manager)
    manager.hook.register_commands(cli="cli")
    manager.hook.startup(settings=Settings(CORE))
    manager.hook.shutdown()
    assert called == ["protocols", "sources", "sinks", "cli", "ebpf", "shutdown"]
    assert not plugin.failures


def test_on_protocol_break(bench):
    """The observer of the bench implements it; test_break.py tells when it is called."""
    bench.open()
    bench.read(b"#gap\n")
    assert [b.reason for b in bench.breaks] == ["gap"]
