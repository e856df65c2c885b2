"""What rover doctor says of TLS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rover.contracts.source import Check
from rover_source_ebpf import tls_report

from .test_tls_files import Library, Proc

ELF32 = b"\x7fELF\x01" + bytes(60)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def said(checks: list[Check]) -> list[tuple[bool, str]]:
    assert all(check.subject == "TLS" and not check.required for check in checks)
    return [(check.ok, check.finding) for check in checks]


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        ([("/lib/a.so", 11, b"acme")], (True, "/lib/a.so: Acme 1")),
        ([("/bin/a", 11, b"stripped")], (False, "/bin/a: stripped")),
        (
            [("/jvm/lib/server/libjvm.so", 11, b"")],
            (
                False,
                "/jvm/lib/server/libjvm.so: Java compiles its TLS at run time: there is no file with "
                "functions to look at",
            ),
        ),
        ([("/lib/libssl3.so", 11, b"")], (False, "/lib/libssl3.so: NSS, which no plugin reads")),
        (
            [("/lib/libnetty_tcnative_linux_x86_64.so", 11, b"")],
            (False, "/lib/libnetty_tcnative_linux_x86_64.so: BoringSSL, which no plugin reads"),
        ),
        (
            [("/lib/libmbedtls.so.14", 11, b"")],
            (False, "/lib/libmbedtls.so.14: Mbed TLS, which no plugin reads"),
        ),
        ([("/bin/old", 11, ELF32)], (False, "/bin/old: 32-bit programs are not read")),
        (
            [("/bin/grpc.so", 11, b"x" * 5_000_000 + b"src/ssl/ssl_lib.cc\0")],
            (False, "/bin/grpc.so: has BoringSSL linked in, and nothing tells where its functions are"),
        ),
        (
            [("/bin/proxy", 11, b"../ssl/ssl_lib.c\0")],
            (False, "/bin/proxy: has OpenSSL linked in, and nothing tells where its functions are"),
        ),
        (
            [("/bin/uv", 11, b"/registry/rustls-0.23.46/src/conn.rs")],
            (False, "/bin/uv: has rustls linked in, and nothing tells where its functions are"),
        ),
        (
            [("/bin/sh", 11, b"x"), ("/lib/libc.so.6", 12, b"y")],
            (True, "no TLS library among the 2 files that it runs code from; clear text is read"),
        ),
    ],
    ids=[
        "read",
        "reason",
        "Java",
        "NSS",
        "tcnative",
        "Mbed TLS",
        "32 bits",
        "BoringSSL",
        "OpenSSL",
        "rustls",
        "none",
    ],
)
def test_a_process(proc: Proc, files: list[tuple[str, int, bytes]], finding: tuple[bool, str]) -> None:
    proc.process(7, *files)
    assert said(tls_report.process([Library().spec], 7, proc.root)) == [finding]


def test_a_process_that_may_not_be_looked_at(proc: Proc) -> None:
    (check,) = tls_report.process([Library().spec], 8, proc.root)
    assert (check.ok, check.finding) == (False, "what it has loaded cannot be read")
    assert check.fix


def test_the_host(proc: Proc) -> None:
    acme, stripped, nss = (
        ("/lib/a.so", 11, b"acme"),
        ("/bin/b", 12, b"stripped"),
        ("/lib/libssl3.so", 13, b""),
    )
    proc.process(1, acme, nss)
    proc.process(2, acme, stripped)
    assert said(tls_report.host([Library().spec], proc.root, places=())) == [
        (True, "/lib/a.so: Acme 1 (2 processes)"),
        (False, "/bin/b: stripped (1 process)"),
        (False, "NSS in 1 process: no plugin reads it"),
    ]


def test_a_host_with_many_files(proc: Proc) -> None:
    proc.process(1, *((f"/lib/{n}.so", n, b"acme") for n in range(100, 130)))
    checks = tls_report.host([Library().spec], proc.root, places=())
    assert len(checks) == 21
    assert checks[-1].finding == "and 10 other files"


def test_a_host_without_plugins_is_told_which_to_install(proc: Proc) -> None:
    (check,) = tls_report.host([], proc.root)
    assert (check.ok, check.required) == (False, False)
    assert "rover-plugin-tls-openssl" in check.fix


def test_this_process_and_this_host() -> None:
    """Whatever is here: lines, and no failure."""
    assert tls_report.process([Library().spec], os.getpid())
    assert tls_report.host([Library().spec])
