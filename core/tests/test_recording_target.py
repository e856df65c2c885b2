"""What a recording is written to: its owner's alone, in the place of nothing it was not told to replace."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rover.errors import RoverError, UsageError
from rover.recording import target as target_module
from rover.recording.target import Target

HEADER = b"header"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make such a file")
pytestmark = pytest.mark.timeout(60)


def recorded(path: Path | str, *, replace: bool = False) -> None:
    target = Target(str(path), replace=replace)
    target.check()
    target.open(HEADER)
    target.write(b" and more")
    target.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize("replace", [False, True])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, umask: int, replace: bool) -> None:
    before = os.umask(umask)
    try:
        recorded(tmp_path / "x", replace=replace)
    finally:
        os.umask(before)
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    assert mode(tmp_path / "x") == 0o600
    assert (tmp_path / "x").read_bytes() == b"header and more"


def plant_file(path: Path) -> None:
    path.write_bytes(b"precious")
    path.chmod(0o644)


def plant_link(path: Path) -> None:
    target = path.parent / "precious"
    target.write_bytes(b"precious")
    path.symlink_to(target)


def plant_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "passwd")


def plant_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


def plant_hard_link(path: Path) -> None:
    target = path.parent / "precious"
    target.write_bytes(b"precious")
    target.chmod(0o644)
    path.hardlink_to(target)


PLANTS = [plant_file, plant_link, plant_dangling_link, plant_link_to_device, plant_hard_link]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("checked", [True, False])
def test_nothing_is_replaced_without_asking(
    tmp_path: Path, plant: Callable[[Path], None], checked: bool
) -> None:
    """Nor what came between the look and the opening."""
    path = tmp_path / "x"
    target = Target(str(path))
    if not checked:
        target.check()
    plant(path)
    before = {each: (each.lstat(), each.is_file() and each.read_bytes()) for each in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=rf"^{path} .*--force replaces it$"):
        target.check() if checked else target.open(HEADER)
    assert before.keys() == set(tmp_path.iterdir())
    for each, (status, content) in before.items():
        assert each.lstat().st_mtime_ns == status.st_mtime_ns
        assert (each.is_file() and each.read_bytes()) == content


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_replaced_is_neither_followed_nor_written_into(
    tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    path = tmp_path / "x"
    plant(path)
    others = {each: each.read_bytes() for each in tmp_path.iterdir() if each != path and each.is_file()}
    with open(path if path.exists() else "/dev/null", "rb") as reader:
        recorded(path, replace=True)
        assert reader.read() in (b"precious", b"")  # whoever has the old one open does not read the new one
    assert stat.S_ISREG(path.lstat().st_mode)
    assert mode(path) == 0o600
    assert path.read_bytes() == b"header and more"
    assert {each: each.read_bytes() for each in tmp_path.iterdir() if each != path} == others


@pytest.mark.parametrize("exists", [False, True])
def test_an_opening_that_fails_leaves_everything_as_it_was(tmp_path: Path, exists: bool) -> None:
    """A disk that has no room for the beginning."""
    path = tmp_path / "x"
    script = f"""
        import resource, signal
        from rover.errors import RoverError
        from rover.recording.target import Target
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))
        try:
            Target({str(path)!r}, replace={exists}).open({HEADER!r})
        except RoverError as error:
            print(error)
    """
    if exists:
        plant_file(path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"cannot write to {path}: File too large\n"
    assert [each.name for each in tmp_path.iterdir()] == ["x"] * exists
    if exists:
        assert path.read_bytes() == b"precious"


def test_a_torn_end_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "x"
    target = Target(str(path))
    target.open(HEADER)
    target.write(b"torn")
    target.truncate(len(HEADER))
    target.close()
    assert path.read_bytes() == HEADER


@pytest.mark.parametrize("replace", [False, True])
def test_a_directory_is_none(tmp_path: Path, replace: bool) -> None:
    for path in (tmp_path, Path("/")):
        with pytest.raises(RoverError, match=f"cannot open {path} for writing: Is a directory"):
            recorded(path, replace=replace)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", ["", "missing/x", "x" * 300])
def test_a_path_that_cannot_be(tmp_path: Path, name: str, replace: bool) -> None:
    path = f"{tmp_path}/{name}" if name else ""
    with pytest.raises(RoverError, match=r"^cannot open .* for writing: "):
        recorded(path, replace=replace)
    assert not list(tmp_path.iterdir())


def test_a_fifo_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(RoverError, match="for writing: nobody reads it"):
        recorded(tmp_path / "x")


@pytest.mark.parametrize("replace", [False, True])
def test_a_fifo_is_written_to_and_stays(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "x"
    os.mkfifo(path)
    content: list[bytes] = []
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    large = os.urandom(1 << 20)

    def read() -> None:
        with open(reader, "rb") as file:
            content.append(file.read())

    target = Target(str(path), replace=replace)
    target.open(HEADER)  # before, to read would be to find the end
    thread = threading.Thread(target=read)
    thread.start()
    target.write(large)
    target.close()
    thread.join()
    assert content == [HEADER + large]
    assert stat.S_ISFIFO(path.lstat().st_mode)


@AS_ROOT
def test_a_strangers_fifo_is_not_written_to_without_asking(tmp_path: Path) -> None:
    path = tmp_path / "x"
    os.mkfifo(path)
    os.chown(path, 12345, 12345)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(UsageError, match="FIFO of user 12345; --force writes to it"):
        recorded(path)
    recorded(path, replace=True)
    assert os.read(reader, 100) == b"header and more"
    os.close(reader)


@AS_ROOT
@pytest.mark.parametrize("replace", [False, True])
def test_a_block_device_is_never_written_to(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "x"
    os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(7, 255))
    with pytest.raises(UsageError, match="is a block device"):
        recorded(path, replace=replace)


def test_a_socket_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(RoverError, match="cannot open"):
            recorded(path)


def test_devices() -> None:
    recorded("/dev/null")
    with pytest.raises(RoverError, match=r"^cannot write to /dev/full: No space left on device$"):
        recorded("/dev/full")


def test_a_terminal_is_none() -> None:
    ours, theirs = os.openpty()
    try:
        for path in (os.ttyname(theirs), f"/dev/fd/{theirs}"):
            with pytest.raises(UsageError, match="is a terminal"):
                recorded(path)
    finally:
        os.close(ours)
        os.close(theirs)


NAMES = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("to", ["file", "pipe"])
def test_standard_output_by_any_name(tmp_path: Path, name: str, to: str) -> None:
    script = f"""
        from rover.recording.target import Target
        target = Target({name!r})
        target.check()
        target.open(b"header")
        target.write(b" and more")
        target.truncate(0)
        target.close()
        print(", and it is still open", end="")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    if to == "pipe":
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    else:
        with (tmp_path / "x").open("wb") as file:
            subprocess.run(command, stdout=file, check=True)
        output = (tmp_path / "x").read_bytes()
    assert output == b"header and more, and it is still open"


