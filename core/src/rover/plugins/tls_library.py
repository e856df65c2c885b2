"""What a plugin for a TLS library returns, checked, and its failures made its plugin's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import BinaryIO

from rover.contracts.tls_library import (
    MAX_LIBRARY,
    MAX_PROBES,
    BioLayout,
    Convention,
    Moment,
    TlsFunction,
    TlsLibrarySpec,
    TlsProbe,
    TlsProbes,
)
from rover.plugins.guard import MAX_TEXT, found

MAX_OFFSET = 1 << 40
"""In a file: no program is larger than a terabyte."""
MAX_ARGUMENT = 6
"""Arguments that both conventions pass in registers."""
MAX_FIELD = 1 << 12
"""Offsets within a structure are below."""


def guarded(spec: TlsLibrarySpec, failed: Callable[[str, BaseException], None]) -> TlsLibrarySpec:
    """The same, whose functions raise nothing: an exception is told by `failed`, and a file that it came of
    cannot be read, for the reason that the plugin failed."""

    def find(file: BinaryIO, needed: Callable[[str], BinaryIO | None]) -> TlsProbes | str | None:
        try:
            return checked_probes(spec.find(file, needed))
        except BaseException as error:
            failed(f"{spec.name}: find", error)
            return f"the plugin for {spec.name} failed on it"

    return dataclasses.replace(spec, find=find)


def checked_probes(found_probes: object) -> TlsProbes | str | None:
    """What a TLS library's `find` returned; a reason as a line that a terminal can show."""
    if found_probes is None:
        return None
    if type(found_probes) is str:
        return _line(found_probes, MAX_TEXT)
    if type(found_probes) is not TlsProbes:
        raise TypeError(f"returned {found(found_probes)} where TlsProbes are due")
    if type(found_probes.library) is not str or type(found_probes.convention) is not Convention:
        raise TypeError("probes whose library is no str, or whose convention is no Convention")
    probes = found_probes.probes
    if type(probes) is not tuple or not 0 < len(probes) <= MAX_PROBES:
        raise TypeError(f"probes that are no tuple of 1 to {MAX_PROBES}")
    for probe in probes:
        _check_probe(probe)
    if len({(probe.offset, probe.moment) for probe in probes}) < len(probes):
        raise TypeError("two probes at one place")
    if found_probes.bio is not None:
        _check_layout(found_probes.bio)
    return dataclasses.replace(found_probes, library=_line(found_probes.library, MAX_LIBRARY))


def _check_probe(probe: object) -> None:
    if type(probe) is not TlsProbe:
        raise TypeError(f"probes that hold {found(probe)}")
    if type(probe.function) is not TlsFunction or type(probe.moment) is not Moment:
        raise TypeError("a probe whose function is no TlsFunction, or whose moment is no Moment")
    if type(probe.offset) is not int or not 0 < probe.offset < MAX_OFFSET:
        raise TypeError(f"a probe whose offset is {found(probe.offset)}, no place in a file")
    for name in ("object", "buffer", "size", "moved"):
        number = getattr(probe, name)
        if type(number) is not int or not (name != "moved") <= number <= MAX_ARGUMENT:
            raise TypeError(f"a probe whose {name} is {found(number)}, no number of an argument")


def _check_layout(layout: object) -> None:
    if type(layout) is not BioLayout:
        raise TypeError(f"probes whose bio is {found(layout)}")
    path, kind = layout.client_random, layout.kind
    if type(path) is not tuple or len(path) > 2:
        raise TypeError("a layout whose client_random is not up to two offsets")
    fields = [layout.rbio, layout.wbio, layout.num_read, layout.num_written, *path]
    for offset in fields if kind is None else [*fields, kind]:
        if type(offset) is not int or not 0 <= offset < MAX_FIELD:
            raise TypeError(f"a layout with {found(offset)}, no offset below {MAX_FIELD}")


def _line(text: str, limit: int) -> str:
    """A plugin's text on one line of a terminal, of so many characters at most."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:limit])
