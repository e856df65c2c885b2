"""`rover doctor`: can this host run it?"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable

import typer

import rover.buffer
from rover.configuration import CORE, Catalogue
from rover.plugins import PluginManager, first_line
from rover.priority import may_set
from rover.source import Check

MAX_CHECKS = 1000
"""Lines of one source: more is an iterator without end."""


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("doctor")
    def doctor(context: typer.Context) -> None:
        """Check what rover needs of this host; each failing line says what to do."""
        manager: PluginManager = context.obj
        catalogue = Catalogue(manager)
        checks = [Check("python", True, sys.version.split()[0]), compiled_check()]
        checks.append(priority_check(int(str(CORE["run.nice"].default))))
        for source in catalogue.sources.values():
            if source.check is not None:
                try:
                    checks.extend(checked(source.check()))
                except BaseException as error:
                    checks.append(Check(f"source {source.name}", False, first_line(error)))
        checks.extend(plugin_checks(catalogue))
        width = max(len(check.subject) for check in checks)
        for check in checks:
            verdict = "ok" if check.ok else "FAIL" if check.required else "warn"
            mend = f"; {check.mend}" if check.mend and not check.ok else ""
            typer.echo(f"{verdict:4}  {check.subject:{width}}  {check.finding}{mend}")
        if any(check.required and not check.ok for check in checks):
            raise typer.Exit(1)


def checked(checks: Iterable[Check]) -> list[Check]:
    """What a source's `check` returned. Raises TypeError for what no line can be made of."""
    taken = list(itertools.islice(checks, MAX_CHECKS))
    if not all(type(check) is Check and type(check.subject) is type(check.finding) is str for check in taken):
        raise TypeError("its check returned something else than Checks")
    return taken


def compiled_check() -> Check:
    """Whether the hot modules run compiled: without, all works, and takes three times as long."""
    compiled = not str(rover.buffer.__file__).endswith(".py")
    mend = "install a C compiler and the headers of Python (python3-dev), then rover again"
    return Check("compiled", compiled, "yes" if compiled else "no, plain Python", mend, required=False)


def priority_check(nice: int) -> Check:
    """Whether the agent may run before what it watches (run.nice)."""
    finding = f"run.nice = {nice} {'may' if (may := may_set(nice)) else 'cannot'} be set"
    fix = "give it CAP_SYS_NICE or Nice= in its unit, else it loses more when the processor is short"
    return Check("priority", may, finding, fix, required=False)


def plugin_checks(catalogue: Catalogue) -> list[Check]:
    """A line per kind of plugin that must be there, and per plugin that failed."""
    checks = []
    for kind, specs in (
        ("protocols", catalogue.protocols),
        ("sources", catalogue.sources),
        ("sinks", catalogue.sinks),
    ):
        found = ", ".join(sorted(specs))
        mend = f"pip install a plugin with {kind}, such as the packages of rover itself"
        checks.append(Check(kind, bool(specs), found or "none installed", mend))
    for name, kind, _ in catalogue.manager.failures():
        mend = "mend it, or pip uninstall its package"
        checks.append(Check(f"plugin {name}", False, kind, mend, required=False))
    return checks
