"""What a compiler or the verifier says, in one line."""

from __future__ import annotations

from collections.abc import Sequence

LAST_LINES = 4
"""Of the verifier's account: the instruction it stumbled over, what it knew there, and its verdict."""
CLOSING = (
    "processed ",
    "HINT:",
    "verification time",
    "stack depth",
    "peak_states",
    "max_states",
    "total_states",
)


def useful_line(printed: str) -> str:
    """The line of a compiler's or the verifier's output that says what is wrong."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    for line in lines:
        if " error: " in line or line.startswith("error: "):
            return line
    return (last_lines(printed) or [""])[-1]


def last_lines(printed: str) -> Sequence[str]:
    """Of the verifier's account, its verdict the last."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    # Statistics stand after it.
    return [line for line in lines if not line.startswith(CLOSING)][-LAST_LINES:]
