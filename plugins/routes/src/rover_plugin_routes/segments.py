"""A path in segments."""

from __future__ import annotations

from urllib.parse import unquote

MAX_PATH = 1024
"""Characters of a path that are looked at. Routes of people's own are a tenth of it."""
MAX_DEPTH = 16
"""Segments of a path that are looked at: interfaces have five to eight, with all that is nested."""


def split(path: str) -> tuple[list[str], bool]:
    """The segments of a path, without the empty ones, decoded; and whether there are more of them.

    Parameters of a segment (`;jsessionid=...`, RFC 3986 section 3.3) do not belong to it.
    """
    cut = len(path) > MAX_PATH
    parts = (path[:MAX_PATH] if cut else path).split("/")
    if cut:
        parts.pop()  # it may be half of one
    segments = [part for part in parts if part]
    if len(segments) > MAX_DEPTH:
        cut = True
        del segments[MAX_DEPTH:]
    if ";" in path:
        segments = [segment.partition(";")[0] or ";" for segment in segments]
    if "%" in path:
        segments = [unquote(segment) for segment in segments]
    return segments, cut
