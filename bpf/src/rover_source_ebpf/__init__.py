"""Captures socket calls with eBPF: the source `ebpf`.

What compiles and loads programs is imported when a source is made, not for a replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rover import hookimpl
from rover.contracts.source import Check, Selection, Source, SourceSpec
from rover.contracts.tls_library import TlsLibrarySpec
from rover_source_ebpf.settings import SETTINGS


@hookimpl
def register_sources() -> Sequence[SourceSpec]:
    """The capture source of this package."""
    return [
        SourceSpec(
            "ebpf",
            make=_make,
            settings=SETTINGS,
            live=True,
            check=_check,
            rehearse=_rehearse,
            check_tls=_check_tls,
        )
    ]


def _make(settings: Mapping[str, Any], selection: Selection) -> Source:
    from rover_source_ebpf.source import EbpfSource

    return EbpfSource(settings, selection)


def _check() -> Sequence[Check]:
    from rover_source_ebpf.checks import check

    return check()


def _check_tls(libraries: Sequence[TlsLibrarySpec], pid: int | None) -> Sequence[Check]:
    from rover_source_ebpf.checks import check_tls

    return check_tls(libraries, pid)


def _rehearse(settings: Mapping[str, Any], selection: Selection) -> Sequence[Check]:
    from rover_source_ebpf.checks import rehearse

    return rehearse(settings, selection)
