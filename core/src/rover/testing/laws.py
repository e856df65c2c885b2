"""The laws that every decoder keeps, and one function that holds a decoder to them."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import json
import random
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rover.contracts.protocol import AnyExchange, ProtocolSpec, Verdict
from rover.testing.conversation import (
    Call,
    Conversation,
    calls_of,
    cut_once,
    damaged,
    joined,
    mutated,
    recut,
    shown,
    single,
)
from rover.testing.converse import play_call
from rover.testing.growth import check_growth
from rover.testing.play import Installed, LawError, Play, Protocol
from rover.values.connection import ProtocolBreak
from rover.values.exchange import Exchange, Outcome
from rover.values.http import HttpStream
from rover.values.records import Role

EXAMPLES = 50
"""Random ways in which each conversation is cut, damaged and changed."""
MAX_PLACES = 200
"""Places at which a conversation is cut or ended, one at a time: of a long one, spread over it."""
OWN_CALLS = 500
"""Bytes of a conversation up to which a call per byte is a call of some exchange: the core keeps twice as
many calls that wait for their exchange."""
MAX_NEIGHBOURS = 8
"""Places of a conversation at which one beside it ends."""
LATER = 1_000_000_000_000
"""ns: beyond every timeout."""
HTTP_FACTS = ("method", "target", "authority", "status", "header_size", "body_size")
PAIR_FACTS = ("method", "target", "authority", "status")
FOREIGN = (
    b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"220 mail.example ESMTP\r\n",
    b"\x16\3\1\2\0\1\0\1\xfc\3\3" + bytes(range(32)),
    b"*1\r\n$4\r\nPING\r\n",
    b"\0\0\0\x08\x04\xd2\x16\x2f",
)
"""How other protocols open."""


def check_decoder(
    protocol: Protocol,
    conversations: Sequence[Conversation],
    *,
    settings: Mapping[str, Any] | None = None,
    upgrade: ProtocolBreak | None = None,
    plugins: Sequence[object] = (),
    examples: int = EXAMPLES,
    growth: bool = True,
) -> None:
    """Holds a decoder to the laws that the core relies on. Raises LawError, an AssertionError, which names
    the law, the conversation and the calls in which it was played.

    `protocol`: what `register_protocols` returns one of, or what makes decoders. `conversations`: each
    from the beginning of a connection, each with an exchange at least; a message per entry is best, all of
    what the protocol has. `settings`, `upgrade`, `plugins`: see `Play`. `examples`: random ways to play each;
    hypothesis chooses them where it is installed, and a seed elsewhere, the same in every run.
    `growth`: False leaves the laws of time and memory out, which take most of the time.
    """
    if not conversations:
        raise ValueError("a decoder is checked with one conversation at least")
    installed = Installed(plugins)
    for number, conversation in enumerate(conversations):
        case = _Case(
            protocol=protocol,
            conversation=conversation,
            number=number,
            settings=settings,
            upgrade=upgrade,
            installed=installed,
            examples=examples,
        )
        if isinstance(protocol, ProtocolSpec) and upgrade is None:
            _check_sniff(case, protocol.sniff)
        _check_whole(case)
        _check_cuts(case)
        _check_unneeded(case)
        _check_neighbours(case)
        _check_ends(case)
        _check_losses(case)
        if upgrade is None:  # what follows one is never joined late
            _check_late(case)
        _check_noise(case)
        _check_time_passing(case)
        _check_released(case)
        if growth:
            check_growth(case.play, case.calls, f"conversation {number}")
    if isinstance(protocol, ProtocolSpec) and upgrade is None:
        _check_foreign(protocol.sniff, conversations)


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


# -- one conversation ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Case:
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


def _compare(law: str, due: Play, found: Play, where: str) -> None:
    if told(due) != told(found):
        raise LawError(f"{law}{where}\ndue:   {_lines(told(due))}\nfound: {_lines(told(found))}")


def _lines(said: list[Any]) -> str:
    return "\n       ".join(map(str, said)) or "nothing"


def _is_marked(exchange: AnyExchange) -> bool:
    """Whether it says of itself that it may be wrong, or is not whole."""
    return exchange.outcome is not Outcome.COMPLETE or (
        not isinstance(exchange, HttpStream) and exchange.assumed
    )


def _check_spoken(law: str, whole: Play, found: Play, where: str, *, in_full: bool = False) -> None:
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


def _places(plans: Iterable[list[Call]]) -> list[list[Call]]:
    """All of them, or some of very many."""
    found = list(plans)
    step = max(1, len(found) // MAX_PLACES)
    return found[::step]


def _each(case: _Case, check: Callable[[random.Random], None]) -> None:
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


# -- the laws --------------------------------------------------------------------------------------


def _whole(case: _Case, watched: Role) -> Play:
    return case.played(watched, case.calls, "as it is", role=watched)


def _check_whole(case: _Case) -> None:
    """Exchanges, the same at either end; and which end it is, also where the source cannot tell."""
    ends = {watched: _whole(case, watched) for watched in Role}
    for watched, play in ends.items():
        where = case.where(watched, case.calls, "as it is")
        if not play.exchanges:
            broke = play.protocol_break
            said = f": it broke, {broke.reason} ({broke.detail})" if broke else ""
            raise LawError(f"an exchange: the conversation yields none{said}{where}")
        alone = case.played(watched, case.calls, "as it is, the source not knowing which end it is")
        roles = {log.connection.role for log in alone.logs}
        if not roles <= {watched}:
            found = ", ".join("unknown" if role is None else role.value for role in roles)
            raise LawError(
                f"role: the decoder says {found}, and a log has no client and no server while that is "
                f"unknown{where}"
            )
    where = case.where(Role.SERVER, case.calls, "as it is")
    _compare("same exchanges at either end", ends[Role.CLIENT], ends[Role.SERVER], where)


def _check_cuts(case: _Case) -> None:
    """Fed whole or cut anywhere: the same exchanges, each with its own calls."""
    law = "same exchanges"
    for watched in Role:
        whole = _whole(case, watched)
        pieces = single(case.calls)
        play = case.played(watched, pieces, "a byte a call", role=watched)
        _compare(law, whole, play, case.where(watched, pieces, "a byte a call"))
        _check_own_calls(play, case.where(watched, pieces, "a byte a call"))
        for calls in [joined(case.calls), *_places(cut_once(case.calls))]:
            play = case.played(watched, calls, "cut", role=watched)
            _compare(law, whole, play, case.where(watched, calls, "cut"))

        def cut_anywhere(rng: random.Random, watched: Role = watched, whole: Play = whole) -> None:
            calls = recut(case.calls, rng)
            play = case.played(watched, calls, "cut", role=watched)
            _compare(law, whole, play, case.where(watched, calls, "cut"))

        _each(case, cut_anywhere)


def _check_own_calls(play: Play, where: str) -> None:
    """Of a connection with a byte a call: each exchange has calls, which no other exchange can have."""
    owners: set[int] = set()
    for number, exchange in enumerate(play.exchanges):
        if exchange.outcome is not Outcome.COMPLETE:
            continue
        said = f"own calls: exchange {number}, {facts_of(exchange)}, has owner {exchange.owner}"
        if exchange.owner in owners:
            raise LawError(f"{said}, which another had before it{where}")
        owners.add(exchange.owner)
        is_told = len(play.logs) == len(play.exchanges) and len(play.calls) <= OWN_CALLS
        if is_told and not play.taken[number]:
            raise LawError(f"{said}, and no bytes were consumed for that: it carries no call{where}")


def _check_unneeded(case: _Case) -> None:
    """What the decoder said it does not need makes no difference when it is not there."""
    for watched in Role:
        whole = _whole(case, watched)
        for plan in (case.calls, single(case.calls)):
            play = case.play(watched)
            free = dict.fromkeys(Role, 0)  # bytes that need not be captured
            seen: list[Call] = []
            for call in plan:
                size = len(call.data)
                left_out = size <= free[call.speaker]
                free[call.speaker] = max(0, free[call.speaker] - size)
                seen.append(dataclasses.replace(call, captured=0 if left_out else None))
                play_call(play, seen[-1], watched)
                unneeded = getattr(play.decoder, "unneeded", None)
                if unneeded is None:
                    continue
                for speaker in Role:
                    free[speaker] = unneeded(Call(speaker, b"").direction(watched))
            play.close()
            _compare("unneeded", whole, play, case.where(watched, seen, "what is unneeded left out"))


def _check_neighbours(case: _Case) -> None:
    """Two connections at the same time do not know of each other: one goes on when the other one ends."""
    watched = Role.SERVER
    whole = _whole(case, watched)
    for end in range(1, len(case.calls) + 1, max(1, len(case.calls) // MAX_NEIGHBOURS)):
        other, play = case.play(watched), case.play(watched)
        for call in case.calls[:end]:
            for each in (other, play):
                play_call(each, call, watched)
        other.close(reset=True)
        for call in case.calls[end:]:
            play_call(play, call, watched)
        play.close()
        what = f"beside another connection, which ended after {end} of its calls"
        _compare("no shared state", whole, play, case.where(watched, case.calls, what))


def _check_ends(case: _Case) -> None:
    """Cut by a reset anywhere: what is complete was spoken."""
    law = "nothing made up at an early end"
    for watched in Role:
        whole = _whole(case, watched)
        pieces = single(case.calls)
        for plan in (case.calls, *_places([pieces[:end] for end in range(len(pieces))])):
            play = case.played(watched, plan, "reset", role=watched, reset=True)
            _check_spoken(law, whole, play, case.where(watched, plan, "reset"), in_full=True)


def _check_losses(case: _Case) -> None:
    """Calls lost, or captured in part: never a wrong pair without a mark."""
    law = "after a loss"
    for watched in Role:
        whole = _whole(case, watched)
        plans = [
            [*case.calls[:index], fate, *case.calls[index + 1 :]]
            for index, call in enumerate(case.calls)
            for fate in (
                dataclasses.replace(call, lost=True),
                dataclasses.replace(call, captured=0),
                dataclasses.replace(call, captured=len(call.data) // 2),
            )
        ]
        for plan in _places(plans):
            play = case.played(watched, plan, "with losses", role=watched)
            _check_spoken(law, whole, play, case.where(watched, plan, "with losses"))

        def lose_some(rng: random.Random, watched: Role = watched, whole: Play = whole) -> None:
            plan = damaged(recut(case.calls, rng) if rng.randrange(2) else case.calls, rng)
            play = case.played(watched, plan, "with losses", role=watched)
            _check_spoken(law, whole, play, case.where(watched, plan, "with losses"))

        _each(case, lose_some)


def _check_late(case: _Case) -> None:
    """Joined in the middle: never a wrong pair without a mark."""
    law = "joined late"
    for watched in Role:
        whole = _whole(case, watched)
        pieces = single(case.calls)
        plans = [joined(pieces[start:]) for start in range(1, len(pieces))]
        plans += [case.calls[start:] for start in range(1, len(case.calls))]
        for plan in _places(plans):
            play = case.played(watched, plan, "joined late", late=True)
            _check_spoken(law, whole, play, case.where(watched, plan, "joined late"))


def _check_noise(case: _Case) -> None:
    """Bytes that are none of the protocol's: no exception, no endless loop, each call once."""

    def change(rng: random.Random) -> None:
        plan = mutated(recut(case.calls, rng) if rng.randrange(2) else case.calls, rng)
        for watched in Role:
            case.played(watched, plan, "with other bytes", role=watched, reset=bool(rng.randrange(2)))

    _each(case, change)


