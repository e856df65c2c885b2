"""Packet captures as a source: pcap and pcapng files, read by `rover replay`."""

from __future__ import annotations

from collections.abc import Sequence

from rover import Setting, SourceSpec, hookimpl
from rover_source_pcap.capture_file import is_ours
from rover_source_pcap.source import make


@hookimpl
def register_sources() -> Sequence[SourceSpec]:
    """The source `pcap`."""
    return [
        SourceSpec(
            name="pcap",
            make=make,
            settings=[
                Setting("path", "-", "capture to read, pcap or pcapng, also gzip; - is standard input")
            ],
            live=False,
            opens=is_ours,
        )
    ]
