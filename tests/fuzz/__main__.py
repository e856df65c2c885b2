"""`python -m tests.fuzz [NAME...] [--seconds N]`: fuzzes each harness, or those named, in turn.

The fuzzer sees the plain Python; what it kept is then checked with what is compiled, too. build/fuzz
has these inputs, the findings, and a log per harness. `--check FILE...` runs one harness over files.

The laws of time and memory take seconds where an input takes a millisecond, so a quarter of the time is
theirs: for inputs as they come to the fuzzer, and again for those it kept.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))

import plain  # noqa: E402
from fuzz import HARNESSES, laws  # noqa: E402
from fuzz.script import MARK  # noqa: E402

KEPT = TESTS.parent / "build/fuzz"
SECONDS = 20
LIMITS = ("-timeout=120", "-rss_limit_mb=1024", "-max_len=4096", "-len_control=20")
"""Of one input: two minutes, where what is grown takes seconds; a gigabyte, where a tenth is usual; and
4 kB, which hold a conversation."""
LAWS_SHARE = 4
"""One part in so many of the time."""
INTERRUPTED = 72
"""libFuzzer's exit code when a signal ended it."""
INSTRUMENTED = (*plain.PACKAGES, "rover_plugin_websocket", "hpack")


def harness(name: str) -> Any:
    """Imported when it is known how what it imports is to be loaded."""
    return importlib.import_module(f"fuzz.{name}")


def weigh_of(module: Any) -> laws.Weigh:
    """How a harness counts the bytes of an input."""
    weigh: laws.Weigh = getattr(module, "weigh", len)
    return weigh


def fuzz(name: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    plain.install()
    with atheris.instrument_imports(include=INSTRUMENTED):
        module = harness(name)
    corpus, words = KEPT / name, KEPT / f"{name}.words"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in module.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in (MARK, *module.WORDS))
    words.write_text("".join(f'"{word}"\n' for word in quoted))
    options = (*LIMITS, f"-max_total_time={seconds}", f"-dict={words}", f"-artifact_prefix={KEPT}/{name}-")
    laws_time = Share()

    def check(data: bytes) -> None:
        module.check(data)
        with laws_time as due:
            if due:
                laws.check_one(module.RUNS, data, weigh_of(module))

    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], check)
    atheris.Fuzz()


class Share:
    """A context whose turn it is as long as it took its share of the time and no more."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._spent = 0.0
        self._entered = 0.0

    def __enter__(self) -> bool:
        self._entered = time.monotonic()
        return self._spent * LAWS_SHARE <= self._entered - self._begun

    def __exit__(self, *_: object) -> None:
        self._spent += time.monotonic() - self._entered


def fuzz_in_turn(names: Sequence[str], seconds: int) -> bool:
    """Each in a process of its own. Whether all were clean."""
    if importlib.util.find_spec("atheris") is None:
        sys.exit("fuzzing needs atheris (pip install atheris)")
    KEPT.mkdir(parents=True, exist_ok=True)
    clean = True
    for name in names:
        log = KEPT / f"{name}.log"
        with log.open("wb") as output:
            limit = ["--seconds", str(seconds)]
            steps = (["--alone", *limit], ["--check", str(KEPT / name), *limit])
            codes = [_run([*step, "--", name], output) for step in steps]
        counts = re.findall(r"^#\d+\s.*", log.read_text(errors="replace"), re.MULTILINE)
        verdict = "clean" if not any(codes) else f"A FINDING, see {log}"
        if codes == [INTERRUPTED, 0]:
            verdict = "interrupted"
        print(f"{name}: {verdict}; {counts[-1] if counts else 'no input was run'}", flush=True)
        clean &= not any(codes)
    return clean


def _run(arguments: Sequence[str], output: IO[bytes]) -> int:
    command = [sys.executable, str(Path(__file__).parent), *arguments]
    return subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode


def check_files(name: str, paths: Iterable[Path], seconds: float) -> None:
    """Runs a harness over files, and all in directories. Says which one it fails at.

    In a directory, the laws get their share of the seconds, for one input after the other from anywhere on.
    """
    module = harness(name)
    for path in paths:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            _check_file(name, file, module.check)
        ends = time.monotonic() + (seconds / LAWS_SHARE if path.is_dir() else math.inf)
        for file in random.sample(files, len(files)):
            if time.monotonic() < ends:
                _check_file(name, file, lambda data: laws.check(module.RUNS, data, weigh_of(module)))


def _check_file(name: str, file: Path, check: Callable[[bytes], Any]) -> None:
    try:
        check(file.read_bytes())
    except BaseException:
        print(f"{name} fails at {file}", file=sys.stderr)
        raise


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(HARNESSES))
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each harness")
    parser.add_argument("--check", nargs="+", metavar="FILE", type=Path, default=())
    parser.add_argument("--alone", action="store_true", help="the fuzzer in this process")
    given = parser.parse_args()
    if unknown := set(given.names) - set(HARNESSES):
        parser.error(f"no such harness: {', '.join(sorted(unknown))}")
    if (given.check or given.alone) and len(given.names) != 1:
        parser.error("--check and --alone need one name")
    if given.check:
        check_files(given.names[0], given.check, given.seconds)
    elif given.alone:
        fuzz(given.names[0], given.seconds)
    elif not fuzz_in_turn(given.names or HARNESSES, given.seconds):
        sys.exit(1)


main()
