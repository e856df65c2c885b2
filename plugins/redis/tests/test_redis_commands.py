"""What is logged of commands and their replies."""

from __future__ import annotations

from typing import Any

import pytest

from rover import Direction, Role

INGRESS, EGRESS = Direction
OK = b"+OK\r\n"
QUEUED = b"+QUEUED\r\n"


def test_a_log_says_what_was_asked_and_how_much_was_answered(talk, command) -> None:
    talk.turn(command("get", "k"), b"$5\r\nhello\r\n")
    assert talk.said == [
        {
            "db.system.name": "redis",
            "db.operation.name": "GET",
            "db.namespace": "0",
            "redis.request.size": 20,
            "redis.response.size": 11,
            "outcome": "complete",
        }
    ]
    (exchange,) = talk.exchanges
    asked, answered = talk.calls
    assert (exchange.name, exchange.start, exchange.end) == ("redis", asked.end, answered.end)
    assert talk.taken == [(asked, answered)]
    assert talk.decoder.role is Role.SERVER


def test_at_the_client_the_time_is_from_the_write_to_the_read(make_talk, command) -> None:
    talk = make_talk(role=Role.CLIENT)
    talk.send(EGRESS, command("PING"))
    talk.send(INGRESS, b"+PONG\r\n")
    (exchange,) = talk.exchanges
    assert (exchange.start, exchange.end) == (talk.calls[0].start, talk.calls[1].end)
    assert talk.decoder.role is Role.CLIENT


REPLIES = [
    b"+OK\r\n",
    b"+\r\n",
    b":-42\r\n",
    b"$0\r\n\r\n",
    b"$5\r\n\r\n+OK\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"_\r\n",
    b"*0\r\n",
    b"#t\r\n",
    b",3.14\r\n",
    b",inf\r\n",
    b"(3492890328409238509324850943850943825024385\r\n",
    b"=15\r\ntxt:Some string\r\n",
    b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n*-1\r\n",
    b"*3\r\n*0\r\n*1\r\n*0\r\n$-1\r\n",
    b"%2\r\n+first\r\n:1\r\n+second\r\n*1\r\n:2\r\n",
    b"%0\r\n",
    b"~3\r\n+a\r\n_\r\n#f\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n+value\r\n",
    b"|0\r\n+value\r\n",
    b"*2\r\n|1\r\n+ttl\r\n*1\r\n:3600\r\n:1\r\n:2\r\n",
    b"*2\r\n:1\r\n-WRONGTYPE within\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
    b'+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"\r\n',
    b"*1\r\n" * 100 + b":1\r\n",
]


@pytest.mark.parametrize("reply", REPLIES)
def test_every_kind_of_reply_is_one(reply: bytes, talk, command) -> None:
    """And ends where it ends: what follows is the next one."""
    talk.ask(command("ONE"), command("TWO"))
    talk.answer(reply, b"+OK\r\n")
    assert talk.sizes == [("ONE", len(reply)), ("TWO", 5)]
    assert all("error.type" not in each for each in talk.said)


ERRORS = [
    (b"-ERR unknown command 'foobar'\r\n", "ERR", "ERR"),
    (b"-WRONGTYPE Operation against a key\r\n", "WRONGTYPE", "WRONGTYPE"),
    (b"-MOVED 3999 127.0.0.1:6381\r\n", "MOVED", "MOVED"),
    (b"-EXECABORT\r\n", "EXECABORT", "EXECABORT"),
    (b"!21\r\nSYNTAX invalid syntax\r\n", "SYNTAX", "SYNTAX"),
    (b"-my own error of a script\r\n", None, "_OTHER"),
    (b"-\r\n", None, "_OTHER"),
    (b"-\x1b[31mERR\r\n", None, "_OTHER"),
    (b"-" + b"A" * 1000 + b"\r\n", None, "_OTHER"),
    (b"!0\r\n\r\n", None, "_OTHER"),
    (b"|1\r\n+a\r\n:1\r\n-ERR after an attribute\r\n", "ERR", "ERR"),
]


@pytest.mark.parametrize(("reply", "code", "error"), ERRORS)
def test_an_error_is_told_by_its_prefix(reply: bytes, code: str | None, error: str, talk, command) -> None:
    talk.turn(command("FOO"), reply)
    (log,) = talk.said
    assert (log.get("db.response.status_code"), log["error.type"], log["outcome"]) == (
        code,
        error,
        "complete",
    )


