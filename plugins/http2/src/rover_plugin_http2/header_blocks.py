"""Header blocks of one direction of a connection: HPACK (RFC 7541).

A field is kept as one `bytes`, a *field line*: name, NUL, value. It is made once, when its
literal is read; the dynamic table and every later reference share it.

Joining late. The dynamic table is indexed from its newest entry, so entries seen being added
have the right index whatever was added before them. Both tables, the endpoints' and ours, are
the newest entries of the same sequence, and end somewhere in it; where theirs ends earlier,
nobody refers to the rest of ours; where ours ends earlier (joined late, or a table larger than
we keep), a reference past its end is found out. Decoding is never wrong, it only ends.

After a loss. Header blocks that were lost may have added entries: every older entry has moved by
an unknown number, while those added since have the right index again. The older ones are in
`doubt` until it is known that nothing was added.

`_header_blocks.pyx` is the same, compiled, with `huffman` in it; its lines are packed as they are read.
"""

from __future__ import annotations

from collections import deque
from typing import NoReturn

from hpack.table import HeaderTable

from rover_plugin_http2 import huffman
from rover_plugin_http2.fields import pack_apart
from rover_plugin_http2.frames import DEFAULT_TABLE_SIZE
from rover_plugin_http2.undecodable import Undecodable

MAX_BLOCK = 131_072
"""Bytes of an encoded header block with the frames it comes in, so that a flood of empty
CONTINUATION frames (CVE-2024-27316 and its kin) meets it too. It is twice what nghttp2 and the
h2 package send or take, eight times Node's and gRPC's limit. The block waits in the stream
buffer until it is whole."""
MAX_LIST = 262_144
"""Size of a decoded header list as RFC 7541 section 4.1 counts (name, value and 32 per field).
References make it larger than its block: one byte can stand for the table's largest entry."""
MAX_TABLE = 65_536
"""Size of the dynamic table kept, whatever was announced: what Chrome and Firefox announce,
the largest in wide use. Of a larger one the newest entries are kept."""
ENTRY_OVERHEAD = 32
"""Bytes an entry takes beyond what RFC 7541 counts for it, at most: with those 32 the object's
header (33), its rounding to 16, and its place in the table."""

UNLIMITED = (1 << 32) - 1
STATIC = tuple(name + b"\0" + value for name, value in HeaderTable.STATIC_TABLE)
STATIC_NAMES = tuple(name + b"\0" for name, _ in HeaderTable.STATIC_TABLE)
_STATIC_COUNT = len(STATIC)
_FIRST_DYNAMIC = _STATIC_COUNT + 1
_PSEUDO = 14
"""Static entries 1 to 14 are pseudo-header fields, 1 to 7 of requests (RFC 7541 appendix A)."""
_PSEUDO_OF_REQUEST = 7


