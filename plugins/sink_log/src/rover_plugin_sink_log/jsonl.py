"""The sink that writes JSON lines."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from rover_plugin_sink_log.line import Lines
from rover_plugin_sink_log.output import Output

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_sink_log._line import Lines  # type: ignore[no-redef]


class JsonLinesSink:
    """Writes to a file or standard output."""

    def __init__(self, output: Output, *, kernel_logs: bool = False, syscalls: bool = True) -> None:
        self.kernel_logs = kernel_logs
        self._output = output
        self.prepare = Lines(syscalls).prepare

    def write(self, lines: Sequence[tuple[bytes, bool]]) -> None:
        """As prepared."""
        self._output.write(lines)

    def flush(self) -> None:
        """Writes what a full disk held up."""
        self._output.flush()

    def reopen(self) -> None:
        """After log rotation."""
        self._output.reopen()

    def counters(self) -> Mapping[str, int]:
        """Nothing to add."""
        return {}

    def close(self) -> int:
        """The number of exchanges never written."""
        return self._output.close()
