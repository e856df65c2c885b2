"""Where GnuTLS is looked at: in files that have its functions, in this host's library, in damaged ones."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Convention, Moment, TlsFunction, TlsProbes
from rover.plugins.tls_library import checked_probes
from rover.testing.damage import overwritten
from rover_plugin_tls_gnutls.probes import FREE, KINDS, find

LIBRARY = next(
    (
        path
        for directory in ("/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib")
        if (path := Path(directory, "libgnutls.so.30")).exists()
    ),
    None,
)
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A shared library of functions that begin with an instruction of their own."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")

    def made(names: list[str], first: str = "") -> Path:
        path, text = tmp_path / "libgnutls.so.30", tmp_path / "library.s"
        functions = [
            f".globl {name}\n.type {name}, @function\n{name}: {first}\nret\n.size {name}, .-{name}"
            for name in names
        ]
        version = '.section .rodata\n.string "3.7"\n.string "3.99.1"\n.section .note.GNU-stack,"",@progbits\n'
        text.write_text("\n".join([".text", *functions, version]))
        subprocess.run(["gcc", "-shared", "-nostdlib", "-o", path, text], check=True)
        return path

    return made


def probes_of(path: Path) -> TlsProbes | str | None:
    with path.open("rb") as file:
        return find(file, lambda name: None)


def offsets(path: Path) -> dict[str, int]:
    lines = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout.splitlines()
    return {parts[2]: int(parts[0], 16) for parts in map(str.split, lines) if len(parts) == 3}


@pytest.mark.parametrize(("first", "behind"), [("", 0), ("endbr64", 4)])
def test_every_function_is_probed_at_both_ends(make: Make, first: str, behind: int) -> None:
    path = make(list(KINDS), first)
    at = offsets(path)
    probes = probes_of(path)
    assert isinstance(probes, TlsProbes)
    assert checked_probes(probes) == probes
    expected = {
        (at[name] + behind, kind, moment, 0)
        for name, kind in KINDS.items()
        for moment in (Moment.ENTRY, Moment.RETURN)
        if name != "gnutls_record_send" and (name, moment) != (FREE, Moment.RETURN)
    }
    assert {(each.offset, each.function, each.moment, each.moved) for each in probes.probes} == expected
    assert len(probes.probes) == len(expected)
    assert (probes.library, probes.convention, probes.bio) == ("GnuTLS 3.99.1", Convention.SYSV, None)


def test_before_3_6_3_there_is_one_function_that_sends(make: Make) -> None:
    path = make(
        ["gnutls_record_recv", "gnutls_record_send", "gnutls_handshake", "gnutls_bye", "gnutls_deinit"]
    )
    probes = probes_of(path)
    assert isinstance(probes, TlsProbes)
    writes = {probe.offset for probe in probes.probes if probe.function is TlsFunction.WRITE}
    assert writes == {offsets(path)["gnutls_record_send"]}


@pytest.mark.parametrize("names", [["gnutls_record_recv"], ["gnutls_record_send"], ["main"]])
def test_a_file_without_gnutls(make: Make, names: list[str]) -> None:
    assert probes_of(make(names)) is None


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", bytes(4096)])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert probes_of(path) is None


@pytest.mark.skipif(LIBRARY is None, reason="no GnuTLS on this host")
def test_the_library_of_this_host() -> None:
    assert LIBRARY is not None
    probes = probes_of(LIBRARY)
    assert isinstance(probes, TlsProbes)
    assert probes.library.startswith("GnuTLS 3.")
    kinds = {probe.function for probe in probes.probes}
    assert kinds == {TlsFunction.READ, TlsFunction.WRITE, TlsFunction.OTHER, TlsFunction.FREE}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    if LIBRARY is None:
        pytest.skip("no GnuTLS on this host")
    return LIBRARY.read_bytes(), tmp_path_factory.mktemp("damaged") / "libgnutls.so.30"


CHANGES = st.lists(
    st.tuples(st.one_of(st.integers(0, 1023), st.integers(-3000, -1)), st.binary(min_size=1, max_size=16)),
    max_size=20,
)
"""In the header, or in the table of sections, which is at the file's end."""


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES, cut=st.one_of(st.none(), st.integers(0, 2_000_000)))
def test_damaged_files_are_no_failure(
    whole: tuple[bytes, Path], changes: list[tuple[int, bytes]], cut: int | None
) -> None:
    """Whatever is in a file: probes that a source can set, a reason, or nothing; in bounded time."""
    content, path = whole
    damaged = overwritten(content, changes)
    path.write_bytes(damaged[:cut])
    began = time.process_time()
    checked_probes(probes_of(path))
    assert time.process_time() - began < 10
