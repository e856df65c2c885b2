"""Docker and podman, asked over their sockets: GET /containers/ID/json of the Docker Engine API, which podman
has, too.

The request is one of HTTP/1.0, so that the answer ends with the connection and is never chunked (RFC 9112
section 6.1).
"""

from __future__ import annotations

import json
import socket
import time

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import (
    Container,
    ForbiddenError,
    NotThereError,
    UnreachableError,
    engine_container,
    text,
)

TIMEOUT = 2.0
"""Seconds for one question, connecting and the whole answer together. An engine answers within
milliseconds; one that is busy starting containers, within a second."""
MAX_ANSWER = 1 << 20
"""Bytes: what Docker tells of a container with a hundred mounts and labels has some 50 kB."""
MAX_HEAD = 1 << 14
MAX_SHOWN = 100
"""Characters of a status line in a message."""


class Engine:
    """One engine's socket."""

    def __init__(self, name: str, path: str, timeout: float = TIMEOUT) -> None:
        """`name`: see `Directory`. `path`: of the socket."""
        self.name = name
        self.path = path
        self._timeout = timeout

    def find(self, place: Place) -> Container | None:
        """See `Directory`."""
        status, told = self._get(f"/containers/{place.container_id}/json")
        if status == 404:
            return None
        if status != 200:
            raise UnreachableError(f"{self.path}: status {status}")
        config = told.get("Config")
        labels = config.get("Labels") if isinstance(config, dict) else None
        return engine_container(told.get("Name"), labels)

    def version(self) -> str:
        """What answers there, for people. Raises UnreachableError."""
        status, told = self._get("/version")
        if status != 200:
            raise UnreachableError(f"{self.path}: status {status}")
        components = told.get("Components")
        first = components[0] if isinstance(components, list) and components else None
        name = text(first.get("Name")) if isinstance(first, dict) else ""
        # Docker's component is called Engine, and podman's platform is that of its processor.
        if name in ("", "Engine"):
            name = "Docker Engine"
        return f"{name} {text(told.get('Version'))}".strip()

    def _get(self, target: str) -> tuple[int, dict[str, object]]:
        """(status, the object in the body). Raises UnreachableError."""
        answer = self._ask(f"GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
        head, found, body = answer.partition(b"\r\n\r\n")
        line = head.partition(b"\r\n")[0]
        version, _, rest = line.partition(b" ")
        status = rest[:3]
        if not (found and len(head) <= MAX_HEAD and version.startswith(b"HTTP/1.") and status.isdigit()):
            raise UnreachableError(f"{self.path}: no answer of HTTP: {line[:MAX_SHOWN]!r}")
        try:
            told = json.loads(body) if status == b"200" else {}
        except (ValueError, RecursionError):
            raise UnreachableError(f"{self.path}: its answer is no JSON") from None
        if not isinstance(told, dict):
            raise UnreachableError(f"{self.path}: its answer is no object")
        return int(status), told

    def _ask(self, request: str) -> bytes:
        """All that comes until the end of the connection."""
        deadline = time.monotonic() + self._timeout
        answer = bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout)
                connection.connect(self.path)
                connection.sendall(request.encode("ascii"))
                while True:
                    # A sender that drips keeps every single call from taking too long.
                    connection.settimeout(max(deadline - time.monotonic(), 0.001))
                    piece = connection.recv(1 << 16)
                    if not piece:
                        return bytes(answer)
                    answer += piece
                    if len(answer) > MAX_ANSWER:
                        raise UnreachableError(f"{self.path}: its answer has more than {MAX_ANSWER} bytes")
                    if time.monotonic() > deadline:
                        raise TimeoutError
        except (FileNotFoundError, NotADirectoryError):
            raise NotThereError(f"no {self.path}") from None
        except PermissionError:
            raise ForbiddenError(f"{self.path}: Permission denied") from None
        except TimeoutError:
            raise UnreachableError(f"{self.path}: no whole answer within {self._timeout:g} s") from None
        except OSError as error:
            raise UnreachableError(f"{self.path}: {error.strerror or error}") from None
