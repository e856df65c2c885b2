"""Libraries that do TLS, by the names of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from rover_source_ebpf.tls_libraries import installed, libraries

LINE = "7f0000000000-7f0000001000 r-xp 00000000 fe:00 123456                     {}\n"


def process(proc: Path, pid: int, *paths: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "maps").write_text("".join(LINE.format(path) for path in paths))


def test_who_has_mapped_what(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    process(
        proc, 1, "/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib/x86_64-linux-gnu/libssl.so.3", "/bin/a"
    )
    process(proc, 2, "/opt/a b/libssl-1a2b3c4d.so.1.1", "", "[stack]")
    process(proc, 3, "/usr/lib/libssl.so.3", "/usr/lib/libgnutls.so.30.34.3")
    (proc / "4").mkdir()  # it has ended
    (proc / "self").mkdir()
    assert libraries(proc, ()) == {"libssl.so.3": 2, "libssl-1a2b3c4d.so.1.1": 1, "libgnutls.so.30.34.3": 1}


def test_what_lies_there(tmp_path: Path) -> None:
    below = tmp_path / "aarch64-linux-gnu"
    below.mkdir()
    (below / "libssl.so.3").touch()
    (below / "libssl.so").symlink_to("libssl.so.3")
    (tmp_path / "libgnutls.so.30.34.3").touch()
    (tmp_path / "libgnutls.so.30").symlink_to("libgnutls.so.30.34.3")
    (tmp_path / "libssh.so.4").touch()
    assert installed([str(tmp_path), str(tmp_path / "nowhere")]) == ["libgnutls.so.30.34.3", "libssl.so.3"]
    assert libraries(tmp_path / "no-proc", [str(tmp_path)]) == {"libgnutls.so.30.34.3": 0, "libssl.so.3": 0}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("libssl.so.3", True),
        ("libssl.so.1.1", True),
        ("libssl3.so", True),
        ("libboringssl.so", True),
        ("libconscrypt_openjdk_jni.so", True),
        ("libnetty_tcnative_linux_x86_64.so", True),
        ("libwolfssl.so.42", True),
        ("libmbedtls.so.14", True),
        ("libopenssl.so", False),
        ("libssl.a", False),
        ("libssl_helper.so", False),
        ("libcrypto.so.3", False),
    ],
)
def test_names(name: str, is_one: bool, tmp_path: Path) -> None:
    process(tmp_path, 7, f"/x/{name}")
    assert (name in libraries(tmp_path, ())) == is_one
