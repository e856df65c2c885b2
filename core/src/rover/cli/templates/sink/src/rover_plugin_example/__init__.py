"""The sink example: a line of tab-separated values for each access log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rover import AccessLog, RoverError, Setting, SinkError, SinkSpec, hookimpl


class ExampleSink:
    """Appends to a file. All of it but `prepare` is called from one thread, which may block."""

    kernel_logs = False  # True: also the socket calls that belong to no exchange

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._path: str = settings["path"]
        self._lines = 0
        self._open()

    def prepare(self, log: AccessLog) -> str:
        """What waits in the queue in place of the log: a line is smaller."""
        return line(log)

    def write(self, lines: Sequence[str]) -> None:
        try:
            self._file.writelines(lines)
        except OSError as error:  # a full disk, say: rover tries again
            raise SinkError(f"cannot write {self._path}: {error.strerror}") from error
        self._lines += len(lines)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise SinkError(f"cannot write {self._path}: {error.strerror}") from error

    def reopen(self) -> None:
        """After a rotation of the file."""
        self._file.close()
        self._open()

    def counters(self) -> Mapping[str, int]:
        """More figures for the totals."""
        return {"lines": self._lines}

    def close(self) -> int:
        """Returns how many logs were taken and never written."""
        self._file.close()
        return 0

    def _open(self) -> None:
        try:
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise RoverError(f"cannot open {self._path}: {error.strerror}") from error


def line(log: AccessLog) -> str:
    """Seconds since the epoch, microseconds it took, process, protocol, outcome, attributes as JSON."""
    process = log.connection.process
    values = (
        f"{(log.connection.epoch + log.start) / 1e9:.6f}",
        str((log.end - log.start) // 1000),
        process.name if process is not None else "",
        log.protocol,
        log.outcome.value,
        json.dumps(dict(log.attributes)),
    )
    return "\t".join(values) + "\n"


@hookimpl
def register_sinks() -> list[SinkSpec]:
    path = Setting(name="path", default="example.tsv", help="the file, which is appended to")
    return [SinkSpec(name="example", make=ExampleSink, settings=[path])]
