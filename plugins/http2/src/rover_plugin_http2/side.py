"""What is known of one direction of a connection."""

from __future__ import annotations

import contextlib

from rover.values.records import Direction
from rover_plugin_http2.frames import DEFAULT_MAX_FRAME_SIZE, DEFAULT_TABLE_SIZE
from rover_plugin_http2.header_blocks import new_blocks

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_http2._header_blocks import new_blocks  # type: ignore[no-redef]

INGRESS, EGRESS = Direction


class Side:
    """How far it was read, and what binds its sender."""

    __slots__ = (
        "begun",
        "blocks",
        "content",
        "direction",
        "doubted",
        "ends_stream",
        "late",
        "left",
        "max_frame_size",
        "max_table_size",
        "memory",
        "missing",
        "opposite",
        "stream",
        "trusted",
        "walked",
    )

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.opposite = EGRESS if direction is INGRESS else INGRESS
        self.blocks = new_blocks()
        self.memory = 0
        """What `blocks` takes."""
        self.max_frame_size = DEFAULT_MAX_FRAME_SIZE
        self.max_table_size = DEFAULT_TABLE_SIZE
        """The largest SETTINGS_MAX_FRAME_SIZE and SETTINGS_HEADER_TABLE_SIZE the receiver ever
        announced. A smaller one binds the sender only once it has been told."""
        self.begun = False
        self.late = False
        """Whether bytes before the first ones we have are known to be missing."""
        self.trusted = False
        """Whether the frames seen so far show that these are frames."""
        self.left = 0
        """Payload bytes of the current frame that are still to be passed over."""
        self.content = 0
        """How many of them are content of a message, not padding."""
        self.stream = 0
        """Whose they are."""
        self.ends_stream = False
        """Whether the stream's message ends with them."""
        self.missing = 0
        """Bytes lost between frames, all in all."""
        self.doubted = False
        """Whether the next request will tell if header blocks are missing."""
        self.walked = 0
        """Bytes at the head that are whole frames of a header block whose end has not come."""
