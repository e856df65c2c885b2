"""`rover replay` as people use it: several files, pipes, packed files, a reader that leaves, Ctrl-C."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captures import ACK, PSH, SECOND, SYN, Segment, write_capture
from harness import DEADLINE, wait_until
from rover import Address, Detail, Direction, Opened, Process, Role, Syscall
from rover.recording.writer import Writer

ROVER = [sys.executable, "-m", "rover"]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(name: str, number: int) -> bytes:
    """Its target tells which file it is from."""
    return f"GET /{name}/{number} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode()


def capture(path: Path, count: int) -> Path:
    """One connection with so many exchanges, which stays open; the same ends in every file."""
    up = bytes([10, 0, 0, 1, 10, 0, 0, 2]) + (40_000).to_bytes(2, "big") + (80).to_bytes(2, "big")
    down = up[4:8] + up[:4] + up[10:] + up[8:10]
    segments = [Segment(SECOND, up, 0, 0, SYN, 0, b""), Segment(SECOND, down, 0, 1, SYN | ACK, 0, b"")]
    sent, answered, time = 1, 1, SECOND
    for number in range(count):
        asked = request(path.stem, number)
        time += SECOND // 100
        segments.append(Segment(time, up, sent, answered, PSH | ACK, len(asked), asked))
        sent += len(asked)
        time += SECOND // 100
        segments.append(Segment(time, down, answered, sent, PSH | ACK, len(ANSWER), ANSWER))
        answered += len(ANSWER)
    return write_capture(path, segments)


def recording(path: Path, count: int) -> Path:
    """The same as `rover run` would have seen it at the server; its connection stays open, too."""
    writer = Writer(str(path), replace=True)
    writer.begin(1_700_000_000 * SECOND, 0)
    writer.process(Process(pid=42, name="server"))
    address = Address(host="10.0.0.2", port=80), Address(host="10.0.0.1", port=40_000)
    writer.opened(
        Opened(
            connection=7,
            time=1,
            local=address[0],
            remote=address[1],
            role=Role.SERVER,
            pid=42,
            late=False,
            detail=None,
        )
    )
    moved = [0, 0]
    for number in range(count):
        pair = (Direction.INGRESS, request(path.stem, number)), (Direction.EGRESS, ANSWER)
        for step, (direction, data) in enumerate(pair):
            time = 10 + 10 * (2 * number + step)
            position = moved[direction]
            moved[direction] += len(data)
            call = Syscall.READ if direction is Direction.INGRESS else Syscall.WRITE
            number_of_call = 2 * number + step
            writer.data(
                Detail(
                    connection=7,
                    sequence=number_of_call,
                    start=time,
                    end=time + 1,
                    position=position,
                    size=len(data),
                    pid=42,
                    fd=3,
                    syscall=call,
                    direction=direction,
                    error=0,
                ),
                data,
            )
    writer.end(SECOND)
    assert writer.failure == ""
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a capture of five exchanges, one of two, and a recording of seven."""
    capture(tmp_path / "five.pcap", 5)
    capture(tmp_path / "two.pcap", 2)
    recording(tmp_path / "seven.rec", 7)
    return tmp_path


def replay(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """To its end."""
    argv = [*ROVER, "replay", *map(str, arguments)]
    options = {"stdin": subprocess.DEVNULL} | options if "input" not in options else options
    return subprocess.run(argv, capture_output=True, timeout=3 * DEADLINE, check=False, **options)


def targets(out: bytes) -> list[str]:
    """Of JSON lines."""
    return [json.loads(line)["url.original"] for line in out.splitlines()]


def all_of(name: str, count: int) -> list[str]:
    return [f"/{name}/{number}" for number in range(count)]


def test_several_files_are_one_run(files: Path) -> None:
    """One header, one summary; and what one file leaves open is no part of the next."""
    done = replay("five.pcap", "seven.rec", "two.pcap", cwd=files)
    assert done.returncode == 0
    assert done.stdout.count(b"TIME") == 1
    assert done.stdout.count(b"\n") == 1 + 14
    told = done.stderr.decode().splitlines()
    assert told[-3:] == [
        "rover: seen 14 exchanges; 3 connections, 28 calls",
        "rover: console logged 14, lost 0",
        "rover: 0 records lost",
    ]
    assert [line for line in told if "packets" in line] == ["rover: source: packets 18"]
    done = replay("--sink", "jsonl", "five.pcap", "seven.rec", "five.pcap", cwd=files)
    assert targets(done.stdout) == all_of("five", 5) + all_of("seven", 7) + all_of("five", 5)


PLUGIN = """
from pathlib import Path
from rover import hookimpl

def say(word):
    with open("diary", "a") as diary:
        diary.write(word + " ")

@hookimpl
def startup(settings):
    say("startup")

@hookimpl
def shutdown():
    say("shutdown")
"""


def test_plugins_start_and_end_once(files: Path) -> None:
    (files / "diarist.py").write_text(PLUGIN)
    information = files / "diarist-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: diarist\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[rover]\ndiarist = diarist\n")
    environment = {**os.environ, "PYTHONPATH": str(files)}
    done = replay("nowhere", "five.pcap", "two.pcap", "seven.rec", cwd=files, env=environment)
    assert done.returncode == 2
    assert (files / "diary").read_text() == "startup shutdown "


