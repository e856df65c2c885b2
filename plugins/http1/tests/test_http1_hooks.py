"""The plugin as the core sees it: what it registers, and the access logs it makes."""

from __future__ import annotations

import rover_plugin_http1
from rover.contracts.protocol import ProtocolSpec, Verdict
from rover.contracts.settings import Settings
from rover.http import HttpExchange
from rover.plugins.manager import PluginManager
from rover.testing import connection
from rover.values.access_log import AccessLog
from rover.values.records import Role


def manager() -> PluginManager:
    plugins = PluginManager()
    plugin = plugins.register(rover_plugin_http1, "http1")
    assert plugin.failures == {}
    return plugins


def test_registers_the_protocol():
    (spec,) = manager().collect("register_protocols", ProtocolSpec)
    assert spec.name == "http1"
    assert spec.sniff(b"GET / HTTP/1.1\r\n") is Verdict.YES
    values = Settings({f"protocol.http1.{s.name}": s for s in spec.settings}).section("protocol.http1")
    assert values == {"max_head": 131072, "exchange_timeout": 600}
    assert spec.make(connection(), values, None).role is None


def logged(exchange: HttpExchange, details: tuple) -> AccessLog:
    return manager().hook.handle_http_data(
        connection=connection(), request=exchange.request, response=exchange.response, details=details
    )


def test_makes_the_access_log(talk_as):
    talk = talk_as(Role.CLIENT)
    talk.ask(
        b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nUser-Agent: u\r\nContent-Length: 3\r\n"
        b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\nabc"
    )
    talk.answer(b"HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
    (exchange,) = talk.exchanges
    details = talk.play.taken[0]
    log = logged(exchange, details)
    assert (log.protocol, log.version) == ("http", "1.1")
    assert log.details == details
    assert (log.start, log.end) == (details[0].start, details[1].end)
    assert log.attributes == {
        "http.request.method": "POST",
        "url.original": "/a?b=c",
        "url.path": "/a",
        "url.query": "b=c",
        "http.request.header.host": ("h",),
        "user_agent.original": "u",
        "http.request.header.size": exchange.request.header_size,
        "http.request.body.size": 3,
        "http.response.status_code": 404,
        "http.response.header.size": exchange.response.header_size,
        "http.response.body.size": 2,
        "trace.provider": "w3c",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
    }


def test_an_aborted_exchange_says_what_is_known(talk_as):
    talk = talk_as(Role.CLIENT)
    talk.ask(b"GET / HTTP/1.0\r\n\r\n")
    talk.close()
    log = logged(talk.exchanges[0], ())
    assert log.version == "1.0"
    assert log.end == talk.exchanges[0].request.end
    assert "http.response.status_code" not in log.attributes


def test_an_early_response_does_not_end_before_its_request(talk_as):
    talk = talk_as(Role.CLIENT)
    talk.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    talk.answer(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    talk.ask(b"abc")
    log = logged(talk.exchanges[0], ())
    assert log.end == talk.play.calls[-1].end
