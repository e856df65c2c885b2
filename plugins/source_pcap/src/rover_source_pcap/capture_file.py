"""A capture, whatever its format: opened, told apart, read packet by packet."""

from __future__ import annotations

from collections.abc import Iterator

from rover.errors import RoverError, UsageError, file_error
from rover.files.byte_stream import ByteStream, UnpackError
from rover.files.gunzip import GZIP, opening_of_packed
from rover_source_pcap import foreign, pcap, pcapng
from rover_source_pcap.capture_reader import CaptureReader, Damage, Packet

_MAGIC = 4


class CaptureFile:
    """One capture from its beginning to its end or its damage."""

    def __init__(self, path: str) -> None:
        self.ended = False
        """True when no packet will follow."""
        self.idle = False
        """True when nothing came in time the last time it was asked."""
        self._name = "standard input" if path == "-" else path
        self._path = path
        self._stream: ByteStream | None = None
        self._reader: CaptureReader | None = None
        self._first = b""

    def open(self) -> None:
        """Opens the file and recognises its format. Raises RoverError, and UsageError for
        what is no capture.

        On a pipe it waits for the first four bytes: there is nothing to do before them.
        """
        try:
            stream = self._stream = ByteStream(self._path)
            first = b""
            while len(first) < _MAGIC:
                chunk = stream.read(1.0)
                if chunk == b"":
                    break
                first += chunk or b""
        except OSError as error:
            raise file_error(f"cannot read {self._name}", error) from None
        except UnpackError as damage:
            raise UsageError(f"{self._name} is not a capture: {damage.what}") from None
        reader = reader_for(first)
        if reader is None:
            what = foreign.describe(first) or "is not a capture: neither pcap nor pcapng"
            raise UsageError(f"{self._name} {what}")
        self._reader = reader
        self._first = first

    def packets(self, timeout: float) -> Iterator[Packet]:
        """A bounded number of packets; none when nothing came in `timeout` seconds.

        Exhaust it before the next call. Raises RoverError, once, after the last whole packet
        before a damage.
        """
        stream, reader = self._stream, self._reader
        if stream is None or reader is None:
            raise RoverError(f"{self._name} is not open")
        try:
            chunk: bytes | None = self._first
            if chunk:
                self._first = b""
            else:
                chunk = stream.read(timeout)
            self.idle = chunk is None
            if chunk is None:
                return
            if chunk:
                yield from reader.feed(chunk)
            else:
                self.ended = True
                reader.end()
        except (Damage, UnpackError) as damage:
            self.ended = True
            raise RoverError(f"{self._name} is damaged at byte {damage.offset}: {damage.what}") from None
        except OSError as error:
            self.ended = True
            raise RoverError(
                f"cannot read {self._name} after byte {stream.offset}: {error.strerror or error}"
            ) from None

    def close(self) -> None:
        """Closes the file, if it was opened."""
        if self._stream is not None:
            self._stream.close()


def reader_for(opening: bytes) -> CaptureReader | None:
    """A reader for the format that begins like this, None when we know none."""
    magic = opening[:_MAGIC]
    if magic in pcap.MAGICS:
        return pcap.PcapReader()
    if magic == pcapng.MAGIC:
        return pcapng.PcapngReader()
    return None


def is_ours(opening: bytes) -> bool:
    """Whether a file that begins with these bytes (512 are enough) is a capture, or something else that
    `open` refuses by name."""
    if opening.startswith(GZIP):
        opening = opening_of_packed(opening)
    if not opening:
        return False
    return reader_for(opening) is not None or foreign.describe(opening) is not None
