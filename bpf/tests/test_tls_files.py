"""Files that hold TLS libraries: found once each, by what processes have mapped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import Moment, TlsFunction, TlsLibrarySpec, TlsProbe, TlsProbes
from rover_source_ebpf.tls_files import Discovery, FileKey, Finding, Mapped, likely, mappings, opened

PROBES = TlsProbes(
    library="Acme 1", probes=(TlsProbe(offset=64, function=TlsFunction.READ, moment=Moment.ENTRY),)
)


class Library:
    """A plugin: what is in a file says what it finds there."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.needed: list[bytes | None] = []

    def find(self, file: BinaryIO, needed: Callable[[str], BinaryIO | None]) -> TlsProbes | str | None:
        content = file.read()
        self.asked.append(content)
        if content.startswith(b"needs "):
            for name in content.decode().split()[1:]:
                other = needed(name)
                self.needed.append(other.read() if other else None)
        if content.startswith(b"acme") or self.needed:
            return PROBES
        return "stripped" if content == b"stripped" else None

    @property
    def spec(self) -> TlsLibrarySpec:
        return TlsLibrarySpec(name="acme", find=self.find)


class Proc:
    """A made-up /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self").mkdir(parents=True)

    def process(self, pid: int, *files: tuple[str, int, bytes | None]) -> None:
        """One that runs code from files: path, inode, content (None: it cannot be opened)."""
        directory = self.root / str(pid)
        (directory / "map_files").mkdir(parents=True)
        lines = ["00400000-00401000 r--p 00000000 fe:00 7        /before/the/code\n"]
        for number, (path, inode, content) in enumerate(files):
            start = 0x500000 + 0x10000 * number
            lines.append(f"{start:08x}-{start + 4096:08x} r-xp 00000000 fe:01 {inode}     {path}\n")
            lines.append(f"{start + 4096:08x}-{start + 8192:08x} rw-p 00000000 fe:01 {inode}     {path}\n")
            lines.append(f"{start + 8192:08x}-{start + 9216:08x} rwxp 00000000 fe:01 {inode}     {path}\n")
            if content is not None:
                (directory / "map_files" / f"{start:x}-{start + 4096:x}").write_bytes(content)
        lines.append("7fff0000-7fff1000 r-xp 00000000 00:00 0          [vdso]\n")
        lines.append("7fff1000-7fff2000 r-xp 00000000 00:00 0 \n")
        (directory / "maps").write_text("".join(lines))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def paths(found: Iterator[tuple[Finding, BinaryIO]]) -> list[str]:
    return [finding.path for finding, _ in found]


DEVICE = 0xFE << 20 | 1


def test_each_file_is_looked_at_once(proc: Proc) -> None:
    acme, other = ("/lib/libacme.so", 11, b"acme"), ("/bin/other", 12, b"")
    proc.process(1, other, acme)
    proc.process(2, acme, other)
    library = Library()
    discovery = Discovery([library.spec], proc.root)
    assert paths(discovery.running()) == ["/lib/libacme.so"]
    assert sorted(library.asked) == [b"", b"acme"]
    assert paths(discovery.running()) == []
    assert len(library.asked) == 2
    assert discovery.findings == {
        FileKey(DEVICE, 11): Finding(FileKey(DEVICE, 11), "/lib/libacme.so", "acme", PROBES),
        FileKey(DEVICE, 12): Finding(FileKey(DEVICE, 12), "/bin/other", "", None),
    }


def test_a_file_is_told_by_its_inode_not_by_its_path(proc: Proc) -> None:
    """Replaced by another, or in a container."""
    proc.process(1, ("/lib/libacme.so (deleted)", 11, b"acme old"))
    proc.process(2, ("/lib/libacme.so", 12, b"acme new"), ("/other/name.so", 11, b"acme old"))
    discovery = Discovery([Library().spec], proc.root)
    assert sorted(paths(discovery.running())) == ["/lib/libacme.so", "/lib/libacme.so (deleted)"]


def test_a_process_alone(proc: Proc) -> None:
    proc.process(1, ("/lib/a.so", 11, b"acme"))
    proc.process(2, ("/lib/b.so", 12, b"acme"))
    discovery = Discovery([Library().spec], proc.root)
    assert paths(discovery.process(2)) == ["/lib/b.so"]
    assert paths(discovery.process(3)) == []
    assert paths(discovery.running(lambda pid: pid == 1)) == ["/lib/a.so"]
    assert discovery.has(1, FileKey(DEVICE, 11))
    assert not discovery.has(2, FileKey(DEVICE, 11))


def test_what_could_not_be_opened_in_time_is_looked_at_again(proc: Proc) -> None:
    """The process had ended when its turn came; another one maps the same file."""
    proc.process(1, ("/lib/a.so", 11, None))
    discovery = Discovery([Library().spec], proc.root)
    assert paths(discovery.running()) == []
    assert not discovery.findings
    proc.process(2, ("/lib/a.so", 11, b"acme"))
    assert paths(discovery.running()) == ["/lib/a.so"]


def test_what_was_forgotten_is_looked_at_again(proc: Proc) -> None:
    proc.process(1, ("/lib/a.so", 11, b"acme"))
    discovery = Discovery([Library().spec], proc.root)
    for _ in range(2):
        assert paths(discovery.running()) == ["/lib/a.so"]
        discovery.forget(FileKey(DEVICE, 11))


def test_a_reason_is_kept_for_who_asks(proc: Proc) -> None:
    proc.process(1, ("/bin/prog", 11, b"stripped"))
    discovery = Discovery(
        [TlsLibrarySpec(name="none", find=lambda file, needed: None), Library().spec], proc.root
    )
    assert paths(discovery.running()) == []
    assert discovery.findings[FileKey(DEVICE, 11)] == Finding(
        FileKey(DEVICE, 11), "/bin/prog", "acme", "stripped"
    )


def test_the_library_that_finds_itself_comes_before_the_reason_of_another(proc: Proc) -> None:
    proc.process(1, ("/bin/prog", 11, b"acme"))
    reason = TlsLibrarySpec(name="other", find=lambda file, needed: "stripped")
    discovery = Discovery([reason, Library().spec], proc.root)
    assert [finding.library for finding, _ in discovery.running()] == ["acme"]


def test_a_file_is_open_while_it_is_the_current_one(proc: Proc) -> None:
    proc.process(1, ("/lib/a.so", 11, b"acme a"), ("/lib/b.so", 12, b"acme b"))
    files = []
    for _, file in Discovery([Library().spec], proc.root).running():
        path = f"/proc/self/fd/{file.fileno()}"
        assert Path(path).read_bytes().startswith(b"acme")
        files.append(file)
    assert [file.closed for file in files] == [True, True]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("libother.so.3", b"other"),
        ("libother.so", b"other"),  # a link to the one that is mapped
        ("libmissing.so", None),
        ("../lib/libother.so.3", None),
        ("", None),
    ],
)
def test_a_library_that_another_needs_is_among_those_of_the_process(
    proc: Proc, name: str, content: bytes | None
) -> None:
    library = Library()
    proc.process(1, ("/lib/libother.so.3", 12, b"other"), ("/lib/a.so", 11, f"needs {name or '.'}".encode()))
    for _ in Discovery([library.spec], proc.root).running():
        pass
    assert library.needed == [content]


def test_no_more_libraries_are_opened_than_a_file_may_need(proc: Proc) -> None:
    library = Library()
    proc.process(1, ("/lib/b.so", 12, b"b"), ("/lib/a.so", 11, b"needs" + b" b.so" * 100))
    for _ in Discovery([library.spec], proc.root).running():
        pass
    assert library.needed.count(b"b") == 16


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a b/c.so", "/a b/c.so"),
        ("/a\\012b", "/a\nb"),
        ("/x (deleted)", "/x (deleted)"),
        ("/\\134040", "/\\040"),
    ],
)
def test_a_path_is_read_as_the_kernel_writes_it(proc: Proc, path: str, shown: str) -> None:
    proc.process(1, (path, 11, b""))
    assert list(mappings(1, proc.root)) == [Mapped(FileKey(DEVICE, 11), shown, 1, 0x500000, 0x501000)]


@given(content=st.binary(max_size=300))
def test_any_maps(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("proc")
    (root / "1").mkdir()
    (root / "1" / "maps").write_bytes(b"00400000-00401000 r-xp 00000000 fe:01 7  /a\n" + content)
    assert next(iter(mappings(1, root))).path.startswith("/a")


def test_what_lies_there(tmp_path: Path) -> None:
    below = tmp_path / "aarch64-linux-gnu"
    below.mkdir()
    for name in (
        "libssl.so.3",
        "libgnutls.so.30.34.3",
        "libssl-1a2b.so.1.1",
        "libssl3.so",
        "libssl.a",
        "libssh.so.4",
    ):
        (below / name).write_bytes(b"acme")
    (below / "libgnutls.so.30").symlink_to("libgnutls.so.30.34.3")
    places = [str(tmp_path), str(tmp_path / "nowhere")]
    names = ["libgnutls.so.30.34.3", "libssl-1a2b.so.1.1", "libssl.so.3"]
    assert [os.path.basename(path) for path in likely(places)] == names
    discovery = Discovery([Library().spec], tmp_path)
    assert [os.path.basename(path) for path in paths(discovery.installed(places))] == names
    assert paths(discovery.installed(places)) == []


# -- real processes ----------------------------------------------------------------------------

WAITS = (
    "import ctypes, sys; [ctypes.CDLL(path) for path in sys.argv[1:]]; print(flush=True); sys.stdin.read()"
)


@pytest.fixture
def running() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program that loads libraries, and waits."""
    started: list[subprocess.Popen[str]] = []

    def start(*libraries: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WAITS, *map(str, libraries)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.communicate()


def ours(path: Path) -> TlsLibrarySpec:
    """A plugin that knows a file by its content."""
    content = path.read_bytes()

    def find(file: BinaryIO, needed: Callable[[str], BinaryIO | None]) -> TlsProbes | None:
        return PROBES if file.read() == content else None

    return TlsLibrarySpec(name="ours", find=find)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A shared library that nobody else has."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    path = tmp_path / "libours.so"
    source = "int ours(void) { return 1; }"
    command = ["gcc", "-shared", "-x", "c", "-", "-o", path]
    subprocess.run(command, input=source, text=True, check=True)
    return path


def test_a_library_that_was_deleted(running: Callable[..., subprocess.Popen[str]], library: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    spec = ours(library)
    process = running(library)
    library.unlink()
    ((finding, file),) = found_with_process(Discovery([spec]), process)
    assert finding.path == f"{library} (deleted)"
    assert file.closed


def found_with_process(
    discovery: Discovery, process: subprocess.Popen[str]
) -> list[tuple[Finding, BinaryIO]]:
    """What is found, where the process ends while a file is the current one: it can still be attached to."""
    found = []
    for finding, file in discovery.process(process.pid):
        process.communicate()
        assert os.stat(f"/proc/self/fd/{file.fileno()}").st_ino == finding.key.inode
        found.append((finding, file))
    return found


def test_without_the_right_to_map_files_the_path_leads_there(
    running: Callable[..., subprocess.Popen[str]], library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses the way through map_files without CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE."""
    process = running(library)
    (mapped,) = [each for each in mappings(process.pid) if each.path == str(library)]
    really = open

    def refusing(path: str | Path, *arguments: Any, **options: Any) -> Any:
        if "map_files" in str(path):
            raise PermissionError(1, "Operation not permitted")
        return really(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refusing)
    with opened(mapped) as file:
        assert os.fstat(file.fileno()).st_ino == library.stat().st_ino
    library.rename(library.with_name("old"))
    shutil.copy(library.with_name("old"), library)
    with pytest.raises(PermissionError):
        opened(mapped)
