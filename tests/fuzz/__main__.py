"""`python -m tests.fuzz [NAME...] [--seconds N]`: fuzzes each harness, or those named, in turn.

build/fuzz keeps the inputs that are worth it, a log per harness, and what was found.
`--check FILE...` runs one harness over such files, with neither fuzzer nor instruments.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))

import plain
from fuzz import HARNESSES
from fuzz.script import MARK

KEPT = TESTS.parent / "build/fuzz"
SECONDS = 20
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=4096")
"""Of one input: ten seconds, where milliseconds are usual; a gigabyte, where a tenth is; and 4 kB,
which hold a conversation."""
INSTRUMENTED = (*plain.PACKAGES, "rover_plugin_http2", "rover_source_pcap", "hpack")


def harness(name: str) -> Any:
    """Imported when it is known how what it imports is to be loaded."""
    return importlib.import_module(f"fuzz.{name}")


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
    atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], module.check)
    atheris.Fuzz()


def fuzz_in_turn(names: Sequence[str], seconds: int) -> bool:
    """Each in a process of its own. Whether all were clean."""
    if importlib.util.find_spec("atheris") is None:
        sys.exit("fuzzing needs atheris, and there is none for this Python: pip install atheris")
    KEPT.mkdir(parents=True, exist_ok=True)
    clean = True
    for name in names:
        log = KEPT / f"{name}.log"
        with log.open("wb") as output:
            command = [sys.executable, str(Path(__file__).parent), "--alone", "--seconds", str(seconds), name]
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        lines = log.read_text(errors="replace").splitlines()
        last = [line for line in lines if re.match(r"#\d+\s", line)][-1:]
        print(f"{name}: {'clean' if code == 0 else f'A FINDING, see {log}'}; {' '.join(last).strip()}", flush=True)
        clean &= code == 0
    return clean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(HARNESSES))
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each harness")
    parser.add_argument("--check", nargs="+", metavar="FILE", type=Path, default=())
    parser.add_argument("--alone", action="store_true", help="in this process")
    given = parser.parse_args()
    if unknown := set(given.names) - set(HARNESSES):
        parser.error(f"no such harness: {', '.join(sorted(unknown))}")
    if given.check:
        (name,) = given.names
        for path in given.check:
            harness(name).check(path.read_bytes())
    elif given.alone:
        (name,) = given.names
        fuzz(name, given.seconds)
    elif not fuzz_in_turn(given.names or HARNESSES, given.seconds):
        sys.exit(1)


main()
