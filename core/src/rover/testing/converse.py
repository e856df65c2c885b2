"""One conversation played once, as a test says."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Mapping
from typing import Any

from rover.testing.conversation import Call, Conversation, calls_of, in_pieces, recut
from rover.testing.play import Play, Protocol
from rover.values.records import Role


def play_call(play: Play, call: Call, watched: Role) -> None:
    """One call, as it was seen."""
    direction = call.direction(watched)
    if call.lost:
        play.lose(direction, len(call.data))
    else:
        play.send(direction, call.data, captured=call.captured)


def converse(
    protocol: Protocol,
    conversation: Conversation,
    *,
    watched: Role = Role.SERVER,
    cut: int | random.Random | None = None,
    lost: Collection[int] = (),
    captured: Mapping[int, int] | None = None,
    late: bool = False,
    close: bool = True,
    **how: Any,
) -> Play:
    """Plays a conversation, and ends its connection unless `close` is False.

    `watched`: at which end. `cut`: calls of at most so many bytes, or of sizes by chance; None for a call per
    entry. `lost`: numbers of calls of which no record arrives, from 0, counted after the cut. `captured`: by
    number, how many bytes of a call were captured. `late`: the beginning of the connection was not seen.
    `how`: what else `Play` takes, such as `settings` and `plugins`.
    """
    calls = calls_of(conversation)
    part = captured or {}
    if isinstance(cut, random.Random):
        calls = recut(calls, cut)
    elif cut is not None:
        calls = in_pieces(calls, cut)
    play = Play(protocol, role=None if late else watched, late=late, **how)
    for number, call in enumerate(calls):
        play_call(play, dataclasses.replace(call, lost=number in lost, captured=part.get(number)), watched)
    if close:
        play.close()
    return play
