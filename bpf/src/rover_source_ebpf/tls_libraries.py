"""Which libraries of this host do TLS: those that processes have mapped, and those of the distribution."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

NAMES = (
    rb"lib(?:ssl3?|gnutls|boringssl|conscrypt\w*|netty_tcnative\w*|wolfssl|mbedtls)(?:-[0-9a-f]+)?\.so[.\w]*"
)
"""OpenSSL (in wheels with a hash in its name), NSS, GnuTLS, BoringSSL, wrappers of it for Java, wolfSSL,
Mbed TLS."""
MAPPED = re.compile(rb"/(" + NAMES + rb")$", re.MULTILINE)
FILE = re.compile(NAMES)
MAX_MAPS = 16 << 20
"""Bytes read of one process's mappings: some 100,000 of them."""
PLACES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib")


def libraries(proc: Path = Path("/proc"), places: Sequence[str] = PLACES) -> Mapping[str, int]:
    """How many processes have mapped each, by the file's name; 0 for those that only lie there. Processes
    that may not be looked at are left out."""
    found = dict.fromkeys(installed(places), 0)
    for process in listed(proc):
        if not process.isdigit():
            continue
        try:
            with (proc / process / "maps").open("rb") as maps:
                content = maps.read(MAX_MAPS)
        except OSError:
            continue
        for name in {match.decode(errors="replace") for match in MAPPED.findall(content)}:
            found[name] = found.get(name, 0) + 1
    return found


def installed(places: Iterable[str]) -> list[str]:
    """Shared libraries' names in these directories, and in those below them for each architecture."""
    names: set[str] = set()
    for place in places:
        for directory in (place, *(os.path.join(place, each) for each in listed(place) if "-linux-" in each)):
            for name in listed(directory):
                if FILE.fullmatch(os.fsencode(name)):  # often links: processes' mappings have the file's name
                    names.add(os.path.basename(os.path.realpath(os.path.join(directory, name))))
    return sorted(names)


def listed(directory: str | Path) -> list[str]:
    """Of a directory, if it may be read."""
    try:
        return os.listdir(directory)
    except OSError:
        return []
