"""One aligned line per exchange, for a person at a terminal.

A terminal shows as much as it has columns for: narrow ones have fewer and narrower columns, and what does
not fit ends in an ellipsis. In a file or a pipe nothing is cut.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rover import AccessLog, AttributeValue, Outcome, Role
from rover_plugin_sink_log.columns import columns, cut, pad, pad_left
from rover_plugin_sink_log.layout import WHOLE, Layout, layout_of
from rover_plugin_sink_log.output import Output
from rover_plugin_sink_log.time_text import SECOND, TimeText

RED, GREEN, YELLOW, CYAN, BOLD, DIM, RESET = (f"\x1b[{n}m" for n in (31, 32, 33, 36, 1, 2, 0))
STATUS_COLORS = {2: GREEN, 3: CYAN, 4: YELLOW, 5: RED}


class ConsoleSink:
    """Writes to standard output."""

    kernel_logs = False

    def __init__(self, output: Output, *, color: str = "auto", header: bool = True) -> None:
        self._output = output
        self._terminal = output.isatty()
        self._color = color == "always" or (
            color == "auto"
            and self._terminal
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )
        self._clock = TimeText("%H:%M:%S", local=True)
        self._header = header
        self._layout = WHOLE
        self._titled: Layout | None = None
        self._width = 0
        if not self._terminal:
            # For a terminal a line is made when it is written: its window may have another size by then.
            self.prepare = self.line

    def line(self, log: AccessLog) -> tuple[bytes, bool]:
        """Its line, and whether it tells of an exchange. Sizes are bodies; the target comes last
        because it is as long as it is."""
        return self._line(log).encode(), bool(log.protocol)

    def write(self, logs: Sequence[Any]) -> None:
        """As prepared, or logs; below a header, which comes again when a terminal has got other columns."""
        lines: list[tuple[bytes, bool]] = []
        if self._terminal:
            self._width = self._output.columns()
            self._layout = layout_of(self._width)
        if self._header and self._titled is not self._layout:
            self._titled = self._layout
            title = self._fitted(self._layout.header(), self._width)
            lines.append((self._paint(title, BOLD).encode() + b"\n", False))
        lines += [self.line(log) for log in logs] if self._terminal else logs
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

    def _fitted(self, text: str, width: int) -> str:
        """Cut to so many columns, on a terminal."""
        return cut(text, width) if self._terminal else text

    def _line(self, log: AccessLog) -> str:
        layout = self._layout
        connection = log.connection
        moment = connection.epoch + log.start
        cells = []
        if layout.time:
            time_ = self._clock.second(moment)
            if layout.time > len(time_):
                time_ += f".{moment % SECOND // 1_000_000:03d}"
            cells.append(self._paint(time_, DIM))
        if layout.role:
            cells.append(pad(connection.role.value if connection.role else "-", layout.role))
        cells += [pad(self._process(log), layout.process), pad(self._peer(log), layout.peer)]
        if layout.host:
            host = printable(_first(log.attributes.get("http.request.header.host")) or "-")
            cells.append(pad(self._fitted(host, layout.host), layout.host))
        cells.append(self._break(log) if log.outcome is Outcome.BREAK else self._exchange(log))
        return (" " * layout.gap).join(cells) + "\n"

    def _process(self, log: AccessLog) -> str:
        process, width = log.connection.process, self._layout.process
        if not process or not process.pid:
            return "-"
        name = printable(process.name or "?")
        number = "" if self._layout.short else f"[{process.pid}]"
        return self._fitted(name, width - len(number)) + number

    def _peer(self, log: AccessLog) -> str:
        connection = log.connection
        address = connection.remote
        if connection.role is Role.CLIENT or not connection.process or not connection.process.pid:
            address = connection.server or address
        if address is None:
            return "-"
        before, after = ("[", f"]:{address.port}") if ":" in address.host else ("", f":{address.port}")
        if self._layout.short and connection.role is Role.SERVER and address is connection.remote:
            before = after = ""
        room = self._layout.peer - len(before) - len(after)
        return f"{before}{self._fitted(printable(address.host), room)}{after}"

    def _exchange(self, log: AccessLog) -> str:
        layout, attributes = self._layout, log.attributes
        gap = " " * layout.gap
        status = attributes.get("http.response.status_code")
        shown = self._fitted("-" if status is None else printable(str(status)), layout.status)
        color = STATUS_COLORS.get(status // 100) if isinstance(status, int) else RED
        if log.outcome is not Outcome.COMPLETE:
            color = RED if log.outcome is Outcome.ABORTED else YELLOW
        cells = [self._paint(pad(shown, layout.status), color) if color else pad(shown, layout.status)]
        cells.append(pad_left(duration(log.end - log.start, layout.duration), layout.duration))
        if layout.sizes:
            sizes = (attributes.get(f"http.{part}.body.size") for part in ("request", "response"))
            cells += [pad_left(_size(size), layout.sizes) for size in sizes]
        method = attributes.get("http.request.method")
        if method is None:
            # A protocol of somebody's plugin: its attributes are all there is to show.
            first = printable(log.protocol)
            rest = " ".join(f"{key}={_joined(value)}" for key, value in attributes.items())
        else:
            first = printable(str(method))
            rest = str(attributes.get("url.original", ""))
        marks = []
        grpc = attributes.get("rpc.status_code")
        if grpc is not None:
            name = "grpc" if layout.short else "grpc-status"
            marks.append((f"{gap}{name} {printable(str(grpc))}", GREEN if grpc == "OK" else RED))
        if log.outcome is not Outcome.COMPLETE:
            marks.append((f"{gap}{log.outcome.value}", color or RED))
        first = pad(first, layout.method)
        if self._terminal:
            room = self._width - layout.used + layout.method
            for at, (text, mark_color) in enumerate(marks):
                text = cut(text, max(room - 2, 1))  # one is the method's, one the target's
                marks[at] = text, mark_color
                room -= columns(text)
            first = cut(first, max(room - 1, 1))
            # What is escaped takes more columns, never fewer.
            rest = cut(printable(rest[: 8 * self._width]), max(room - columns(first), 1))
        else:
            rest = printable(rest)
        return f"{gap.join(cells)}{gap}{first}{gap}{rest}" + "".join(self._paint(*mark) for mark in marks)

    def _break(self, log: AccessLog) -> str:
        broken = log.connection.protocol_break
        if broken is None:
            return self._paint("break", RED)
        detail = f" ({broken.detail})" if broken.detail else ""
        what = printable(f"{broken.protocol} to tcp: {broken.reason}{detail}")
        text = f"{pad('break', self._layout.status)}{' ' * self._layout.gap}{what}"
        layout = self._layout
        after = [layout.status, layout.duration, *[layout.sizes] * (2 if layout.sizes else 0), layout.method]
        room = self._width - layout.used + sum(after) + layout.gap * len(after)
        return self._paint(self._fitted(text, room), YELLOW)


def _first(value: AttributeValue | None) -> str:
    """The first of several texts; what is one is that."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    return "" if value is None else str(value)


def _joined(value: AttributeValue) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _size(size: AttributeValue | None) -> str:
    """Bytes: "615", "12.3k", "5.2M"."""
    if not isinstance(size, int):
        return "-"
    if size < 10_000:
        return str(size)
    value, units = size / 1000, "kMGT"
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f}{units[0]}"


def duration(nanoseconds: int, width: int = 8) -> str:
    """ "85us", "1.2ms", "3.41s"; where these are wider than `width`, without their last digits."""
    if nanoseconds < 1_000_000:
        return f"{nanoseconds // 1000}us"
    if nanoseconds < SECOND:
        text, short = f"{nanoseconds / 1e6:.1f}ms", f"{nanoseconds / 1e6:.0f}ms"
    else:
        text, short = f"{nanoseconds / 1e9:.2f}s", f"{nanoseconds / 1e9:.0f}s"
    return text if len(text) <= width else short


def printable(text: str) -> str:
    """The text with what would steer a terminal written as escapes: it came from strangers."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