def test_a_descriptor_that_is_not_open() -> None:
    with pytest.raises(RoverError, match=r"^cannot open /dev/fd/99999 for writing: Bad file descriptor$"):
        recorded("/dev/fd/99999")


def pipe() -> tuple[int, int]:
    return os.pipe()


def sockets() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize("between", [pipe, sockets])
def test_a_reader_that_does_not_read_is_waited_for_until_the_end(
    between: Callable[[], tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_module, "BLOCKED", 0.05)
    monkeypatch.setattr(target_module, "LAST_WAIT", 0.05)
    ours, theirs = between()
    target = Target(f"/dev/fd/{theirs}")
    asked = []

    def ending() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 5

    target.ending = ending
    target.open(HEADER)
    with pytest.raises(TimeoutError, match="nobody reads it"):
        target.write(bytes(1 << 20))
    assert len(asked) == 6
    target.close()
    os.close(theirs)
    assert os.read(ours, 6) == HEADER
    os.close(ours)


def test_a_reader_that_pauses_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_module, "BLOCKED", 0.01)
    ours, theirs = os.pipe()
    target = Target(f"/dev/fd/{theirs}")
    paused = threading.Event()
    target.ending = lambda: bool(paused.set())
    content: list[bytes] = []

    def read() -> None:
        with open(ours, "rb") as file:
            assert paused.wait(30)
            content.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    large = os.urandom(1 << 20)
    target.open(HEADER)
    target.write(large)
    target.close()
    os.close(theirs)
    thread.join()
    assert content == [HEADER + large]
