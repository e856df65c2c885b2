"""What one worker process reads of a source that was divided: the connections of one ring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from rover.values.records import Opened, RecordHandler
from rover_source_ebpf.record import RecordDecoder
from rover_source_ebpf.ring_reader import RingReader


class Whole(Protocol):
    """What the parts need of the source they are parts of, in their own process's copy of it."""

    epoch: int

    def reader(self, ring: int, decoder: RecordDecoder) -> RingReader:
        """Of one ring."""

    def detach(self) -> None:
        """Lets go of the programs."""

    def now(self) -> int:
        """The clock."""

    def set_upload(self, connection: int, limit: int) -> None:
        """Of any connection."""

    def set_unneeded(self, connection: int, direction: int, position: int) -> None:
        """Of any connection."""

    def is_open(self, connection: int) -> bool:
        """Whether the kernel knows it."""

    def describe(self, connection: int) -> Opened | None:
        """What was told of it."""


class Part:
    """Implements rover.contracts.source.Source for a process forked after the whole was started.

    It tells of no losses: the kernel counts them for all rings together, so the whole does.
    """

    def __init__(self, whole: Whole, number: int, make_decoder: Callable[[int], RecordDecoder]) -> None:
        self.epoch = 0
        self._whole = whole
        self._number = number
        self._make_decoder = make_decoder
        self._decoder: RecordDecoder | None = None
        self._reader: RingReader | None = None
        self.now = whole.now
        self.set_upload = whole.set_upload
        self.set_unneeded = whole.set_unneeded
        self.is_open = whole.is_open
        self.describe = whole.describe

    def start(self) -> None:
        """Maps its ring. Raises RoverError."""
        # This process's copies of the descriptors: with them open the programs would stay attached
        # when the whole detaches them.
        self._whole.detach()
        self._decoder = self._make_decoder(self._number)
        self._reader = self._whole.reader(self._number, self._decoder)
        self.epoch = self._whole.epoch

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """Delivers a batch, waiting up to `timeout` seconds for its first record."""
        if self._reader is None:
            return False
        self._reader.poll(handler, timeout)
        return True

    def counters(self) -> Mapping[str, int]:
        """Counts what it could not read; the whole counts everything else."""
        decoder = self._decoder
        malformed, unplaced = (decoder.malformed, decoder.unplaced) if decoder is not None else (0, 0)
        return {"malformed": malformed, "tls_unplaced": unplaced, "records_lost": malformed + unplaced}

    def stop(self, handler: RecordHandler) -> None:
        """Delivers what is still in the ring; the whole has detached the programs."""
        if self._reader is not None and self._decoder is not None:
            self._reader.drain(handler)
            self._decoder.finish(handler)

    def close(self) -> None:
        """Unmaps the ring; what else there is goes with the process."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
