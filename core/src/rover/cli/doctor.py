"""`rover doctor`: can this host run it?"""

from __future__ import annotations

import importlib.machinery
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, cast

import typer

from rover.cli.options import Config, Sets
from rover.contracts.settings import Settings
from rover.contracts.source import Check, SourceSpec
from rover.errors import UsageError
from rover.plugins.manager import PluginManager, first_line
from rover.run.configuration import Catalogue, selection
from rover.run.priority import by_session, may_set
from rover.run.report import amount

MAX_CHECKS = 1000
"""Lines of one plugin: more is an iterator without end."""


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("doctor")
    def doctor(
        context: typer.Context,
        config: Config = None,
        sets: Sets = None,
        pid: Annotated[
            int | None, typer.Option("--pid", help="Say instead what can be read of this process.", min=1)
        ] = None,
    ) -> None:
        """Check what rover run needs of this host, and try it; each failing line says what to do.

        A line that begins with - was not tried.
        """
        manager: PluginManager = context.obj
        catalogue = Catalogue(manager)
        settings = catalogue.settings(config, sets or (), {})
        if pid is not None:
            checks = list(process_checks(catalogue, pid))
        else:
            checks = [Check("python", True, sys.version.split()[0]), *compiled_checks(manager)]
            checks.append(priority_check(settings["run.nice"]))
            checks.extend(source_checks(catalogue, settings))
            checks.extend(host_checks(manager, settings))
            checks.extend(plugin_checks(catalogue))
        width = max(len(check.subject) for check in checks)
        for check in checks:
            fix = f"; {check.fix}" if check.fix and not check.ok else ""
            typer.echo(f"{verdict(check):4}  {check.subject:{width}}  {check.finding}{fix}")
        if any(check.tried and check.required and not check.ok for check in checks):
            raise typer.Exit(1)


def process_checks(catalogue: Catalogue, pid: int) -> Iterator[Check]:
    """What can be read of a process. Raises UsageError when it is not there, or no source can tell."""
    if not Path(f"/proc/{pid}").is_dir():
        raise UsageError(f"--pid {pid}: there is no such process")
    able = [source for source in catalogue.sources.values() if source.check_tls is not None]
    if not able:
        raise UsageError("--pid: no installed source can tell what it can read of a process")
    for source in able:
        yield from tls_checks(catalogue, source, pid)


def tls_checks(catalogue: Catalogue, source: SourceSpec, pid: int | None) -> Iterator[Check]:
    """What a source says of TLS libraries, of this host or of a process."""
    if source.check_tls is None:
        return
    try:
        yield from checked(source.check_tls(catalogue.tls_libraries, pid))
    except BaseException as error:
        yield Check(f"source {source.name}", False, first_line(error))


def verdict(check: Check) -> str:
    """In a word."""
    if not check.tried:
        return "-"
    return "ok" if check.ok else "FAIL" if check.required else "warn"


def source_checks(catalogue: Catalogue, settings: Settings) -> Iterator[Check]:
    """What the sources say of this host, and how the one that would run fares."""
    for source in catalogue.sources.values():
        try:
            if source.check is not None:
                yield from checked(source.check())
            yield from tls_checks(catalogue, source, None)
            if source.rehearse is not None and source.live and source.name == settings["run.source"]:
                section = settings.section(f"source.{source.name}")
                yield from checked(source.rehearse(section, selection(settings)))
        except BaseException as error:
            yield Check(f"source {source.name}", False, first_line(error))


def host_checks(manager: PluginManager, settings: Settings) -> Iterator[Check]:
    """What other plugins say of this host."""
    for plugin, check in manager.implementations("check_host"):
        try:
            yield from checked(cast("Iterable[Check] | None", check(settings)) or ())
        except BaseException as error:
            plugin.failed("check_host", error)


def checked(checks: Iterable[Check]) -> list[Check]:
    """What a plugin's check returned. Raises TypeError for what no line can be made of."""
    taken = list(itertools.islice(checks, MAX_CHECKS))
    if not all(type(check) is Check and type(check.subject) is type(check.finding) is str for check in taken):
        raise TypeError("its check returned something else than Checks")
    return taken


def compiled_checks(manager: PluginManager) -> Iterator[Check]:
    """Whether the hot modules run compiled, package by package: without, all works, and takes three times as
    long."""
    packages = ["rover", *(plugin.module.partition(".")[0] for plugin in manager.plugins)]
    for name in sorted({name for name in packages if name}):
        yield compiled_check(name)


def compiled_check(package: str) -> Check:
    """Of one package."""
    subject = f"compiled {package}"
    directories = [Path(each) for each in getattr(sys.modules.get(package), "__path__", ())]
    compiled = {name for each in directories for name in stems(each, *importlib.machinery.EXTENSION_SUFFIXES)}
    hot = compiled | {name for each in directories for name in stems(each, ".pxd", ".pyx")}
    # One that was compiled for another interpreter, or for another rover, does not run though it is there.
    plain = {name for name in compiled if str(loaded_from(package, name)).endswith(".py")}
    running = len(compiled - plain)
    if not hot:
        return Check(
            subject, True, "no module has a compiled form; plain Python", required=False, tried=False
        )
    if running == len(hot):
        return Check(subject, True, f"yes, {amount(running, 'modules')}", required=False)
    fix = "install a C compiler and the headers of Python (python3-dev), then rover again"
    finding = f"{running} of {len(hot)} hot modules; the others run as plain Python"
    return Check(subject, False, finding, fix, required=False)


def stems(directory: Path, *suffixes: str) -> Iterator[str]:
    """Modules of a package that have a file of such a name, by their names below it."""
    for path in directory.rglob("*"):
        for suffix in suffixes:
            stem = path.name.removesuffix(suffix)
            if stem != path.name and "." not in stem:  # else it is another interpreter's
                yield ".".join((*path.relative_to(directory).parts[:-1], stem))
                break


def loaded_from(package: str, name: str) -> object:
    """The file that a module was loaded from; None when it was not."""
    return getattr(sys.modules.get(f"{package}.{name}"), "__file__", None)


def priority_check(nice: int) -> Check:
    """Whether the agent may run before what it watches (run.nice)."""
    finding = f"run.nice = {nice} {'may' if (may := may_set(nice)) else 'cannot'} be set"
    if may and nice and by_session():
        finding += "; it counts within the agent's session, or among sessions where it has one of its own"
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
        fix = f"pip install a plugin with {kind}, such as the packages of rover itself"
        checks.append(Check(kind, bool(specs), found or "none installed", fix))
    for name, kind, _ in catalogue.manager.failures():
        fix = "fix it, or pip uninstall its package"
        checks.append(Check(f"plugin {name}", False, kind, fix, required=False))
    return checks
