"""Recordings: what a live source delivered, in a file that replays to the same access logs.

docs/recording-format.md describes the file. This module is the plugin: the source `recording`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rover.contracts.hooks import hookimpl
from rover.contracts.settings import Setting
from rover.contracts.source import Selection, Source, SourceSpec
from rover.files.gunzip import GZIP, opening_of_packed
from rover.recording.framing import MAGIC
from rover.recording.reader import Recording


@hookimpl
def register_sources() -> Sequence[SourceSpec]:
    """`recording`."""
    return [
        SourceSpec(
            "recording",
            _recording,
            [Setting("path", "-", "file that rover record wrote, also gzip; - is standard input")],
            live=False,
            opens=_opens,
        )
    ]


def _recording(settings: Mapping[str, Any], _selection: Selection) -> Source:
    # What to watch was decided when it was recorded; a second choice would make other logs.
    return Recording(settings["path"])


def _opens(opening: bytes) -> bool:
    if opening.startswith(GZIP):
        opening = opening_of_packed(opening)
    return opening.startswith(MAGIC)