class HeaderBlocks:
    """The HPACK state of one direction."""

    __slots__ = ("_entries", "_limit", "_maximum", "_since", "_size")

    def __init__(self) -> None:
        self._entries: deque[bytes] = deque()
        self._maximum = DEFAULT_TABLE_SIZE
        self._size = 0
        self._limit = DEFAULT_TABLE_SIZE
        self._since: int | None = None
        """Entries added since the older ones are in doubt; None when none are."""

    @property
    def memory(self) -> int:
        """Bytes this takes, at most."""
        return self._size + len(self._entries) * ENTRY_OVERHEAD

    def doubt(self) -> None:
        """Header blocks may have been lost. What was in doubt before that is forgotten."""
        if self._since:
            self.settle(False)
        self._since = 0

    def settle(self, nothing_added: bool) -> None:
        """The older entries are where they were; or nobody will ever know, and they are forgotten."""
        since = self._since
        self._since = None
        if since is None or nothing_added:
            return
        while len(self._entries) > since:
            self._size -= len(self._entries.pop()) + 31

    def decode(self, block: bytes, limit: int | None) -> list[bytes]:
        """The field lines of one whole block. Raises Undecodable (`hpack`).

        `limit`: bytes of the table the receiver allows; None where it is not known.
        """
        self._limit = UNLIMITED if limit is None else limit
        try:
            return self._decode(block)
        except IndexError:
            raise Undecodable("hpack", "the block ends inside a field") from None

    def fields(self, data: bytes | bytearray, start: int, end: int, limit: int | None) -> tuple[bytes, bytes]:
        """The same for a block between two indices, packed: pseudo-header fields, and the others."""
        return pack_apart(self.decode(bytes(data[start:end]), limit))

    def _decode(self, block: bytes) -> list[bytes]:
        lines: list[bytes] = []
        entries = self._entries
        behind = self._behind()
        left = MAX_LIST
        position, end = 0, len(block)
        while position < end:
            first = block[position]
            position += 1
            if first & 0x80:  # an indexed field
                index = first & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, 0x7F)
                if index > _STATIC_COUNT:
                    line = entries[index - _FIRST_DYNAMIC] if index < behind else self._unseen(index)
                elif index:
                    line = STATIC[index - 1]
                else:
                    raise Undecodable("hpack", "index 0")
            elif first & 0xE0 == 0x20:  # a change of the table's size
                if lines:
                    raise Undecodable("hpack", "a table size update after a field")
                size = first & 0x1F
                if size == 0x1F:
                    size, position = _integer(block, position, 0x1F)
                self._resize(size)
                behind = self._behind()
                continue
            else:  # a literal: added to the table, or not, or never
                mask = 0x3F if first & 0x40 else 0x0F
                index = first & mask
                if index == mask:
                    index, position = _integer(block, position, mask)
                if index > _STATIC_COUNT:
                    name = entries[index - _FIRST_DYNAMIC] if index < behind else self._unseen(index)
                    name = name[: name.index(0) + 1]
                elif index:
                    name = STATIC_NAMES[index - 1]
                else:
                    name, position = _string(block, position, end)
                    if 0 in name:
                        raise Undecodable("hpack", "a NUL in a field name")
                    name += b"\0"
                value, position = _string(block, position, end)
                line = name + value
                if first & 0x40:
                    self._add(line)
                    behind = self._behind()
            # Two bytes can name an entry of the whole table's size, and make a copy of its name.
            left -= len(line) + 31
            if left < 0:
                raise Undecodable("hpack", f"a header list of more than {MAX_LIST} bytes")
            lines.append(line)
        return lines

    def _behind(self) -> int:
        """The first index that cannot be resolved."""
        known = len(self._entries)
        return _FIRST_DYNAMIC + (known if self._since is None else min(known, self._since))

    def _add(self, line: bytes) -> None:
        size = len(line) + 31
        if size > self._maximum:
            self._entries.clear()
            self._size = 0
        else:
            self._entries.appendleft(line)
            self._size += size
            if self._since is not None:
                self._since += 1
            self._evict()

    def _unseen(self, index: int) -> NoReturn:
        known = self._behind() - _FIRST_DYNAMIC
        raise Undecodable("hpack", f"index {index} was never seen added ({known} entries are known)")

    def _resize(self, size: int) -> None:
        if size > self._limit:
            raise Undecodable("hpack", f"a table of {size} bytes where {self._limit} were announced")
        self._maximum = min(size, MAX_TABLE)
        self._evict()

    def _evict(self) -> None:
        while self._size > self._maximum:
            self._size -= len(self._entries.pop()) + 31


def new_blocks() -> HeaderBlocks:
    """Compiled, a call of C; else what the class does."""
    return HeaderBlocks()


def _integer(block: bytes, position: int, value: int) -> tuple[int, int]:
    """An integer that filled its prefix with `value` (section 5.1), and the position after it."""
    shift = 0
    while True:
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 28:  # sizes and indices are below 2**32: prefix and five bytes
            raise Undecodable("hpack", "an integer of more than five bytes")


def _string(block: bytes, position: int, end: int) -> tuple[bytes, int]:
    """A string literal (section 5.2), and the position after it."""
    first = block[position]
    position += 1
    length = first & 0x7F
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    behind = position + length
    if behind > end:
        raise Undecodable("hpack", "the block ends inside a string")
    raw = block[position:behind]
    return (huffman.decode(raw) if first & 0x80 else raw), behind


def opening(block: bytes | bytearray, position: int, end: int) -> str | None:
    """What a block opens, told from its first field: "request", "response", or "" for neither.

    None when the bytes up to `end` do not reach that far. Only static references to
    pseudo-header fields count, which RFC 9113 section 8.3 puts in front of all others, and two
    table size updates before them (RFC 7541 section 4.2).
    """
    updates = 0
    while position < end:
        first = block[position]
        position += 1
        if first & 0xE0 == 0x20:
            updates += 1
            if updates > 2:
                return ""
            if first == 0x3F:
                last = min(end, position + 4)
                while position < last and block[position] & 0x80:
                    position += 1
                position += 1
            continue
        index = first & (0x7F if first & 0x80 else 0x3F if first & 0x40 else 0x0F)
        if not 1 <= index <= _PSEUDO or (first < 0x20 and index == 0x0F):
            return ""
        return "request" if index <= _PSEUDO_OF_REQUEST else "response"
    return None
