"""The settings, read: who is asked, and what services are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rover import Patterns
from rover_plugin_names.container import Directory
from rover_plugin_names.cri import Runtime
from rover_plugin_names.engine import Engine
from rover_plugin_names.files import HostFiles
from rover_plugin_names.settings import PARTS, SECTION


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """What the plugin works with."""

    service: Patterns
    service_namespace: Patterns
    runtimes: tuple[Runtime, ...]
    engines: tuple[Engine, ...]
    files: HostFiles | None

    def directories(self) -> tuple[Directory, ...]:
        """Who is asked for a container, in this order: who knows most comes first."""
        return (*self.runtimes, *self.engines, *((self.files,) if self.files is not None else ()))


def configure(settings: Mapping[str, Any]) -> Configuration:
    """The settings of the section. Raises UsageError naming what is wrong."""
    return Configuration(
        service=Patterns(f"{SECTION}.service", settings["service"], PARTS),
        service_namespace=Patterns(f"{SECTION}.service_namespace", settings["service_namespace"], PARTS),
        runtimes=tuple(Runtime(path) for path in settings["cri"] if path),
        engines=tuple(Engine(name, settings[name]) for name in ("docker", "podman") if settings[name]),
        files=HostFiles() if settings["files"] else None,
    )