def test_a_pipeline_is_answered_in_order(talk, command) -> None:
    talk.ask(*(command("GET", "k" * n) for n in range(1, 100)))
    for n in range(1, 100):
        talk.answer(b"$%d\r\n%s\r\n" % (n, b"x" * n))
    assert [each["redis.response.size"] for each in talk.said] == [
        len(b"$%d\r\n%s\r\n" % (n, b"x" * n)) for n in range(1, 100)
    ]
    assert len({each["redis.request.size"] for each in talk.said}) == 99


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"PING\r\n", "PING"),
        (b"ping\n", "PING"),
        (b"  set  key   value  \r\n", "SET"),
        (b"set 'a b' \"c\"\r\n", "SET"),
        (b'"PING"\r\n', "PING"),
        (b"SET k *1\r\n", "SET"),
    ],
)
def test_a_command_may_be_a_line(line: bytes, name: str, talk) -> None:
    talk.ask(line)
    talk.answer(OK)
    assert [(each["db.operation.name"], each["redis.request.size"]) for each in talk.said] == [
        (name, len(line))
    ]


@pytest.mark.parametrize("nothing", [b"\r\n", b"\n", b"*0\r\n", b"*-1\r\n"])
def test_what_is_no_command_gets_no_reply(nothing: bytes, talk, command) -> None:
    talk.ask(nothing, command("PING"), nothing)
    talk.answer(b"+PONG\r\n")
    assert talk.names == ["PING"]


def test_a_name_is_bounded_and_printable(talk, command) -> None:
    talk.turn(command(b"\xff\x00" + b"n" * 10_000), b"-ERR unknown command\r\n")
    talk.turn(command(""), b"-ERR unknown command ''\r\n")
    first, second = talk.said
    assert first["db.operation.name"] == "\\xff\\x00".replace("\\x00", "\x00") + "N" * 62
    assert "db.operation.name" not in second


# -- threads --------------------------------------------------------------------------------------


def test_a_reply_may_be_told_of_before_its_command(make_talk, command) -> None:
    """Where one thread of a client writes while another reads, the write may return after the read."""
    talk = make_talk(role=Role.CLIENT)
    talk.send(EGRESS, command("ECHO", "1"))
    talk.send(INGRESS, b"$1\r\n1\r\n")
    talk.send(INGRESS, b"+PONG\r\n")
    assert talk.names == ["ECHO"]
    talk.time -= 18
    talk.send(EGRESS, command("PING"))
    assert talk.sizes == [("ECHO", 7), ("PING", 7)]
    assert not [each for each in talk.said if "rover.pairing" in each]


def test_a_reply_that_was_there_before_the_command_is_not_its_own(make_talk, command) -> None:
    for role, asking in ((Role.CLIENT, EGRESS), (Role.SERVER, INGRESS)):
        talk = make_talk(role=role)
        talk.send(Direction(1 - asking), b"+WHAT IS THIS\r\n")
        talk.send(asking, command("PING"))
        talk.send(Direction(1 - asking), b"+PONG\r\n")
        assert talk.sizes == [("PING", 7)]
        assert talk.said[0]["rover.pairing"] == "assumed"


# -- after a loss ---------------------------------------------------------------------------------


def test_a_command_that_begins_a_call_after_a_loss_is_read_with_that_call(talk, command) -> None:
    """Not with the next one: it may block, and nothing else may come."""
    talk.turn(command("ECHO", "1"), b"$1\r\n1\r\n")
    talk.lose(INGRESS, 100)
    talk.ask(b"the rest of what was lost")
    talk.turn(command("BLPOP", "l", "0"), b"*-1\r\n")
    assert talk.names == ["ECHO", "BLPOP"]


# -- private ------------------------------------------------------------------------------------


def test_arguments_are_not_shown(talk, command) -> None:
    talk.turn(command("AUTH", "user", "secret"), b"-WRONGPASS secret\r\n")
    talk.turn(command("SET", "secret", "secret"), b"$6\r\nsecret\r\n")
    assert "secret" not in repr(talk.said)


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("GET", "k"), "k"),
        (("mset", "k", "v", "l", "w"), "k"),
        (("AUTH", "secret"), None),
        (("EVAL", "return 1", "0"), None),
        (("CONFIG", "SET", "requirepass", "x"), None),
        (("GET",), None),
        (("GET", b"\xff"), "\\xff"),
        (("GET", "k" * 1000), "k" * 256),
    ],
)
def test_the_first_key_where_a_user_asks_for_it(
    words: tuple[Any, ...], key: str | None, make_talk, command
) -> None:
    talk = make_talk(keys=True)
    talk.turn(command(*words), OK)
    assert talk.said[0].get("redis.key") == key


