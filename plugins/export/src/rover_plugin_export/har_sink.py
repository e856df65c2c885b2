"""The sink that writes an HTTP Archive."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence

from rover import AccessLog, SinkError
from rover.recording.target import Target
from rover_plugin_export.exchanges import Exchanges
from rover_plugin_export.har import END, Messages, beginning, entry, joined


def why(name: str, error: OSError) -> str:
    """Why nothing more can be written to a file."""
    if isinstance(error, BrokenPipeError):
        return f"{name} was closed by its reader"
    return f"cannot write to {name}: {error.strerror}"


class HarSink:
    """Entries in the order in which exchanges ended."""

    kernel_logs = False

    def __init__(self, target: Target, exchanges: Exchanges) -> None:
        """Opens the target. Raises RoverError or UsageError."""
        self.failure = ""
        """Why nothing more can be written; empty while all is well."""
        self.entries = 0
        self.others = 0
        """Exchanges of other protocols than HTTP."""
        self._target = target
        self._exchanges = exchanges
        target.open(beginning("rover", importlib.metadata.version("rover-plugin-export")))

    def prepare(self, log: AccessLog) -> bytes:
        """Its entry; empty where it has none."""
        if not log.protocol:
            return b""
        messages: Messages | None = self._exchanges.messages_of(log) if log.protocol == "http" else None
        if messages is None:
            self.others += 1
            return b""
        return entry(log, messages, self._exchanges.limit)

    def write(self, logs: Sequence[bytes]) -> None:
        """Appends entries."""
        entries = [each for each in logs if each]
        if entries:
            self._write(joined(entries, not self.entries))
            self.entries += len(entries)

    def flush(self) -> None:
        """Nothing is held."""

    def reopen(self) -> None:
        """Nothing to rotate."""

    def counters(self) -> Mapping[str, int]:
        """What has no entry."""
        return {"not_http": self.others} if self.others else {}

    def close(self) -> int:
        """Ends the file."""
        if not self.failure:
            try:
                self._write(END)
            except SinkError:
                return 0
        try:
            self._target.close()
        except OSError as error:
            self._fail(error)
        return 0

    def _write(self, data: bytes) -> None:
        try:
            self._target.write(data)
        except OSError as error:
            self._fail(error)
            raise SinkError(self.failure, closed=True) from None

    def _fail(self, error: OSError) -> None:
        self.failure = self.failure or why(self._target.name, error)
