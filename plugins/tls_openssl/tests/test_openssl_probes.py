"""Where OpenSSL is looked at, in files that are made of the instructions that compilers make of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from rover import BioLayout, Moment, TlsFunction, TlsProbes
from rover.plugins.tls_library import checked_probes

from .conftest import Assemble, probes_of

ENDBR = "endbr64"
CRYPTO = """
.globl BIO_write, BIO_number_read, BIO_number_written
.type BIO_write, @function
.type BIO_number_read, @function
.type BIO_number_written, @function
BIO_write: sub $8, %rsp; add $8, %rsp; ret
.size BIO_write, .-BIO_write
BIO_number_read: xor %eax, %eax; test %rdi, %rdi; je 1f; mov 0x60(%rdi), %rax; 1: ret
.size BIO_number_read, .-BIO_number_read
BIO_number_written: xor %eax, %eax; test %rdi, %rdi; je 1f; mov 0x68(%rdi), %rax; 1: ret
.size BIO_number_written, .-BIO_number_written
.section .rodata
.rept 500
.string "OpenSSL EC algorithm"
.endr
.string "OpenSSL 9.8.7 29 Feb 2028"
"""


def function(name: str, *instructions: str, exported: bool = True) -> str:
    body = "\n".join(instructions)
    first = f".globl {name}\n" if exported else ""
    return f"{first}.type {name}, @function\n{name}:\n{body}\n.size {name}, .-{name}\n"


def library(
    first: Iterable[str] = (),
    read_ex: Iterable[str] = ("sub $8, %rsp", "call ssl_read_internal", "add $8, %rsp", "ret"),
    write: str = "SSL_write_ex",
    more: str = "",
) -> str:
    """libssl, each function of which begins with these instructions."""
    start = list(first)
    body = ["sub $24, %rsp", "mov %rsp, %rcx", "movslq %edx, %rdx"]
    return (
        ".text\n"
        + function("ssl_read_internal", *start, "push %r12", "pop %r12", "ret", exported=False)
        + function(
            "ssl_write_internal", *start, "push %r13", "call BIO_write@PLT", "pop %r13", "ret", exported=False
        )
        + function("SSL_read", *start, *body, "call ssl_read_internal", "add $24, %rsp", "ret")
        + function("SSL_read_ex", *start, *read_ex)
        + function("SSL_write", *start, *body, "call ssl_write_internal", "add $24, %rsp", "ret")
        + function(write, *start, "sub $8, %rsp", "call ssl_write_internal", "add $8, %rsp", "ret")
        + function("SSL_do_handshake", *start, "push %rbx", "call BIO_write@PLT", "pop %rbx", "ret")
        + function("SSL_shutdown", *start, "ret")
        + function("SSL_peek", *start, "ret")
        + function("SSL_peek_ex", *start, "ret")
        + function("SSL_free", *start, "test %rdi, %rdi", "ret")
        + function("SSL_get_rbio", *start, "mov 0x10(%rdi), %rax", "ret")
        + function("SSL_get_wbio", *start, "mov 0x20(%rdi), %r8", "mov 0x18(%rdi), %rax", "ret")
        + function("SSL_get_client_random", *start, "mov $0x20, %eax", "lea 0x160(%rdi), %rsi", "ret")
        + more
    )


@pytest.fixture
def crypto(assemble: Assemble) -> Path:
    return assemble(CRYPTO, name="libcrypto.so.9")


def offsets(path: Path) -> dict[str, int]:
    """The file offset of each symbol, as nm tells it: in these files the address."""
    lines = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout.splitlines()
    return {parts[2]: int(parts[0], 16) for parts in map(str.split, lines) if len(parts) == 3}


def found(path: Path) -> TlsProbes:
    probes = probes_of(path)
    assert isinstance(probes, TlsProbes), probes
    assert checked_probes(probes) == probes
    return probes


def placed(probes: TlsProbes) -> set[tuple[int, TlsFunction, Moment, int]]:
    return {(probe.offset, probe.function, probe.moment, probe.moved) for probe in probes.probes}


def both(offset: int, function: TlsFunction, moved: int = 0) -> set[tuple[int, TlsFunction, Moment, int]]:
    return {(offset, function, moment, moved) for moment in (Moment.ENTRY, Moment.RETURN)}


@pytest.mark.parametrize(("first", "behind"), [((), 0), ((ENDBR,), 4)], ids=["plain", "endbr64"])
def test_the_internal_functions_are_probed(
    assemble: Assemble, crypto: Path, first: list[str], behind: int
) -> None:
    path = assemble(library(first), crypto)
    at = {name: offset + behind for name, offset in offsets(path).items()}
    probes = found(path)
    calls = {probe.offset for probe in probes.probes if probe.function is TlsFunction.CIPHERTEXT}
    # push %r13 has two bytes, push %rbx one
    assert calls == {at["ssl_write_internal"] + 2, at["SSL_do_handshake"] + 1}
    assert placed(probes) == (
        both(at["ssl_read_internal"], TlsFunction.READ, 4)
        | both(at["ssl_write_internal"], TlsFunction.WRITE, 4)
        | {
            each
            for name in ("SSL_do_handshake", "SSL_shutdown", "SSL_peek", "SSL_peek_ex")
            for each in both(at[name], TlsFunction.OTHER)
        }
        | {(at["SSL_free"], TlsFunction.FREE, Moment.ENTRY, 0)}
        | {(place, TlsFunction.CIPHERTEXT, Moment.ENTRY, 0) for place in calls}
    )
    assert probes.library == "OpenSSL 9.8.7"
    assert probes.bio == BioLayout(
        rbio=0x10, wbio=0x18, num_read=0x60, num_written=0x68, client_random=(0x160,)
    )


def test_writes_with_flags_tell_how_much_in_their_fifth_argument(assemble: Assemble, crypto: Path) -> None:
    """OpenSSL 3.3 and later."""
    jump = function("SSL_write_ex", "mov %rcx, %r8", "xor %ecx, %ecx", "jmp SSL_write_ex2@PLT")
    path = assemble(library(write="SSL_write_ex2", more=jump), crypto)
    assert both(offsets(path)["ssl_write_internal"], TlsFunction.WRITE, 5) <= placed(found(path))


@pytest.mark.parametrize(
    "read_ex",
    [
        ("cmpq $0, 0x30(%rdi)", "call ssl_read_internal", "ret"),
        ("mov %rdx, %rdi", "call ssl_read_internal", "ret"),
        ("sub $8, %rsp", "call SSL_shutdown", "add $8, %rsp", "ret"),
        ("sub $8, %rsp", "call BIO_write@PLT", "add $8, %rsp", "ret"),
        ("ret",),
    ],
    ids=["looks first", "other arguments", "calls something else", "calls another library", "calls nothing"],
)
def test_where_the_internal_function_cannot_be_told_the_exported_ones_are_probed(
    assemble: Assemble, crypto: Path, read_ex: list[str]
) -> None:
    """Node, whose compiler made the internal function a part of both."""
    path = assemble(library(read_ex=read_ex), crypto)
    at = offsets(path)
    reads = {each for each in placed(found(path)) if each[1] is TlsFunction.READ}
    assert reads == both(at["SSL_read"], TlsFunction.READ) | both(at["SSL_read_ex"], TlsFunction.READ, 4)


def test_a_frame_pointer_is_no_other_argument(assemble: Assemble, crypto: Path) -> None:
    body = ("push %rbp", "mov %rsp, %rbp", "call ssl_read_internal", "pop %rbp", "ret")
    path = assemble(library(read_ex=body), crypto)
    assert both(offsets(path)["ssl_read_internal"], TlsFunction.READ, 4) <= placed(found(path))


def test_everything_in_one_file(assemble: Assemble) -> None:
    """As in a program that has OpenSSL linked in: BIO_write itself is probed."""
    path = assemble(library() + CRYPTO, name="libnode.so.9")
    probes = found(path)
    assert [probe.offset for probe in probes.probes if probe.function is TlsFunction.CIPHERTEXT] == [
        offsets(path)["BIO_write"]
    ]
    assert probes.bio is not None
    assert probes.library == "OpenSSL 9.8.7"


def test_without_the_other_library_nothing_is_counted(assemble: Assemble, crypto: Path) -> None:
    path = assemble(library(), crypto)
    crypto.unlink()
    assert found(path).bio is None


def test_a_layout_that_looks_otherwise_is_not_guessed(assemble: Assemble, crypto: Path) -> None:
    source = library().replace("mov 0x18(%rdi), %rax", "mov 0x48(%rdi), %rax")
    assert found(assemble(source, crypto)).bio is None


@pytest.mark.parametrize(
    ("instructions", "path"),
    [
        (("lea 0x188(%rdi), %rcx", "ret"), (0x188,)),
        (("lea 0x188(%rdi), %r8", "ret"), (0x188,)),
        (("mov 0xa8(%rdi), %rdi", "lea 0xb8(%rdi), %rcx", "ret"), (0xA8, 0xB8)),
        (("mov 0xa8(%rdi), %rax", "lea 0xb8(%rax), %rcx", "ret"), (0xA8, 0xB8)),
        (("lea 0x188(%rbx), %rcx", "ret"), ()),
        (("lea 0x188(%rsp), %rcx", "ret"), ()),
        (("ret",), ()),
    ],
)
def test_where_the_client_random_is(
    assemble: Assemble, crypto: Path, instructions: list[str], path: tuple[int, ...]
) -> None:
    source = library().replace("mov $0x20, %eax\nlea 0x160(%rdi), %rsi\nret", "\n".join(instructions))
    layout = found(assemble(source, crypto)).bio
    assert layout is not None
    assert layout.client_random == path


def test_where_there_is_quic_it_is_told(assemble: Assemble, crypto: Path) -> None:
    layout = found(assemble(library(more=function("SSL_is_quic", "ret")), crypto)).bio
    assert layout is not None
    assert layout.kind == 0


def test_libressl_counts_once(assemble: Assemble) -> None:
    """Its SSL_read_ex calls SSL_read."""
    source = (
        library(read_ex=("push %rbx", "mov %rcx, %rbx", "call SSL_read", "pop %rbx", "ret")) + CRYPTO
    ).replace("OpenSSL 9.8.7", "LibreSSL 3.8.2")
    path = assemble(source)
    reads = {each for each in placed(found(path)) if each[1] is TlsFunction.READ}
    assert reads == both(offsets(path)["SSL_read"], TlsFunction.READ)


@pytest.mark.parametrize("source", [CRYPTO, function("SSL_read", "ret"), ".text\nnop"])
def test_a_file_without_openssl(assemble: Assemble, source: str) -> None:
    assert probes_of(assemble(source)) is None


@pytest.mark.parametrize(
    "content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100), bytes(4096)]
)
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert probes_of(path) is None
