"""Small ELF files, made by the assembler of the host."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from rover import TlsProbes
from rover_plugin_tls_openssl.probes import find

Assemble = Callable[..., Path]


@pytest.fixture
def assemble(tmp_path: Path) -> Assemble:
    """Makes a shared library of assembler text, linked with others."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")

    def made(source: str, *options: str | Path, name: str = "libssl.so.9") -> Path:
        path = tmp_path / name
        text = tmp_path / f"{name}.s"
        text.write_text(source + '\n.section .note.GNU-stack,"",@progbits\n')
        arguments = ["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", "-Wl,-z,noexecstack"]
        subprocess.run([*arguments, "-o", path, text, *options], check=True)
        return path

    return made


def probes_of(path: Path, libraries: Path | None = None) -> TlsProbes | str | None:
    """What the plugin finds in a file; the libraries it needs are in its directory, or in another one."""
    with contextlib.ExitStack() as files:

        def needed(name: str) -> BinaryIO | None:
            other = (libraries or path.parent) / name
            return files.enter_context(other.open("rb")) if other.exists() else None

        return find(files.enter_context(path.open("rb")), needed)
