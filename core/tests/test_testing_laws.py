"""check_decoder finds the common faults of decoders, and says which law is broken, and by which calls.

The decoder that is made wrong here is the one that `rover plugins new` writes.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import random
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import rover.cli
from rover import ProtocolBreak, ProtocolSpec, Role, Verdict
from rover.testing import LawError, Play, check_decoder, check_delivery, converse, cut

SOURCE = (
    Path(rover.cli.__file__).parent / "templates/protocol/src/rover_plugin_example/__init__.py"
).read_text()
CLIENT, SERVER = Role.CLIENT, Role.SERVER
TURNS = [(CLIENT, b"ask me\n"), (SERVER, b"say yes\n"), (CLIENT, b"ask \xff\n"), (SERVER, b"say no\n")]
PIPELINED = [
    (CLIENT, b"ask a\nask b\n"),
    (CLIENT, b"ask c\n"),
    (SERVER, b"say 1\nsay 2\n"),
    (SERVER, b"say 3\n"),
]


def spec_of(*changes: tuple[str, str]) -> ProtocolSpec:
    """The protocol, with its source changed."""
    source = SOURCE
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    module = types.ModuleType("changed")
    sys.modules["changed"] = module  # dataclasses look there
    exec(compile(source, "changed.py", "exec"), module.__dict__)
    (spec,) = module.__dict__["register_protocols"]()
    assert isinstance(spec, ProtocolSpec)
    return spec


def test_a_decoder_that_keeps_them():
    check_decoder(spec_of(), [TURNS, PIPELINED])


def test_without_hypothesis_the_same_is_played(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_decoder(spec_of(), [PIPELINED], growth=False)
    with pytest.raises(LawError, match="after a loss"):
        check_decoder(spec_of(("assumed=self._lost and", "assumed=False and")), [TURNS], growth=False)


MAYBE = "return Verdict.MAYBE if any(each.startswith(beginning) for each in OPENINGS) else Verdict.NO"
FAULTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "the opening is due whole": (
        r"recognition: sniff says no to b'a',.*maybe is due",
        [(MAYBE, "return Verdict.NO")],
    ),
    "whatever comes is claimed": (
        r"recognition: sniff says yes to b'.*none of the protocol's",
        [("if data.startswith(OPENINGS):", "if data:")],
    ),
    "nothing is claimed": (
        r"recognition: sniff says maybe to everything",
        [("return Verdict.YES", "return Verdict.MAYBE")],
    ),
    "a call is taken for a message": (
        r"same exchanges\nconversation 0, watched at the client, a byte a call: client b'a', client b's'",
        [
            (
                "                return NEED_MORE",
                "                buffer.consume(len(buffer))\n                return NEED_MORE",
            )
        ],
    ),
    "one message of a call is seen": (
        r"same exchanges\nconversation 1, watched at the client, a byte a call",
        [("buffer.consume(size, question.owner)", "buffer.consume(len(buffer), question.owner)")],
    ),
    "bytes of no exchange": (
        r"own calls: exchange 0, .* carries no call",
        [("consume(size, self._asked)", "consume(size)"), ("consume(size, question.owner)", "consume(size)")],
    ),
    "one owner for all": (
        r"own calls: exchange 1, .* has owner 0, which another had before it",
        [
            ("consume(size, self._asked)", "consume(size, 0)"),
            ("question.owner)", "0)"),
            ("owner=question.owner", "owner=0"),
        ],
    ),
    "a start that nobody noted": (r"times: an exchange starts at 0 ", [("start=buffer.since", "start=0")]),
    "a clock of its own": (
        r"times: .* ends at \d{19}",
        [("end=now", "end=__import__('time').time_ns()")],
    ),
    "no role": (
        r"role: the decoder says unknown",
        [("self.role = Role.SERVER if direction is Direction.INGRESS else Role.CLIENT", "pass")],
    ),
    "the other role": (
        r"role: the decoder says server.*watched at the client",
        [("if direction is Direction.INGRESS else", "if direction is Direction.EGRESS else")],
    ),
    "text that is none": (
        r"no exception: UnicodeDecodeError: .*\nconversation 0, watched at the client, as it is",
        [('errors="replace"', 'errors="strict"')],
    ),
    "text that no sink can write": (
        r"attributes: example.question is '\\udcff'",
        [("replace", "surrogateescape")],
    ),
    "a line that is too short": (
        r"no exception: IndexError",
        [("line = bytes", "buffer.data[buffer.offset + 3]\n            line = bytes")],
    ),
    "pairs counted on after a loss": (
        r"after a loss: .* was never spoken",
        [("assumed=self._lost and", "assumed=False and")],
    ),
    "a beginning that was not seen": (
        r"joined late: .* was never spoken",
        [("if buffer.late or buffer.hidden:", "if buffer.hidden:")],
    ),
    "a question taken for an exchange": (
        r"nothing made up at an early end: .*example.question",
        [("Outcome.ABORTED if answer is None else Outcome.COMPLETE", "Outcome.COMPLETE")],
    ),
    "state of all connections": (
        r"no shared state\nconversation 0.*beside another connection, which ended after 1 of its calls",
        [
            ("= deque()", "= WAITING"),
            ("class ExampleDecoder", "WAITING: Any = deque()\n\n\nclass ExampleDecoder"),
        ],
    ),
    "a list of all connections": (
        r"nothing kept: after its end the decoder is still referred to by list",
        [
            ("self.memory = 0", "self.memory = 0\n        ALL.append(self)"),
            ("class Exa", "ALL: Any = []\n\n\nclass Exa"),
        ],
    ),
    "bytes said to be unneeded that are not": (
        r"unneeded\nconversation 0",
        [("    def expire", "    def unneeded(self, direction):\n        return 1000\n\n    def expire")],
    ),
    "time that only goes by": (
        r"no exception: ZeroDivisionError.*\n.*with long pauses",
        [("while self._open and now", "while self._open and 1 // (now < 1 << 39) and now")],
    ),
}
COSTLY = {
    "a call for each line": (
        r"no exception: RecursionError",
        [
            ("while True:", "for _ in (1,):"),
            ("    def expire", "        return self.decode(direction, buffer, now)\n\n    def expire"),
        ],
    ),
    "all questions looked at for each": (
        r"time grows as the bytes do: .*what the client says, the server silent",
        [("self._open.append(question)", "self._open = deque([*self._open, question])")],
    ),
    "questions without end that are not told of": (
        r"memory is bounded or told: about \d+ bytes are kept of \d+, and the decoder tells of 0",
        [("self.memory", "self.kept"), ("self.kept > MAX_MEMORY", "False")],
    ),
    "something of each connection": (
        r"nothing kept: each connection leaves \d+ bytes behind",
        [
            ("self.memory = 0", "self.memory = 0\n        ALL.append('x' * 400 + str(len(ALL)))"),
            ("class Exa", "ALL: Any = []\n\n\nclass Exa"),
        ],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_by_its_law(fault):
    message, changes = FAULTS[fault]
    with pytest.raises(LawError, match=f"(?s){message}"):
        check_decoder(spec_of(*changes), [TURNS, PIPELINED], growth=False)


@pytest.mark.parametrize("fault", COSTLY)
def test_what_grows_is_told_by_its_law(fault):
    message, changes = COSTLY[fault]
    with pytest.raises(LawError, match=f"(?s){message}"):
        check_decoder(spec_of(*changes), [PIPELINED], examples=1)


def test_a_conversation_without_an_exchange_is_no_test():
    with pytest.raises(LawError, match="an exchange: the conversation yields none"):
        check_decoder(spec_of(), [[(SERVER, b"say x\n")]], growth=False)
    with pytest.raises(ValueError, match="one conversation at least"):
        check_decoder(spec_of(), [])


def test_a_factory_is_checked_as_it_is():
    """It recognises nothing, so bytes of any kind are its own."""
    spec = spec_of()
    check_decoder(spec.make, [TURNS], settings={"timeout": 60}, growth=False)


# -- plays -----------------------------------------------------------------------------------------


def rows(play: Play) -> list[Any]:
    return [(log.attributes["example.question"], log.attributes.get("example.answer")) for log in play.logs]


@pytest.mark.parametrize("how", [{}, {"cut": 1}, {"cut": 3}, {"cut": random.Random(1)}, {"watched": CLIENT}])
def test_a_conversation_is_played_as_it_is_cut(how):
    play = converse(spec_of(), TURNS, **how)
    assert rows(play) == [("me", "yes"), ("\ufffd", "no")]
    check_delivery(play)


def test_calls_are_lost_and_captured_in_part_by_their_numbers():
    play = converse(spec_of(), TURNS, lost=[0], captured={2: 0})
    assert rows(play) == []
    check_delivery(play)
    assert [call.sequence for call in play.calls] == [1, 2, 3]


def own(known: str, otherwise: str = "NO") -> Any:
    """A `sniff_own` that knows this opening."""

    def sniff_own(data: bytes | bytearray) -> Verdict:
        if data.startswith(known.encode()):
            return Verdict.YES
        return Verdict.MAYBE if known.encode().startswith(data) else Verdict[otherwise]

    return sniff_own


def test_what_is_asked_on_own_ports_is_held_to_the_same():
    spec = spec_of()
    never = spec_of(("if data.startswith(OPENINGS):", "if False:"), (MAYBE, "return Verdict.NO"))
    claimed = dataclasses.replace(never, sniff_own=own("ask"))
    check_decoder(claimed, [TURNS], examples=1, growth=False)
    for each, message in [
        (never, "sniff says no to everything"),
        (dataclasses.replace(never, sniff_own=own("HELO")), "sniff says no to everything"),
        (dataclasses.replace(spec, sniff_own=own("HELO")), "sniff_own says yes to nothing in conversation 0"),
        (
            dataclasses.replace(
                spec, sniff_own=lambda data: Verdict.YES if data.startswith(b"ask") else Verdict.NO
            ),
            r"sniff_own says no to b'a',.*maybe is due",
        ),
    ]:
        with pytest.raises(LawError, match=message):
            check_decoder(each, [TURNS], examples=1, growth=False)


def test_an_upgrade_goes_to_the_factory_and_asks_no_sniff():
    claimed = ProtocolBreak(reason="upgrade", upgrade="example")
    seen: list[object] = []
    spec = spec_of()

    def make(connection: Any, settings: Any, upgrade: Any) -> Any:
        seen.append(upgrade)
        return spec.make(connection, settings, upgrade)

    never = ProtocolSpec(name="never", sniff=lambda _: 1 // 0, make=make, settings=spec.settings)
    assert len(converse(never, TURNS, upgrade=claimed).exchanges) == 2
    assert seen == [claimed]


def test_what_a_decoder_raises_a_play_raises():
    spec = spec_of(('errors="replace"', 'errors="strict"'))
    with pytest.raises(UnicodeDecodeError):
        converse(spec, TURNS)


def test_what_a_plugin_does_wrong_is_told():
    spec = spec_of(("return NEED_MORE", "return None"))
    with pytest.raises(LawError, match="decode: TypeError: returned None"):
        converse(spec, TURNS)


def test_a_play_that_keeps_nothing_counts_what_waits():
    play = converse(spec_of(), [(CLIENT, b"ask me\n")] * 5, keep=False, close=False)
    assert play.waiting == 5
    assert [play.calls, play.exchanges, play.logs, play.taken, play.alone] == [[]] * 5
    play.close()
    assert play.waiting == 0


def test_the_end_of_the_agent_is_no_end_of_the_connection():
    play = converse(spec_of(), [(CLIENT, b"ask me\n")], close=False)
    play.finish()
    assert [log.outcome.value for log in play.logs] == ["unfinished"]


def test_pieces_are_the_whole():
    data = bytes(range(256)) * 4
    pieces = list(cut(data, random.Random(3)))
    assert b"".join(pieces) == data
    assert len(pieces) > 20