# -- the database -------------------------------------------------------------------------------


def databases(talk: Any) -> list[Any]:
    return [each.get("db.namespace") for each in talk.said]


def test_the_database_is_the_one_selected(talk, command) -> None:
    talk.ask(command("GET", "a"), command("SELECT", "3"), command("GET", "a"))
    talk.answer(b"$-1\r\n", OK, b"$-1\r\n")
    talk.turn(command("SELECT", "99"), b"-ERR DB index is out of range\r\n")
    talk.turn(command("GET", "a"), b"$-1\r\n")
    talk.turn(command("RESET"), b"+RESET\r\n")
    talk.turn(command("GET", "a"), b"$-1\r\n")
    assert databases(talk) == ["0", "0", "3", "3", "3", "3", "0"]


def test_it_is_not_known_where_the_beginning_was_not_seen(make_talk, command) -> None:
    talk = make_talk(late=True)
    talk.turn(command("GET", "a"), b"$-1\r\n")
    talk.turn(command("SELECT", "3"), OK)
    talk.turn(command("GET", "a"), b"$-1\r\n")
    assert databases(talk) == [None, None, "3"]


def test_nor_where_a_transaction_selected_it(talk, command) -> None:
    talk.ask(command("MULTI"), command("SELECT", "3"), command("EXEC"), command("GET", "a"))
    talk.answer(OK, QUEUED, b"*1\r\n+OK\r\n", b"$-1\r\n")
    assert databases(talk) == ["0", "0", "0", None]


# -- transactions -------------------------------------------------------------------------------


def test_a_transaction_is_a_log_per_command(talk, command) -> None:
    talk.turn(command("MULTI"), OK)
    talk.turn(command("INCR", "a"), QUEUED)
    talk.turn(command("LPUSH", "b", "c"), QUEUED)
    talk.turn(command("EXEC"), b"*2\r\n:1\r\n-WRONGTYPE no\r\n")
    assert talk.sizes == [("MULTI", 5), ("INCR", 9), ("LPUSH", 9), ("EXEC", 23)]
    assert "error.type" not in talk.said[-1]


def test_what_a_transaction_may_change_is_marked(talk, command) -> None:
    """`CLIENT REPLY OFF` is queued, and so answered; when EXEC has made it so, nobody is sure any more."""
    talk.ask(command("MULTI"), command("CLIENT", "REPLY", "OFF"), command("GET", "a"), command("EXEC"))
    talk.answer(OK, QUEUED, QUEUED, b"*2\r\n+OK\r\n$-1\r\n")
    talk.turn(command("PING"), b"+PONG\r\n")
    assert talk.names == ["MULTI", "CLIENT", "GET", "EXEC", "PING"]
    assert [each.get("rover.pairing") for each in talk.said] == [None] * 4 + ["assumed"]


# -- no replies ---------------------------------------------------------------------------------


def test_client_reply_off_and_on(talk, command) -> None:
    talk.turn(command("PING"), b"+PONG\r\n")
    talk.ask(command("CLIENT", "REPLY", "OFF"), command("SET", "a", "b"))
    assert talk.names == ["PING", "CLIENT", "SET"]
    talk.turn(command("client", "reply", "on"), OK)
    talk.turn(command("PING"), b"+PONG\r\n")
    assert talk.sizes == [("PING", 7), ("CLIENT", None), ("SET", None), ("CLIENT", 5), ("PING", 7)]
    assert {each["outcome"] for each in talk.said} == {"complete"}
    assert not [each for each in talk.said if "rover.pairing" in each]


def test_client_reply_skip(talk, command) -> None:
    talk.ask(
        command("GET", "a"), command("CLIENT", "REPLY", "SKIP"), command("SET", "a", "b"), command("PING")
    )
    talk.answer(b"$-1\r\n", b"+PONG\r\n")
    assert sorted(talk.sizes, key=repr) == [("CLIENT", None), ("GET", 5), ("PING", 7), ("SET", None)]


def test_other_commands_of_client_are_answered(talk, command) -> None:
    for words in (
        ("CLIENT", "ID"),
        ("CLIENT", "SETNAME", "REPLY"),
        ("CLIENT", "REPLY"),
        ("CLIENT", "REPLY", "NO"),
    ):
        talk.turn(command(*words), b"-ERR or not\r\n")
    assert talk.sizes == [("CLIENT", 13)] * 4


