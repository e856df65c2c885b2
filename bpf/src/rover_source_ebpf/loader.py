"""Compiles the C programs, loads and attaches them, and reads and writes their maps."""

from __future__ import annotations

import ctypes
import errno
import functools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rover.errors import RoverError
from rover.plugins import first_line
from rover_source_ebpf.bcc_module import find_bcc
from rover_source_ebpf.machine import SYSCALLS

logger = logging.getLogger("rover.ebpf")
T = TypeVar("T")

C = Path(__file__).parent / "c"
# In this order: they are compiled as one file, because bcc rewrites map accesses in that only.
SOURCES = ("maps.c", "selection.c", "connection.c", "payload.c", "syscalls.c", "lifetime.c")
INCLUDES = ("wire.h", "kernel.h", "recognise.h")

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
)
"""Programs that go on where another ends, by their number in c/syscalls.c."""

BPF_NOEXIST, BPF_EXIST = 1, 2


def source_text() -> str:
    """The programs as one file; messages name the files they come from."""
    parts = [f'#include "{name}"' for name in INCLUDES]
    for name in SOURCES:
        parts += [f'#line 1 "{name}"', (C / name).read_text()]
    return "\n".join(parts)


class Program:
    """The loaded programs. Maps are addressed by name, keys and values are their bytes."""

    def __init__(self, macros: Mapping[str, int]) -> None:
        """Compiles. Raises RoverError with the first useful line of what the compiler says."""
        bcc = find_bcc()
        self._lib = bcc.lib
        self._kinds = bcc.BPF
        macros = {"STAGES": len(STAGES), "SYSCALLS": SYSCALLS, **macros}
        flags = [f"-I{C}", *(f"-D{name}={value}" for name, value in macros.items())]
        # Where bcc looks for kernel headers; read when it compiles, so it can be put back.
        before = os.environ.get("BCC_KERNEL_SOURCE")
        os.environ["BCC_KERNEL_SOURCE"] = str(C / "headers")
        try:
            self._bpf = explain("compile", lambda: bcc.BPF(text=source_text().encode(), cflags=flags))
        finally:
            if before is None:
                del os.environ["BCC_KERNEL_SOURCE"]
            else:
                os.environ["BCC_KERNEL_SOURCE"] = before
        self._maps: dict[str, int] = {}

    def prepare(self) -> None:
        """Loads the programs that others continue with."""
        for number, name in enumerate(STAGES):
            load = functools.partial(self._bpf.load_func, name.encode(), self._kinds.RAW_TRACEPOINT)
            loaded = explain(name, load)
            self.put("stages", number.to_bytes(4, "little"), loaded.fd.to_bytes(4, "little"))

    def attach(self, name: str) -> None:
        """A raw tracepoint, to the program `on_NAME`."""
        tracepoint, function = name.encode(), f"on_{name}".encode()
        explain(name, lambda: self._bpf.attach_raw_tracepoint(tp=tracepoint, fn_name=function))

    def descriptor(self, table: str) -> int:
        """A map's file descriptor."""
        descriptor = self._maps.get(table)
        if descriptor is None:
            descriptor = self._maps[table] = self._lib.bpf_table_fd(self._bpf.module, table.encode())
        if descriptor < 0:
            raise KeyError(table)
        return descriptor

    def put(self, table: str, key: bytes, value: bytes, flags: int = 0) -> bool:
        """Sets a value; False when BPF_EXIST or BPF_NOEXIST say no. Raises RoverError."""
        if self._lib.bpf_update_elem(self.descriptor(table), key, value, flags) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.ENOENT, errno.EEXIST):
            return False
        raise RoverError(f"the kernel refused an entry of the map {table}: {os.strerror(number)}")

    def get(self, table: str, key: bytes, size: int) -> bytes | None:
        """The value of a key, None when there is none."""
        value = ctypes.create_string_buffer(size)
        if self._lib.bpf_lookup_elem(self.descriptor(table), key, value) != 0:
            return None
        return value.raw

    def remove(self, table: str, key: bytes) -> None:
        """Removes a key, if it is there."""
        self._lib.bpf_delete_elem(self.descriptor(table), key)

    def keys(self, table: str, size: int) -> Iterator[bytes]:
        """The keys of a map; one that changes meanwhile may yield some twice or not at all."""
        descriptor, key = self.descriptor(table), ctypes.create_string_buffer(size)
        following = ctypes.create_string_buffer(size)
        more = self._lib.bpf_get_next_key(descriptor, None, following)
        while more == 0:
            key.raw = following.raw
            yield key.raw
            more = self._lib.bpf_get_next_key(descriptor, key, following)

    def detach(self) -> None:
        """Runs no more."""
        for name in list(self._bpf.raw_tracepoint_fds):
            self._bpf.detach_raw_tracepoint(name)

    def close(self) -> None:
        """Detaches and unloads everything."""
        self._bpf.cleanup()


def explain(what: str, action: Callable[[], T]) -> T:
    """Runs what may make bcc print to stderr; turns its failure into one line.

    What it printed goes to the log (DEBUG): a compiler's warnings, the verifier's whole account.
    """
    with captured_stderr() as output:
        try:
            return action()
        except Exception as error:
            failure = error
        finally:
            printed = output()
            if printed.strip():
                logger.debug("%s:\n%s", what, printed)
    raise RoverError(
        f"the kernel side could not be set up ({what}): {useful_line(printed) or first_line(failure)}"
    )


def useful_line(printed: str) -> str:
    """The line of a compiler's or the verifier's output that says what is wrong."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    for line in lines:
        if " error: " in line or line.startswith("error: "):
            return line
    # The verifier's verdict stands before its closing statistics.
    verdicts = [line for line in lines if not line.startswith(("processed ", "HINT:"))]
    return verdicts[-1] if verdicts else ""


@contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Descriptor 2 goes to a file: bcc's C++ half prints past sys.stderr."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        restored = False

        def output() -> str:
            nonlocal restored
            if not restored:
                os.dup2(saved, 2)
                os.close(saved)
                restored = True
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield output
        finally:
            output()
