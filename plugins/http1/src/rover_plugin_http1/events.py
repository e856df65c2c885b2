"""What a direction of a connection carries, what a reader comes upon, and where in a message it is."""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """What a direction carries."""

    REQUESTS = "requests"
    RESPONSES = "responses"


REQUESTS, RESPONSES = Kind  # once, not at each look: what an enumeration holds is slow to ask for


class Event(enum.Enum):
    """What a reader came upon."""

    NEED_MORE = "need more"
    HEAD = "head"
    """`MessageReader.request`, or `response`, is complete and still unread: `accept` it."""
    END = "end"
    """The message that was accepted last is complete."""
    CUT = "cut"
    """It goes no further, incomplete; `ContentReader.known` tells whether its content was counted."""
    JUMPED = "jumped"
    """After a search, a message may begin here."""
    FAILED = "failed"
    """No message begins here, nothing is missing, and the one search has been made."""


NEED_MORE, HEAD, END, CUT, JUMPED, FAILED = Event


class State(enum.Enum):
    """Where in its messages a reader is."""

    START = "start"
    HELD = "held"
    """At a head that was not accepted yet."""
    DOUBTED = "doubted"
    """At a line that is no request line: a response that answers nothing else may show that it
    was meant as one."""
    LENGTH = "length"
    CHUNK_LINE = "chunk line"
    CHUNK = "chunk"
    CHUNK_END = "chunk end"
    TRAILERS = "trailers"
    CLOSE = "close"
    SURPLUS = "surplus"
    """After a response that must have no content: there may be some all the same."""
    SEARCH = "search"
    FAILED = "failed"


START, HELD, DOUBTED, LENGTH, CHUNK_LINE, CHUNK, CHUNK_END, TRAILERS, CLOSE, SURPLUS, SEARCH, LOST = State
