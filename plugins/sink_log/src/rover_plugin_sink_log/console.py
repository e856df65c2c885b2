"""One aligned line per exchange, for a person at a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from rover import AccessLog, Address, Outcome, Role
from rover_plugin_sink_log.clock import SECOND, Clock
from rover_plugin_sink_log.output import Output

RED, GREEN, YELLOW, CYAN, BOLD, DIM, RESET = (f"\x1b[{n}m" for n in (31, 32, 33, 36, 1, 2, 0))
STATUS_COLORS = {2: GREEN, 3: CYAN, 4: YELLOW, 5: RED}
HEADER = (
    f"{'TIME':12}  {'ROLE':6}  {'PROCESS':20}  {'PEER':21}  {'STATUS':6}  {'DURATION':>8}"
    f"  {'REQUEST':>8}  {'RESPONSE':>8}  METHOD  TARGET\n"
)
MAX_TARGET = 2048
"""Characters of a target that are shown; the JSON lines have all of it."""


class ConsoleSink:
    """Writes to standard output."""

    kernel_logs = False

    def __init__(self, output: Output, *, color: str = "auto", header: bool = True) -> None:
        self._output = output
        self._color = color == "always" or (
            color == "auto" and output.isatty() and not os.environ.get("NO_COLOR")
        )
        self._clock = Clock("%H:%M:%S", local=True)
        self._header = header

    def prepare(self, log: AccessLog) -> tuple[bytes, bool]:
        """Its line, and whether it tells of an exchange. Sizes are bodies; the target comes last
        because it is as long as it is."""
        return self._line(log).encode(), bool(log.protocol)

    def write(self, lines: Sequence[tuple[bytes, bool]]) -> None:
        """As prepared, below a header."""
        if self._header:
            self._header = False
            lines = [(self._paint(HEADER.rstrip(), BOLD).encode() + b"\n", False), *lines]
        self._output.write(lines)

    def flush(self) -> None:
        """Writes what was held up."""
        self._output.flush()

    def reopen(self) -> None:
        """Nothing to rotate."""

    def counters(self) -> Mapping[str, int]:
        """Nothing to add."""
        return {}

    def close(self) -> int:
        """The number of exchanges never written."""
        return self._output.close()

    def _paint(self, text: str, color: str) -> str:
        return f"{color}{text}{RESET}" if self._color else text

    def _line(self, log: AccessLog) -> str:
        connection = log.connection
        moment = connection.epoch + log.start
        process = connection.process
        name = f"{process.name or '?'}[{process.pid}]" if process and process.pid else "-"
        role = connection.role.value if connection.role else "-"
        time_ = f"{self._clock.second(moment)}.{moment % SECOND // 1_000_000:03d}"
        peer = _address(connection.remote)
        if connection.role is Role.CLIENT or not process or not process.pid:
            peer = _address(connection.server or connection.remote)
        start = f"{self._paint(time_, DIM)}  {role:6}  {printable(name):20}  {printable(peer):21}  "
        if log.outcome is Outcome.BREAK:
            return start + self._break(log) + "\n"
        return start + self._exchange(log) + "\n"

    def _exchange(self, log: AccessLog) -> str:
        attributes = log.attributes
        status = attributes.get("http.response.status_code")
        shown = f"{'-' if status is None else printable(str(status)):<6}"
        color = STATUS_COLORS.get(status // 100) if isinstance(status, int) else RED
        if log.outcome is not Outcome.COMPLETE:
            color = RED if log.outcome is Outcome.ABORTED else YELLOW
        method = attributes.get("http.request.method")
        if method is None:
            # A protocol of somebody's plugin: its attributes are all there is to show.
            pairs = " ".join(f"{key}={value}" for key, value in attributes.items())
            what = f"{log.protocol:6}  {pairs}"
        else:
            what = f"{method:6}  {attributes.get('url.original', '')}"
        what = printable(what[:MAX_TARGET])
        grpc = attributes.get("rpc.grpc.status_code")
        if grpc is not None:
            what += self._paint(f"  grpc-status {printable(str(grpc))}", GREEN if grpc == 0 else RED)
        if log.outcome is not Outcome.COMPLETE:
            what += self._paint(f"  {log.outcome.value}", color or RED)
        if color:
            shown = self._paint(shown, color)
        sizes = (
            _size(attributes.get("http.request.body.size")),
            _size(attributes.get("http.response.body.size")),
        )
        return f"{shown}  {duration(log.end - log.start):>8}  {sizes[0]:>8}  {sizes[1]:>8}  {what}"

    def _break(self, log: AccessLog) -> str:
        broken = log.connection.protocol_break
        if broken is None:
            return self._paint("break", RED)
        detail = f" ({broken.detail})" if broken.detail else ""
        return self._paint(printable(f"break   {broken.protocol} to tcp: {broken.reason}{detail}"), YELLOW)


def _address(address: Address | None) -> str:
    if address is None:
        return "-"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def _size(size: str | int | bool | None) -> str:
    """Bytes: "615", "12.3k", "5.2M"."""
    if not isinstance(size, int):
        return "-"
    if size < 10_000:
        return str(size)
    value, units = size / 1000, "kMGT"
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f}{units[0]}"


def duration(nanoseconds: int) -> str:
    """ "85us", "1.2ms", "3.41s"."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds // 1000}us"
    if nanoseconds < SECOND:
        return f"{nanoseconds / 1e6:.1f}ms"
    return f"{nanoseconds / 1e9:.2f}s"


def printable(text: str) -> str:
    """The text with what would steer a terminal written as escapes: it came from strangers."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
