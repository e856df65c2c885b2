"""Access logs for people (`console`) and for programs (`jsonl`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rover import Setting, Sink, SinkSpec, hookimpl
from rover_plugin_sink_log.console import ConsoleSink
from rover_plugin_sink_log.jsonl import JsonLinesSink
from rover_plugin_sink_log.output import Output


@hookimpl
def register_sinks() -> Sequence[SinkSpec]:
    """`console` and `jsonl`."""
    return [
        SinkSpec(
            "console",
            _console,
            [
                Setting(
                    "color",
                    "auto",
                    "colours: auto is on a terminal, unless NO_COLOR is set",
                    choices=("auto", "always", "never"),
                ),
                Setting("header", True, "begin with a line that names the columns"),
            ],
        ),
        SinkSpec(
            "jsonl",
            _jsonl,
            [
                Setting("path", "-", "file to append to; - is standard output"),
                Setting("kernel_logs", False, "also a line for socket calls that belong to no exchange"),
                Setting("syscalls", True, "list the socket calls of each exchange (rover.syscalls)"),
            ],
        ),
    ]


def _console(settings: Mapping[str, Any]) -> Sink:
    return ConsoleSink(Output("-"), color=settings["color"], header=settings["header"])


def _jsonl(settings: Mapping[str, Any]) -> Sink:
    return JsonLinesSink(
        Output(settings["path"]), kernel_logs=settings["kernel_logs"], syscalls=settings["syscalls"]
    )
