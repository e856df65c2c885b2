"""What is kept of compiled programs: only this user's own whole files are taken, and nothing fails for it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rover_source_ebpf.cache import KEPT, SYSTEM, Cache, directory

KEY, OTHER = "a" * 64, "b" * 64
CONTENT = b'{"format": 1}\n and any bytes \x00\xff'


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """With one entry."""
    made = Cache(tmp_path / "rover")
    made.put(KEY, CONTENT)
    assert made.get(KEY) == CONTENT
    return made


def entry(cache: Cache, key: str = KEY) -> Path:
    assert cache.path is not None
    return cache.path / f"{key}.image"


def test_what_was_put_is_there(cache: Cache) -> None:
    assert cache.get(OTHER) is None
    cache.put(OTHER, b"")
    assert cache.get(OTHER) == b""
    cache.put(KEY, b"newer")
    assert cache.get(KEY) == b"newer"


def test_nobody_else_can_read_or_write_it(cache: Cache) -> None:
    assert entry(cache).stat().st_mode & 0o777 == 0o600
    assert entry(cache).parent.stat().st_mode & 0o777 == 0o700


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def garbage(file: Path) -> None:
    file.write_bytes(os.urandom(5000))


def huge(file: Path) -> None:
    os.truncate(file, 1 << 40)


def link(file: Path) -> None:
    target = file.with_name("elsewhere")
    file.rename(target)
    file.symlink_to(target)


def dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to("/nowhere")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def for_the_group(file: Path) -> None:
    file.chmod(0o620)


def for_all(file: Path) -> None:
    file.chmod(0o602)


def of_another_key(file: Path) -> None:
    file.rename(file.with_name("c" * 64 + ".image"))
    (file.with_name("c" * 64 + ".image")).rename(file.with_name(OTHER + ".image"))


HOSTILE = (
    *(truncated, longer, changed, empty, garbage, huge, link, dangling, pipe, folder, for_the_group, for_all),
    of_another_key,
)


@pytest.mark.parametrize("harm", HOSTILE)
def test_an_entry_that_is_not_as_it_was_is_none(cache: Cache, harm: Callable[[Path], None]) -> None:
    """And the next one takes its place, where it is a file's."""
    harm(entry(cache))
    assert cache.get(KEY) is None
    assert cache.get(OTHER) is None
    cache.put(KEY, b"again")
    if harm is not folder:
        assert cache.get(KEY) == b"again"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_what_somebody_else_owns_is_not_taken(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    os.chown(entry(cache), 65534, -1)
    assert cache.get(KEY) is None
    os.chown(entry(cache), 0, -1)
    assert cache.get(KEY) == CONTENT
    os.chown(entry(cache).parent, 65534, -1)
    assert cache.get(KEY) is None
    assert "it belongs to user 65534" in caplog.text
    cache.put(OTHER, b"")
    assert not entry(cache, OTHER).exists()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_may_write_to_is_not_used(
    cache: Cache, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    entry(cache).parent.chmod(mode)
    assert cache.get(KEY) is None
    cache.put(OTHER, b"")
    assert not entry(cache, OTHER).exists()
    assert "others may write to it" in caplog.text


def test_a_directory_behind_a_link_is_judged_as_any_other(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "rover")
    behind = Cache(tmp_path / "link")
    assert behind.get(KEY) == CONTENT
    behind.put(OTHER, b"")
    assert cache.get(OTHER) == b""
    (tmp_path / "rover").chmod(0o777)
    assert behind.get(KEY) is None


@pytest.mark.parametrize("place", ["/proc/rover", "/dev/null/rover", "/proc/self/fd/rover"])
def test_where_nothing_can_be_kept_nothing_fails(place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    nowhere = Cache(Path(place))
    nowhere.put(KEY, CONTENT)
    assert nowhere.get(KEY) is None
    assert caplog.text == "", "it is nobody's concern"
    Cache(None).put(KEY, CONTENT)
    assert Cache(None).get(KEY) is None


def test_old_entries_go_and_used_ones_stay(cache: Cache) -> None:
    os.utime(entry(cache), (1, 1))
    strange = entry(cache).with_name("somebody's")
    strange.touch()
    keys = [f"{n:064x}" for n in range(KEPT)]
    for n, key in enumerate(keys[:-1]):
        cache.put(key, b"")
        os.utime(entry(cache, key), (n + 2, n + 2))
    assert cache.get(KEY) == CONTENT  # the oldest; now it was used
    cache.put(keys[-1], b"")
    assert cache.get(KEY) == CONTENT
    assert cache.get(keys[0]) is None
    assert cache.get(keys[1]) == b""
    assert strange.exists()


def test_what_was_abandoned_goes(cache: Cache) -> None:
    killed, writing = (entry(cache).with_name(f"{KEY}.image.{pid}.new") for pid in (1, 2))
    for each in (killed, writing):
        each.touch()
    os.utime(killed, (1, 1))
    cache.put(OTHER, b"")
    assert not killed.exists()
    assert writing.exists()


def test_many_writers_and_readers_at_once(cache: Cache, fork: Callable[[Callable[[], object]], int]) -> None:
    """Each reads one of the whole entries, never a part of one."""
    entries = [bytes([n]) * 100_000 for n in range(4)]

    def work(mine: bytes) -> None:
        for _ in range(50):
            cache.put(KEY, mine)
            assert cache.get(KEY) in entries

    cache.put(KEY, entries[0])
    children = [fork(lambda mine=mine: work(mine)) for mine in entries]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert cache.get(KEY) in entries
    assert threading.active_count() == 1


@pytest.mark.parametrize(
    ("environment", "user", "place"),
    [
        ({}, 0, SYSTEM),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/home/me/.cache"}, 0, SYSTEM),
        ({"CACHE_DIRECTORY": "/var/cache/rover:/var/cache/more"}, 1000, Path("/var/cache/rover")),
        ({"CACHE_DIRECTORY": "/var/cache/mine"}, 0, Path("/var/cache/mine")),
        ({"CACHE_DIRECTORY": "relative", "HOME": "/home/me"}, 1000, Path("/home/me/.cache/rover")),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/home/me"}, 1000, Path("/x/rover")),
        ({"XDG_CACHE_HOME": "x", "HOME": "/home/me"}, 1000, Path("/home/me/.cache/rover")),
        ({"HOME": ""}, 1000, None),
        ({}, 1000, None),
    ],
)
def test_the_place(environment: dict[str, str], user: int, place: Path | None) -> None:
    assert directory(environment, user) == place
