"""Lost records and uncaptured bytes: what is skipped, what is still paired, and what is rather not."""

from __future__ import annotations

import pytest

from rover.contracts.protocol import NEED_MORE
from rover.values.records import Role

SECOND = 1_000_000_000


def get(number: int, extra: str = "") -> bytes:
    return f"GET /{number} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode()


def ok(number: int, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 200 OK\r\nX-N: {number}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def turn(talk, number: int) -> None:
    talk.ask(get(number))
    talk.answer(ok(number))


def settle(talk) -> None:
    """The client has taken turns for long."""
    for number in range(100, 110):
        turn(talk, number)
    assert [e.outcome.value for e in talk.exchanges] == ["complete"] * 10
    talk.play.exchanges.clear()
    talk.play.taken = [tuple(d for taken in talk.play.taken for d in taken)]


def outcomes(talk) -> list[tuple[str, str]]:
    """(target, how it ended); every one with a response has its own. What is complete is "assumed" when
    it is marked so, and "wrong" when that was wrong: which it must not be without the mark."""
    found = []
    for exchange in talk.exchanges:
        outcome = exchange.outcome.value
        answered = exchange.response.headers.get("x-n") if exchange.response else None
        if answered or outcome == "complete":
            right = exchange.request.target == f"/{answered}"
            assert right or exchange.assumed
            if outcome == "complete" and exchange.assumed:
                outcome = "assumed" if right else "wrong"
        found.append((exchange.request.target, outcome))
    return found


# -- whole messages lost -----------------------------------------------------------------------


def test_a_lost_response_costs_its_request(talk):
    talk.ask(get(1))
    talk.answer_unseen(ok(1))
    turn(talk, 2)
    turn(talk, 3)
    assert outcomes(talk) == [("/1", "aborted"), ("/2", "complete"), ("/3", "complete")]
    assert talk.exchanges[0].response is None
    assert talk.play.resynchronised == 1
    talk.close()


def test_the_response_to_a_lost_request_is_not_the_next_ones(talk):
    settle(talk)
    talk.ask_unseen(get(1))
    talk.answer(ok(1))
    turn(talk, 2)
    assert outcomes(talk) == [("/2", "assumed")]
    assert [d.direction for d in talk.play.alone] == [talk.responses]
    assert talk.play.resynchronised == 1
    talk.close()


def test_a_burst_of_lost_records(talk):
    settle(talk)
    talk.ask(get(1))
    talk.answer_unseen(ok(1))
    talk.ask_unseen(get(2))
    talk.answer_unseen(ok(2))
    talk.ask_unseen(get(3))
    talk.answer(ok(3))
    turn(talk, 4)
    assert outcomes(talk) == [("/1", "aborted"), ("/4", "assumed")]
    talk.close()


def test_a_lost_request_costs_nothing_else(talk):
    turn(talk, 0)
    talk.ask_unseen(get(1))
    talk.answer(ok(1))
    turn(talk, 2)
    turn(talk, 3)
    turn(talk, 4)
    assert outcomes(talk) == [
        ("/0", "complete"),
        ("/2", "assumed"),
        ("/3", "assumed"),
        ("/4", "assumed"),
    ]


def test_of_a_client_that_pipelines_a_lost_answer_is_one_of_those_open(talk):
    talk.ask(get(1), get(2), get(3))
    talk.answer_unseen(ok(1))
    talk.answer(ok(2))
    talk.ask(get(4), get(5))
    talk.answer(ok(3) + ok(4), ok(5))
    turn(talk, 6)
    turn(talk, 7)
    assert outcomes(talk) == [
        ("/1", "aborted"),
        *((f"/{number}", "assumed") for number in range(2, 8)),
    ]
    talk.close()


def test_a_request_sent_into_a_response(talk):
    settle(talk)
    talk.ask(get(1))
    talk.answer_unseen(ok(1))
    talk.ask(get(2))
    talk.answer(ok(2, b"123456")[:-3])
    talk.ask(get(3))
    talk.answer(ok(2, b"123456")[-3:], ok(3))
    assert outcomes(talk) == [("/1", "aborted"), ("/2", "complete"), ("/3", "complete")]


def test_pairs_behind_a_lost_request_of_a_client_that_pipelines_are_marked(talk):
    talk.ask_unseen(get(1))
    talk.ask(get(2))
    talk.answer(ok(1), ok(2))
    turn(talk, 3)
    turn(talk, 4)
    assert outcomes(talk) == [("/2", "wrong"), ("/3", "assumed"), ("/4", "assumed")]


def test_in_doubt_health_checks_with_head_are_told_at_once(talk):
    def check(number):
        talk.ask(f"HEAD /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        talk.answer(f"HTTP/1.1 200 OK\r\nX-N: {number}\r\nContent-Length: 500\r\n\r\n".encode())

    talk.ask_unseen(get(1))
    check(2)
    check(3)
    check(4)
    assert outcomes(talk) == [("/2", "assumed"), ("/3", "assumed"), ("/4", "assumed")]


def test_an_early_answer_after_a_loss_is_its(talk):
    talk.ask(get(1))
    talk.answer_unseen(ok(1))
    talk.ask(b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    talk.answer(ok(2))
    assert outcomes(talk) == [("/1", "aborted")]
    talk.ask(b"abc")
    assert talk.rows[1] == ("POST", "/2", 200, 3, 0, "complete")
    assert not talk.exchanges[1].assumed
    talk.close()


def test_what_cannot_be_read_may_have_been_a_message_too(talk):
    turn(talk, 1)
    talk.ask(b"G\xcbT /x HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.ask(get(2))
    talk.answer(ok(99), ok(2))
    assert outcomes(talk) == [("/1", "complete"), ("/2", "wrong")]


@pytest.mark.parametrize("pieces", [(b"!!\r\n!\r\n",), (b"!!\r\n", b"!\r\n"), (b"!", b"!\r\n!\r\n")])
def test_what_cannot_be_read_moved_with_its_last_byte(talk, pieces):
    """However it was cut: its first byte came before the request that it may have answered."""
    turn(talk, 1)
    talk.answer(b"!")
    talk.ask(get(2) + b"3\r\nHost: a\r\n\r\n")
    talk.answer(*pieces[:-1], pieces[-1] + ok(3))
    talk.close()
    assert outcomes(talk) == [("/1", "complete"), ("/2", "aborted")]


def test_a_head_beyond_the_limit_may_be_the_first(talk_as):
    talk = talk_as(Role.SERVER, max_head=1024)
    talk.ask(get(1, "X: " + "y" * 2000 + "\r\n") + get(2))
    talk.answer(ok(1), ok(2))
    assert outcomes(talk) == [("/2", "wrong")]


# -- messages lost in part ---------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nX-N: 1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_gap_that_hides_a_chunk_header_cuts_the_response(talk):
    settle(talk)
    talk.ask(get(1))
    talk.answer(CHUNKED + b"3\r\nabc\r\n")
    talk.answer_unseen(b"5\r\nhello\r\n")
    talk.answer(b"2\r\nxy\r\n0\r\n\r\n")
    assert talk.rows == [("GET", "/1", 200, 0, None, "aborted")]
    turn(talk, 2)
    assert outcomes(talk) == [("/1", "aborted"), ("/2", "complete")]
    assert talk.play.resynchronised == 0  # nothing was left to skip when the next one began
    assert [d.size for d in talk.play.alone] == [len(b"2\r\nxy\r\n0\r\n\r\n")]
    talk.close()


def test_a_gap_that_hides_a_chunk_header_cuts_the_request(talk):
    settle(talk)
    talk.ask(b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    talk.ask_unseen(b"5\r\nhello\r\n")
    talk.ask(b"0\r\n\r\n")
    talk.answer(ok(1))
    assert talk.rows == [("POST", "/1", 200, None, 0, "aborted")]
    turn(talk, 2)
    assert outcomes(talk)[1:] == [("/2", "assumed")]
    talk.close()


def test_a_gap_in_the_trailers_leaves_the_size_known(talk):
    talk.ask(get(1))
    talk.answer(CHUNKED + b"3\r\nabc\r\n0\r\nT: u")
    talk.answer_unseen(b"vwxyz")
    talk.answer(b"\r\n\r\n")
    assert talk.rows == [("GET", "/1", 200, 0, 3, "aborted")]


def test_a_gap_where_only_the_final_line_end_can_be_is_no_loss(talk):
    talk.ask(get(1))
    talk.answer(CHUNKED + b"3\r\nabc\r\n0\r\n")
    talk.answer_unseen(b"\r\n")
    turn(talk, 2)
    assert outcomes(talk) == [("/1", "complete"), ("/2", "complete")]


@pytest.mark.parametrize("captured", [5, 12, 17, 30, len(ok(1)) - 1])
def test_a_response_head_not_all_captured_is_logged_with_its_status(talk, captured):
    settle(talk)
    talk.ask(get(1))
    talk.answer(ok(1), captured=captured)
    turn(talk, 2)
    turn(talk, 3)
    assert outcomes(talk)[-1] == ("/3", "complete")
    assert outcomes(talk)[0] == ("/1", "aborted")
    assert talk.rows[0][2] == (200 if captured >= len("HTTP/1.1 200") else None)
    talk.close()


@pytest.mark.parametrize("captured", [3, 6])
def test_a_request_without_a_whole_target_is_no_request(talk, captured):
    settle(talk)
    talk.ask(get(1), captured=captured)
    talk.answer(ok(1))
    turn(talk, 2)
    assert outcomes(talk) == [("/2", "assumed")]
    talk.close()


@pytest.mark.parametrize("captured", [7, 8, 14, 15, 16, 17, 18, len(get(1)) - 1])
def test_a_request_head_not_all_captured_is_logged_with_its_line(talk, captured):
    settle(talk)
    talk.ask(get(1), captured=captured)
    talk.answer(ok(1))
    turn(talk, 2)
    assert outcomes(talk) == [("/1", "aborted"), ("/2", "assumed")]
    assert talk.rows[0] == ("GET", "/1", 200, None, 0, "aborted")
    assert talk.exchanges[0].request.header_size == captured
    talk.close()


def test_packets_cut_to_a_few_bytes_show_lines_and_status(talk):
    talk.ask(get(1, "Cookie: " + "c" * 900 + "\r\n"), captured=30)
    talk.answer(ok(1, b"x" * 3000), captured=30)
    talk.answer(b"y" * 1000, captured=30)
    talk.close()
    assert [(row[:3], row[5]) for row in talk.rows] == [(("GET", "/1", 200), "aborted")]


@pytest.mark.parametrize("captured", [20, 40])
def test_a_switch_is_one_though_its_head_is_cut(talk, captured):
    talk.ask(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nUser-Agent: x\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 Established\r\nVia: 1.1 a, 1.1 b\r\n\r\n", captured=captured)
    assert talk.rows == [("CONNECT", "a:443", 200, 0, None, "aborted")]
    assert talk.broken == "tunnel"
    talk.close()


def test_what_is_ended_by_close_spans_any_gap(talk):
    talk.ask(get(1))
    talk.answer(b"HTTP/1.1 200 OK\r\nX-N: 1\r\n\r\nabc")
    talk.answer_unseen(b"HTTP/1.1 200 OK\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\n\r\n", captured=4)
    talk.close()
    assert talk.rows == [("GET", "/1", 200, 0, 3 + 17 + 19, "complete")]


# -- where reading goes on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "line", "found"),
    [
        (b"", b"GET /2 HTTP/1.1", True),
        (b"some text\r\n", b"GET /2 HTTP/1.1", True),
        (b"a=b", b"POST /2 HTTP/1.1", True),
        (b"some text\n", b"M-SEARCH /2 HTTP/1.1", True),
        (b"some text\n", b"GET /\xff HTTP/1.1", True),
        (b"a=b", b"FOO /2 HTTP/1.1", False),
        (b"", b"GET /2 HTTP/2.0", False),
        (b"", b"GET /2", False),
        (b"", b"see HTTP/1.1 for that", False),
        (b'log: "', b'GET /2 HTTP/1.1" 200', False),
    ],
)
def test_the_next_plausible_request(talk, before, line, found):
    talk.ask(get(1))
    talk.answer(ok(1))
    talk.ask_unseen(b"anything")
    talk.ask(before + line + b"\r\nHost: a\r\n\r\n")
    talk.close()
    assert talk.play.resynchronised == found
    assert len(talk.rows) == 1 + found


@pytest.mark.parametrize(
    ("before", "line", "found"),
    [
        (b"", b"HTTP/1.1 200 OK", True),
        (b"}", b"HTTP/1.0 404", True),
        (b"\x00\xff", b"HTTP/1.1 500 \xe4", True),
        (b"", b"HTTP/1.1 OK", False),
        (b"", b"HTTP/1.1 20", False),
        (b"", b"HTTP/1.1 2000", False),
        (b"", b"HTTP/2 200 OK", False),
        (b"about ", b"HTTP/1.1", False),
    ],
)
def test_the_next_plausible_response(talk, before, line, found):
    turn(talk, 1)
    talk.answer_unseen(b"anything")
    talk.answer(before + line + b"\r\nContent-Length: 0\r\n\r\n")
    assert talk.play.resynchronised == found


def test_a_start_that_comes_in_pieces_is_found(talk):
    settle(talk)
    talk.ask_unseen(get(1))
    talk.answer(ok(1))
    talk.ask(*[bytes([byte]) for byte in b"junk junk\r\nab=c" + get(2)])
    talk.answer(ok(2))
    assert outcomes(talk) == [("/2", "assumed")]


def test_a_search_behind_a_gap_has_no_limit_and_keeps_little(talk):
    settle(talk)
    talk.ask(get(1))
    talk.answer(CHUNKED + b"fff\r\n")
    talk.answer_unseen(b"x" * 5000)
    for _ in range(40):
        talk.answer(b"x" * 100_000)
        assert talk.play.buffers[talk.responses].size <= 128 << 10
    turn(talk, 2)
    turn(talk, 3)
    assert outcomes(talk)[-1] == ("/3", "complete")
    assert talk.broken is None


def test_many_gaps_cost_one_search_each(talk):
    settle(talk)
    for number in range(1, 50):
        talk.ask(get(number), captured=20)
        talk.answer(ok(number), captured=20)
    turn(talk, 60)
    assert outcomes(talk)[-1] == ("/60", "assumed")
    assert [outcome for _, outcome in outcomes(talk)[:-1]] == ["aborted"] * 49
    assert all(row[2] == 200 for row in talk.rows)
    talk.close()


# -- records out of order ----------------------------------------------------------------------


def late(talk, call) -> None:
    """A call that began before the newest one, and whose record comes after it."""
    now = talk.play.time
    talk.play.time = now - 50
    call()
    talk.play.time = now


def test_a_response_may_overtake_the_record_of_its_request(talk_as):
    talk = talk_as(Role.CLIENT)
    talk.play.time = 1000
    for number in (1, 2):
        talk.answer(ok(number, b"abc"))
        assert len(talk.rows) == number - 1
        late(talk, lambda number=number: talk.ask(get(number)))
        talk.play.time += 1000
    assert outcomes(talk) == [("/1", "complete"), ("/2", "complete")]
    assert talk.play.alone == []
    talk.close()


def test_an_interim_response_may_overtake_too(talk_as):
    talk = talk_as(Role.CLIENT)
    talk.play.time = 1000
    talk.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
    late(talk, lambda: talk.ask(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"))
    talk.ask(b"hi")
    talk.answer(ok(1))
    assert outcomes(talk) == [("/1", "complete")]
    assert len(talk.play.taken[0]) == 4


def test_a_response_older_than_the_request_is_not_its(talk):
    talk.answer(ok(1)[:9])
    talk.ask(get(2))
    talk.answer(ok(1)[9:], ok(2))
    assert outcomes(talk) == [("/2", "assumed")]
    talk.close()


def test_a_response_waits_for_its_request_for_a_second(talk_as):
    talk = talk_as(Role.CLIENT)
    talk.play.time = SECOND
    talk.answer(ok(1))
    talk.play.expire(talk.play.time + SECOND // 2)
    assert talk.play.buffers[talk.responses].size
    talk.play.expire(talk.play.time + 2 * SECOND)
    assert not talk.play.buffers[talk.responses].size
    turn(talk, 2)
    assert outcomes(talk) == [("/2", "assumed")]
    talk.close()


def test_a_response_waits_for_its_request_within_bounds(talk_as):
    talk = talk_as(Role.CLIENT)
    talk.answer(ok(1, b"x" * 1_000_000)[:100_000])
    assert talk.play.buffers[talk.responses].size == 100_000
    talk.answer(b"x" * 100_000)
    assert not talk.play.buffers[talk.responses].size


def test_a_servers_response_waits_for_nothing(talk_as):
    talk = talk_as(Role.SERVER)
    talk.answer(ok(1))
    assert len(talk.play.alone) == 1


def test_a_silent_connection_has_nothing_to_say(talk):
    turn(talk, 1)
    for buffer in talk.play.buffers.values():
        assert talk.decoder.decode(buffer.direction, buffer, talk.play.time) is NEED_MORE
    assert list(talk.decoder.expire(10**15)) == []
    assert list(talk.decoder.close(10**15)) == []


@pytest.mark.parametrize(
    ("rest", "logged"),
    [
        (b"ET /3 HTTP/1.1\r\nHost: a\r\n\r\n", []),  # a GET that lost its first letter
        (b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n", ["/3"]),
        (b"x\r\nFETCH /3 HTTP/1.1\r\nHost: a\r\n\r\n", ["/3"]),
    ],
)
@pytest.mark.parametrize("pieces", ["whole", "bytes"])
def test_behind_a_gap_no_method_is_made_up(talk, rest, logged, pieces):
    talk.ask(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    talk.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    talk.ask_unseen(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\nG")
    talk.ask(*([rest] if pieces == "whole" else [bytes([byte]) for byte in rest]))
    talk.close()
    assert [row[1] for row in talk.rows] == ["/1", *logged]


@pytest.mark.parametrize(
    "opening",
    [
        b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r",
        b"PUT /a HTTP/1.1\r\nX: " + b"y" * 1005,
    ],
    ids=["after a chunk", "in its line end", "after the largest head"],
)
@pytest.mark.parametrize("behind", [b"", b"SHUT"])
def test_the_rest_of_a_line_is_no_request_of_an_unknown_method(talk_as, opening, behind):
    """However the bytes before it came: what is read and what is not must not tell where a line begins."""
    found = []
    for cut in (False, True):
        talk = talk_as(Role.SERVER, max_head=1024)
        data = opening + behind + b" /b HTTP/1.1\r\n\r\n"
        talk.ask(*([bytes([byte]) for byte in data] if cut else [data]))
        talk.close()
        found.append([exchange.request.target for exchange in talk.exchanges])
    assert found[0] == found[1]
    assert "/b" not in found[0]
