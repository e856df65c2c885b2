"""gzip (RFC 1952), as it arrives: packed bytes in, bounded pieces of unpacked bytes out."""

from __future__ import annotations

import zlib

GZIP = b"\x1f\x8b"
"""How such a file begins."""
PIECE = 65_536
"""Bytes unpacked at once: a file packed a thousandfold must not come out in one piece."""
_WINDOW = 16 + zlib.MAX_WBITS  # zlib.h, inflateInit2: 16 more is gzip


class Gunzip:
    """Members one after the other, as gzip -d reads them."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_WINDOW)
        self._packed = b""
        self._error: zlib.error | None = None

    def feed(self, packed: bytes) -> None:
        """More of the file. Call it when `take` has returned nothing."""
        self._packed += packed

    def take(self) -> bytes:
        """The next unpacked bytes, at most PIECE; empty when more must be fed.

        Raises zlib.error after the last byte that could be unpacked.
        """
        while self._packed:
            if self._error is not None:
                raise self._error
            if self._inflate.eof:
                # Only another member may follow, or the zeros that fill a block.
                self._packed = self._packed.lstrip(b"\0")
                if not self._packed:
                    break
                self._inflate = zlib.decompressobj(_WINDOW)
            if unpacked := self._unpack():
                return unpacked
        return b""

    def _unpack(self) -> bytes:
        packed, before = self._packed, self._inflate.copy()
        try:
            unpacked = self._inflate.decompress(packed, PIECE)
        except zlib.error as error:
            # What zlib made before it found the damage is lost in the exception: make it again.
            self._error = error
            return _salvage(before, packed)
        self._packed = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        return unpacked

    def end(self) -> bytes:
        """The file is over: bytes still inside, one piece a call; then empty. Raises EOFError when
        it ends inside a member."""
        if self._inflate.eof:
            return b""
        if rest := self._inflate.decompress(b"", PIECE):
            return rest
        raise EOFError


def _salvage(inflate: zlib._Decompress, packed: bytes) -> bytes:
    unpacked = bytearray()
    try:
        for index in range(len(packed)):
            unpacked += inflate.decompress(packed[index : index + 1])
    except zlib.error:
        pass
    return bytes(unpacked)


def opening_of_packed(packed: bytes) -> bytes:
    """What the first bytes of a gzip file hold, as far as they reach."""
    try:
        return zlib.decompressobj(_WINDOW).decompress(packed, PIECE)
    except zlib.error:
        return b""
