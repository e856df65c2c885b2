"""Makes the maps, loads and attaches the compiled programs, and reads and writes their maps."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence

from rover.errors import RoverError
from rover_source_ebpf import bpf, perf_uprobes
from rover_source_ebpf.image import Function, Image
from rover_source_ebpf.programs import UPROBES
from rover_source_ebpf.verdict import last_lines, useful_line

logger = logging.getLogger("rover.ebpf")

BPF_NOEXIST, BPF_EXIST = bpf.NOEXIST, bpf.EXIST
MAX_LOADERS = 4
"""Programs that are loaded at a time: beyond it the longest one decides how long all take."""


class RefusedError(RoverError):
    """The kernel did not make a map, or did not take a program, or did not attach one."""

    def __init__(self, message: str, last_lines: Sequence[str]) -> None:
        super().__init__(message)
        self.last_lines = last_lines
        """Of the verifier's account; none when it had no part in it."""


class Program:
    """The loaded programs. Maps are addressed by name, keys and values are their bytes."""

    def __init__(self, image: Image, *, one_by_one: bool = False) -> None:
        """Makes the maps. `one_by_one`: this kernel has no links of many places of a file. Raises
        RoverError."""
        self._image = image
        self._one_by_one = one_by_one
        self._maps: dict[str, int] = {}
        self._programs: dict[str, int] = {}
        self._attached: dict[str, int] = {}
        self._links: dict[str, int] = {}
        for each in image.maps:
            try:
                self._maps[each.name] = bpf.create_map(
                    each.name, each.kind, each.key_size, each.value_size, each.entries, each.flags
                )
            except OSError as error:
                self.close()
                raise refusal(f"map {each.name}, {each.entries} entries", error) from None

    def load(self) -> None:
        """All programs, as many at a time as there are processors. Raises RoverError with the verifier's
        verdict."""
        descriptors = [self._maps[each.name] for each in self._image.maps]
        # The long ones first: they take as long as all others together.
        waiting = sorted(self._image.functions, key=lambda each: len(each.instructions))
        refusals: list[tuple[str, OSError]] = []

        def load(function: Function) -> None:
            try:
                code = function.linked(descriptors)
                attach = UPROBES.get(function.name)
                kind = () if attach is None else (bpf.PROG_TYPE_KPROBE, 0 if self._one_by_one else attach)
                self._programs[function.name] = bpf.load(function.name, code, *kind)
            except OSError as error:
                refusals.append((function.name, error))

        def work() -> None:
            while not refusals:
                try:
                    function = waiting.pop()
                except IndexError:
                    return
                load(function)

        # The verifier is a system call, so that others' Python runs on.
        helpers = [
            threading.Thread(target=work, name="rover-load", daemon=True)
            for _ in range(min(len(os.sched_getaffinity(0)), MAX_LOADERS) - 1)
        ]
        for helper in helpers:
            helper.start()
        work()
        for helper in helpers:
            helper.join()
        for name, error in refusals:
            if isinstance(error, bpf.VerifierError) and error.log:
                logger.debug("%s:\n%s", name, error.log)
        if refusals:
            raise refusal(*refusals[0])

    def continue_with(self, stages: tuple[str, ...]) -> None:
        """Programs that go on where another ends, by their number, where it has a name. Raises RoverError."""
        for number, name in enumerate(stages):
            if name:
                program = self._programs[name].to_bytes(4, "little")
                self.put("stages", number.to_bytes(4, "little"), program)

    def attach(self, name: str) -> None:
        """The program `on_NAME` to its raw tracepoint: what stands before a `__` in the name. Raises
        RoverError."""
        program = self._programs[f"on_{name}"]
        try:
            self._links[name] = bpf.open_raw_tracepoint(name.partition("__")[0], program)
        except OSError as error:
            raise refusal(name, error) from None
        self._attached[name] = program

    def attach_to_file(
        self, name: str, path: str, places: Sequence[tuple[int, int]], *, on_return: bool, pid: int = 0
    ) -> int:
        """A program of UPROBES to places of a file, each (offset, cookie), until the returned descriptor is
        closed; in one process only where `pid` is not 0, which one by one is not done. Raises OSError."""
        if self._one_by_one:
            return perf_uprobes.attach(self._programs[name], path, places, on_return=on_return)
        return bpf.link_uprobes(
            self._programs[name], path, places, on_return=on_return, attach=UPROBES[name], pid=pid
        )

    def has(self, name: str) -> bool:
        """Whether a program is loaded."""
        return name in self._programs

    def programs(self) -> Mapping[str, int]:
        """Descriptors of the programs that were attached, by the names they were attached by. They stay this
        object's, until it is closed."""
        return self._attached

    @property
    def loaded(self) -> int:
        """How many programs the kernel has taken."""
        return len(self._programs)

    def descriptor(self, table: str) -> int:
        """A map's file descriptor. Raises KeyError."""
        return self._maps[table]

    def put(self, table: str, key: bytes, value: bytes, flags: int = 0) -> bool:
        """Sets a value; False when BPF_EXIST or BPF_NOEXIST say no. Raises RoverError."""
        try:
            bpf.update(self._maps[table], key, value, flags)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EEXIST):
                return False
            raise RoverError(f"the kernel refused an entry of the map {table}: {error.strerror}") from None
        return True

    def get(self, table: str, key: bytes, size: int) -> bytes | None:
        """The value of a key, None when there is none. `size`: all bytes of it, for every processor."""
        return bpf.lookup(self._maps[table], key, size)

    def remove(self, table: str, key: bytes) -> None:
        """Removes a key, if it is there."""
        with contextlib.suppress(OSError):
            bpf.delete(self._maps[table], key)

    def keys(self, table: str, size: int) -> Iterator[bytes]:
        """The keys of a map; one that changes meanwhile may yield some twice or not at all."""
        return bpf.keys(self._maps[table], size)

    def detach(self) -> None:
        """Stops the programs, unless a process that was forked from this one still holds the descriptors."""
        close_all(self._links)

    def close(self) -> None:
        """Detaches and unloads everything."""
        self._attached.clear()
        for descriptors in (self._links, self._programs, self._maps):
            close_all(descriptors)


def close_all(descriptors: dict[str, int]) -> None:
    """Those, once."""
    while descriptors:
        _, descriptor = descriptors.popitem()
        with contextlib.suppress(OSError):
            os.close(descriptor)


def refusal(what: str, error: OSError) -> RefusedError:
    """In one line: the verifier's verdict, or else what the kernel says."""
    log = error.log if isinstance(error, bpf.VerifierError) else ""
    verdict = useful_line(log) or error.strerror
    return RefusedError(f"the kernel side could not be set up ({what}): {verdict}", last_lines(log))
