"""What `live` means: tests that capture on this very kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def missing_for_live() -> str:
    """Why live tests cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "needs a kernel with BTF (/sys/kernel/btf/vmlinux)"
    try:
        from rover_source_ebpf.bcc_module import find_bcc

        find_bcc()
    except Exception as error:
        return f"needs bcc: {error}"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips live tests with a reason, or fails them where ROVER_REQUIRE_LIVE says they must run."""
    live = [item for item in items if item.get_closest_marker("live")]
    if live and (reason := missing_for_live()):
        for item in live:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """A live test that skips where it must run is a failure."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("ROVER_REQUIRE_LIVE") and report.skipped and item.get_closest_marker("live"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but ROVER_REQUIRE_LIVE is set: {report.longrepr}"
