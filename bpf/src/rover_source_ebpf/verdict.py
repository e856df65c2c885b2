"""What a compiler or the verifier says, in one line."""

from __future__ import annotations


def useful_line(printed: str) -> str:
    """The line of a compiler's or the verifier's output that says what is wrong."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    for line in lines:
        if " error: " in line or line.startswith("error: "):
            return line
    # The verifier's verdict stands before its closing statistics.
    verdicts = [line for line in lines if not line.startswith(("processed ", "HINT:"))]
    return verdicts[-1] if verdicts else ""