def test_what_cannot_be_read_is_told_and_the_rest_is_replayed(files: Path) -> None:
    """The exit code is that of the worst: 2 beats 1."""
    (files / "empty").touch()
    (files / "text").write_text("no capture\n")
    (files / "cut.pcap").write_bytes((files / "five.pcap").read_bytes()[:-10])
    (files / "cut.rec").write_bytes((files / "seven.rec").read_bytes()[:-30])
    (files / "packed.zst").write_bytes(b"\x28\xb5\x2f\xfdx")
    names = ["empty", "cut.pcap", "text", "two.pcap", "nowhere", "cut.rec", "packed.zst", "."]
    done = replay("--sink", "jsonl", *names, cwd=files)
    assert done.returncode == 2
    assert targets(done.stdout)[:6] == [*all_of("five", 5)[:4], "/five/4", "/two/0"]
    told = done.stderr.decode().splitlines()
    for line in (
        "rover: empty is empty",
        "rover: text: neither a capture nor a recording (pcap, recording)",
        "rover: cannot read nowhere: No such file or directory",
        "rover: packed.zst is compressed with Zstandard: unpack it first (zstd -d)",
        "rover: cannot read .: Is a directory",
    ):
        assert told.count(line) == 1, told
    assert [line for line in told if line.startswith("rover: seen ")][1:] == []
    after = told[told.index("rover: 0 records lost") :]
    assert sum(line.startswith("rover: cut.pcap is damaged at byte ") for line in after) == 1
    assert sum(line.startswith("rover: cut.rec, byte ") for line in after) == 1
    assert replay("two.pcap", "cut.pcap", cwd=files).returncode == 1


def test_nothing_to_replay_opens_no_sink(files: Path) -> None:
    done = replay("nowhere", "/", "--set", f"sink.jsonl.path={files}/log", "--sink", "jsonl", cwd=files)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 2)
    assert not (files / "log").exists()


@pytest.mark.parametrize(("name", "count"), [("five.pcap", 5), ("seven.rec", 7)])
def test_what_gzip_packed_is_read_as_it_is(files: Path, name: str, count: int) -> None:
    packed = files / f"{name}.gz"
    packed.write_bytes(gzip.compress((files / name).read_bytes()))
    stem = name.partition(".")[0]
    assert targets(replay("--sink", "jsonl", packed).stdout) == all_of(stem, count)
    assert targets(replay("--sink", "jsonl", "-", input=packed.read_bytes()).stdout) == all_of(stem, count)
    packed.write_bytes(packed.read_bytes()[:-9])
    cut = replay("--sink", "jsonl", packed)
    assert cut.returncode == 1
    assert b"the compressed file is cut off" in cut.stderr


