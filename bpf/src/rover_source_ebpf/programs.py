"""The C programs: their text, and their compiled form, which is kept from one run to the next."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rover_source_ebpf.bpf import TRACE_UPROBE_MULTI, TRACE_UPROBE_SESSION
from rover_source_ebpf.btf import VMLINUX
from rover_source_ebpf.cache import Cache
from rover_source_ebpf.image import File, Image
from rover_source_ebpf.machine import SYSCALLS

logger = logging.getLogger("rover.ebpf")

PACKAGE = Path(__file__).parent
C = PACKAGE / "c"
# In this order: they are compiled as one file, because bcc rewrites map accesses in that only.
SOURCES = (
    *("maps.c", "way.c", "selection.c", "mappings.c", "connection.c", "payload.c", "tls_hello.c"),
    *(
        "syscalls.c",
        "data.c",
        "open_close.c",
        "sockets.c",
        "tls_objects.c",
        "tls.c",
        "lifetime.c",
        "copies.c",
    ),
)
INCLUDES = ("wire.h", "kernel.h", "recognise.h")
INGREDIENTS = (".py", ".c", ".h")
"""Files of this package that the programs are made of, or by."""

TLS_STAGES = ("leave_tls", "leave_tls_written")
"""The last ones: they are there where TLS is read."""
STAGES = (
    "on_sys_exit",
    "leave_vector",
    "leave_messages",
    "introduce",
    "leave_opening",
    "leave_close",
    "leave_shutdown",
    "leave_unseen",
    "leave_proxied",
    *TLS_STAGES,
)
"""Programs that go on where another ends, by their number in c/syscalls.c."""
SOCKET_STAGES = (
    "leave_bytes",
    "leave_vector",
    "",
    "introduce",
    "",
    "",
    "leave_shutdown",
    "",
    "leave_proxied",
    *TLS_STAGES,
)
"""The same, where the sockets' own tracepoints are used; empty: nothing comes there."""

UPROBES = {
    "tls_enter": TRACE_UPROBE_MULTI,
    "tls_return": TRACE_UPROBE_MULTI,
    "tls_session": TRACE_UPROBE_SESSION,
}
"""Programs that are attached to places of files (c/tls.c), and how."""

SPARED = ("-g0", "-Xclang", "-disable-llvm-passes")
"""These save a third of the compiler's time, because they leave out what is not needed: line numbers, which
the kernel is not given (-g0), and clang's own optimisation, which bcc does again on what clang made."""


def source_text() -> str:
    """The programs as one file; messages name the files they come from."""
    parts = [f'#include "{name}"' for name in INCLUDES]
    for name in SOURCES:
        parts += [f'#line 1 "{name}"', (C / name).read_text()]
    return "\n".join(parts)


def image(macros: Mapping[str, int], tracepoints: Sequence[str], cache: Cache) -> Image:
    """The compiled programs for these macros and the running kernel, and what to attach them to: what every
    kernel needs, and `tracepoints`. Compiles where the cache has none. Raises RoverError."""
    macros = {"STAGES": len(STAGES), "SYSCALLS": SYSCALLS, **macros}
    key = key_of(macros, tracepoints)
    if key and (kept := read(cache, key)) is not None:
        return kept
    # Only now: none of it is needed, and resident, where the cache has the programs.
    from rover_source_ebpf.compiler import Compiler
    from rover_source_ebpf.kernel import Kernel

    with Compiler() as compiler:
        kernel = Kernel.running()  # while the compiler gets ready
        attached = kernel.tracepoints(*tracepoints, sockets=bool(macros["SOCKETS"]))
        defined = [f"-D{name}={value}" for name, value in (kernel.macros | macros).items()]
        made = compiler.compile(source_text(), [f"-I{C}", *SPARED, *defined], C / "headers")
    made = dataclasses.replace(made, tracepoints=tuple(attached))
    if key:
        cache.put(key, made.to_bytes())
    return made


def key_of(macros: Mapping[str, int], tracepoints: Sequence[str]) -> str:
    """A hash of all that the programs are made of, except the compiler, which the image itself names. Empty
    where that cannot be read."""
    hashed = hashlib.blake2b(digest_size=32)

    def add(parts: Iterable[bytes]) -> None:
        for part in parts:
            hashed.update(len(part).to_bytes(8, "little"))
            hashed.update(part)

    try:
        add(
            [
                platform.machine().encode(),
                platform.release().encode(),
                repr(sorted(macros.items())).encode(),
                repr(list(tracepoints)).encode(),
            ]
        )
        for path in sorted(PACKAGE.rglob("*")):
            if path.suffix in INGREDIENTS:
                add([str(path.relative_to(PACKAGE)).encode(), path.read_bytes()])
        with VMLINUX.open("rb", buffering=0) as types:  # where each field is
            while piece := types.read(1 << 20):
                add([piece])
    except OSError as error:
        logger.debug("no key: %s", error)
        return ""
    return hashed.hexdigest()


def read(cache: Cache, key: str) -> Image | None:
    """What the cache has, if the compiler that made it is the one that is installed."""
    document = cache.get(key)
    if document is None:
        return None
    try:
        kept = Image.from_bytes(document)
    except ValueError as error:
        logger.debug("%s: %s", key, error)
        return None
    if kept.compiler and all(is_same(file) for file in kept.compiler):
        return kept
    logger.debug("%s: another compiler", key)
    return None


def is_same(file: File) -> bool:
    """Whether the file is as it was."""
    try:
        status = os.stat(file.path)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size, file.modified)
