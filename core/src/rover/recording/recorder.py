"""A live source that is recorded while it is watched.

The pipeline that follows it is the one that always runs: it recognises protocols and breaks, and by
that decides what the source uploads. What it was told is written down: the records, the times
of its ticks, which connections the source said were gone, and what plugins said of processes. A replay tells
it the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from rover.contracts.source import SkippingSource, Source
from rover.errors import RoverError
from rover.recording.format import MAX_PAYLOAD
from rover.recording.writer import Writer
from rover.values.records import Closed, Detail, Loss, Opened, Plaintext, Process, RecordHandler

STEP = 1_000_000_000
"""ns by which the clock of a recorded source moves: as often as the agent ticks. Each step is an
entry and ends a block, so this is also how much of the past a killed recorder takes with it."""


class Recorder:
    """A `Source` between another one and its pipeline.

    Its clock moves only between polls, by a step or more, and each time there is a CLOCK entry
    for it: so the pipeline's ticks fall between the same two records when it is replayed.
    """

    def __init__(self, source: Source, writer: Writer) -> None:
        self.epoch = 0
        """The source's, when it has started."""
        self._source = source
        self._writer = writer
        self._handler: RecordHandler
        self._clock = 0
        self._stepped = False
        self._gone: list[int] = []
        self.set_upload = source.set_upload
        if isinstance(source, SkippingSource):
            self.set_unneeded = source.set_unneeded

    def start(self) -> None:
        """Starts the source, then opens the file: a source that cannot start replaces none."""
        self._source.start()
        self.epoch = self._source.epoch
        self._clock = self._source.now()
        self._writer.begin(self.epoch, self._clock)

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """As the source's. Raises RoverError once the file cannot be written."""
        self._handler = handler
        self._write_step()
        more = False
        try:
            more = self._source.poll(self, timeout)
            if self._writer.failure:
                more = False
                raise RoverError(self._writer.failure)
        finally:
            now = self._source.now()
            # A last poll is followed by the end, and not by a tick.
            self._stepped = more and now - self._clock >= STEP
            if self._stepped or not more:
                self._clock = now
        return more

    def _write_step(self) -> None:
        """After the tick, when it is known what was asked in it."""
        if self._stepped:
            self._stepped = False
            self._writer.clock(self._clock, self._gone)
            self._writer.flush()
            self._gone.clear()

    def now(self) -> int:
        """The source's clock when it last stepped, ns."""
        return self._clock

    def is_open(self, connection: int) -> bool:
        """The source's answer."""
        found = self._source.is_open(connection)
        if not found:
            self._gone.append(connection)
        return found

    def counters(self) -> Mapping[str, int]:
        """The source's."""
        return self._source.counters()

    def stop(self, handler: RecordHandler) -> None:
        """What was captured before is recorded, too."""
        self._handler = handler
        self._write_step()
        try:
            self._source.stop(self)
        finally:
            self._clock = self._source.now()

    def close(self) -> None:
        """Ends the file; what goes wrong is in the writer's `failure`."""
        try:
            self._source.close()
        finally:
            self._writer.end(self._clock)

    # -- records, on their way ---------------------------------------------------------------
    # Each is passed on before it is written: what plugins say of its process, which they are asked when its
    # first connection is seen, is written before it. A replay, which cannot ask them, is told it then.

    def described(self, process: Process) -> None:
        """What is said of a process from now on."""
        self._writer.process(process)

    def process(self, process: Process) -> None:
        """Passed on and written."""
        self._handler.process(process)
        self._writer.process(process)

    def opened(self, opened: Opened) -> None:
        """Passed on and written."""
        self._handler.opened(opened)
        self._writer.opened(opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        """Passed on and written; what is too long for the file is so for the pipeline."""
        payload = payload[:MAX_PAYLOAD]
        self._handler.data(detail, payload)
        self._writer.data(detail, payload)

    def plaintext(self, plaintext: Plaintext, payload: bytes) -> None:
        """Written and passed on, as `data`."""
        payload = payload[:MAX_PAYLOAD]
        self._writer.plaintext(plaintext, payload)
        self._handler.plaintext(plaintext, payload)

    def closed(self, closed: Closed) -> None:
        """Passed on and written."""
        self._handler.closed(closed)
        self._writer.closed(closed)

    def lost(self, loss: Loss) -> None:
        """Passed on and written."""
        self._handler.lost(loss)
        self._writer.lost(loss)
