"""`make test-distributions`: makes a root of each Debian release, runs rover there, prints a table.

A root takes 2 to 3 GB while it is there. What it does in full is in FOLDER/RELEASE.log.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import time
from pathlib import Path
from typing import IO

from .first_line import FirstLine, first_line
from .root import CODENAMES, Root, RootError, fresh, missing
from .suite import TESTS, Results, run_tests

CHECKOUT = Path(__file__).parents[2]
INSIDE = "/root/rover"
STEPS = ("run", "tests", "replay")
HEADS = ("distribution", "python", "bcc", "LLVM", "first line (of which)", "again")
COUNTS = ("passed", "failed", "skipped", "s", "")
COLUMNS = "{:14} {:8} {:8} {:6} {:32} {:8} {:>6} {:>6} {:>7} {:>6}  {}"


def versions(root: Root) -> tuple[str, str, str]:
    """Of Python, bcc and LLVM, as far as they are installed."""
    shown = root.ask("dpkg-query", "-W", "-f", "${Package} ${Version}\n", "python3", "libbpfcc", "libllvm*")
    found = dict(re.findall(r"^(python3|libbpfcc|libllvm)\S* (?:\d+:)?(\d[\d.]*)", shown, re.MULTILINE))
    return found.get("python3", "-").strip("."), found.get("libbpfcc", "-"), found.get("libllvm", "-")


def replays(root: Root, log: IO[str]) -> tuple[list[str], bool]:
    """`rover replay` with every Python of the release: what was said, and whether all was well."""
    log.flush()
    known = root.ask("sh", "-c", "apt-get -qq update >/dev/null; apt-cache pkgnames python3.")
    names = sorted(set(re.findall(r"^(python3\.\d+)-venv$", known, re.MULTILINE)))
    packages = ["gcc", "libc6-dev", *(name + part for name in names for part in ("-venv", "-dev"))]
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "
    install += " ".join(packages)
    if root.run("sh", "-c", install, log=log):
        return ["apt-get install failed"], False
    said = root.path / "root/replay.txt"
    with said.open("w") as output:
        code = root.run(names[-1], "-m", "tests.distributions.replay", *names, directory=INSIDE, log=output)
    lines = said.read_text().splitlines()
    log.write("\n".join([*lines, ""]))
    return lines, code == 0


def one(release: str, options: argparse.Namespace) -> tuple[str, list[str], bool]:
    """A release: its row, what there is to say about it, whether all was well."""
    start = time.monotonic()
    notes: list[str] = []
    well = True
    first: FirstLine | None = None
    again: FirstLine | None = None
    results: Results | None = None
    with (
        open(options.folder / f"{release}.log", "w") as log,
        fresh(release, options.folder, CHECKOUT, log, keep=options.keep) as root,
    ):
        if "run" in options.steps:
            first = first_line(root, INSIDE, log)
            again = first_line(root, INSIDE, log)
            for name, ran in (("make run", first), ("make run, again", again)):
                if ran.seconds is None:
                    well = False
                    notes.append(f"{name}: no line came: {ran.last_words}")
        if "tests" in options.steps:
            results = run_tests(root, INSIDE, options.tests, log)
            well &= results.well
            notes += [f"FAILED {name}" for name in results.failed]
            notes += [f"skipped {number}: {reason}" for reason, number in results.skipped.items()]
            notes += [results.ended] if results.ended else []
        if "replay" in options.steps:
            said, fine = replays(root, log)
            well &= fine
            notes += said
        python, bcc, llvm = versions(root)
    row = COLUMNS.format(
        f"Debian {release}",
        python,
        bcc,
        llvm,
        str(first or "-"),
        f"{again.seconds:.1f} s" if again and again.seconds else "-",
        results.passed if results else "-",
        len(results.failed) if results else "-",
        sum(results.skipped.values()) if results else "-",
        f"{time.monotonic() - start:.0f}",
        "well" if well else "NOT WELL",
    )
    return row, notes, well


def main() -> int:
    """The exit code: 0 when all is well everywhere."""
    parser = argparse.ArgumentParser(prog="python -m tests.distributions", description=__doc__)
    add = parser.add_argument
    add("releases", nargs="*", default=["12", "13"], help=f"of {', '.join(CODENAMES)}; default: 12 13")
    add("--steps", default=",".join(STEPS), help="default: run,tests,replay")
    add("--tests", nargs="+", default=TESTS, help=f"for pytest; default: {' '.join(TESTS)}")
    add("--folder", type=Path, default=CHECKOUT / "build/distributions", help="where roots are made")
    add("--keep", action="store_true", help="delete no root at the end")
    options = parser.parse_args()
    options.steps = options.steps.split(",")
    unknown = [*(set(options.releases) - set(CODENAMES)), *(set(options.steps) - set(STEPS))]
    if unknown:
        parser.error(f"neither a release nor a step: {', '.join(unknown)}")
    if lacking := missing():
        print(f"needs {lacking}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    options.folder.mkdir(parents=True, exist_ok=True)
    rows, all_notes, all_well = [], [], True
    with contextlib.suppress(KeyboardInterrupt):
        for release in options.releases:
            try:
                row, notes, well = one(release, options)
            except RootError as error:
                row, notes, well = f"Debian {release}: {error}", [], False
            rows.append(row)
            all_notes += [f"Debian {release}: {note}" for note in notes]
            all_well &= well
    print(COLUMNS.format(*HEADS, *COUNTS), *rows, *all_notes, sep="\n")
    return 0 if all_well and len(rows) == len(options.releases) else 1


if __name__ == "__main__":
    sys.exit(main())
