"""Messages: what of a connection gets a log, and what it says."""

from __future__ import annotations

import pytest
from websockets.frames import Opcode

from rover import DROP, Direction, Role, hookimpl
from rover_plugin_websocket import register_protocols

CONTINUATION, TEXT, BINARY = Opcode.CONT, Opcode.TEXT, Opcode.BINARY
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG
SECOND = 1_000_000_000


def test_websocket_is_claimed_and_never_guessed():
    (spec,) = register_protocols()
    assert spec.upgrades == {"websocket"}
    assert spec.sniff(b"\x81\x05hello").value == "no"


def test_messages_of_both_sides_each_get_a_log(opened):
    s = opened()
    s.client(s.masked(TEXT, b"hello"))
    s.server(s.plain(BINARY, bytes(300)))
    s.server(s.plain(TEXT), s.plain(TEXT, b"x" * 70_000))
    assert s.rows == [
        ("client", "text", 5, 1, "complete"),
        ("server", "binary", 300, 1, "complete"),
        ("server", "text", 0, 1, "complete"),
        ("server", "text", 70_000, 1, "complete"),
    ]
    assert [each.name for each in s.exchanges] == ["websocket"] * 4
    assert s.play.decoder.role is s.end
    s.close()


def test_a_log_carries_the_calls_of_its_message(opened):
    s = opened()
    frame = s.masked(TEXT, b"x" * 1000)
    s.client(frame[:1])
    s.client(frame[1:500])
    s.server(s.plain(PING))
    s.client(frame[500:], s.masked(TEXT, b"second"))
    first, second, third, fourth = s.play.calls
    assert s.play.taken == [(first, second, fourth), ()]  # a call goes with the first that used it
    assert s.play.alone == [third]
    (message, _) = s.exchanges
    assert message.start == (first.start if s.end is Role.CLIENT else first.end)
    assert message.end == fourth.end
    s.close()


def test_fragments_are_one_message_and_control_frames_may_come_between(opened):
    s = opened()
    s.client(s.masked(BINARY, b"one", end=False), s.masked(PING, b"still there?"))
    s.server(s.plain(PONG, b"still there?"))
    s.client(s.masked(CONTINUATION, b"two", end=False), s.masked(PONG))
    assert s.rows == []
    s.client(s.masked(CONTINUATION, b""))
    assert s.rows == [("client", "binary", 6, 3, "complete")]
    s.close()


def test_a_log_says_which_endpoint_it_is_of(opened):
    trace = ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")
    s = opened(fields=[trace], answered=[("sec-websocket-protocol", "graphql-ws")])
    s.client(s.masked(TEXT, b"hello"))
    (exchange,) = s.exchanges
    assert exchange.attributes == {
        "websocket.message.type": "text",
        "websocket.message.sender": "client",
        "websocket.message.size": 5,
        "websocket.message.frames": 1,
        "websocket.subprotocol": "graphql-ws",
        "url.original": "/chat?room=1",
        "url.path": "/chat",
        "url.query": "room=1",
        "http.request.header.host": ("a.example",),
        "user_agent.original": "probe/1",
        "trace.provider": "w3c",
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
    }


class Quiet:
    """As docs/plugins.md shows it, for every protocol's logs."""

    @hookimpl
    def handle_access_log(self, log):
        if log.attributes.get("url.path") == "/healthz":
            return DROP
        kept = {name: value for name, value in log.attributes.items() if name != "url.query"}
        target = str(kept.get("url.original", "")).partition("?")[0]
        return log.replace(attributes={**kept, "url.original": target}) if log.protocol else None


@pytest.mark.parametrize("log", ["message", "connection"])
@pytest.mark.parametrize(("target", "logged"), [("/healthz", []), ("/chat?token=secret", ["/chat"])])
def test_another_plugin_drops_and_masks_its_logs(opened, log, target, logged):
    s = opened(log=log, target=target, plugins=[Quiet()])
    s.client(s.masked(TEXT, b"hello"), s.masked(CLOSE))
    s.server(s.plain(CLOSE))
    assert len(s.exchanges) == (2 if log == "message" else 1)
    assert [each.attributes["url.original"] for each in s.play.logs] == logged * len(s.exchanges)
    assert not [each for each in s.play.logs if "url.query" in each.attributes]


