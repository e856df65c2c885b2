"""Captures socket calls with eBPF: the source `ebpf`."""

from __future__ import annotations

from collections.abc import Sequence

from rover import hookimpl
from rover.source import SourceSpec
from rover_source_ebpf.checks import check
from rover_source_ebpf.source import SETTINGS, EbpfSource

__all__ = ["EbpfSource", "register_sources"]


@hookimpl
def register_sources() -> Sequence[SourceSpec]:
    """The capture source of this package."""
    return [SourceSpec("ebpf", make=EbpfSource, settings=SETTINGS, live=True, check=check)]
