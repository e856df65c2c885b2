"""Where BoringSSL is looked at in files without symbols, made of the instructions that compilers make of it;
and in gRPC's package, where this host has it."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import BioLayout, Moment, TlsFunction, TlsProbes
from rover.plugins.tls_library import checked_probes
from rover.testing.damage import overwritten
from rover_plugin_tls_openssl.boringssl import find

from .conftest import Assemble

SOURCES = {"ssl_lib": "ssl/ssl_lib.cc", "buffer": "ssl/ssl_buffer.cc", "records": "ssl/s3_pkt.cc"}
BIOS = "crypto/bio/bio.cc"


def function(name: str, *instructions: str) -> str:
    body = "\n".join(instructions)
    return f".type {name}, @function\n{name}:\n.cfi_startproc\n{body}\n.cfi_endproc\n.size {name}, .-{name}\n"


def raising(source: str, *reasons: int) -> list[str]:
    """OPENSSL_PUT_ERROR, once for each."""
    code = []
    for reason in reasons:
        code += ["mov $100, %r8d", f"lea {source}(%rip), %rcx", f"mov ${reason}, %edx", "xor %esi, %esi"]
        code += ["mov $16, %edi", "call ERR_put_error"]
    return [*code, "ret"]


RESET = ("push %rbx", "mov %rdi, %rbx", "mov 0x30(%rdi), %rax", "movl $0, 0xc4(%rax)")


def library(path: str = "third_party/boringssl/src/", more: str = "") -> str:
    return (
        ".text\n.skip 300000, 0x90\n"
        + function("ERR_put_error", "ret")
        + function("SSL_do_handshake", *RESET, *raising("ssl_lib", 134))
        + function("ssl_read_impl", *RESET, "call SSL_do_handshake", *raising("ssl_lib", 226, 215))
        + function(
            "SSL_peek", "push %rbx", "call ssl_read_impl", "mov 0x80(%rax), %rsi", *raising("ssl_lib", 66)
        )
        + function(
            "SSL_read", "push %rbx", "call ssl_read_impl", "add %rcx, 0x80(%rax)", *raising("ssl_lib", 66)
        )
        + function("SSL_shutdown", *RESET, "call ssl_read_impl", *raising("ssl_lib", 226, 291))
        + function("SSL_write", *RESET, "call *0x48(%rax)", *raising("ssl_lib", 66, 226, 215, 111))
        + function("tls_new", "ret")
        + function("tls_free", "push %rbx", "mov 0x30(%rdi), %rdi", "ret")
        + function("tls_write_app_data", *raising("records", 123))
        + function("tls_dispatch_alert", *raising("records", 123))
        + function("BIO_read", "add %rdx, 0x40(%rbx)", *raising("bios", 115))
        + function("BIO_write", "add %rax, 0x48(%rbx)", *raising("bios", 115))
        + function(
            "fill",
            "cmpq $0, 0x18(%r12)",
            "mov 0x18(%r12), %rdi",
            "call BIO_read",
            *raising("buffer", 121, 119),
        )
        + function(
            "flush", "cmpq $0, 0x20(%rdi)", "mov 0x20(%rbx), %rdi", "call BIO_write", *raising("buffer", 119)
        )
        + function(
            *("keys", "lea label(%rip), %r9", "mov 0x30(%rbp), %rax", "push $0x20", "lea 0x30(%rax), %r8"),
            *("add $0x10, %rax", "ret"),
        )
        + more
        + '.section .rodata\n.byte 0\nlabel: .string "key expansion"\n'
        + "".join(f'{label}: .string "{path}{name}"\n' for label, name in SOURCES.items())
        + f'bios: .string "{path}{BIOS}"\n'
        + '.section .data.rel.ro, "aw"\n.balign 8\ntable: .quad 0, tls_new, tls_free\n'
        + ".rept 6\n.quad SSL_peek\n.endr\n.quad tls_write_app_data, tls_dispatch_alert\n"
    )


def asked(path: Path) -> TlsProbes | str | None:
    with path.open("rb") as file:
        return checked_probes(find(file, lambda _: None))


def made(assemble: Assemble, source: str, *options: str) -> tuple[Path, dict[str, int]]:
    """The file without symbols, and what they were."""
    path = assemble(source, name="boring.so")
    lines = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout.splitlines()
    symbols = {parts[2]: int(parts[0], 16) for parts in map(str.split, lines) if len(parts) == 3}
    subprocess.run(["strip", *options, path], check=True)
    return path, symbols


def test_functions_are_told_by_their_errors(assemble: Assemble) -> None:
    path, symbols = made(assemble, library())
    probes = asked(path)
    assert isinstance(probes, TlsProbes), probes
    calls = [(each.function, each.offset) for each in probes.probes if each.moment is Moment.RETURN]
    assert sorted(calls) == sorted(
        [
            (TlsFunction.READ, symbols["SSL_read"]),
            (TlsFunction.WRITE, symbols["SSL_write"]),
            *(
                (TlsFunction.OTHER, symbols[name])
                for name in ("SSL_do_handshake", "SSL_peek", "SSL_shutdown")
            ),
        ]
    )
    entries = [(each.function, each.offset) for each in probes.probes if each.moment is Moment.ENTRY]
    places = {each: offset for each, offset in entries if (each, offset) not in calls}
    # cmpq has five bytes, mov four
    assert places == {
        TlsFunction.FREE: symbols["tls_free"],
        TlsFunction.CIPHERTEXT: symbols["flush"] + 9,
    }
    assert probes.bio == BioLayout(
        rbio=0x18, wbio=0x20, num_read=0x40, num_written=0x48, client_random=(0x30, 0x30)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("third_party/boringssl/src/", "third_party/openssl/"),
        (".skip 300000", ".skip 1000"),
        ("ssl/ssl_lib.cc", "ssl/other.cc"),
    ],
    ids=["OpenSSL", "small", "another source file"],
)
def test_other_files(assemble: Assemble, old: str, new: str) -> None:
    path, _ = made(assemble, library().replace(old, new))
    assert asked(path) is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("mov $215, %edx", "mov $216, %edx", "SSL_write is told by 0 functions"),
        ("add %rcx, 0x80(%rax)", "mov 0x80(%rax), %rcx", "SSL_read is told by 0 functions"),
        ("mov 0x80(%rax), %rsi", "add %rsi, 0x80(%rax)", "SSL_read is told by 2 functions"),
        ("mov $134, %edx", "mov $135, %edx", "SSL_do_handshake is told by 0 functions"),
        ("movl $0, 0xc4(%rax)", "movl $1, 0xc4(%rax)", "the state of an object is not told"),
        ("call *0x48(%rax)", "call *0x40(%rax)", "the table of what TLS does is told in 0 ways"),
        ("table: .quad 0,", "table: .quad SSL_read,", "the table of what TLS does is told in 0 ways"),
        ("mov 0x30(%rdi), %rdi", "mov 0x38(%rdi), %rdi", "what ends an object is not told"),
        ("0x20(%rdi)", "0x28(%rdi)", "a BIO of an object is told in 0 ways"),
        ("0x48(%rbx)", "0x50(%rbx)", "the BIOs of an object are not told"),
        ("call BIO_write", "call ERR_put_error", "a function of a BIO is told in 0 ways"),
    ],
)
def test_what_is_not_told_is_not_guessed(assemble: Assemble, old: str, new: str, reason: str) -> None:
    assert library().count(old) >= 1
    path, _ = made(assemble, library().replace(old, new))
    assert asked(path) == f"BoringSSL without symbols: {reason}"


def test_what_is_told_twice_is_not_guessed(assemble: Assemble) -> None:
    again = function("again", *RESET, "call *0x48(%rax)", *raising("ssl_lib", 226, 215))
    path, _ = made(assemble, library(more=again))
    assert asked(path) == "BoringSSL without symbols: SSL_write is told by 2 functions"


def test_without_the_bounds_of_functions(assemble: Assemble) -> None:
    path, _ = made(assemble, library(), "-R", ".eh_frame_hdr")
    assert asked(path) == "BoringSSL without symbols: nothing tells where its functions begin"


@pytest.mark.parametrize("more", ["lea 0x28(%rax), %r8", "lea 0x30(%rcx), %r8"])
def test_a_random_that_is_not_told(assemble: Assemble, more: str) -> None:
    """Then the ciphertext tells the connection of programs that encrypt into memory."""
    path, _ = made(assemble, library().replace("lea 0x30(%rax), %r8", more))
    probes = asked(path)
    assert isinstance(probes, TlsProbes)
    assert probes.bio is not None
    assert probes.bio.client_random == ()


def grpc_here() -> Path | None:
    """The library of gRPC's Python package."""
    with contextlib.suppress(ImportError):
        spec = importlib.util.find_spec("grpc._cython.cygrpc")
        return Path(spec.origin) if spec is not None and spec.origin is not None else None
    return None


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    path = grpc_here()
    if path is None:
        pytest.skip("no grpcio on this host")
    return path.read_bytes(), tmp_path_factory.mktemp("damaged") / "cygrpc.so"


