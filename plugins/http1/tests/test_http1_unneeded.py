"""What of a content to come is passed over, so that a source need not deliver it."""

from __future__ import annotations

import pytest

from rover.values.records import Direction, Role

REQUEST = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "unneeded"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 400, 600),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n", (1 << 63) - 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 400, 600),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", 0),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 400, 0),  # until close: nobody knows
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8", 0),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 0),
    ],
)
def test_of_a_response(talk_as, answer, unneeded):
    talk = talk_as(Role.CLIENT)
    talk.ask(REQUEST)
    talk.answer(answer)
    assert talk.decoder.unneeded(Direction.INGRESS) == unneeded
    assert talk.decoder.unneeded(Direction.EGRESS) == 0


def test_of_a_request(talk_as):
    talk = talk_as(Role.SERVER)
    talk.ask(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x")
    assert talk.decoder.unneeded(Direction.INGRESS) == 999
    assert talk.decoder.unneeded(Direction.EGRESS) == 0


def test_not_of_an_answer_to_a_request_nobody_saw(talk_as):
    """It may answer a HEAD: whether its content comes, its first bytes tell."""
    talk = talk_as(Role.CLIENT)
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    assert talk.decoder.unneeded(Direction.INGRESS) == 0


@pytest.mark.parametrize("pieces", [1, 3])
def test_what_is_left_out_changes_nothing(talk_as, pieces):
    body = 1_000_000
    whole, thinned = talk_as(Role.CLIENT), talk_as(Role.CLIENT)
    for talk in (whole, thinned):
        for _ in range(2):
            talk.ask(REQUEST)
            talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % body + b"x" * 10_000)
            left = talk.decoder.unneeded(Direction.INGRESS)
            assert left == body - 10_000
            for _ in range(pieces):
                size = left // pieces
                talk.answer(b"x" * size if talk is whole else b"", size=size)
        talk.close()
    assert thinned.rows == whole.rows
    assert [row[4] for row in whole.rows] == [body] * 2
