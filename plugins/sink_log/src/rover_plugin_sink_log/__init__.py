"""Access logs for people (`console`) and for programs (`jsonl`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rover import ProcessLock, Setting, Sink, SinkError, SinkSpec, Worker, hookimpl
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
            _console_of_worker,
        ),
        SinkSpec(
            "jsonl",
            _jsonl,
            [
                Setting("path", "-", "file to append to; - is standard output"),
                Setting("kernel_logs", False, "also a line for socket calls that belong to no exchange"),
                Setting("syscalls", True, "list the socket calls of each exchange (rover.syscalls)"),
            ],
            _jsonl_of_worker,
        ),
    ]


def _console(settings: Mapping[str, Any]) -> Sink:
    return ConsoleSink(Output("-"), color=settings["color"], header=settings["header"])


def _console_of_worker(settings: Mapping[str, Any], worker: Worker) -> Sink:
    first = worker.number == 0 and not worker.again
    sink = ConsoleSink(Output("-", worker.lock), color=settings["color"], header=settings["header"] and first)
    if first:
        # The header: now, before another worker has a line to write.
        try:
            sink.write([])
        except SinkError as error:
            if error.closed:
                raise
    return sink


def _jsonl(settings: Mapping[str, Any], lock: ProcessLock | None = None) -> Sink:
    return JsonLinesSink(
        Output(settings["path"], lock), kernel_logs=settings["kernel_logs"], syscalls=settings["syscalls"]
    )


def _jsonl_of_worker(settings: Mapping[str, Any], worker: Worker) -> Sink:
    return _jsonl(settings, worker.lock)