def test_grpc(whole: tuple[bytes, Path]) -> None:
    content, path = whole
    path.write_bytes(content)
    began = time.process_time()
    probes = asked(path)
    assert time.process_time() - began < 5
    assert isinstance(probes, TlsProbes), probes
    assert probes.library == "BoringSSL"
    assert probes.bio is not None
    assert probes.bio.client_random


SPOTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 1023), st.integers(-3000, -1), st.integers(0, 20_000_000)),
        st.binary(min_size=1, max_size=4096),
    ),
    max_size=20,
)


@settings(max_examples=30, deadline=None)
@given(changes=SPOTS, cut=st.one_of(st.none(), st.integers(0, 20_000_000)))
def test_damaged_files_are_no_failure(
    whole: tuple[bytes, Path], changes: list[tuple[int, bytes]], cut: int | None
) -> None:
    """Whatever is in a file: probes that a source can set, a reason, or nothing; in bounded time."""
    content, path = whole
    damaged = overwritten(content, changes)
    path.write_bytes(damaged[:cut])
    began = time.process_time()
    asked(path)
    assert time.process_time() - began < 10


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(300_000, 330_000), st.binary(min_size=1, max_size=8)), max_size=8)
)
def test_damaged_code_is_no_failure(small: tuple[bytes, Path], changes: list[tuple[int, bytes]]) -> None:
    """The same in the functions, tables and headers of a small file, all of which are after its padding."""
    content, path = small
    damaged = overwritten(content, changes)
    path.write_bytes(damaged)
    asked(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    directory = tmp_path_factory.mktemp("small")
    text, path = directory / "boring.s", directory / "boring.so"
    text.write_text(library() + '\n.section .note.GNU-stack,"",@progbits\n')
    subprocess.run(["gcc", "-shared", "-nostdlib", "-s", "-o", path, text], check=True)
    return path.read_bytes(), path
