"""ELF files: what plugins for TLS libraries read of them, and that no file makes that fail or last."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover.files import elf as elf_file
from rover.files.elf import Elf, ElfError, Function, opened
from rover.testing.damage import overwritten

Assemble = Callable[..., Path]

SOURCE = """
.text
.globl first, SSL_read, my_SSL_read, guarded
.type first, @function
first: push %rbx; call outside@PLT; pop %rbx; ret
.size first, .-first
.type my_SSL_read, @function
my_SSL_read: nop; ret
.size my_SSL_read, .-my_SSL_read
.type SSL_read, @function
SSL_read: sub $8, %rsp; add $8, %rsp; ret
.size SSL_read, .-SSL_read
.type hidden, @function
hidden: xor %eax, %eax; ret
.size hidden, .-hidden
.type guarded, @function
guarded: endbr64; ret
.size guarded, .-guarded
.data
.globl table
.type table, @object
table: .quad 1
.size table, 8
.section .note.GNU-stack,"",@progbits
"""
NAMES = ("first", "SSL_read", "my_SSL_read", "hidden", "guarded", "table", "outside", "nowhere")


@pytest.fixture
def assemble(tmp_path: Path) -> Assemble:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")

    def made(source: str = SOURCE, *options: str | Path, name: str = "library.so") -> Path:
        path, text = tmp_path / name, tmp_path / f"{name}.s"
        text.write_text(source)
        subprocess.run(["gcc", "-shared", "-nostdlib", "-o", path, text, *options], check=True)
        return path

    return made


def nm(path: Path) -> dict[str, int]:
    lines = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout.splitlines()
    return {parts[2]: int(parts[0], 16) for parts in map(str.split, lines) if len(parts) == 3}


@pytest.fixture
def library(assemble: Assemble) -> Path:
    return assemble()


def test_functions_by_name(library: Path) -> None:
    """Exported and local ones, no data and none of another library; a longer name's end is another name."""
    with library.open("rb") as file:
        found = opened(file).functions(*NAMES)
    at = nm(library)
    assert {name: function.address for name, function in found.items()} == {
        name: at[name] for name in ("first", "SSL_read", "my_SSL_read", "hidden", "guarded")
    }


def test_what_is_stripped_has_its_exported_functions(library: Path) -> None:
    subprocess.run(["strip", library], check=True)
    with library.open("rb") as file:
        assert set(opened(file).functions(*NAMES)) == {"first", "SSL_read", "my_SSL_read", "guarded"}


def test_code_and_where_it_is_probed(library: Path) -> None:
    content = library.read_bytes()
    with library.open("rb") as file:
        elf = opened(file)
        functions = elf.functions("SSL_read", "guarded")
        code = elf.code(functions["SSL_read"])
        assert code == bytes.fromhex("4883ec08 4883c408 c3")
        assert content[elf.entry(functions["SSL_read"].address) :].startswith(code)
        assert content[elf.entry(functions["guarded"].address)] == 0xC3  # after its endbr64


def test_an_address_without_code(library: Path) -> None:
    with library.open("rb") as file:
        elf = opened(file)
        for address in (nm(library)["table"], 1 << 40, -1):
            with pytest.raises(ElfError, match="no machine code"):
                elf.offset(address)


def test_what_it_calls_of_other_libraries(assemble: Assemble) -> None:
    other = assemble(".globl outside\n.type outside, @function\noutside: ret\n", name="libother.so")
    path = assemble(SOURCE, other, "-Wl,-z,now")
    with path.open("rb") as file:
        elf = opened(file)
        (name,) = elf.needed()
        (slot,) = elf.slots("outside")
        assert elf.slots("first") == []
    assert name.endswith("libother.so")
    relocations = subprocess.run(["readelf", "-rW", path], check=True, capture_output=True, text=True).stdout
    assert f"{slot:016x}" in relocations


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((0, b"\x7fELG"), "no ELF file"),
        ((4, b"\x01"), "32-bit"),
        ((4, b"\x07"), "broken"),
        ((5, b"\x02"), "broken"),
        ((16, b"\x01\x00"), "neither a program nor"),
        ((18, b"\xb7\x00"), "another machine"),
        ((32, b"\xff" * 8), "cannot be read"),
        ((40, b"\xff\xff\xff\xff\xff\xff\xff\x0f"), "cut short"),
        ((54, b"\x07\x00"), "broken"),
        ((58, b"\x07\x00"), "broken"),
    ],
)
def test_a_header_that_is_none(library: Path, change: tuple[int, bytes], reason: str) -> None:
    content = bytearray(library.read_bytes())
    place, replacement = change
    content[place : place + len(replacement)] = replacement
    library.write_bytes(content)
    with library.open("rb") as file, pytest.raises(ElfError, match=reason):
        opened(file)


