"""Where in a Go program crypto/tls is to be looked at.

A goroutine's stack moves when it grows, so no return address on it may be replaced, as a return probe does.
Each RET of a function is probed instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from rover import Convention, Moment, TlsFunction, TlsProbe, TlsProbes
from rover.files.elf import Elf, ElfError, opened
from rover_plugin_tls_go.line_table import GROWS, SECTIONS, GoFunction, LineTable

FUNCTIONS = {
    "crypto/tls.(*Conn).Read": TlsFunction.READ,
    "crypto/tls.(*Conn).Write": TlsFunction.WRITE,
    # What it reads too much of is given out by a Read without a call of the socket.
    "crypto/tls.(*Conn).handshakeContext": TlsFunction.OTHER,
}
RETURNS = re.compile(rb"\x48(?:\x83\xc4.|\x81\xc4....)\x5d?\xc3", re.DOTALL)
"""add $N,%rsp; pop %rbp (from Go 1.21 on); ret: so ends every function that has a frame."""
VERSION = re.compile(rb"go(1\.\d+(?:\.\d+)?)")


def find(file: BinaryIO, needed: Callable[[str], BinaryIO | None]) -> TlsProbes | str | None:  # noqa: ARG001
    """See `rover.TlsLibrarySpec.find`."""
    try:
        elf = opened(file)
    except ElfError:
        return None
    section = elf.section(*SECTIONS)
    if section is None:
        return None
    try:
        found = LineTable(elf, section).find(list(FUNCTIONS))
        if not found:
            return None
        library = f"Go {version(elf)}".strip()
        if len(found) < len(FUNCTIONS):
            missing = " and ".join(sorted(set(FUNCTIONS) - set(found)))
            return f"{library} whose {missing} is not found"
        probes = [
            probe for name, function in found.items() for probe in probed(elf, function, FUNCTIONS[name])
        ]
        return TlsProbes(library=library, probes=tuple(probes), convention=Convention.GO)
    except ElfError as error:
        return f"crypto/tls of Go in a file that cannot be read: {error}"


def probed(elf: Elf, function: GoFunction, kind: TlsFunction) -> Iterator[TlsProbe]:
    """The beginning of a function and each of its ends."""
    returns = [match.end() - 1 for match in RETURNS.finditer(function.code)]
    if not returns:
        raise ElfError("a function whose ends are not found")
    # After the question whether the stack has to grow: then the function begins again.
    grows = GROWS.match(function.code)
    start = elf.offset(function.address)
    yield TlsProbe(offset=start + (grows.end() if grows else 0), function=kind, moment=Moment.ENTRY)
    for place in returns:
        yield TlsProbe(offset=start + place, function=kind, moment=Moment.LEAVE)


def version(elf: Elf) -> str:
    """Of the Go that made it (its .go.buildinfo); empty when it is not told."""
    section = elf.section(".go.buildinfo")
    match = VERSION.search(elf.content(section)) if section is not None else None
    return match[1].decode() if match else ""