# -- subscribers --------------------------------------------------------------------------------


def test_subscribers_of_resp2(talk, command) -> None:
    """Messages come between, and one answer for each channel."""
    first = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
    second = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
    message = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\n+OK\r\n\r\n"
    pong = b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    talk.ask(command("SUBSCRIBE", "a", "b"))
    talk.answer(first, message, second)
    talk.answer(message)
    talk.ask(command("PING"))
    talk.answer(message, pong)
    talk.ask(command("UNSUBSCRIBE"))
    talk.answer(
        message,
        b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n",
        b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n",
    )
    talk.turn(command("LRANGE", "l", "0", "2"), message)
    assert talk.sizes == [
        ("SUBSCRIBE", len(first + second)),
        ("PING", len(pong)),
        ("UNSUBSCRIBE", 2 * 33),
        ("LRANGE", len(message)),
    ]
    assert not [each for each in talk.said if "rover.pairing" in each]


def test_patterns_are_counted_apart(talk, command) -> None:
    talk.turn(command("PSUBSCRIBE", "p*"), b"*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:1\r\n")
    talk.turn(command("SUBSCRIBE", "a"), b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n")
    talk.answer(b"*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\npq\r\n$1\r\nx\r\n")
    talk.ask(command("UNSUBSCRIBE"), command("PUNSUBSCRIBE"))
    talk.answer(b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n")
    talk.answer(b"*3\r\n$12\r\npunsubscribe\r\n$2\r\np*\r\n:0\r\n")
    talk.turn(command("UNSUBSCRIBE"), b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n")
    assert talk.names == ["PSUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "UNSUBSCRIBE"]


def test_shards_are_counted_apart(talk, command) -> None:
    talk.turn(command("SSUBSCRIBE", "a"), b"*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n")
    talk.answer(b"*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$1\r\nx\r\n")
    talk.turn(command("SUNSUBSCRIBE"), b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n")
    talk.turn(command("PING"), b"+PONG\r\n")
    assert talk.names == ["SSUBSCRIBE", "SUNSUBSCRIBE", "PING"]


def test_pushes_of_resp3_answer_nothing_but_subscriptions(talk, command) -> None:
    talk.turn(command("HELLO", "3"), b"%1\r\n+proto\r\n:3\r\n")
    talk.ask(command("SUBSCRIBE", "a", "b"), command("GET", "k"))
    talk.answer(
        b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
        b">3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n",
        b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
        b"$5\r\nhello\r\n",
        b">1\r\n+whatever\r\n",
        b">2\r\n$10\r\ninvalidate\r\n_\r\n",
    )
    talk.turn(command("UNSUBSCRIBE", "a"), b">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n")
    assert talk.names == ["HELLO", "SUBSCRIBE", "GET", "UNSUBSCRIBE"]


def test_a_subscription_that_is_refused(talk, command) -> None:
    talk.ask(command("SUBSCRIBE", "a", "b"), command("PING"))
    talk.answer(b"-NOPERM no\r\n", b"+PONG\r\n")
    assert talk.sizes == [("SUBSCRIBE", 12), ("PING", 7)]


def test_a_call_that_brings_a_message_is_nobodys(talk, command) -> None:
    talk.turn(command("SUBSCRIBE", "a"), b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
    talk.answer(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n")
    assert talk.alone == [talk.calls[-1]]


# -- what turns into something else ----------------------------------------------------------------


def test_monitor(talk, command) -> None:
    line = b'+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"\r\n'
    talk.turn(command("MONITOR"), OK)
    talk.answer(line, line)
    talk.ask(command("PING"))
    talk.answer(line, b"+PONG\r\n", line)
    talk.turn(command("RESET"), b"+RESET\r\n")
    talk.turn(command("ECHO", "1"), line)
    assert talk.sizes == [("MONITOR", 5), ("PING", 7), ("RESET", 8), ("ECHO", len(line))]


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (("PSYNC", "?", "-1"), b"\n\n+FULLRESYNC 8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb 0\r\n"),
        (("PSYNC", "8371b4", "100"), b"+CONTINUE\r\n"),
        (("SYNC",), b"\n$EOF:8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb\r\n"),
    ],
)
def test_a_replica_is_logged_and_then_broken(words: tuple[str, ...], reply: bytes, talk, command) -> None:
    talk.turn(command("REPLCONF", "capa", "eof"), OK)
    talk.turn(command(*words), reply)
    talk.answer(b"$EOF:8371" + bytes(1000))
    assert talk.sizes == [("REPLCONF", 5), (words[0], len(reply))]
    assert talk.protocol_break is not None
    assert talk.protocol_break.reason == "replication"
    assert (talk.protocol_break.direction, talk.protocol_break.position) == (EGRESS, 5 + len(reply))


def test_a_replica_that_is_refused_goes_on(talk, command) -> None:
    talk.turn(command("PSYNC", "?", "-1"), b"-NOMASTERLINK no\r\n")
    talk.turn(command("PING"), b"+PONG\r\n")
    assert talk.names == ["PSYNC", "PING"]


# -- endings ------------------------------------------------------------------------------------


def test_what_blocks_waits_for_as_long_as_it_takes(talk, command) -> None:
    talk.ask(command("BLPOP", "l", "0"))
    talk.expire(talk.time + 10**15)
    assert not talk.said
    talk.answer(b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n")
    assert talk.sizes == [("BLPOP", 18)]


def test_what_is_never_answered_is_aborted(talk, command) -> None:
    talk.ask(command("GET", "a"), command("GET", "b"))
    talk.answer(b"$5\r\nhel")
    talk.close()
    assert [(each["db.operation.name"], each["outcome"]) for each in talk.said] == [("GET", "aborted")] * 2
    assert not [each for each in talk.said if "redis.response.size" in each]


def test_an_error_that_nobody_asked_for_is_passed_over(talk, command) -> None:
    """A server may refuse a connection at its beginning."""
    talk.answer(b"-DENIED Redis is running in protected mode\r\n")
    talk.turn(command("PING"), b"+PONG\r\n")
    assert talk.names == ["PING"]
    assert talk.said[0]["rover.pairing"] == "assumed"


@pytest.mark.parametrize(
    "wrong",
    [
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b"*x\r\n",
        b"*1\r\n$99999999999999\r\n",
        b"*1\r\n" + b"$" * 20,
        b"\x16\x03\x01\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_no_command_is_a_break(wrong: bytes, talk, command) -> None:
    talk.turn(command("PING"), b"+PONG\r\n")
    talk.ask(command("GET", "a"), wrong)
    assert talk.protocol_break is not None
    assert talk.protocol_break.reason == "framing"
    assert talk.names == ["PING", "GET"]
    assert talk.said[-1]["outcome"] == "aborted"


@pytest.mark.parametrize(
    "wrong",
    [
        b"hello\r\n",
        b"$-2\r\n",
        b"$x\r\n",
        b"$?\r\n",
        b"*?\r\n",
        b"$" + b"1" * 20,
        b"*99999999999999\r\n",
        b"*1\r\n" * 1 + b"*2\r\n" * 1000,
        b"\x00",
        b"+" + b"x" * 70_000,
    ],
)
def test_what_is_no_reply_is_a_break(wrong: bytes, talk, command) -> None:
    talk.ask(command("GET", "a"))
    talk.answer(wrong)
    assert talk.protocol_break is not None
    assert talk.protocol_break.reason == "framing"
    assert [each["outcome"] for each in talk.said] == ["aborted"]


# -- which end is which ----------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [INGRESS, EGRESS])
@pytest.mark.parametrize(
    "first",
    [
        [("ask", ("GET", "k"))],
        [("answer", b"+OK\r\n"), ("ask", ("GET", "k"))],
        [("answer", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"), ("ask", ("GET", "k"))],
        [("answer", b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"), ("ask", ("GET", "k"))],
        [("ask", ("OWN.COMMAND",)), ("answer", b"+OK\r\n"), ("ask", ("GET", "k"))],
    ],
)
def test_the_end_is_known_by_what_comes_from_it(asking: Direction, first: Any, make_talk, command) -> None:
    """Where the kernel cannot tell who connected: the connection was there before."""
    talk = make_talk(role=None, late=True)
    for who, what in first:
        if who == "ask":
            talk.send(asking, command(*what))
        else:
            talk.send(Direction(1 - asking), what)
    talk.send(Direction(1 - asking), b"$1\r\nv\r\n")
    talk.send(asking, command("PING"))
    talk.send(Direction(1 - asking), b"+PONG\r\n")
    assert talk.sizes[-2:] == [("GET", 7), ("PING", 7)]
    assert talk.decoder.role is (Role.CLIENT if asking is EGRESS else Role.SERVER)
    assert all(each["rover.pairing"] == "assumed" for each in talk.said)
    assert talk.protocol_break is None