@pytest.mark.parametrize(
    ("extensions", "rsv", "compressed"),
    [
        (None, 0, None),
        ("permessage-deflate", 4, True),
        ("permessage-deflate", 0, False),
        ("Permessage-Deflate; client_max_window_bits=12; server_no_context_takeover", 4, True),
        ("x-other, permessage-deflate", 4, True),
        ("x-other, permessage-deflate", 3, False),
        ("x-other", 7, None),
    ],
)
def test_compressed_messages_count_as_they_were_sent(opened, extensions, rsv, compressed):
    s = opened(extensions=extensions)
    s.server(s.plain(TEXT, b"0123456789", rsv=rsv, end=False), s.plain(CONTINUATION, b"01234"))
    (exchange,) = s.exchanges
    assert exchange.attributes.get("websocket.message.compressed") is compressed
    assert exchange.attributes["websocket.message.size"] == 15


# -- the closing handshake ---------------------------------------------------------------------


def code(number: int, reason: str = "") -> bytes:
    return number.to_bytes(2, "big") + reason.encode()


@pytest.mark.parametrize(
    ("payload", "number", "reason"),
    [
        (b"", None, None),
        (code(1000), 1000, None),
        (code(1001, "going away: tschüß"), 1001, "going away: tschüß"),
        (code(4999, "r" * 123), 4999, "r" * 123),
        (b"\x03\xe8\xff\xfe", 1000, "\ufffd\ufffd"),
    ],
)
@pytest.mark.parametrize("first", ["client", "server"])
def test_both_close_frames_are_one_log(opened, first, payload, number, reason):
    s = opened()
    second = "server" if first == "client" else "client"
    s.send(first, s.frame(first, CLOSE, payload))
    assert s.rows == []
    s.send(second, s.frame(second, CLOSE, payload[:2]))
    assert s.rows == [(first, "close", number, reason, "complete")]
    assert s.play.taken == [tuple(s.play.calls)]
    s.send(first, b"\0\x7fwhat follows means nothing" * 9)
    assert s.broken is None
    s.close()


@pytest.mark.parametrize("log", ["message", "connection"])
def test_who_closed_is_told_by_time_not_by_which_record_came_first(opened, log):
    """One thread of a client writes Close while another reads the answer, and returns first."""
    s = opened(log=log)
    way = s.ways["client"]
    frame = s.masked(CLOSE, code(1001))
    s.server(s.plain(CLOSE, code(1000)))
    answered = s.play.calls[0]
    first = answered.replace(sequence=1, start=1, end=2, position=0, size=len(frame), direction=way)
    s.play.buffers[way].append(first, frame)
    (exchange,) = [s.play.decoder.decode(way, s.play.buffers[way], 20)]
    said = exchange.attributes
    assert (said["websocket.close.sender"], said["websocket.close.code"]) == ("client", 1001)


def test_one_close_frame_alone_is_an_aborted_handshake(opened):
    s = opened()
    s.server(s.plain(CLOSE, code(1011)))
    s.close()
    assert s.rows == [("server", "close", 1011, None, "aborted")]
    assert s.exchanges[0].end == s.play.time


def test_a_close_frame_that_was_not_captured_has_no_code(opened):
    s = opened()
    s.server(s.plain(CLOSE, code(1000, "bye")), captured=3)
    s.client(s.masked(CLOSE, code(1000)))
    assert s.rows == [("server", "close", None, None, "complete")]


def test_a_message_that_the_end_cuts_is_aborted(opened):
    s = opened()
    s.client(s.masked(TEXT, b"0123456789")[:-4])
    s.server(s.plain(BINARY, b"012", end=False))
    s.close()
    assert s.rows == [("client", "text", 6, 1, "aborted"), ("server", "binary", 3, 1, "aborted")]


def test_a_connection_that_says_nothing_says_nothing(opened):
    s = opened()
    s.client(s.masked(PING))
    s.close()
    assert s.rows == []


# -- what was not captured, or takes long ------------------------------------------------------


def test_a_payload_need_not_have_been_captured(opened):
    s = opened()
    s.server(s.plain(BINARY, b"x" * 5000), captured=100)
    s.client(s.masked(TEXT, b"y" * 5000)[:100])
    s.lose("client", 4000)
    s.client(b"z" * (5008 - 4100), s.masked(TEXT, b"next"))
    assert s.rows == [
        ("server", "binary", 5000, 1, "complete"),
        ("client", "text", 5000, 1, "complete"),
        ("client", "text", 4, 1, "complete"),
    ]
    s.close()


def test_what_is_to_come_of_a_payload_is_unneeded(opened):
    s = opened()
    way = s.ways["server"]
    s.server(s.plain(PING))
    assert s.play.decoder.unneeded(way) == 0
    s.server(s.plain(BINARY, bytes(1 << 20))[:1000])
    assert s.play.decoder.unneeded(way) == (1 << 20) - 990
    assert s.play.decoder.unneeded(Direction.INGRESS if way is Direction.EGRESS else Direction.EGRESS) == 0


