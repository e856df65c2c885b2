"""Which files hold TLS libraries: those that processes run code from, looked at once each.

A file is known by its device and inode, as it is to the kernel's probes: whatever path a process sees it by,
in whatever container, also after it was deleted or replaced. It is opened through /proc/PID/map_files, which
leads to the mapped file itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from rover.contracts.tls_library import TlsLibrarySpec, TlsProbes

MAX_MAPS = 16 << 20
"""Bytes read of one process's mappings: some 100,000 of them."""
MAX_FILES = 65_536
"""Files whose outcome is remembered; the oldest are forgotten first, and looked at again."""
MAX_NEEDED = 16
"""Libraries opened for one file."""
MAPPING = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ..x. [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) ([1-9][0-9]*) +(.*)$", re.MULTILINE
)
"""A line of /proc/PID/maps that is of machine code in a file (proc(5)): addresses, device, inode, path."""
ESCAPED = re.compile(r"\\(\d{3})")
DELETED = " (deleted)"
PLACES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib")
"""Directories of shared libraries; a distribution has those of each architecture below."""
LIKELY = re.compile(r"lib(?:ssl|gnutls)(?:-[0-9a-f]+)?\.so\.[\w.]+")
"""Libraries that programs which have not begun yet will load: they are looked at before anybody does."""


class FileKey(NamedTuple):
    """A file, whatever its path."""

    device: int
    """Major number << 20 | minor number, as the kernel has it."""
    inode: int


class Mapped(NamedTuple):
    """A file that a process runs code from."""

    key: FileKey
    path: str
    """As the process sees it, for people."""
    pid: int
    start: int
    end: int
    """Addresses of a mapping of it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What the plugins say of a file."""

    key: FileKey
    path: str
    library: str
    """The name of the library's plugin; empty where none has found its own in it."""
    outcome: TlsProbes | str | None
    """Probes, the reason why there are none, or None when it has no TLS library that is known."""


class Discovery:
    """Finds TLS libraries in files. Used from one thread at a time; it reads files, and may take a second."""

    def __init__(self, libraries: Sequence[TlsLibrarySpec], proc: Path = Path("/proc")) -> None:
        self._libraries = libraries
        self._proc = proc
        self._known: dict[FileKey, Finding] = {}

    @property
    def findings(self) -> Mapping[FileKey, Finding]:
        """Of all files that were looked at."""
        return self._known

    def forget(self, key: FileKey) -> None:
        """The file is to be looked at again when it is met the next time."""
        self._known.pop(key, None)

    def running(self, watched: Callable[[int], bool] | None = None) -> Iterator[tuple[Finding, BinaryIO]]:
        """New files with probes of all processes, or of those that are watched, as `process` gives them."""
        for pid in processes(self._proc):
            if watched is None or watched(pid):
                yield from self.process(pid)

    def process(self, pid: int) -> Iterator[tuple[Finding, BinaryIO]]:
        """New files with probes of a process, each once in all, and open while it is the current one: by
        /proc/self/fd it can be attached to, also when the process has ended. What other files there are is
        among the `findings`."""
        mapped = list(mappings(pid, self._proc))
        # What is likely comes first: a process that has just begun may not live until all are looked at.
        for each in sorted(mapped, key=lambda each: not LIKELY.fullmatch(os.path.basename(each.path))):
            if each.key not in self._known:
                yield from self._look(each, mapped)

    def has(self, pid: int, key: FileKey) -> bool:
        """Whether a process runs code from a file, and the file has been looked at."""
        return key in self._known and any(each.key == key for each in mappings(pid, self._proc))

    def installed(self, places: Iterable[str] = PLACES) -> Iterator[tuple[Finding, BinaryIO]]:
        """New files with probes among the shared libraries of this host, as `process` gives them."""
        for path in likely(places):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                key = key_of(file)
                if key not in self._known:
                    yield from self._found(key, path, file, Beside(path))

    def _look(self, mapped: Mapped, others: Sequence[Mapped]) -> Iterator[tuple[Finding, BinaryIO]]:
        try:
            file = opened(mapped, self._proc)
        except FileNotFoundError:
            return  # the process has ended, or has let go of it
        except OSError as error:
            # Not to be tried again at each of its mappings in each process.
            self._keep(Finding(mapped.key, mapped.path, "", f"it cannot be opened: {error.strerror}"))
            return
        with file:
            yield from self._found(mapped.key, mapped.path, file, Loaded(others, self._proc))

    def _found(
        self, key: FileKey, path: str, file: BinaryIO, needed: Needed
    ) -> Iterator[tuple[Finding, BinaryIO]]:
        with needed:
            finding = self._asked(key, path, file, needed)
        self._keep(finding)
        if isinstance(finding.outcome, TlsProbes):
            yield finding, file

    def _asked(self, key: FileKey, path: str, file: BinaryIO, needed: Needed) -> Finding:
        """The first library that is found, else the first reason."""
        finding = Finding(key, path, "", None)
        for spec in self._libraries:
            outcome = spec.find(file, needed.open)
            if isinstance(outcome, TlsProbes):
                return Finding(key, path, spec.name, outcome)
            if outcome is not None and finding.outcome is None:
                finding = Finding(key, path, spec.name, outcome)
        return finding

    def _keep(self, finding: Finding) -> None:
        if len(self._known) >= MAX_FILES:
            del self._known[next(iter(self._known))]
        self._known[finding.key] = finding