@contextlib.contextmanager
def piped(*arguments: Any, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A replay of standard input, which is a pipe."""
    argv = [*ROVER, "replay", *map(str, arguments)]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    with subprocess.Popen(argv, bufsize=0, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("name", "count"), [("two.pcap", 2), ("seven.rec", 7)])
def test_a_pipe_that_gives_one_byte_at_a_time(files: Path, name: str, count: int, packed: bool) -> None:
    data = (files / name).read_bytes()
    data = gzip.compress(data) if packed else data
    with piped("--sink", "jsonl", "-") as process:
        assert process.stdin is not None
        for position in range(min(len(data), 700)):
            process.stdin.write(data[position : position + 1])
            wait_until(lambda: not unread(process.stdin), "the byte to be read")
        process.stdin.write(data[700:])
        out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    assert targets(out) == all_of(name.partition(".")[0], count)


def unread(pipe: Any) -> int:
    """Bytes in a pipe that nobody has read."""
    import fcntl
    import termios

    held = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(held, sys.byteorder)


def test_what_comes_is_logged_before_the_pipe_ends(files: Path) -> None:
    """A capture that is being made is shorter than what sources may look at."""
    with piped("--sink", "jsonl", "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(capture(files / "one.pcap", 1).read_bytes())
        assert json.loads(process.stdout.readline())["url.original"] == "/one/0"
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("written", [b"", b"\xd4", b"\x1f\x8b", b"\x89ROVER\r\n"], ids=repr)
def test_a_silent_pipe_keeps_nobody_from_ending(number: int, written: bytes) -> None:
    with piped("-") as process:
        assert process.stdin is not None
        process.stdin.write(written)
        # It waits for more, whether or not its signals are its own already.
        wait_until(lambda: waits(process.pid), "the wait for the pipe")
        process.send_signal(number)
        assert process.wait(DEADLINE) == -number
        assert process.stderr is not None
        assert process.stderr.read() == b""


def waits(pid: int) -> bool:
    """Whether it is in select(2) or read(2) on a pipe."""
    where = Path(f"/proc/{pid}/wchan").read_text()
    return any(part in where for part in ("poll", "select", "pipe_read"))


@pytest.mark.parametrize("first", ["five.pcap", "seven.rec"])
def test_a_silent_pipe_after_a_file_is_given_up_with_the_totals(files: Path, first: str) -> None:
    with piped("--sink", "jsonl", files / first, "-") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
        assert process.stderr is not None
        err = process.stderr.read()
        assert b"rover: seen " in err
        assert b"did not end" not in err


@pytest.mark.parametrize("sink", ["console", "jsonl"])
def test_a_reader_that_leaves_ends_it_in_silence(files: Path, sink: str) -> None:
    """As `cat` in a pipe: by SIGPIPE, and nobody is told."""
    big = capture(files / "big.pcap", 3000)
    argv = [*ROVER, "replay", "--sink", sink, str(big), str(big)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(DEADLINE) == -signal.SIGPIPE
        assert process.stderr.read() == b""


def test_another_sink_goes_on_when_a_reader_leaves(files: Path) -> None:
    big = capture(files / "big.pcap", 3000)
    log = files / "log"
    argv = [
        *ROVER,
        "replay",
        "--sink",
        "console",
        "--sink",
        "jsonl",
        "--set",
        f"sink.jsonl.path={log}",
        str(big),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(DEADLINE) == 1
        told = process.stderr.read().decode()
    assert targets(log.read_bytes()) == all_of("big", 3000)
    assert "rover: sink console: standard output was closed by its reader\n" in told
    assert "rover: jsonl logged 3000, lost 0\n" in told


@pytest.mark.parametrize("arguments", [["plugins", "--settings"], ["--help"], ["--version"], ["doctor"]])
def test_every_command_ends_in_silence_when_its_reader_leaves(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*ROVER, *arguments], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=DEADLINE
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


INTERRUPT = """
import os, signal, sys
at, started = int(os.environ["AT"]), False

def imported(event, arguments):
    global at, started
    if event != "import" or at < 0:
        return
    started = started or arguments[0] == "rover.cli.command"
    if started:
        at -= 1
        if at < 0:
            os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(imported)
"""


@pytest.mark.parametrize("command", [["replay", "-"], ["plugins"], ["oap-receiver"]])
@pytest.mark.parametrize("at", [0, 1, 10, 50, 150])
def test_ctrl_c_while_it_starts_shows_no_traceback(tmp_path: Path, command: list[str], at: int) -> None:
    """The signal comes with the import of that number, from the first that the command makes on."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AT": str(at)}
    done = subprocess.run(
        [*ROVER, *command],
        stdin=subprocess.PIPE,
        capture_output=True,
        check=False,
        timeout=DEADLINE,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_hardly_anything_is_imported_before_ctrl_c_ends_it() -> None:
    """What is imported until then is time in which Ctrl-C shows Python's traceback. What sees to it that
    compiled modules fit comes before all else, and takes half a millisecond."""
    code = (
        "import sys; before = set(sys.modules); import rover.cli\n"
        "class Stop(Exception): ...\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        import _signal; print(name, _signal.getsignal(2) == _signal.SIG_DFL); raise Stop\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "sys.meta_path.insert(0, Finder())\n"
        "try: rover.cli.main([])\n"
        "except Stop: pass"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["__future__ rover rover.abi rover.cli", "rover.cli.command True"]


def test_a_window_of_another_size_is_followed_by_a_run(files: Path) -> None:
    """The console of a real process at a real terminal."""
    import fcntl
    import struct
    import termios

    def resize(width: int) -> None:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, width, 0, 0))

    master, terminal = pty.openpty()
    resize(80)
    shown = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            while more := os.read(master, 4096):
                shown.extend(more)

    data = capture(files / "many.pcap", 40).read_bytes()
    environment = {**os.environ, "NO_COLOR": "1"}
    with piped("-", stdout=terminal, env=environment) as process:
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert process.stdin is not None
        process.stdin.write(data[: len(data) // 2])
        wait_until(lambda: b"/many/10" in shown, "the first half")
        resize(200)
        process.stdin.write(data[len(data) // 2 :])
        process.stdin.close()
        assert process.wait(DEADLINE) == 0
        wait_until(lambda: b"/many/39" in shown, "the second half")
    os.close(terminal)
    reader.join(DEADLINE)
    os.close(master)
    lines = shown.decode().splitlines()
    headers = [line for line in lines if "PROCESS" in line]
    assert ["HOST" in header for header in headers] == [False, True]
    assert "a.example" in lines[-1]
