"""A source whose records go to somebody else, too, on their way to the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from rover import Closed, Detail, Loss, Opened, Process, RecordHandler, RoverError, SkippingSource, Source


class Listener(Protocol):
    """Hears of each record before the pipeline does."""

    def begin(self, epoch: int) -> None:
        """The records of another source follow; `epoch` as of `Source`."""

    def process(self, process: Process) -> None: ...

    def opened(self, opened: Opened) -> None: ...

    def data(self, detail: Detail, payload: bytes) -> None: ...

    def plaintext(self, plaintext: Any, payload: bytes) -> None: ...

    def closed(self, closed: Closed) -> None: ...


class Tap:
    """A `Source` around one that has started."""

    def __init__(self, source: Source, listeners: Sequence[Listener], failure: Callable[[], str]) -> None:
        """`failure`: why nobody listens any more, which ends the reading; empty while somebody does."""
        self.epoch = source.epoch
        self._source = source
        self._listeners = listeners
        self._failure = failure
        self._handler: Any
        self.start = source.start
        self.now = source.now
        self.is_open = source.is_open
        self.set_upload = source.set_upload
        if isinstance(source, SkippingSource):
            self.set_unneeded = source.set_unneeded
        for listener in listeners:
            listener.begin(source.epoch)

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """As the source's. Raises RoverError once what is listening has failed."""
        self._handler = handler
        more = self._source.poll(self, timeout)
        if failure := self._failure():
            raise RoverError(failure)
        return more

    def counters(self) -> Mapping[str, int]:
        """The source's."""
        return self._source.counters()

    def stop(self, handler: RecordHandler) -> None:
        """As the source's."""
        self._handler = handler
        self._source.stop(self)

    def close(self) -> None:
        """As the source's."""
        self._source.close()

    # -- records, on their way -----------------------------------------------------------------

    def process(self, process: Process) -> None:
        """Heard and passed on."""
        for listener in self._listeners:
            listener.process(process)
        self._handler.process(process)

    def opened(self, opened: Opened) -> None:
        """Heard and passed on."""
        for listener in self._listeners:
            listener.opened(opened)
        self._handler.opened(opened)

    def data(self, detail: Detail, payload: bytes) -> None:
        """Heard and passed on."""
        for listener in self._listeners:
            listener.data(detail, payload)
        self._handler.data(detail, payload)

    def plaintext(self, plaintext: Any, payload: bytes) -> None:
        """Heard and passed on: of sources that read inside TLS libraries."""
        for listener in self._listeners:
            listener.plaintext(plaintext, payload)
        self._handler.plaintext(plaintext, payload)

    def closed(self, closed: Closed) -> None:
        """Passed on, and heard: what the pipeline has still to say of the connection comes before its end."""
        self._handler.closed(closed)
        for listener in self._listeners:
            listener.closed(closed)

    def lost(self, loss: Loss) -> None:
        """Passed on."""
        self._handler.lost(loss)
