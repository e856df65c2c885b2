"""A file or standard input, read on as chunks of bytes and unpacked where it is gzip.

For sources that are files: what they read may be a pipe, whose writer takes its time.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import zlib
from typing import BinaryIO

from rover.files.gunzip import GZIP, Gunzip

CHUNK = 65_536
"""Bytes read at once. It bounds what a source delivers between two looks at signals: of a capture at most
4,096 of the smallest packets, some 60 full ones."""


class UnpackError(Exception):
    """The file cannot be unpacked further: what was found, at which offset of the unpacked bytes."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what


class ByteStream:
    """Never seeks, and holds no more than a chunk."""

    def __init__(self, path: str) -> None:
        """`-` is standard input. Raises OSError."""
        self.offset = 0
        """Unpacked bytes given out so far."""
        self._owned = path != "-"
        self._file: BinaryIO = open(path, "rb") if self._owned else sys.stdin.buffer  # noqa: SIM115
        self._waits = _may_wait(self._file)
        self._opening: bytes | None = None
        self._gunzip: Gunzip | None = None

    def read(self, timeout: float) -> bytes | None:
        """The next bytes, at most CHUNK; empty at the end, None when nothing came in time.

        Raises UnpackError for what cannot be unpacked, OSError for what cannot be read.
        """
        if self._opening is None:
            self._opening = self._look()
        read = self._receive(timeout) if self._gunzip is None else self._unpack(self._gunzip, timeout)
        if read:
            self.offset += len(read)
        return read

    def _look(self) -> bytes:
        """Reads enough to tell whether the file is packed."""
        # Without asking whether something is there to be read: who looked at the beginning of
        # standard input before us left it in Python's buffer, which select() does not know of.
        opening = b""
        while len(opening) < len(GZIP) and (chunk := self._read_some()):
            opening += chunk
        if opening.startswith(GZIP):
            self._gunzip = Gunzip()
        return opening

    def _unpack(self, packed: Gunzip, timeout: float) -> bytes | None:
        try:
            while not (unpacked := packed.take()):
                received = self._receive(timeout)
                if received is None:
                    return None
                if not received:
                    return packed.end()
                packed.feed(received)
        except zlib.error:
            raise UnpackError(self.offset, "what follows cannot be unpacked") from None
        except EOFError:
            raise UnpackError(self.offset, "the compressed file is cut off") from None
        return unpacked

    def _receive(self, timeout: float) -> bytes | None:
        if self._opening:
            opening, self._opening = self._opening, b""
            return opening
        if self._waits and not select.select([self._file], [], [], timeout)[0]:
            return None
        return self._read_some()

    def _read_some(self) -> bytes:
        # read1 gives what is there; read would wait for all it was asked for.
        read1 = getattr(self._file, "read1", self._file.read)
        some: bytes = read1(CHUNK)
        return some

    def close(self) -> None:
        """Closes what was opened here."""
        if self._owned:
            self._file.close()


def _may_wait(file: BinaryIO) -> bool:
    """Whether a read may block until somebody writes, as on pipes, terminals and sockets."""
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (io.UnsupportedOperation, AttributeError):
        return False
