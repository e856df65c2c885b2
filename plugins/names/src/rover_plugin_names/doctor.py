"""For `rover doctor`: who could be asked for names on this host."""

from __future__ import annotations

from collections.abc import Iterator

from rover import Check
from rover_plugin_names.configuration import Configuration
from rover_plugin_names.container import NotThereError, UnreachableError
from rover_plugin_names.cri import Runtime
from rover_plugin_names.engine import Engine
from rover_plugin_names.settings import SECTION


def checks(configuration: Configuration) -> Iterator[Check]:
    """A line for each directory. None is needed: cgroups tell units and ids of containers."""
    absent: dict[str, list[str]] = {}
    directories: tuple[Runtime | Engine, ...] = (*configuration.runtimes, *configuration.engines)
    for directory in directories:
        try:
            yield _asked(directory)
        except NotThereError as error:
            absent.setdefault(directory.name, []).append(str(error))
    for name, sockets in absent.items():
        yield Check(f"names {name}", True, ", ".join(sockets), required=False, tried=False)
    files = configuration.files
    if files is not None:
        readable = ", ".join(files.readable())
        found = f"read {readable}" if readable else "nothing of the kubelet, Docker or podman can be read"
        yield Check("names files", True, found, required=False, tried=bool(readable))


def _asked(directory: Runtime | Engine) -> Check:
    """Raises NotThereError."""
    subject = f"names {directory.name}"
    try:
        version = directory.version()
    except NotThereError:
        raise
    except UnreachableError as error:
        fix = f"let the agent's user connect to it, or take it out of {SECTION}.{directory.name}"
        return Check(subject, False, str(error), fix, required=False)
    return Check(subject, True, f"{version} answers at {directory.path}", required=False)
