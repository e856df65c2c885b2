"""What the protocols say is what the histograms are told by: the names are the same in every package."""

from __future__ import annotations

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

import rover_plugin_http1
import rover_plugin_http2
import rover_plugin_redis
from rover import Role
from rover.metrics import Requests
from rover.testing import Conversation, converse

CLIENT, SERVER = Role.CLIENT, Role.SERVER
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HTTP = [
    (
        CLIENT,
        b"GET /a HTTP/1.1\r\nHost: Shop.example:81\r\ntraceparent: 00-%s-00f067aa0ba902b7-01\r\n\r\n"
        % TRACE.encode(),
    ),
    (SERVER, b"HTTP/1.1 503 no\r\nContent-Length: 2\r\n\r\nno"),
]
REDIS = [(CLIENT, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), (SERVER, b"-WRONGTYPE Operation against a key\r\n")]


def grpc() -> Conversation:
    def frames(*sent: Frame) -> bytes:
        return b"".join(frame.serialize() for frame in sent)

    ask, answer = Encoder(), Encoder()
    fields = [
        *((":method", "POST"), (":scheme", "http"), (":path", "/shop.Cart/Add"), (":authority", "shop:81")),
        *(("content-type", "application/grpc"), ("te", "trailers")),
    ]
    head = [(":status", "200"), ("content-type", "application/grpc")]
    asked = frames(
        SettingsFrame(0),
        HeadersFrame(1, ask.encode(fields), flags=["END_HEADERS"]),
        DataFrame(1, b"\0\0\0\0\0", flags=["END_STREAM"]),
    )
    answered = frames(
        SettingsFrame(0),
        HeadersFrame(1, answer.encode(head), flags=["END_HEADERS"]),
        HeadersFrame(1, answer.encode([("grpc-status", "14")]), flags=["END_HEADERS", "END_STREAM"]),
    )
    return [(CLIENT, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + asked), (SERVER, answered)]


GET = {
    "http.request.method": "GET",
    "http.response.status_code": 503,
    "error.type": "503",
    "network.protocol.version": "1.1",
    "url.scheme": "http",
}
CALL = {
    "rpc.system.name": "grpc",
    "rpc.method": "shop.Cart/Add",
    "rpc.status_code": "UNAVAILABLE",
    "error.type": "UNAVAILABLE",
}
COMMAND = {
    "db.system.name": "redis",
    "db.operation.name": "GET",
    "db.namespace": "0",
    "db.response.status_code": "WRONGTYPE",
    "error.type": "WRONGTYPE",
}


@pytest.mark.parametrize(
    ("module", "conversation", "watched", "instrument", "attributes"),
    [
        (rover_plugin_http1, HTTP, SERVER, "http.server.request.duration", GET),
        (
            *(rover_plugin_http1, HTTP, CLIENT, "http.client.request.duration"),
            GET | {"server.address": "shop.example", "server.port": 81},
        ),
        (rover_plugin_http2, grpc(), SERVER, "rpc.server.call.duration", CALL),
        (
            *(rover_plugin_http2, grpc(), CLIENT, "rpc.client.call.duration"),
            CALL | {"server.address": "shop", "server.port": 81},
        ),
        (rover_plugin_redis, REDIS, CLIENT, "db.client.operation.duration", COMMAND),
    ],
)
def test_it_is_measured_as_what_it_is(module, conversation, watched, instrument, attributes):
    (protocol,) = module.register_protocols()
    played = converse(protocol, conversation, watched=watched, plugins=[module])
    requests = Requests()
    requests.observe(played.logs, 1)
    (point,) = requests.points(1)
    found = dict(point.attributes)
    if "server.address" not in attributes:
        found = {name: value for name, value in found.items() if not name.startswith("server.")}
    assert (point.instrument.name, found, point.total) == (instrument, attributes, 1)
    assert requests.unmeasured == {}
    if conversation is HTTP:
        (exemplar,) = [each for each in point.exemplars if each]
        assert (exemplar.trace_id, exemplar.span_id) == (TRACE, "00f067aa0ba902b7")
