"""The tests of this kernel's part and the live ones, run in a root."""

from __future__ import annotations

import collections
import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from .root import Root

TESTS = ("bpf/tests", "tests/live")
RESULTS = "root/results.xml"

OF_THE_ROOT = re.compile(
    r"needs CONFIG_|this kernel |io_uring is switched off|cgroup v2 is not mounted|cannot make a cgroup"
)
"""Why a test may skip: this kernel or the root lacks it. What make test installs is no such reason."""


@dataclasses.dataclass(frozen=True)
class Results:
    """What a test run came to."""

    passed: int
    failed: list[str]
    skipped: dict[str, int]
    """Reason to number."""
    set_up: float
    """Seconds."""
    seconds: float
    ended: str = ""
    """Why there are no results; empty when there are."""

    @property
    def well(self) -> bool:
        """Everything passed, or skipped because of the root or the kernel."""
        return not (self.failed or self.ended) and all(map(OF_THE_ROOT.search, self.skipped))


def run_tests(root: Root, checkout: str, tests: Sequence[str], log: IO[str]) -> Results:
    """Sets up what `make test` needs, then runs pytest."""
    start = time.monotonic()
    # All that `make test` does before it asks pytest for something, and nothing after.
    if root.run("make", "test", "ARGS=--version", directory=checkout, log=log):
        return Results(0, [], {}, time.monotonic() - start, 0, "make test could not be set up")
    set_up = time.monotonic() - start
    start = time.monotonic()
    command = [".venv/bin/python", "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--junitxml=/{RESULTS}"]
    code = root.run(*command, *tests, directory=checkout, log=log)
    seconds = time.monotonic() - start
    if code not in (0, 1) or not (root.path / RESULTS).exists():
        return Results(0, [], {}, set_up, seconds, f"pytest ended with {code}")
    return read(root.path / RESULTS, set_up, seconds)


def read(path: Path, set_up: float, seconds: float) -> Results:
    """Results from a file in the format of JUnit."""
    passed, failed, skipped = 0, [], collections.Counter[str]()
    for case in ElementTree.parse(path).iter("testcase"):
        outcomes = {outcome.tag: outcome.get("message", "") for outcome in case}
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        if wrong := outcomes.keys() & {"failure", "error"}:
            failed += [f"{name}: {' '.join(outcomes[kind].split())[:200]}" for kind in wrong]
        elif "skipped" in outcomes:
            skipped[outcomes["skipped"]] += 1
        else:
            passed += 1
    return Results(passed, failed, dict(skipped), set_up, seconds)
