"""What a conversation comes to; and the laws, which hold for each and however it is cut."""

from rover import Outcome, Role
from rover.testing import check_decoder, converse
from rover_plugin_example import register_protocols

(EXAMPLE,) = register_protocols()
CLIENT, SERVER = Role.CLIENT, Role.SERVER

TURNS = [(CLIENT, b"ask me\n"), (SERVER, b"say yes\n"), (CLIENT, b"ask you\n"), (SERVER, b"say no\n")]
PIPELINED = [
    (CLIENT, b"ask a\nask b\n"),
    (CLIENT, b"ask c\n"),
    (SERVER, b"say 1\nsay 2\n"),
    (SERVER, b"say 3\n"),
]
NO_TEXT = [(CLIENT, b"ask \xff\0\xe9\r\n"), (SERVER, b"say \x80\n")]


def rows(play):
    return [(e.attributes["example.question"], e.attributes.get("example.answer")) for e in play.exchanges]


def test_the_decoder_keeps_the_laws():
    check_decoder(EXAMPLE, [TURNS, PIPELINED, NO_TEXT])


def test_each_question_is_logged_with_its_answer_and_its_calls():
    play = converse(EXAMPLE, TURNS)
    assert rows(play) == [("me", "yes"), ("you", "no")]
    assert [len(details) for details in play.taken] == [2, 2]


def test_ten_thousand_questions_in_one_call():
    asked = b"".join(b"ask %d\n" % number for number in range(10_000))
    said = b"".join(b"say %d\n" % number for number in range(10_000))
    play = converse(EXAMPLE, [(CLIENT, asked), (SERVER, said)])
    assert rows(play) == [(str(number), str(number)) for number in range(10_000)]


def test_bytes_that_are_no_text_are_shown_as_such():
    assert rows(converse(EXAMPLE, NO_TEXT)) == [("\ufffd\0\ufffd", "\ufffd")]


def test_after_a_gap_pairs_are_marked():
    """The answer to `me` was never seen, and nobody can tell that it was that one."""
    play = converse(EXAMPLE, TURNS, lost=[1])
    assert rows(play) == [("me", "no"), ("you", None)]
    assert [exchange.outcome for exchange in play.exchanges] == [Outcome.COMPLETE, Outcome.ABORTED]
    assert [log.attributes.get("rover.pairing") for log in play.logs] == ["assumed", None]


def test_a_line_without_an_end_breaks_the_connection():
    play = converse(EXAMPLE, [(CLIENT, b"ask " + b"x" * 5000)])
    assert play.protocol_break.reason == "framing"
