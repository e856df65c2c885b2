"""A view as lines of text with styles, as wide and as high as the terminal."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

from rich.segment import Segment
from rich.style import Style

from rover import SYSCALL_NAMES, AccessLog, Direction, Outcome, Syscall
from rover.run.report import amount
from rover_plugin_top.columns import Column, chosen, left_for_name
from rover_plugin_top.counting import connection_of, process_of
from rover_plugin_top.tables import Row
from rover_plugin_top.text import SECOND, duration, fitted, number, printable
from rover_plugin_top.view import View

PLAIN = Style()
BOLD = Style(bold=True)
DIM = Style(dim=True)
RED = Style(color="red")
YELLOW = Style(color="yellow")
HEADER = Style(reverse=True)
SORTED = Style(reverse=True, bold=True, underline=True)
SELECTED = Style(reverse=True)
TABLE_KEYS = "q quit  / filter  g group  s sort  r reverse  Enter exchanges  c clear"
EXCHANGES_KEYS = "Esc back  up, down, PgUp, PgDn scroll"
PROMPT_KEYS = "Enter filters  Esc leaves it as it is  Ctrl-U empties it"

Line = list[Segment]


@dataclasses.dataclass(frozen=True, slots=True)
class Around:
    """What the head of a screen tells besides the rows."""

    title: str
    """Of what: "rover top: ebpf"."""
    total: Row
    lost: int
    """Records that were lost: exchanges may be missing."""
    note: str = ""
    """What was said last on standard error."""


def frame(view: View, around: Around, width: int, height: int) -> list[Line]:
    """Exactly `height` lines of exactly `width` columns. It tells the view how much it shows."""
    head = [_title(around, width), _state(view, around, width)]
    keys = (
        PROMPT_KEYS if view.typed is not None else EXCHANGES_KEYS if view.opened is not None else TABLE_KEYS
    )
    foot = [[Segment(fitted(keys, width), DIM)]]
    if view.opened is None:
        columns = chosen(width, around.total.breaks > 0)
        head.append(_header(view, columns, width))
    # Where it is not high enough, what is least needed goes first; a line of rows stays.
    while foot and len(head) + len(foot) >= height:
        foot.pop()
    while head and len(head) >= height:
        head.pop(0)
    view.page = max(height - len(head) - len(foot), 1)
    if view.opened is None:
        view.update(view.rows)
        shown = range(view.first, min(view.first + view.page, len(view.rows)))
        body = [_row(view.rows[at], columns, width, at == view.selected) for at in shown]
    else:
        lines = list(exchange_lines(view.exchanges))
        view.lines = len(lines)
        view.first = max(min(view.first, len(lines) - view.page), 0)
        body = [
            [Segment(fitted(text, width), style)]
            for text, style in lines[view.first : view.first + view.page]
        ]
    body += [[Segment(" " * width, PLAIN)] for _ in range(view.page - len(body))]
    return [*head, *body, *foot][:height]


def _title(around: Around, width: int) -> Line:
    total = around.total
    parts = [amount(total.count, "exchanges"), f"{number(total.rate)}/s", amount(total.errors, "errors")]
    if total.breaks:
        parts.append(amount(total.breaks, "breaks"))
    if around.lost:
        parts.append(amount(around.lost, "records lost"))
    text = f"{around.title}  {', '.join(parts)}"
    return [Segment(fitted(text, width), RED if around.lost else BOLD)]


def _state(view: View, around: Around, width: int) -> Line:
    if view.message:
        return [Segment(fitted(view.message, width), RED)]
    if view.typed is not None:
        # The end is what is being typed.
        room = max(width - len("filter: _"), 0)
        text = printable(view.typed)
        return [Segment(fitted(f"filter: {text[-room:] if room else ''}_", width), BOLD)]
    if view.opened is not None:
        return [Segment(fitted(f"the last of {view.group} {view.opened}", width), BOLD)]
    order = " up" if view.reverse != (view.sort == "name") else ""
    text = f"by {view.group}, sorted by {view.sort}{order}"
    if view.filter:
        text += f"; only {view.filter}"
    if around.note:
        text += f"; {around.note}"
    return [Segment(fitted(text, width), PLAIN)]


def _header(view: View, columns: Sequence[Column], width: int) -> Line:
    name = fitted(view.group.upper(), left_for_name(width, columns))
    line = [Segment(name, SORTED if view.sort == "name" else HEADER)]
    for column in columns:
        line.append(Segment(" ", HEADER))
        line.append(
            Segment(f"{column.name.upper():>{column.width}}", SORTED if column.name == view.sort else HEADER)
        )
    return line


def _row(row: Row, columns: Sequence[Column], width: int, selected: bool) -> Line:
    line = [Segment(fitted(row.name, left_for_name(width, columns)), SELECTED if selected else PLAIN)]
    for column in columns:
        text = f" {column.text(row)[: column.width]:>{column.width}}"
        style = PLAIN
        if selected:
            style = SELECTED
        elif (column.name == "errors" and row.errors) or (column.name == "breaks" and row.breaks):
            style = RED
        line.append(Segment(text, style))
    return line


def exchange_lines(logs: Sequence[AccessLog]) -> Iterator[tuple[str, Style]]:
    """Of each log a line, one of its connection, and one of each socket call."""
    if not logs:
        yield "nothing is kept of this row", DIM
    for log in logs:
        yield exchange_line(log)
        connection = log.connection
        yield f"    {process_of(connection)}  {connection_of(connection)}", DIM
        previous = log.details[0].start if log.details else 0
        for detail in log.details:
            if detail.syscall == Syscall.NONE:
                continue
            name = SYSCALL_NAMES.get(detail.syscall, str(detail.syscall))
            way = "in" if detail.direction == Direction.INGRESS else "out"
            took, after = duration(detail.end - detail.start), duration(max(detail.start - previous, 0))
            text = f"    {name:<9} {way:<3} {number(detail.size):>6} bytes  took {took:>6}  after {after:>6}"
            text += f"  fd {detail.fd}  pid {detail.pid}"
            if detail.error:
                text += f"  errno {detail.error}"
            previous = detail.end
            yield text, PLAIN


def exchange_line(log: AccessLog) -> tuple[str, Style]:
    """ "21:42:09.895  200    1.2ms  GET /", and what is to be known of it."""
    moment = log.connection.epoch + log.start
    clock = (
        f"{time.strftime('%H:%M:%S', time.localtime(moment // SECOND))}.{moment % SECOND // 1_000_000:03d}"
    )
    if log.outcome is Outcome.BREAK:
        broken = log.connection.protocol_break
        what = f"{broken.protocol} to tcp: {broken.reason} {broken.detail}" if broken is not None else ""
        return f"{clock}  break  {what}", YELLOW
    attributes = log.attributes
    status = attributes.get("http.response.status_code")
    method = attributes.get("http.request.method")
    if method is None:
        what = f"{log.protocol} " + " ".join(f"{name}={value}" for name, value in attributes.items())
    else:
        what = f"{method} {attributes.get('url.original', '')}"
    marks = "" if log.outcome is Outcome.COMPLETE else f"  {log.outcome.value}"
    if "rpc.status_code" in attributes:
        marks += f"  grpc {attributes['rpc.status_code']}"
    if "rover.pairing" in attributes:
        marks += "  pairing assumed: bytes were lost"
    bad = log.outcome is Outcome.ABORTED or (isinstance(status, int) and status >= 500)
    shown = "-" if status is None else str(status)
    return f"{clock}  {shown:<5}  {duration(log.end - log.start):>6}{marks}  {what}", RED if bad else BOLD
