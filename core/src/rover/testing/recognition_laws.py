"""The laws of `sniff`: which openings a protocol claims."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from rover.contracts.protocol import ProtocolSpec, Verdict
from rover.testing.case import Case
from rover.testing.conversation import Conversation, joined, shown
from rover.testing.play import LawError

Sniff = Callable[[bytes | bytearray], Verdict]

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


def check_sniff(case: Case, protocol: ProtocolSpec) -> Sniff:
    """The opening is claimed, by `sniff` or, on ports of the protocol's own, by `sniff_own`: the one that
    does. `sniff_own` is asked instead of `sniff`, so it claims what `sniff` does."""
    claimed = _is_claimed(case, "sniff", protocol.sniff)
    if protocol.sniff_own is not None:
        if _is_claimed(case, "sniff_own", protocol.sniff_own):
            return protocol.sniff if claimed else protocol.sniff_own
        if claimed:
            raise LawError(
                f"recognition: sniff_own says yes to nothing in conversation {case.number}, which sniff "
                f"claims: {shown(case.calls)}"
            )
    if not claimed:
        said = {protocol.sniff(call.data).value for call in joined(case.calls)}
        raise LawError(
            f"recognition: sniff says {', '.join(sorted(said))} to everything in conversation {case.number}: "
            f"{shown(case.calls)}"
        )
    return protocol.sniff


def _is_claimed(case: Case, name: str, sniff: Sniff) -> bool:
    """Whether it says YES to an opening, after which it may never have said NO to less of it."""
    opening = next((call for call in joined(case.calls) if sniff(call.data) is Verdict.YES), None)
    if opening is None:
        return False
    for size in range(1, len(opening.data)):
        for data in (opening.data[:size], bytearray(opening.data[:size])):
            verdict = sniff(data)
            if verdict is Verdict.NO:
                raise LawError(
                    f"recognition: {name} says no to {bytes(data)!r}, which opens what it says "
                    f"yes to in conversation {case.number}: maybe is due, for bytes may come one by one"
                )
            if verdict is Verdict.YES:
                return True
    return True


def check_foreign(sniff: Sniff, conversations: Sequence[Conversation]) -> None:
    """Neither noise nor what others say is claimed, but where it begins with a byte that ours begin with."""
    ours = {data[:1] for conversation in conversations for _, data in conversation}
    rng = random.Random(0)  # noqa: S311
    noise = [bytes(rng.randrange(256) for _ in range(64)) for _ in range(200)]
    claimed = [data for data in FOREIGN if data[:1] not in ours and sniff(data) is Verdict.YES]
    claimed += [data for data in noise if sniff(data) is Verdict.YES][1:]  # one may be chance
    if claimed:
        raise LawError(f"recognition: sniff says yes to {claimed[0]!r}, which is none of the protocol's")
