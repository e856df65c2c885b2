"""A receiver of OTLP in a process of its own, and what it took."""

from __future__ import annotations

import json
import sys
from typing import Any

from harness import Program


class OtlpReceiver(Program):
    """`rover otlp-receiver`."""

    def __init__(self, *arguments: str) -> None:
        listen = ("--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
        super().__init__([sys.executable, "-m", "rover", "otlp-receiver", *listen, *arguments])
        self.wait_for('"grpc"')
        self._addresses: dict[str, str] = json.loads(self.out[0])

    def options(self, protocol: str = "http/protobuf") -> tuple[str, ...]:
        """With which an agent sends here."""
        address = self._addresses["grpc" if protocol == "grpc" else "http"]
        return (
            f"--set=sink.otlp.endpoint=http://{address}",
            f"--set=sink.otlp.protocol={protocol}",
            "--set=sink.otlp.signals=traces,metrics,logs",
        )

    def items(self, signal: str) -> list[dict[str, Any]]:
        """Spans, points or records that it took so far."""
        read: list[dict[str, Any]] = [json.loads(line) for line in self.out[1:]]
        return [item for item in read if item.get("signal") == signal]
