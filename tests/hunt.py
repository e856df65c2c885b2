"""`python -m tests.hunt [--seconds N] [PYTEST ARGUMENTS]`: tests properties at random, again and again.

Each round runs every property test, or those that the arguments select, with a seed of its own. A round that
has begun is finished.
"""

from __future__ import annotations

import argparse
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECONDS = 600
NOTHING_SELECTED = 5
"""pytest's exit code when no test is left."""


def command(seed: int, chosen: Sequence[str]) -> list[str]:
    """One round. Live tests are left out: what they are given is not made up."""
    marked = ["-m", "hypothesis and not live"]
    found = ["--hypothesis-profile=hunt", f"--hypothesis-seed={seed}"]
    return [sys.executable, "-m", "pytest", "-q", *marked, *found, *chosen]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hunt", description="Tests properties at random.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="no round begins after so many")
    options, chosen = parser.parse_known_args(argv)
    ends = time.monotonic() + options.seconds
    rounds = failed = 0
    while not rounds or time.monotonic() < ends:
        rounds += 1
        line = command(random.SystemRandom().getrandbits(32), chosen)
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        said = done.stdout.splitlines()
        print(f"round {rounds}: {said[-1] if said else f'exit code {done.returncode}'}", flush=True)
        if done.returncode == 0:
            continue
        print(done.stdout + done.stderr)
        print(f"again: {shlex.join(line)}", flush=True)
        failed += 1
        if done.returncode != 1:  # no test has failed: the command is wrong, nothing was selected, or Ctrl-C
            return 2 if done.returncode == NOTHING_SELECTED else done.returncode
    print(f"{rounds} rounds, {failed} of them failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
