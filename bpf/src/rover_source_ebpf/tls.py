"""Probes in TLS libraries: attached to files, and let go of.

The programs are those of c/tls.c. One link holds all places of a file that one program looks at. Closing it
takes the probes away within milliseconds, where one link for each place would take a tenth of a second each.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import threading

from rover.contracts.tls_library import Convention, Moment, TlsProbe, TlsProbes
from rover_source_ebpf import bpf, perf_uprobes
from rover_source_ebpf.loader import Program

PROBE = struct.Struct("=8B7H2x")
"""struct tls_probe of c/tls_objects.c: function; numbers of the arguments with the object, the bytes, their
number and where the moved ones are told (plus 1); goroutines, counts, typed; offsets rbio, wbio, num_read,
num_written, kind, random, through."""
MAX_PROBES = 1024
"""Different ones: those of one library's versions are much alike, and files of one version have the same."""
MAX_FILES = 4096
"""Files that processes run code from, of which the kernel tells once each; it forgets the oldest first."""
MAPPED = struct.Struct("=QII")
"""struct tls_mapped of c/mappings.c: inode, device (as the kernel numbers it), pid. Inode 0: of no certain
file; then BEGUN may stand for the device."""
BEGUN, NESTED, UNPLACED = 1, 8, 16
"""The process is watched from now on (only where processes are selected); a connection of it was found by a
socket call within a call of the library; it has plaintext whose connection is not known. The last two are
told once of each process."""
OTHERS = "tls_others"
"""The map with the number of times that a process which is not watched has hit a probe, by processor."""
FILE = struct.Struct("=QI4x")
"""struct tls_file of c/mappings.c: inode, device."""
MAPPED_BYTES = 65536
"""Of the ring for these."""
MAX_HELPERS = 512
"""Threads that close links, when there are many: two for each of 256 files. They do nothing but wait."""
NOTHING = bytes.fromhex("b700000000000000 9500000000000000")
"""A program: it returns 0."""
UNSUPPORTED = "this kernel has no uprobes: CONFIG_UPROBE_EVENTS is not set, or /sys is not mounted"


class ManyProbesError(Exception):
    """More different probes than the table holds."""


def why_unsupported() -> str:
    """Why this kernel cannot have the probes; empty when it can."""
    if are_one_by_one():
        return "" if perf_uprobes.are_there() else UNSUPPORTED
    try:
        attach_nothing(bpf.TRACE_UPROBE_MULTI)
    except OSError as error:
        return f"this kernel takes no uprobe programs: {error.strerror}"
    return ""


def are_one_by_one() -> bool:
    """Whether this kernel has no links of many places of a file: older than Linux 6.6."""
    try:
        attach_nothing(bpf.TRACE_UPROBE_MULTI)
    except OSError as error:
        return error.errno == errno.EINVAL
    return False


def has_sessions() -> bool:
    """Whether one program may be told of a function's beginning and, if it likes, of its end."""
    try:
        attach_nothing(bpf.TRACE_UPROBE_SESSION)
    except OSError:
        return False
    return True


def attach_nothing(attach: int) -> None:
    """Tries a program of an attach type on a file that is not there. Raises OSError for any other reason why
    that fails."""
    program = bpf.load("tls", NOTHING, bpf.PROG_TYPE_KPROBE, attach)
    try:
        with contextlib.suppress(FileNotFoundError):  # the kernel has looked for the file
            os.close(bpf.link_uprobes(program, "/nowhere/at/all", [(0, 0)], attach=attach))
    finally:
        os.close(program)


class Probes:
    """The probes in all files. Used from one thread at a time."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._numbers: dict[bytes, int] = {}

    def attach(self, path: str, found: TlsProbes, pid: int = 0) -> list[int]:
        """All probes of a file, in every process that runs code from it, or only in one; descriptors, which
        hold them until they are closed. Raises OSError, ManyProbesError."""
        at: dict[Moment, dict[int, int]] = {moment: {} for moment in Moment}
        fresh: dict[bytes, int] = {}
        for probe in found.probes:
            at[probe.moment][probe.offset] = self._number(packed(probe, found), fresh)
        both: dict[int, int] = {}
        # A session spares others the second trap. In one process there are none, and it would not be told of
        # the end of calls that began before it was there.
        if not pid and self._program.has("tls_session"):
            both = dict(at[Moment.ENTRY].items() & at[Moment.RETURN].items())
        places = {
            ("tls_session", False): both.items(),
            ("tls_return", True): at[Moment.RETURN].items() - both.items(),
            ("tls_return", False): at[Moment.LEAVE].items(),
            ("tls_enter", False): at[Moment.ENTRY].items() - both.items(),
        }
        links: list[int] = []
        try:
            # Returns first: a call that is seen beginning is seen ending.
            for (program, on_return), each in places.items():
                if each:
                    link = self._program.attach_to_file(
                        program, path, sorted(each), on_return=on_return, pid=pid
                    )
                    links.append(link)
        except OSError:
            detach(links)
            raise
        finally:
            # Probes come into a file one after the other, within milliseconds. Nothing is made of them until
            # all are there: else a request is seen to be read, and its response not to be written.
            for content, number in fresh.items():
                self._program.put("tls_probes", number.to_bytes(4, "little"), content)
        return links

    def _number(self, probe: bytes, fresh: dict[bytes, int]) -> int:
        """Of what a probe is; `fresh` gets those that the programs have not been told of."""
        number = self._numbers.get(probe)
        if number is None:
            number = len(self._numbers)
            if number == MAX_PROBES:
                raise ManyProbesError(f"{MAX_PROBES} different probes are attached already")
            self._numbers[probe] = fresh[probe] = number
        return number


def detach(links: list[int]) -> None:
    """Takes the probes away, once: two threads may do so at a time. All links are closed at a time: for each
    the kernel waits some 40 ms until nobody is in a probe any more, and can wait for all of them at once.
    What is said in this time may be lost."""
    helpers = []
    with contextlib.suppress(RuntimeError):  # no more threads are allowed: it takes longer
        for _ in range(min(len(links), MAX_HELPERS) - 1):
            helper = threading.Thread(target=close_all, args=(links,), name="rover-tls-end", daemon=True)
            helper.start()
            helpers.append(helper)
    close_all(links)
    for helper in helpers:
        helper.join()


def close_all(links: list[int]) -> None:
    """Closes what is left of them."""
    while links:
        with contextlib.suppress(IndexError):
            os.close(links.pop())


def packed(probe: TlsProbe, found: TlsProbes) -> bytes:
    """As c/tls_objects.c has it."""
    bio = found.bio
    offsets = (bio.rbio, bio.wbio, bio.num_read, bio.num_written, bio.kind or 0) if bio else (0, 0, 0, 0, 0)
    random = (*reversed(bio.client_random), 0, 0) if bio else (0, 0)
    return PROBE.pack(
        probe.function,
        probe.object - 1,
        probe.buffer - 1,
        probe.size - 1,
        probe.moved,
        found.convention == Convention.GO,
        bio is not None,
        bio is not None and bio.kind is not None,
        *offsets,
        *random[:2],
    )
