"""Bytes as a file that costs no disk, where the system has such files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def file_of(data: bytes) -> Iterator[str]:
    """Its path, for as long as the context lasts."""
    directory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.NamedTemporaryFile(dir=directory, prefix="rover-fuzz-") as file:
        file.write(data)
        file.flush()
        yield file.name
