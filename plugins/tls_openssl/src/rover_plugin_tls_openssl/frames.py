"""The functions of a file without symbols: their bounds, by the tables that unwind its stacks.

Those are there in stripped files too, because exceptions need them. Layouts are those of the Linux Standard
Base, Core, chapter 10.6 (`.eh_frame`, `.eh_frame_hdr`).
"""

from __future__ import annotations

import bisect
import struct
from array import array

from rover.files.elf import Elf, ElfError, Function

HEADER = struct.Struct("<BBBBiI")
"""Version; encodings of the pointer to .eh_frame, of the number of functions, and of the table; these two."""
SORTED = (1, 0x03, 0x3B)
"""Version 1, a number of 4 bytes, and a table of pairs of 4 signed bytes, relative to the header."""
ENTRY = struct.Struct("<IIiI")
"""Of .eh_frame: length, its common part, the function's address relative to this field, and its size."""
ADDRESS = 8
"""Of the address in an entry."""


class Frames:
    """The functions of a file, in order."""

    def __init__(self, elf: Elf) -> None:
        header, frames = elf.section(".eh_frame_hdr"), elf.section(".eh_frame")
        if header is None or frames is None:
            raise ElfError("nothing tells where its functions begin")
        content = elf.content(header)
        if len(content) < HEADER.size:
            raise ElfError("its table of functions is cut short")
        version, _, number_as, table_as, _, number = HEADER.unpack_from(content)
        pairs = content[HEADER.size :]
        if (version, number_as, table_as) != SORTED or number * 8 > len(pairs):
            raise ElfError("its table of functions is of another kind")
        columns = array("i", pairs[: number * 8])
        self._header = header.address
        self._starts, self._entries = columns[::2], columns[1::2]
        self._frames = frames
        self._content = elf.content(frames)

    def around(self, address: int) -> Function | None:
        """The function that has the instruction at an address."""
        number = bisect.bisect_right(self._starts, address - self._header) - 1
        if number < 0:
            return None
        start = self._header + self._starts[number]
        place = self._header + self._entries[number] - self._frames.address
        if not 0 <= place <= len(self._content) - ENTRY.size:
            return None
        _, _, relative, size = ENTRY.unpack_from(self._content, place)
        if self._frames.address + place + ADDRESS + relative != start or not start <= address < start + size:
            return None
        return Function(start, size)
