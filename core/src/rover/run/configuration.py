"""All settings there are: the core's own, and what the installed plugins declare."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from rover.contracts.protocol import ProtocolSpec
from rover.contracts.settings import Setting, Settings, read_assignments, read_environment, read_file
from rover.contracts.sink import SinkSpec
from rover.contracts.source import Selection, SourceSpec
from rover.plugins.manager import PluginManager
from rover.run.priority import HIGHEST, LOWEST

MAX_WORKERS = 8
"""Each has a ring, queues and a core of its own. Where eight are not enough, watching less of the host
helps more: the watched programs need its cores too."""

CORE = {
    "run.source": Setting("run.source", "ebpf", "where records come from"),
    "run.sinks": Setting("run.sinks", ["console"], "where access logs go, a list"),
    "run.nice": Setting(
        "run.nice",
        -6,
        "scheduling priority; below 0 the agent goes before what it watches",
        minimum=LOWEST,
        maximum=HIGHEST,
    ),
    "run.workers": Setting(
        "run.workers", 1, "processes that share the connections", minimum=1, maximum=MAX_WORKERS
    ),
    "select.pid": Setting("select.pid", [], "watch these processes and their descendants", items=int),
    "select.comm": Setting("select.comm", [], "watch processes of these names"),
    "select.port": Setting("select.port", [], "watch connections with these ports, either end", items=int),
    "select.cgroup": Setting("select.cgroup", [], "watch processes in these cgroup v2 directories"),
    "headers.request": Setting(
        "headers.request", [], "header fields of requests that access logs show, such as x-request-id"
    ),
    "headers.response": Setting("headers.response", [], "header fields of responses that access logs show"),
    "limits.connections": Setting(
        "limits.connections", 65_536, "connections followed at once; beyond it the idlest goes", minimum=1
    ),
    "limits.memory": Setting(
        "limits.memory",
        256 << 20,
        "bytes for all connections: what is buffered, what decoders keep; beyond it the largest breaks",
        minimum=1 << 20,
        size=True,
    ),
    "limits.queue": Setting("limits.queue", 32_768, "access logs that may wait for one sink", minimum=1),
    "limits.stop_seconds": Setting(
        "limits.stop_seconds",
        10,
        "seconds after which the agent has ended, once it is asked to",
        minimum=0,
        seconds=True,
    ),
    "ports.*": Setting("ports.*", "", 'pins a port to a protocol, such as 8080 = "http1"'),
}


class Catalogue:
    """What is installed, by name, with every setting it declares."""

    def __init__(self, manager: PluginManager) -> None:
        """Asks every plugin once."""
        self.manager = manager
        protocols = manager.collect("register_protocols", ProtocolSpec)
        self.protocols: Mapping[str, ProtocolSpec] = {spec.name: spec for spec in protocols}
        sources = manager.collect("register_sources", SourceSpec)
        self.sources: Mapping[str, SourceSpec] = {spec.name: spec for spec in sources}
        sinks = manager.collect("register_sinks", SinkSpec)
        self.sinks: Mapping[str, SinkSpec] = {spec.name: spec for spec in sinks}
        declared = dict(CORE)
        for kind, specs in (("protocol", self.protocols), ("source", self.sources), ("sink", self.sinks)):
            for spec in specs.values():
                for setting in spec.settings:
                    declared[f"{kind}.{spec.name}.{setting.name}"] = setting
        declared |= manager.settings()
        self.declared = declared

    def settings(
        self, file: Path | None, assignments: Iterable[str], options: Mapping[str, object]
    ) -> Settings:
        """The file, overridden by the environment, by `--set`, by the command's own options.

        Raises UsageError naming what is wrong.
        """
        given: dict[str, object] = {}
        if file is not None:
            given |= read_file(file, self.declared)
        given |= read_environment(self.declared, os.environ)
        given |= read_assignments(assignments)
        given |= {key: value for key, value in options.items() if value not in (None, [], ())}
        return Settings(self.declared, given)


def selection(settings: Settings) -> Selection:
    """What to watch."""
    return Selection(
        pids=tuple(settings["select.pid"]),
        comms=tuple(settings["select.comm"]),
        ports=tuple(settings["select.port"]),
        cgroups=tuple(settings["select.cgroup"]),
    )