def test_a_length_costs_nothing(opened):
    """A frame may claim 2**63 - 1 bytes."""
    s = opened()
    s.client(b"\x82\xff" + ((1 << 63) - 1).to_bytes(8, "big") + bytes(4))
    for _ in range(100):
        s.client(bytes(100_000))
        assert s.play.buffers[s.ways["client"]].size == 0
    s.close()
    assert s.rows == [("client", "binary", 10_000_000, 1, "aborted")]


def test_a_message_that_takes_long_is_split(opened):
    s = opened(split_after=10)
    s.client(s.masked(BINARY, b"0123", end=False))
    s.play.expire(9 * SECOND)
    assert s.rows == []
    s.play.expire(11 * SECOND)
    assert s.rows == [("client", "binary", 4, 1, "split")]
    s.client(s.masked(CONTINUATION, b"45"))
    assert s.rows[1:] == [("client", "binary", 2, 1, "complete")]
    assert s.exchanges[0].start == s.exchanges[1].start
    assert s.play.taken == [(s.play.calls[0],), (s.play.calls[1],)]


# -- one log per connection --------------------------------------------------------------------


def totals(exchange):
    said = exchange.attributes
    return (
        *(
            said[f"websocket.{sender}.{what}"]
            for sender in ("client", "server")
            for what in ("messages", "size")
        ),
        said.get("websocket.close.code"),
        exchange.outcome.value,
    )


def test_a_connection_has_one_log(opened):
    s = opened(log="connection")
    s.client(s.masked(TEXT, b"hello"), s.masked(BINARY, b"123", end=False))
    s.server(s.plain(PING), s.plain(TEXT, b"x" * 1000))
    s.client(s.masked(PONG), s.masked(CONTINUATION, b"456"))
    s.client(s.masked(CLOSE, code(1000)))
    s.server(s.plain(CLOSE, code(1000)))
    assert [totals(each) for each in s.exchanges] == [(2, 11, 1, 1000, 1000, "complete")]
    (exchange,) = s.exchanges
    assert exchange.attributes["url.path"] == "/chat"
    assert exchange.attributes["websocket.close.sender"] == "client"
    assert exchange.start == 4  # the end of the 101
    assert exchange.end == s.play.time
    assert s.play.taken == [tuple(s.play.calls)]
    s.close()
    assert len(s.exchanges) == 1


def test_a_connection_that_ends_without_a_handshake_is_aborted(opened):
    s = opened(log="connection")
    s.client(s.masked(TEXT, b"hello"), s.masked(TEXT, b"cut")[:-1])
    s.close()
    assert [totals(each) for each in s.exchanges] == [(1, 7, 0, 0, None, "aborted")]


def test_a_connection_that_takes_long_is_split(opened):
    s = opened(log="connection", split_after=10)
    s.client(s.masked(TEXT, b"hello"))
    s.play.expire(11 * SECOND)
    s.server(s.plain(TEXT, b"hi"))
    s.play.expire(20 * SECOND)
    s.play.expire(21 * SECOND)
    s.close()
    assert [totals(each) for each in s.exchanges] == [
        (1, 5, 0, 0, None, "split"),
        (0, 0, 1, 2, None, "split"),
        (0, 0, 0, 0, None, "aborted"),
    ]
    assert {each.start for each in s.exchanges} == {4}


def test_settings_have_the_words_that_work():
    (spec,) = register_protocols()
    (log, split_after) = spec.settings
    assert (log.name, log.default, log.choices) == ("log", "message", ("message", "connection"))
    assert (split_after.name, split_after.default, split_after.minimum) == ("split_after", 180, 1)


# -- without a handshake that was seen ---------------------------------------------------------


def test_a_handshake_whose_messages_are_not_known(at):
    """Nobody knows the endpoint, nor what was agreed on; the mask tells who is who."""
    for end in Role:
        s = at(end, known=False)
        s.server(s.plain(TEXT, b"hi", rsv=4))
        s.client(s.masked(TEXT, b"hello"))
        assert s.rows == [("server", "text", 2, 1, "complete"), ("client", "text", 5, 1, "complete")]
        assert s.play.decoder.role is end
        assert {len(each.attributes) for each in s.exchanges} == {4}


def test_a_port_that_is_pinned_breaks_and_says_why(opened):
    s = opened(upgraded=False)
    s.client(b"GET /chat HTTP/1.1\r\n\r\n")
    assert (s.rows, s.broken) == ([], "framing")
    assert "is not to be pinned" in s.play.protocol_break.detail
    s.close()


def test_memory_counts_what_all_logs_share(opened):
    for target, least, most in (("/", 0, 1024), ("/" + "x" * 50_000, 100_000, 500_000)):
        s = opened(target=target)
        s.client(s.masked(PING))
        assert least <= s.play.decoder.memory <= most