class Needed:
    """Opens the libraries that a file needs, and closes them all."""

    def __init__(self) -> None:
        self._files = contextlib.ExitStack()
        self._opened = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def open(self, name: str) -> BinaryIO | None:
        """A library of this file's name; None when there is none."""
        self._opened += 1
        if self._opened > MAX_NEEDED or "/" in name:
            return None
        try:
            file = self._find(name)
        except OSError:
            return None
        return self._files.enter_context(file) if file is not None else None

    def _find(self, name: str) -> BinaryIO | None:
        raise NotImplementedError


class Loaded(Needed):
    """Among what a process has mapped."""

    def __init__(self, mapped: Sequence[Mapped], proc: Path) -> None:
        super().__init__()
        self._mapped = mapped
        self._proc = proc

    def _find(self, name: str) -> BinaryIO | None:
        named = [(os.path.basename(each.path.removesuffix(DELETED)), each) for each in self._mapped]
        # Links are not in paths: libcrypto.so.1.1 may be one to libcrypto.so.1.1.1w.
        found = [each for file, each in named if file == name] or [
            each for file, each in named if file.startswith(f"{name}.")
        ]
        return opened(found[0], self._proc) if found else None


class Beside(Needed):
    """In the directory of a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._directory = os.path.dirname(path)

    def _find(self, name: str) -> BinaryIO | None:
        return open(os.path.join(self._directory, name), "rb")


# -- /proc -------------------------------------------------------------------------------------


def processes(proc: Path = Path("/proc")) -> list[int]:
    """All that there are, in order."""
    return sorted(int(name) for name in os.listdir(proc) if name.isdigit())


def mappings(pid: int, proc: Path = Path("/proc")) -> Iterator[Mapped]:
    """The files that a process runs code from, each once; none when it may not be looked at."""
    try:
        with open(proc / str(pid) / "maps", "rb") as maps:
            content = maps.read(MAX_MAPS)
    except OSError:
        return
    seen = set()
    for start, end, major, minor, inode, path in MAPPING.findall(content):
        key = FileKey(int(major, 16) << 20 | int(minor, 16), int(inode))
        if key not in seen:
            seen.add(key)
            shown = ESCAPED.sub(lambda match: chr(int(match[1], 8)), path.decode(errors="replace"))
            yield Mapped(key, shown, pid, int(start, 16), int(end, 16))


def opened(mapped: Mapped, proc: Path = Path("/proc")) -> BinaryIO:
    """The file of a mapping. Raises OSError.

    Without CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE the kernel refuses the way through map_files. Then it is
    opened by its path, if that still leads to it.
    """
    process = proc / str(mapped.pid)
    try:
        return open(process / "map_files" / f"{mapped.start:x}-{mapped.end:x}", "rb")
    except PermissionError as error:
        refused = error
    # The process's own root, then ours, where it may not be looked at.
    for path in (f"{process}/root{mapped.path}", mapped.path):
        with contextlib.suppress(OSError):
            file = open(path, "rb")  # noqa: SIM115
            if os.fstat(file.fileno()).st_ino == mapped.key.inode:
                return file
            file.close()
    raise refused


def key_of(file: BinaryIO) -> FileKey:
    """Of an open file."""
    status = os.fstat(file.fileno())
    return FileKey(os.major(status.st_dev) << 20 | os.minor(status.st_dev), status.st_ino)


# -- what lies there ---------------------------------------------------------------------------


def likely(places: Iterable[str]) -> list[str]:
    """Paths of shared libraries, by their names, in these directories and in those below them for each
    architecture; links are followed, and each file is there once."""
    found = set()
    for place in places:
        for directory in (place, *(os.path.join(place, each) for each in listed(place) if "-linux-" in each)):
            for name in listed(directory):
                if LIKELY.fullmatch(name):
                    found.add(os.path.realpath(os.path.join(directory, name)))
    return sorted(found)


def listed(directory: str) -> list[str]:
    """Of a directory, if it may be read."""
    try:
        return os.listdir(directory)
    except OSError:
        return []
