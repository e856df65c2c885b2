"""A conversation, the ways in which it is played, and what is compared of them."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rover.contracts.protocol import AnyExchange
from rover.testing.conversation import Call, Conversation, calls_of, shown
from rover.testing.converse import play_call
from rover.testing.play import Installed, LawError, Play, Protocol
from rover.values.connection import ProtocolBreak
from rover.values.exchange import Exchange, Outcome
from rover.values.http import HttpStream
from rover.values.records import Role

MAX_PLACES = 200
"""Places at which a conversation is cut or ended, one at a time: of a long one, spread over it."""
HTTP_FACTS = ("method", "target", "authority", "status", "header_size", "body_size")
PAIR_FACTS = ("method", "target", "authority", "status")


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One conversation, and what it is played to."""

    protocol: Protocol
    conversation: Conversation
    number: int
    settings: Mapping[str, Any] | None
    upgrade: ProtocolBreak | None
    installed: Installed
    examples: int

    @property
    def calls(self) -> list[Call]:
        return calls_of(self.conversation)

    def play(self, role: Role | None, *, late: bool = False, keep: bool = True) -> Play:
        """A new connection."""
        return Play(
            self.protocol,
            role=role,
            late=late,
            settings=self.settings,
            upgrade=self.upgrade,
            plugins=self.installed,
            keep=keep,
        )

    def where(self, watched: Role, calls: Sequence[Call], what: str) -> str:
        """For a message."""
        played = f"conversation {self.number}, watched at the {watched.value}, {what}"
        return f"\n{played}: {shown(calls) or 'nothing'}"

    def played(
        self,
        watched: Role,
        calls: Sequence[Call],
        what: str,
        *,
        role: Role | None = None,
        late: bool = False,
        reset: bool = False,
        pause: int = 0,
    ) -> Play:
        """Calls over a connection, to its end. Raises LawError for what no connection may do."""
        where = self.where(watched, calls, what)
        try:
            play = self.play(role, late=late)
            for call in calls:
                play_call(play, call, watched)
                if pause:
                    play.expire(play.time + pause)
            play.close(reset=reset)
        except LawError as error:
            raise LawError(f"{error}{where}") from error
        except Exception as error:
            raise LawError(f"no exception: {type(error).__name__}: {error}{where}") from error
        try:
            check_delivery(play)
            first = play.calls[0].start if play.calls else 0
            for exchange in play.exchanges:
                check_exchange(exchange, first if not late else 0, play.time)
        except LawError as error:
            raise LawError(f"{error}{where}") from None
        return play


def facts_of(exchange: AnyExchange, names: Iterable[str] = HTTP_FACTS) -> dict[str, Any]:
    """What an exchange says, times left out."""
    if isinstance(exchange, Exchange):
        return {"name": exchange.name, **exchange.attributes}
    found: dict[str, Any] = {}
    for side, message in (("request", exchange.request), ("response", exchange.response)):
        for name in names:
            if hasattr(message, name):
                found[f"{side}.{name}"] = getattr(message, name)
        if names is HTTP_FACTS and message is not None:
            found[f"{side}.headers"] = list(message.headers)
    return found


def told(play: Play) -> list[Any]:
    """What does not depend on when which bytes came: facts, outcomes, the break."""
    found: list[Any] = [(facts_of(each), each.outcome.value) for each in play.exchanges]
    if (broke := play.protocol_break) is not None:
        found.append(f"break {broke.reason}{f' to {broke.upgrade}' if broke.upgrade else ''}")
    return found


def compare(law: str, due: Play, found: Play, where: str) -> None:
    if told(due) != told(found):
        raise LawError(f"{law}{where}\ndue:   {_lines(told(due))}\nfound: {_lines(told(found))}")


def _lines(said: list[Any]) -> str:
    return "\n       ".join(map(str, said)) or "nothing"


def _is_marked(exchange: AnyExchange) -> bool:
    """Whether it says of itself that it may be wrong, or is not whole."""
    return exchange.outcome is not Outcome.COMPLETE or (
        not isinstance(exchange, HttpStream) and exchange.assumed
    )


def check_spoken(law: str, whole: Play, found: Play, where: str, *, in_full: bool = False) -> None:
    """No exchange that was never spoken, but those that are marked. `in_full`: nor one that lacks a part."""
    spoken = [facts_of(exchange, PAIR_FACTS) for exchange in whole.exchanges]
    for exchange in found.exchanges:
        facts = facts_of(exchange, PAIR_FACTS)
        if _is_marked(exchange) or any(
            all(value is None or there.get(name) == value for name, value in facts.items())
            and (facts.keys() == there.keys() or not in_full)
            for there in spoken
        ):
            continue
        raise LawError(
            f"{law}: {facts} was never spoken, and no mark says so: its outcome, or `assumed`"
            f"{where}\nspoken: {_lines(spoken)}"
        )


def places(plans: Iterable[list[Call]]) -> list[list[Call]]:
    """All of them, or some of very many."""
    found = list(plans)
    step = max(1, len(found) // MAX_PLACES)
    return found[::step]


def each_example(case: Case, check: Callable[[random.Random], None]) -> None:
    """A check with so many sources of chance. hypothesis, where it is installed, looks for the simplest that
    fails."""
    if importlib.util.find_spec("hypothesis") is None:
        for seed in range(case.examples):
            check(random.Random(seed))  # noqa: S311
        return
    import hypothesis
    from hypothesis import strategies

    @hypothesis.settings(
        max_examples=case.examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategies.randoms(use_true_random=False))
    def attempt(rng: random.Random) -> None:
        check(rng)

    attempt()


def check_delivery(play: Play) -> None:
    """Of a connection that has ended: each call was delivered once, and nothing is kept."""
    delivered = [detail for details in play.taken for detail in details] + play.alone
    if sorted(delivered, key=lambda detail: detail.sequence) != play.calls:
        raise LawError(f"each call once: {len(play.calls)} were made, {len(delivered)} delivered")
    for buffer in play.buffers.values():
        if buffer.size or len(buffer):
            raise LawError(f"nothing kept: {buffer.size} bytes are left in a buffer")


def check_exchange(exchange: AnyExchange, first: int, last: int) -> None:
    """One exchange of a connection whose calls were made between two times."""
    start = exchange.start if isinstance(exchange, Exchange) else exchange.request.start
    end = exchange.end if isinstance(exchange, Exchange) else max(exchange.end, start)
    if not first <= start <= end <= last:
        raise LawError(
            f"times: an exchange starts at {start} and ends at {end}, its calls lie between {first} and "
            f"{last}: `buffer.since` tells when a message began, `now` what time it is"
        )
    attributes = exchange.attributes if isinstance(exchange, Exchange) else {}
    for name, value in attributes.items():
        try:
            json.dumps({name: value}, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise LawError(f"attributes: {name} is {value!r}, which JSON cannot hold ({error})") from None
