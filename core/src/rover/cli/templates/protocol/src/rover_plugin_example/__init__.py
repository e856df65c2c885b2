"""The protocol example: the server answers each line `ask ...` with a line `say ...`, in order."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from rover import (
    NEED_MORE,
    RESYNCHRONISED,
    Connection,
    Direction,
    Exchange,
    Outcome,
    Outcomes,
    ProtocolBreak,
    ProtocolSpec,
    Role,
    Setting,
    StreamBuffer,
    Verdict,
    hookimpl,
)

OPENINGS = (b"ask ", b"say ")
MAX_LINE = 4096
"""Bytes of a line. What goes on for longer without an end is none of ours, and nobody keeps it."""
MAX_TEXT = 200
"""Characters of a line that a log shows."""
MAX_MEMORY = 4 << 20
"""Bytes of questions that wait, some 15,000 of them. A client that has more breaks its connection."""
QUESTION_MEMORY = 250
"""Bytes of one, without its text."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One that waits for its answer."""

    owner: int
    text: str
    start: int


class ExampleDecoder:
    """One connection. It has no clock and does no I/O."""

    def __init__(
        self, connection: Connection, settings: Mapping[str, Any], upgrade: ProtocolBreak | None
    ) -> None:
        self.role: Role | None = None
        self.memory = 0
        self._timeout: int = settings["timeout"] * 1_000_000_000
        self._open: deque[Question] = deque()
        self._asked = 0
        self._lost = False  # bytes were: from then on no count proves which answer is whose

    def decode(
        self, direction: Direction, buffer: StreamBuffer, now: int
    ) -> Exchange | Outcomes | ProtocolBreak:
        if buffer.late or buffer.hidden:
            self._lost = True
        while True:
            end = buffer.data.find(b"\n", buffer.offset)
            size = end + 1 - buffer.offset
            if end < 0 and buffer.gap:  # the rest of this line is missing, and nobody knows what else
                self._lost = True
                buffer.skip(len(buffer) + buffer.gap)
                return RESYNCHRONISED
            if size > MAX_LINE or (end < 0 and len(buffer) > MAX_LINE):
                return ProtocolBreak(reason="framing", detail=f"a line of more than {MAX_LINE} bytes")
            if end < 0:
                return NEED_MORE
            line = bytes(buffer.data[buffer.offset : end])
            text = line[4:].decode(errors="replace").strip()[:MAX_TEXT]
            if line.startswith(b"ask "):
                self.role = Role.SERVER if direction is Direction.INGRESS else Role.CLIENT
                self._add(Question(owner=self._asked, text=text, start=buffer.since))
                buffer.consume(size, self._asked)
                self._asked += 1
                if self.memory > MAX_MEMORY:
                    return ProtocolBreak(reason="overflow", detail=f"{len(self._open)} questions wait")
            elif line.startswith(b"say ") and self._open:
                question = self._take()
                buffer.consume(size, question.owner)
                return self._exchange(question, now, answer=text)
            else:  # the end of a line whose beginning is missing, or an answer to what nobody saw
                buffer.consume(size)

    def expire(self, now: int) -> Iterator[Exchange]:
        while self._open and now - self._open[0].start > self._timeout:
            yield self._exchange(self._take(), now)
            self._lost = True  # should the answer come after all, it would be taken for the next one's

    def close(self, now: int) -> Iterator[Exchange]:
        while self._open:
            yield self._exchange(self._take(), now)

    def _add(self, question: Question) -> None:
        self._open.append(question)
        self.memory += QUESTION_MEMORY + len(question.text)

    def _take(self) -> Question:
        question = self._open.popleft()
        self.memory -= QUESTION_MEMORY + len(question.text)
        return question

    def _exchange(self, question: Question, now: int, answer: str | None = None) -> Exchange:
        attributes: dict[str, str | int | bool] = {"example.question": question.text}
        if answer is not None:
            attributes["example.answer"] = answer
        return Exchange(
            owner=question.owner,
            start=question.start,
            end=now,
            name="example",
            attributes=attributes,
            outcome=Outcome.ABORTED if answer is None else Outcome.COMPLETE,
            assumed=self._lost and answer is not None,
        )


def sniff(data: bytes | bytearray) -> Verdict:
    """Whether these bytes begin like a line of ours."""
    if data.startswith(OPENINGS):
        return Verdict.YES
    beginning = bytes(data)
    return Verdict.MAYBE if any(each.startswith(beginning) for each in OPENINGS) else Verdict.NO


@hookimpl
def register_protocols() -> list[ProtocolSpec]:
    timeout = Setting(
        name="timeout", default=60, help="seconds until an answer is not waited for any more", seconds=True
    )
    return [ProtocolSpec(name="example", sniff=sniff, make=ExampleDecoder, settings=[timeout])]
