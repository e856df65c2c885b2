"""Where in a file GnuTLS is to be looked at: its exported functions, (session, data, size) each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from rover import Moment, TlsFunction, TlsProbe, TlsProbes
from rover.files.elf import Elf, ElfError, opened

READS = ("gnutls_record_recv", "gnutls_record_recv_seq")
WRITES = ("gnutls_record_send", "gnutls_record_send2", "gnutls_record_send_range")
OTHERS = (
    "gnutls_handshake",
    "gnutls_rehandshake",
    "gnutls_reauth",
    "gnutls_session_key_update",
    "gnutls_record_uncork",
    "gnutls_record_recv_packet",
    "gnutls_alert_send",
    "gnutls_bye",
)
"""What may call the socket besides. Where a program corks, what it sends goes out when it uncorks."""
FREE = "gnutls_deinit"
KINDS = {
    **dict.fromkeys(READS, TlsFunction.READ),
    **dict.fromkeys(WRITES, TlsFunction.WRITE),
    **dict.fromkeys(OTHERS, TlsFunction.OTHER),
    FREE: TlsFunction.FREE,
}
VERSION = re.compile(rb"(?<=\0)3\.\d{1,2}\.\d{1,2}(?=\0)")
"""What gnutls_check_version(3) returns."""


def find(file: BinaryIO, needed: Callable[[str], BinaryIO | None]) -> TlsProbes | str | None:  # noqa: ARG001
    """See `rover.TlsLibrarySpec.find`."""
    try:
        elf = opened(file)
        if len(elf.functions("gnutls_record_recv", "gnutls_record_send")) < 2:
            return None
        functions = dict(elf.functions(*KINDS))
    except ElfError:
        return None
    if "gnutls_record_send2" in functions:  # which gnutls_record_send calls: it would count twice
        del functions["gnutls_record_send"]
    try:
        probes = [
            TlsProbe(offset=elf.entry(function.address), function=KINDS[name], moment=moment)
            for name, function in functions.items()
            for moment in ((Moment.ENTRY,) if name == FREE else (Moment.ENTRY, Moment.RETURN))
        ]
        return TlsProbes(library=f"GnuTLS {version(elf)}".strip(), probes=tuple(probes))
    except ElfError as error:
        return f"GnuTLS in a file that cannot be read: {error}"


def version(elf: Elf) -> str:
    """As the library tells it; empty when it is not found."""
    section = elf.section(".rodata")
    match = VERSION.search(elf.content(section)) if section is not None else None
    return match[0].decode() if match else ""
