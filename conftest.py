"""What `live` and `compiled` mean, testing without anything compiled (ROVER_PLAIN=1), how properties are
tested, processes of a test."""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

import plain

ROOT = Path(__file__).parent
REQUIRED = {"live": "ROVER_REQUIRE_LIVE", "compiled": "ROVER_REQUIRE_COMPILED"}
"""Set where a test with the marker must not skip. Who asks for plain Python wants nothing compiled."""

SHRINKING = 300
"""Seconds after which hypothesis gives up making a counterexample smaller. A property that fails takes them
on top of pytest's `timeout`, which would else kill it, and what it says would not be what is wrong."""

if os.environ.get("ROVER_PLAIN"):
    plain.install()
    del REQUIRED["compiled"]

# The same commit passes twice or fails twice: the examples follow from the test's code. `make hunt` tries
# others. How fast this machine is at the moment is no property: there is no deadline, nor may it matter how
# long examples take to make.
WAYS = {
    "phases": [phase for phase in Phase if phase is not Phase.explain],  # it runs as long as shrinking does
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "print_blob": True,
}
settings.register_profile("check", derandomize=True, **WAYS)
settings.register_profile("hunt", derandomize=False, **WAYS)
settings.load_profile("check")


def missing_for_live() -> str:
    """Why live tests cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "needs a kernel with BTF (/sys/kernel/btf/vmlinux)"
    try:
        from rover_source_ebpf.compiler import Compiler

        with Compiler() as compiler:
            compiler.describe()
    except Exception as error:
        return f"needs bcc: {error}"
    return ""


def missing_for_compiled() -> str:
    """Why there is nothing compiled to test; empty when there is."""
    from rover.streams import buffer

    if buffer.__file__.endswith(".py"):
        return "plain Python runs here; `make compile` compiles what is hot"
    return ""


def pytest_sessionstart() -> None:
    """What was compiled before its source was changed would be tested in the source's stead."""
    if os.environ.get("ROVER_PLAIN"):
        return
    for member in ("core", "bpf", "plugins"):
        for extension in (ROOT / member).rglob("src/**/*" + importlib.machinery.EXTENSION_SUFFIXES[0]):
            stem = extension.with_name(extension.name.partition(".")[0])
            if not any(stem.with_suffix(suffix).exists() for suffix in (".pyx", ".pxd")):
                pytest.exit(f"{stem.relative_to(ROOT)} is compiled no more: `make compile`", returncode=4)
            for source in (stem.with_suffix(suffix) for suffix in (".py", ".pyx", ".pxd")):
                if source.exists() and source.stat().st_mtime > extension.stat().st_mtime:
                    pytest.exit(f"{source.relative_to(ROOT)} has changed: `make compile`", returncode=4)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips with a reason what cannot run here, and gives properties the time to say how they fail."""
    usual = float(config.getini("timeout"))
    for item in items:
        if item.get_closest_marker("hypothesis"):
            own = item.get_closest_marker("timeout")
            timeout = (own.args[0] if own else usual) + SHRINKING
            item.add_marker(pytest.mark.timeout(timeout), append=False)
    for marker, missing in (("live", missing_for_live), ("compiled", missing_for_compiled)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (reason := missing()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """A test that skips where it must run is a failure."""
    outcome = yield
    report = outcome.get_result()
    for marker, variable in REQUIRED.items():
        if report.skipped and os.environ.get(variable) and item.get_closest_marker(marker):
            report.outcome = "failed"
            report.longrepr = f"skipped, but {variable} is set: {report.longrepr}"


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[], object]], int]]:
    """Runs functions in processes of their own, which exit with 0 unless they raise; all are reaped."""
    children: list[int] = []

    def start(function: Callable[[], object]) -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                function()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
        return child

    yield start
    for child in children:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # the test has reaped it
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
