"""The OAP receiver as witness: what it took and what the JSON lines say, as the same values."""

from __future__ import annotations

import calendar
import collections
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from harness import Program, RunningAgent, free_port

SECOND = 1_000_000_000


class Exchange(NamedTuple):
    """One exchange as one end of its connection saw it; times tell it from every other."""

    role: str
    local_port: int
    remote_port: int
    start: int
    """Unix time, ns."""
    end: int
    version: str
    method: str
    path: str
    """Without the query."""
    status: int
    """0 without a response."""
    sizes: tuple[int, int, int, int]
    """Head and body of the request, of the response."""


class Call(NamedTuple):
    """One socket call."""

    kind: str
    """What the contract calls it: connect, accept, close, read or write."""
    local_port: int
    remote_port: int
    start: int
    end: int


class OapReceiver(Program):
    """`rover oap-receiver --json`."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        """`port`: to come back on the one of another receiver."""
        self.port = port or free_port()
        super().__init__(
            [
                *(sys.executable, "-m", "rover", "oap-receiver", "--json"),
                *("--listen", f"127.0.0.1:{self.port}", *arguments),
            ]
        )
        self.wait_for('"listening"')

    def messages(self) -> list[dict[str, Any]]:
        """What it took so far, each with its stream's number and its node's boot time."""
        read: list[dict[str, Any]] = []
        boot = 0
        for line in self.out[:]:
            try:
                message = json.loads(line)
            except ValueError:
                # Killed in the middle of its last line.
                assert line == self.out[-1]
                break
            if "stream" in message:
                if "node" in message:
                    boot = boot_of(message["node"])
                read.append({**message, "boot": boot})
        return read

    def streams(self) -> int:
        """How many it took so far."""
        return len({message["stream"] for message in self.messages()})

    def totals(self) -> dict[str, Any]:
        """After the end: what it counted."""
        totals: dict[str, Any] = json.loads(self.out[-1])["totals"]
        return totals

    def finish(self) -> dict[str, Any]:
        """Stops it, and sees to it that no rule of the contract was broken; returns the totals."""
        assert self.stop() == 0, self.err
        return self.totals()


def oap_counters(agent: RunningAgent) -> collections.Counter[str]:
    """After the agent's end: what its sink counted."""
    unfolded = "\n".join(agent.err).replace(",\nrover:   ", ", ").split("\n")
    lines = [line for line in unfolded if re.match(r"rover: oap: (\w+ \d+(, |$))+$", line)]
    return collections.Counter({k: int(v) for line in lines for k, v in re.findall(r"(\w+) (\d+)", line)})


def boot_of(node: dict[str, Any]) -> int:
    """Unix time in ns that a node's times count from."""
    return int(node["bootTime"].get("seconds", 0)) * SECOND + int(node["bootTime"].get("nanos", 0))


def times_of(message: dict[str, Any], log: dict[str, Any]) -> tuple[int, int]:
    """(start, end) of a log, Unix time in ns."""
    start, end = (message["boot"] + int(log[key]["offset"]["offset"]) for key in ("startTime", "endTime"))
    return start, end


def ends_of(message: dict[str, Any]) -> tuple[str, int, int]:
    """(role, local port, remote port); the first value of an enumeration is not written."""
    connection = message["connection"]
    local, remote = (connection[end]["kubernetes"].get("port", 0) for end in ("local", "remote"))
    return connection.get("role", "client"), local, remote


def protocol_of(message: dict[str, Any]) -> str:
    """TCP, HTTP_1 or HTTP_2."""
    return str(message["connection"].get("protocol", "TCP"))


def exchanges_taken(messages: Iterable[dict[str, Any]]) -> collections.Counter[Exchange]:
    """The exchanges the receiver took."""
    return collections.Counter(
        _exchange(message, message["protocolLog"]["http"]) for message in messages if "protocolLog" in message
    )


def _exchange(message: dict[str, Any], http: dict[str, Any]) -> Exchange:
    request, response = http["request"], http.get("response", {})
    return Exchange(
        *ends_of(message),
        *times_of(message, http),
        "2" if http.get("version") == "HTTP2" else "1",
        request.get("method", "Get").upper(),
        request["path"],
        response.get("statusCode", 0),
        tuple(
            int(side.get(f"sizeOf{p}Bytes", 0)) for side in (request, response) for p in ("Headers", "Body")
        ),
    )


def exchanges_told(lines: Iterable[dict[str, Any]]) -> list[Exchange]:
    """The exchanges the JSON lines tell of, in their order."""
    return [_told(line) for line in lines if "http.request.method" in line]


def _told(line: dict[str, Any]) -> Exchange:
    local, remote = ports_of(line)
    second, _, nanoseconds = line["timestamp"].removesuffix("Z").partition(".")
    start = calendar.timegm(time.strptime(second, "%Y-%m-%dT%H:%M:%S")) * SECOND + int(nanoseconds)
    return Exchange(
        line["rover.role"],
        local,
        remote,
        start,
        start + line["duration_ns"],
        line["network.protocol.version"][0],
        line["http.request.method"],
        (line.get("url.path") or line["url.original"]).partition("?")[0],
        line.get("http.response.status_code", 0),
        tuple(
            line.get(f"http.{side}.{part}.size", 0)
            for side in ("request", "response")
            for part in ("header", "body")
        ),
    )


def ports_of(line: dict[str, Any]) -> tuple[int, int]:
    """(local, remote)."""
    client, server = line["client.port"], line["server.port"]
    return (server, client) if line["rover.role"] == "server" else (client, server)


def calls_taken(messages: Iterable[dict[str, Any]]) -> collections.Counter[Call]:
    """The socket calls the receiver took."""

    def each() -> Iterator[Call]:
        for message in messages:
            _, local, remote = ends_of(message)
            for log in message.get("kernelLogs", ()):
                ((kind, operation),) = log.items()
                yield Call(kind, local, remote, *times_of(message, operation))

    return collections.Counter(each())


def calls_told(lines: Iterable[dict[str, Any]]) -> collections.Counter[Call]:
    """The socket calls the JSON lines tell of; the contract has none for shutdown."""

    def each() -> Iterator[Call]:
        for line in lines:
            for call in line.get("rover.syscalls", ()):
                if call["name"] != "shutdown":
                    start = call["start_unix_ns"]
                    yield Call(kind_of(call["name"]), *ports_of(line), start, start + call["duration_ns"])

    return collections.Counter(each())


def by_stream(
    messages: Iterable[dict[str, Any]],
) -> list[tuple[collections.Counter[Exchange], collections.Counter[Call]]]:
    """What each stream brought, in the order they were taken."""
    streams = collections.defaultdict(list)
    for message in messages:
        streams[message["stream"]].append(message)
    return [(exchanges_taken(each), calls_taken(each)) for each in streams.values()]


def kind_of(name: str) -> str:
    """What the contract calls a system call."""
    known = {"connect": "connect", "accept": "accept", "accept4": "accept", "close": "close"}
    return known.get(name) or ("read" if re.match("read|recv", name) else "write")
