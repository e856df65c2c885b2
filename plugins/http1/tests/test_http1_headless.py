"""Content whose head was lost, and that reads as a message. Nothing contradicts it, so it is logged as one;
but what it is logged as carries the mark, and so does whatever is counted from there on."""

from __future__ import annotations

from rover.values.records import Role

CONTENT = b"HTTP/1.1 299 Content\r\nContent-Length: 0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early\r\nLink: <a>\r\n\r\n"


def get(number: int) -> bytes:
    return f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def ok(number: int, content: bytes = b"") -> bytes:
    return f"HTTP/1.1 200 OK\r\nX-N: {number}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def logged(talk) -> list[tuple[str, int | None, bool]]:
    """(target, status, whether it is marked)"""
    talk.close()
    assert talk.broken is None
    return [(e.request.target, e.response.status if e.response else None, e.assumed) for e in talk.exchanges]


def test_after_an_interim_response(talk):
    """What was lost is small, and the server sends interim responses: it may have been one, or the head."""
    talk.ask(get(1))
    talk.answer(INTERIM, ok(1))
    talk.ask(get(2))
    talk.answer_unseen(ok(2, CONTENT)[:1])
    talk.answer(ok(2, CONTENT)[1:])
    talk.ask(get(3))
    talk.answer(ok(3))
    assert logged(talk) == [("/1", 200, False), ("/2", 299, True), ("/3", 200, True)]


def test_after_a_gap_that_began_in_the_response_before(talk):
    talk.ask(get(1))
    chunked = b"HTTP/1.1 200 OK\r\nX-N: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    talk.answer(chunked, captured=len(chunked) - 5)
    talk.ask(get(2))
    talk.answer(ok(2, CONTENT)[: -len(CONTENT)], captured=0)
    talk.answer(CONTENT)
    talk.ask(get(3))
    talk.answer(ok(3))
    assert logged(talk) == [("/1", 200, False), ("/2", 299, True), ("/3", 200, True)]


def test_in_bytes_that_came_after_the_next_request(talk):
    """Who takes turns sends a request when the response before is complete: then no bytes of that one follow
    it. Where some do that cannot be read, the client may have sent it into the response."""
    talk.ask(get(1))
    content = b"some text\n" + CONTENT
    talk.answer(ok(1, content)[: -len(content)], captured=20)
    talk.ask(get(2))
    talk.answer(content)
    talk.answer(ok(2))
    assert logged(talk) == [("/1", 200, False), ("/2", 299, True)]


def test_of_a_client_that_takes_turns_nothing_that_came_before_its_request_is_in_question(talk):
    """The same bytes before the request: the client waited for them."""
    talk.ask(get(1))
    talk.answer(ok(1, b"some text\n" * 3), captured=20)
    talk.answer(b"some text\n")
    talk.ask(get(2))
    talk.answer(ok(2))
    assert logged(talk) == [("/1", 200, False), ("/2", 200, False)]


def test_of_a_request(talk):
    """Two requests whose heads were lost and whose content reads as one and the same request."""
    for number in (1, 3):
        talk.ask(get(number))
        talk.answer(ok(number))
        talk.ask_unseen(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\n" % (number + 1))
        talk.ask(b"GET / HTTP/1.1\r\n\r\n")
        talk.answer_unseen(ok(number + 1))
    marked = {target: assumed for target, _, assumed in logged(talk)}
    assert marked == {"/1": False, "/": True, "/3": True}
    assert [e.request.target for e in talk.exchanges].count("/") == 2


def test_of_the_first_message_of_all(talk_as):
    """It shows which direction is which, wrongly."""
    talk = talk_as(Role.SERVER)
    talk.ask_unseen(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(CONTENT))
    talk.ask(CONTENT)
    talk.answer(ok(1, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"))
    assert [marked for _, _, marked in logged(talk)] == [True]


def test_of_a_request_that_may_not_have_been_refused(talk):
    """Whether the content is left out depends on whose the refusal was, which is not proven."""
    talk.ask_unseen(get(1))
    talk.ask(get(2), b"POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\nExpect: 100-continue\r\n\r\n")
    talk.answer(ok(1), ok(2))
    talk.ask(b"GET / HTTP/1.1\r\n\r\n")
    talk.answer_unseen(b"HTTP/1.1 100 Continue\r\n\r\n")
    found = logged(talk)
    assert ("/", None, True) in found
    assert all(assumed for _, _, assumed in found)
