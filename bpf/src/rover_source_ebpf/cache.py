"""Keeps what was compiled, in a directory of this user's own.

What is kept is given to the kernel with this user's privileges, so nothing is taken from a directory or a
file that somebody else owns or may write to. Anything else that is wrong, such as a full disk or a file
that is cut short, costs only the time to compile: nothing here raises.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger("rover.ebpf")

SYSTEM = Path("/var/cache/rover")
"""Root's. Not below its home, which sudo may leave at the user's."""
SUFFIX = ".image"
TEMPORARY = ".new"
KEPT = 16
"""Entries: one for each combination of settings and selection that is really used. Each has some 100 kB."""
MAX_SIZE = 16 << 20
"""Bytes of an entry that are read."""
ABANDONED = 3600
"""Seconds after which a file that was begun and not finished counts as abandoned."""
OTHERS = stat.S_IWGRP | stat.S_IWOTH
HASH = 64
"""Characters of a hash."""


def directory(environment: Mapping[str, str], user: int) -> Path | None:
    """Where this user's entries are; None where there is no place.

    A service manager's (systemd.exec(5), CacheDirectory=), root's, or XDG Base Directory's.
    """
    given = environment.get("CACHE_DIRECTORY", "").split(":")[0]
    if os.path.isabs(given):
        return Path(given)
    if user == 0:
        return SYSTEM
    for variable, below in (("XDG_CACHE_HOME", "rover"), ("HOME", ".cache/rover")):
        if os.path.isabs(place := environment.get(variable, "")):
            return Path(place) / below
    return None


class Cache:
    """Entries by key, a hash of everything that an entry was made of."""

    def __init__(self, path: Path | None) -> None:
        """None: nothing is kept."""
        self.path = path

    @classmethod
    def of_this_user(cls) -> Cache:
        """Wherever that is."""
        return cls(directory(os.environ, os.geteuid()))

    def get(self, key: str) -> bytes | None:
        """What was put under the key, if it exists and is whole."""
        place = self._open()
        if place is None:
            return None
        try:
            content = read(key + SUFFIX, place)
            os.utime(key + SUFFIX, dir_fd=place, follow_symlinks=False)  # the youngest are kept
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError):
                logger.debug("%s: not used: %s", self.path, error)
            return None
        finally:
            os.close(place)
        whole, _, document = content.partition(b"\n")
        if whole.decode(errors="replace") != checksum(key, document):
            logger.debug("%s: %s is damaged", self.path, key)
            return None
        return document

    def put(self, key: str, document: bytes) -> None:
        """Keeps it, and makes room."""
        if self.path is None:
            return
        with contextlib.suppress(OSError):  # it shows in what follows
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            self.path.mkdir(mode=0o700)
        place = self._open()
        if place is None:
            return
        try:
            write(key + SUFFIX, checksum(key, document).encode() + b"\n" + document, place)
            clean(place)
        except OSError as error:
            logger.debug("%s: nothing is kept: %s", self.path, error)
        finally:
            os.close(place)

    def _open(self) -> int | None:
        """The directory's descriptor, if it is only ours."""
        if self.path is None:
            return None
        try:
            # A link is followed: systemd makes one for a service with DynamicUser=. Wherever it leads, the
            # directory has to be ours.
            place = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.debug("no cache: %s", error)
            return None
        if why := foreign(os.fstat(place)):
            logger.warning("%s is not used: %s; remove it, or set CACHE_DIRECTORY", self.path, why)
            os.close(place)
            return None
        return place


def foreign(status: os.stat_result) -> str:
    """Why somebody else may have written it; empty if nobody may."""
    if status.st_uid != os.geteuid():
        return f"it belongs to user {status.st_uid}"
    if status.st_mode & OTHERS:
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):o})"
    return ""


def checksum(key: str, document: bytes) -> str:
    """Of an entry: the same bytes under another key are no entry."""
    return hashlib.blake2b(key.encode() + b"\n" + document, digest_size=HASH // 2).hexdigest()


def read(name: str, place: int) -> bytes:
    """A file's bytes. Raises OSError, and ValueError for what is no file of ours."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe's open would wait
    descriptor = os.open(name, flags, dir_fd=place)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no regular file")
        if why := foreign(status):
            raise ValueError(why)
        if status.st_size > MAX_SIZE:
            raise ValueError(f"{status.st_size} bytes")
        return file.read(MAX_SIZE)


def write(name: str, content: bytes, place: int) -> None:
    """Writes a file, as a whole or not at all. Raises OSError."""
    temporary = f"{name}.{os.getpid()}{TEMPORARY}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=place)  # of a process that had this number and was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, 0o600, dir_fd=place), "wb") as file:
            file.write(content)
        os.rename(temporary, name, src_dir_fd=place, dst_dir_fd=place)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=place)
        raise


def clean(place: int) -> None:
    """Removes the entries that were not used for longest, and what was abandoned. Raises OSError."""
    entries, now = [], time.time()
    for name in os.listdir(place):
        if not name.endswith((SUFFIX, TEMPORARY)):
            continue  # not ours
        with contextlib.suppress(OSError):
            status = os.stat(name, dir_fd=place, follow_symlinks=False)
            if name.endswith(SUFFIX):
                entries.append((status.st_mtime, name))
            elif now - status.st_mtime > ABANDONED:
                os.unlink(name, dir_fd=place)
    for _, name in sorted(entries, reverse=True)[KEPT:]:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=place)
