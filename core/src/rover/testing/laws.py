"""The laws that every decoder keeps, and one function that holds a decoder to them."""

from __future__ import annotations

import dataclasses
import gc
import random
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from rover.contracts.protocol import ProtocolSpec
from rover.testing.case import Case, check_spoken, compare, each_example, facts_of, places
from rover.testing.conversation import Call, Conversation, cut_once, damaged, joined, mutated, recut, single
from rover.testing.converse import play_call
from rover.testing.growth import check_growth
from rover.testing.play import Installed, LawError, Play, Protocol
from rover.testing.recognition_laws import check_foreign, check_sniff
from rover.values.connection import ProtocolBreak
from rover.values.exchange import Outcome
from rover.values.records import Role

EXAMPLES = 50
"""Random ways in which each conversation is cut, damaged and changed."""
OWN_CALLS = 500
"""Bytes of a conversation up to which a call per byte is a call of some exchange: the core keeps twice as
many calls that wait for their exchange."""
MAX_NEIGHBOURS = 8
"""Places of a conversation at which one beside it ends."""
LATER = 1_000_000_000_000
"""ns: beyond every timeout."""


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
        case = Case(
            protocol=protocol,
            conversation=conversation,
            number=number,
            settings=settings,
            upgrade=upgrade,
            installed=installed,
            examples=examples,
        )
        if isinstance(protocol, ProtocolSpec) and upgrade is None:
            claims = check_sniff(case, protocol)
            case = dataclasses.replace(case, protocol=dataclasses.replace(protocol, sniff=claims))
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
        check_foreign(protocol.sniff, conversations)


def _whole(case: Case, watched: Role) -> Play:
    return case.played(watched, case.calls, "as it is", role=watched)


def _check_whole(case: Case) -> None:
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
    compare("same exchanges at either end", ends[Role.CLIENT], ends[Role.SERVER], where)


def _check_cuts(case: Case) -> None:
    """Fed whole or cut anywhere: the same exchanges, each with its own calls."""
    law = "same exchanges"
    for watched in Role:
        whole = _whole(case, watched)
        pieces = single(case.calls)
        play = case.played(watched, pieces, "a byte a call", role=watched)
        compare(law, whole, play, case.where(watched, pieces, "a byte a call"))
        _check_own_calls(play, case.where(watched, pieces, "a byte a call"))
        for calls in [joined(case.calls), *places(cut_once(case.calls))]:
            play = case.played(watched, calls, "cut", role=watched)
            compare(law, whole, play, case.where(watched, calls, "cut"))

        def cut_anywhere(rng: random.Random, watched: Role = watched, whole: Play = whole) -> None:
            calls = recut(case.calls, rng)
            play = case.played(watched, calls, "cut", role=watched)
            compare(law, whole, play, case.where(watched, calls, "cut"))

        each_example(case, cut_anywhere)


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


def _check_unneeded(case: Case) -> None:
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
            compare("unneeded", whole, play, case.where(watched, seen, "what is unneeded left out"))


def _check_neighbours(case: Case) -> None:
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
        compare("no shared state", whole, play, case.where(watched, case.calls, what))


def _check_ends(case: Case) -> None:
    """Cut by a reset anywhere: what is complete was spoken."""
    law = "nothing made up at an early end"
    for watched in Role:
        whole = _whole(case, watched)
        pieces = single(case.calls)
        for plan in (case.calls, *places([pieces[:end] for end in range(len(pieces))])):
            play = case.played(watched, plan, "reset", role=watched, reset=True)
            check_spoken(law, whole, play, case.where(watched, plan, "reset"), in_full=True)


def _check_losses(case: Case) -> None:
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
        for plan in places(plans):
            play = case.played(watched, plan, "with losses", role=watched)
            check_spoken(law, whole, play, case.where(watched, plan, "with losses"))

        def lose_some(rng: random.Random, watched: Role = watched, whole: Play = whole) -> None:
            plan = damaged(recut(case.calls, rng) if rng.randrange(2) else case.calls, rng)
            play = case.played(watched, plan, "with losses", role=watched)
            check_spoken(law, whole, play, case.where(watched, plan, "with losses"))

        each_example(case, lose_some)


def _check_late(case: Case) -> None:
    """Joined in the middle: never a wrong pair without a mark."""
    law = "joined late"
    for watched in Role:
        whole = _whole(case, watched)
        pieces = single(case.calls)
        plans = [joined(pieces[start:]) for start in range(1, len(pieces))]
        plans += [case.calls[start:] for start in range(1, len(case.calls))]
        for plan in places(plans):
            play = case.played(watched, plan, "joined late", late=True)
            check_spoken(law, whole, play, case.where(watched, plan, "joined late"))


def _check_noise(case: Case) -> None:
    """Bytes that are none of the protocol's: no exception, no endless loop, each call once."""

    def change(rng: random.Random) -> None:
        plan = mutated(recut(case.calls, rng) if rng.randrange(2) else case.calls, rng)
        for watched in Role:
            case.played(watched, plan, "with other bytes", role=watched, reset=bool(rng.randrange(2)))

    each_example(case, change)


def _check_time_passing(case: Case) -> None:
    """`expire` after each call, beyond every timeout."""
    for watched in Role:
        case.played(watched, case.calls, "with long pauses", role=watched, pause=LATER)


def _check_released(case: Case) -> None:
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
