"""Packet captures as a source: pcap and pcapng files, read by `rover replay`.

What reads them is imported when there is one, not for a live run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rover import Selection, Setting, Source, SourceSpec, hookimpl


@hookimpl
def register_sources() -> Sequence[SourceSpec]:
    """The source `pcap`."""
    return [
        SourceSpec(
            name="pcap",
            make=_make,
            settings=[
                Setting("path", "-", "capture to read, pcap or pcapng, also gzip; - is standard input")
            ],
            live=False,
            opens=_opens,
        )
    ]


def _make(settings: Mapping[str, Any], selection: Selection) -> Source:
    from rover_source_pcap.source import make

    return make(settings, selection)


def _opens(start: bytes) -> bool:
    from rover_source_pcap.capture_file import is_ours

    return is_ours(start)