def _check_time_passing(case: _Case) -> None:
    """`expire` after each call, beyond every timeout."""
    for watched in Role:
        case.played(watched, case.calls, "with long pauses", role=watched, pause=LATER)


def _check_released(case: _Case) -> None:
    """After the connection's end nobody refers to its decoder."""
    if not callable(case.protocol) and not isinstance(case.protocol, ProtocolSpec):
        return  # one decoder, which is the caller's
    play = _whole(case, Role.SERVER)
    try:
        left = weakref.ref(play.decoder)
    except TypeError:
        return
    del play
    gc.collect()
    if left() is not None:
        kinds = ", ".join(sorted({type(holder).__name__ for holder in gc.get_referrers(left())}))
        where = case.where(Role.SERVER, case.calls, "as it is")
        raise LawError(f"nothing kept: after its end the decoder is still referred to by {kinds}{where}")


def _check_sniff(case: _Case, sniff: Callable[[bytes | bytearray], Verdict]) -> None:
    """YES to the opening, and never NO to less of it."""
    opening = next((call for call in joined(case.calls) if sniff(call.data) is Verdict.YES), None)
    if opening is None:
        said = {sniff(call.data).value for call in joined(case.calls)}
        raise LawError(
            f"recognition: sniff says {', '.join(sorted(said))} to everything in conversation {case.number}: "
            f"{shown(case.calls)}"
        )
    for size in range(1, len(opening.data)):
        for data in (opening.data[:size], bytearray(opening.data[:size])):
            verdict = sniff(data)
            if verdict is Verdict.NO:
                raise LawError(
                    f"recognition: sniff says no to {bytes(data)!r}, which opens what it says "
                    f"yes to in conversation {case.number}: maybe is due, for bytes may come one by one"
                )
            if verdict is Verdict.YES:
                return


def _check_foreign(
    sniff: Callable[[bytes | bytearray], Verdict], conversations: Sequence[Conversation]
) -> None:
    """Neither noise nor what others say is claimed, but where it begins with a byte that ours begin with."""
    ours = {data[:1] for conversation in conversations for _, data in conversation}
    rng = random.Random(0)  # noqa: S311
    noise = [bytes(rng.randrange(256) for _ in range(64)) for _ in range(200)]
    claimed = [data for data in FOREIGN if data[:1] not in ours and sniff(data) is Verdict.YES]
    claimed += [data for data in noise if sniff(data) is Verdict.YES][1:]  # one may be chance
    if claimed:
        raise LawError(f"recognition: sniff says yes to {claimed[0]!r}, which is none of the protocol's")