def test_a_file_without_a_descriptor() -> None:
    with pytest.raises(ElfError):
        opened(io.BytesIO(b"\x7fELF"))


def test_a_directory(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)

    class Directory(io.BytesIO):
        def fileno(self) -> int:
            return descriptor

    try:
        with pytest.raises(ElfError, match="cannot be read"):
            opened(Directory())
    finally:
        os.close(descriptor)


def hostile(path: Path, sections: int, size: int) -> Path:
    """Tables of symbols, all in the same place of a file that takes no room on the disk."""
    table = path.with_name("hostile")
    header = struct.Struct("<16sHHIQQQIHHHHHH").pack(
        *(b"\x7fELF\x02\x01".ljust(16, b"\0"), 3, 62, 1, 0, 0, 64, 0, 64, 56, 0, 64, sections, 1)
    )
    section = struct.Struct("<IIQQQQIIQQ")
    rows = [section.pack(0, 3, 0, 0, 1 << 20, size, 0, 0, 0, 0)] * 2
    rows += [section.pack(0, 2, 0, 0, 1 << 20, size, 1, 0, 0, 24)] * (sections - 2)
    with table.open("wb") as file:
        file.write(header + b"".join(rows))
        file.truncate((1 << 20) + size)
        file.seek(1 << 20)
        file.write(b"first\0" * 10_000)
    return table


@pytest.mark.parametrize("size", [1 << 20, elf_file.MAX_TABLE, elf_file.MAX_TABLE + 1, 1 << 40])
def test_reading_ends_whatever_the_tables_claim(tmp_path: Path, size: int) -> None:
    path = hostile(tmp_path / "x", 65_000 // 64, min(size, elf_file.MAX_TABLE + 1))
    began = time.process_time()
    with path.open("rb") as file:
        try:
            opened(file).functions(*NAMES)
        except ElfError as error:
            reason = str(error)
        else:
            reason = "bytes"
    assert "bytes" in reason
    assert time.process_time() - began < 20


CHANGES = st.lists(
    st.tuples(st.one_of(st.integers(0, 400), st.integers(-3000, -1)), st.binary(min_size=1, max_size=8)),
    max_size=12,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    directory = tmp_path_factory.mktemp("elf")
    path, text = directory / "library.so", directory / "library.s"
    text.write_text(SOURCE)
    subprocess.run(["gcc", "-shared", "-nostdlib", "-o", path, text], check=True)
    return path.read_bytes(), directory / "damaged"


@settings(max_examples=500, deadline=None)
@given(changes=CHANGES, cut=st.one_of(st.none(), st.integers(0, 16_000)))
def test_any_damage_is_an_elf_error_at_most(
    whole: tuple[bytes, Path], changes: list[tuple[int, bytes]], cut: int | None
) -> None:
    content, path = whole
    damaged = overwritten(content, changes)
    path.write_bytes(damaged[:cut])
    began = time.process_time()
    with path.open("rb") as file:
        for read in (Elf.needed, lambda elf: elf.slots("outside"), everything):
            try:
                read(opened(file))
            except ElfError:
                continue
    assert time.process_time() - began < 5


def everything(elf: Elf) -> None:
    """Reads each function that is found, and each section that is named."""
    for function in elf.functions(*NAMES).values():
        assert isinstance(function, Function)
        elf.code(function)
        elf.entry(function.address)
    for name in (".text", ".rodata", ".dynamic", ".data"):
        if (section := elf.section(name)) is not None:
            elf.content(section)
