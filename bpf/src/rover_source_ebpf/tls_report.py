"""What is read in TLS libraries, and why not, for `rover doctor`: of this host, or of one process."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rover.contracts.source import Check
from rover.contracts.tls_library import TlsLibrarySpec, TlsProbes
from rover_source_ebpf.tls_files import (
    PLACES,
    Discovery,
    FileKey,
    Finding,
    Mapped,
    mappings,
    opened,
    processes,
)

SUBJECT = "TLS"
MAX_LINES = 20
"""Files of which a line is shown."""
UNKNOWN = {
    "NSS": r"libssl3\.so",
    "BoringSSL": r"lib(?:boringssl|conscrypt\w*|netty_tcnative\w*)\.so",
    "wolfSSL": r"libwolfssl\.so[.\d]*",
    "Mbed TLS": r"libmbedtls\.so[.\d]*",
}
"""TLS libraries that may have no plugin, by the names of their files."""
JAVA = re.compile(r"libjvm\.so")
MARKS = {
    b"ssl/ssl_lib.cc\0": "BoringSSL",
    b"ssl/ssl_lib.c\0": "OpenSSL",
    b"/rustls-0.": "rustls",
}
"""Paths of source files, which a library leaves in a program that has it linked in, stripped or not."""
MAX_SEARCHED = 256 << 20
"""Bytes of a file that are searched for them."""
PIECE = 4 << 20
ROOT = "run it as root, or with CAP_SYS_PTRACE"


def host(
    libraries: Sequence[TlsLibrarySpec], proc: Path = Path("/proc"), places: Sequence[str] = PLACES
) -> list[Check]:
    """One line for each file that can be read or could not, and for libraries that no plugin knows."""
    if not libraries:
        fix = "pip install rover-plugin-tls-openssl, or another plugin for a TLS library"
        return [Check(SUBJECT, False, "no plugin for a TLS library is installed", fix, required=False)]
    discovery = Discovery(libraries, proc)
    for _ in discovery.installed(places):
        pass
    users: Counter[FileKey] = Counter()
    others: Counter[str] = Counter()
    for pid in processes(proc):
        for _ in discovery.process(pid):
            pass
        for each in mappings(pid, proc):
            users[each.key] += 1
            finding = discovery.findings.get(each.key)
            if (name := unknown(each.path)) and (finding is None or finding.outcome is None):
                others[name] += 1
    told = [each for each in discovery.findings.values() if each.outcome is not None]
    told.sort(key=lambda each: (-users[each.key], each.path))
    checks = [line(each, uses(users[each.key])) for each in told[:MAX_LINES]]
    if len(told) > MAX_LINES:
        checks.append(Check(SUBJECT, True, f"and {len(told) - MAX_LINES} other files", required=False))
    for name, number in sorted(others.items()):
        checks.append(Check(SUBJECT, False, f"{name} in {uses(number)}: no plugin reads it", required=False))
    return checks or [Check(SUBJECT, True, "no TLS library found", required=False, tried=False)]


def process(libraries: Sequence[TlsLibrarySpec], pid: int, proc: Path = Path("/proc")) -> list[Check]:
    """What can be read of a process, a line for each file that has to do with TLS; why nothing can, else."""
    mapped = list(mappings(pid, proc))
    if not mapped:
        if not readable(proc / str(pid) / "maps"):
            return [Check(SUBJECT, False, "what it has loaded cannot be read", ROOT, required=False)]
        return [Check(SUBJECT, False, "it runs no code from files: a kernel thread?", required=False)]
    discovery = Discovery(libraries, proc)
    for _ in discovery.process(pid):
        pass
    findings = [discovery.findings.get(each.key) for each in mapped]
    checks = [line(each) for each in findings if each is not None and each.outcome is not None]
    for each, finding in zip(mapped, findings, strict=True):
        if finding is None or finding.outcome is None:
            checks.extend(reasons(each, proc))
    if not checks:
        nothing = f"no TLS library among the {len(mapped)} files that it runs code from; clear text is read"
        checks.append(Check(SUBJECT, True, nothing, required=False))
    return checks


def reasons(mapped: Mapped, proc: Path) -> Iterator[Check]:
    """Why what a file has of TLS is not read."""
    name = os.path.basename(mapped.path)
    if JAVA.match(name):
        why = "Java compiles its TLS at run time: there is no file with functions to look at"
        yield Check(SUBJECT, False, f"{mapped.path}: {why}", required=False)
    elif library := unknown(mapped.path):
        yield Check(SUBJECT, False, f"{mapped.path}: {library}, which no plugin reads", required=False)
    else:
        with contextlib.suppress(OSError), opened(mapped, proc) as file:
            if os.pread(file.fileno(), 5, 0) == b"\x7fELF\x01":
                yield Check(SUBJECT, False, f"{mapped.path}: 32-bit programs are not read", required=False)
            elif marked := marks(file):
                finding = f"{mapped.path}: has {marked} linked in, and nothing tells where its functions are"
                yield Check(SUBJECT, False, finding, required=False)


def line(finding: Finding, used: str = "") -> Check:
    """Of a file that has probes, or a reason why it has none."""
    tail = f" ({used})" if used else ""
    if isinstance(finding.outcome, TlsProbes):
        return Check(SUBJECT, True, f"{finding.path}: {finding.outcome.library}{tail}", required=False)
    return Check(SUBJECT, False, f"{finding.path}: {finding.outcome}{tail}", required=False)


def unknown(path: str) -> str:
    """The name of a library that may have no plugin; empty for other files."""
    name = os.path.basename(path)
    return next((library for library, pattern in UNKNOWN.items() if re.fullmatch(pattern, name)), "")


def marks(file: BinaryIO) -> str:
    """The library whose texts are in a file; empty when none is."""
    overlap = max(map(len, MARKS))
    for at in range(0, MAX_SEARCHED, PIECE):
        piece = os.pread(file.fileno(), PIECE + overlap, at)
        for mark, library in MARKS.items():
            if mark in piece:
                return library
        if len(piece) < PIECE:
            break
    return ""


def readable(path: Path) -> bool:
    """Whether a file may be read."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def uses(number: int) -> str:
    """By how many processes."""
    return f"{number} process{'es' if number != 1 else ''}" if number else "not in use"
