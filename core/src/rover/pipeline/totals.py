"""What happened, in numbers that add up."""

from __future__ import annotations

from collections import Counter

MAX_REASONS = 32
"""Reasons of breaks that are counted each on its own: the contract names nine."""

MAX_RULES = 64
"""Rules by which logs are dropped, each counted on its own: as many as somebody writes, and tells apart."""


class Totals:
    """Counters of one run.

    Exchanges: `seen = unhandled + dropped + handed to the sinks`, and each sink's `logged + lost` is what
    it was handed. Socket calls: `calls = in_exchanges + alone + waiting`, and at the end
    nothing waits.
    """

    __slots__ = (
        "alone",
        "breaks",
        "calls",
        "connections",
        "dropped",
        "dropped_alone",
        "evicted",
        "exchanges",
        "in_exchanges",
        "late_payload",
        "missing",
        "records_lost",
        "resynchronised",
        "returned",
        "unhandled",
        "unseen_bytes",
        "unseen_connections",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.exchanges = 0
        self.unhandled = 0
        """Exchanges of which no plugin made an access log; their details went alone."""
        self.dropped: Counter[str] = Counter()
        """Exchanges whose logs a plugin dropped, by plugin and the rule that it names: "filter health"."""
        self.dropped_alone = 0
        """Logs without an exchange that a plugin dropped: kernel logs, breaks."""
        self.calls = 0
        self.in_exchanges = 0
        self.alone = 0
        self.breaks: Counter[str] = Counter()
        """By reason."""
        self.records_lost: Counter[str] = Counter()
        """By cause, as the source reports it."""
        self.missing = 0
        """Records that the sequence numbers of their connections show never arrived: a part of
        `records_lost` that could be placed."""
        self.resynchronised = 0
        self.late_payload = 0
        """Bytes that came for a broken connection before the source stopped uploading them."""
        self.evicted = 0
        """Connections given up because the table was full."""
        self.returned = 0
        """Connections that went on after they had been given up: not counted in `connections` again."""
        self.unseen_bytes = 0
        """Bytes that processes moved by calls that are not watched, as the kernel counted them."""
        self.unseen_connections = 0
        """Connections with such bytes."""

    def noted(self) -> dict[str, int]:
        """What else happened that a reader of the totals may want to know, by name."""
        return {
            "logs without an exchange dropped": self.dropped_alone,
            "connections evicted": self.evicted,
            "connections returned": self.returned,
            "records missing": self.missing,
            "resynchronised": self.resynchronised,
            "bytes after a break": self.late_payload,
            "bytes by calls that are not watched": self.unseen_bytes,
            "connections with such calls": self.unseen_connections,
        }

    def drop(self, plugin: str, rule: str) -> None:
        """One more exchange whose log a plugin dropped. Beyond MAX_RULES they are told by plugin alone."""
        cause = f"{plugin} {rule}" if rule else plugin
        if cause not in self.dropped and len(self.dropped) >= MAX_RULES:
            cause = plugin
        self.dropped[cause] += 1

    def broke(self, reason: str) -> None:
        """One more break. Reasons are a plugin's to choose: beyond MAX_REASONS they are one."""
        if reason not in self.breaks and len(self.breaks) >= MAX_REASONS:
            reason = "others"
        self.breaks[reason] += 1


def by_cause(counter: Counter[str]) -> str:
    """ "a 2, b 1", largest first."""
    return ", ".join(f"{cause} {n}" for cause, n in sorted(counter.items(), key=lambda i: (-i[1], i[0])))
