"""What servers that speak TLS are started with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import free_port, make_certificate
from tls_peers import COUNT, Place


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("certificate")
    files = make_certificate(directory)
    (directory / "both.pem").write_bytes(files[0].read_bytes() + files[1].read_bytes())
    return files


@pytest.fixture
def place(certificate: tuple[Path, Path]) -> Iterator[Place]:
    """Outside of pytest's own directory, which servers that give up root may not enter."""
    with tempfile.TemporaryDirectory(prefix="rover-tls-") as made:
        directory = Path(made)
        (directory / "www").mkdir()
        for each in (directory / "www", directory):
            each.chmod(0o755)
        for size in range(1, COUNT + 1):
            (directory / "www" / str(size)).write_bytes(b"x" * size)
        yield Place(free_port(), directory, *certificate)
