"""The libraries of this host, where it has them, and files that were damaged."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover import Moment, TlsFunction, TlsProbes
from rover.plugins.tls_library import checked_probes
from rover.testing.damage import overwritten

from .conftest import probes_of

DIRECTORIES = ("/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib")
HERE = [path for path in (Path(directory, "libssl.so.3") for directory in DIRECTORIES) if path.exists()][:1]
NODE = [path for path in [Path("/usr/bin/node")] if path.exists()]


def disassembled(path: Path, place: int) -> str:
    """The instruction at a place, by objdump, which begins anew at each symbol."""
    command = [
        "objdump",
        "-d",
        "--no-show-raw-insn",
        f"--start-address={place - 200}",
        f"--stop-address={place + 8}",
        path,
    ]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return next((line.partition(":")[2].strip() for line in lines if re.match(rf"\s*{place:x}:", line)), "")


@pytest.mark.skipif(not HERE, reason="no shared OpenSSL 3 on this host")
def test_the_library_of_this_host() -> None:
    (path,) = HERE
    probes = probes_of(path)
    assert isinstance(probes, TlsProbes)
    assert re.fullmatch(r"OpenSSL 3\.\d+\.\d+", probes.library)
    assert probes.bio is not None
    assert probes.bio.wbio == probes.bio.rbio + 8
    assert probes.bio.num_written == probes.bio.num_read + 8
    moving = [probe for probe in probes.probes if probe.function in (TlsFunction.READ, TlsFunction.WRITE)]
    assert [probe.moment for probe in moving] == [Moment.ENTRY, Moment.RETURN] * 2
    calls = [probe.offset for probe in probes.probes if probe.function is TlsFunction.CIPHERTEXT]
    assert 1 <= len(calls) <= 8
    for place in calls:
        assert "BIO_write@plt" in disassembled(path, place)


@pytest.mark.skipif(not NODE, reason="no Node on this host")
def test_node() -> None:
    (path,) = NODE
    began = time.process_time()
    probes = probes_of(path)
    taken = time.process_time() - began
    if probes is None:
        pytest.skip("this Node has its OpenSSL in a library")
    assert isinstance(probes, TlsProbes)
    assert probes.bio is not None
    assert taken < 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    if not HERE:
        pytest.skip("no shared OpenSSL 3 on this host")
    return HERE[0].read_bytes(), tmp_path_factory.mktemp("damaged") / "libssl.so.3"


HEADS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 1023), st.integers(-3000, -1), st.integers(0, 700_000)),
        st.binary(min_size=1, max_size=16),
    ),
    max_size=20,
)
"""Changes in the header, in the tables of segments and sections (which are at a file's end), or anywhere."""


@settings(max_examples=300, deadline=None)
@given(changes=HEADS, cut=st.one_of(st.just(None), st.integers(0, 700_000)))
def test_damaged_files_are_no_failure(
    whole: tuple[bytes, Path], changes: list[tuple[int, bytes]], cut: int | None
) -> None:
    """Whatever is in a file: probes that a source can set, a reason, or nothing; in bounded time."""
    content, path = whole
    damaged = overwritten(content, changes)
    path.write_bytes(damaged[:cut])
    began = time.process_time()
    checked_probes(probes_of(path, HERE[0].parent))
    assert time.process_time() - began < 10
