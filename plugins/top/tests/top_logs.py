"""Access logs for the tests of this package."""

from __future__ import annotations

from typing import Any

from rover import AccessLog, Address, Connection, Outcome, Process, ProtocolBreak, Role

MILLISECOND = 1_000_000


def connection(number: int = 1, role: Role = Role.SERVER, **changes: Any) -> Connection:
    """10.0.0.1:40000 + number to 10.0.0.2:80, watched at the server: nginx[42]; or at the client: curl[7]."""
    client, server = Address(host="10.0.0.1", port=40_000 + number), Address(host="10.0.0.2", port=80)
    ends = (server, client) if role is Role.SERVER else (client, server)
    process = Process(pid=42, name="nginx") if role is Role.SERVER else Process(pid=7, name="curl")
    made = Connection(
        id=number, local=ends[0], remote=ends[1], role=role, process=process, opened=number, epoch=10**18
    )
    return made.replace(**changes)


def exchange(
    path: str = "/",
    status: int | None = 200,
    took: int = MILLISECOND,
    *,
    start: int = 0,
    of: Connection | None = None,
    outcome: Outcome = Outcome.COMPLETE,
    **more: Any,
) -> AccessLog:
    """Of HTTP, with 100 bytes to and fro."""
    attributes: dict[str, Any] = {
        "http.request.method": "GET",
        "url.original": path,
        "url.path": path,
        "http.request.header.host": "a.example",
        "http.request.header.size": 40,
        "http.request.body.size": 0,
        "http.response.header.size": 50,
        "http.response.body.size": 10,
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    if status is not None:
        attributes["http.response.status_code"] = status
    return AccessLog(
        connection=of or connection(),
        start=start,
        end=start + took,
        protocol="http",
        version="1.1",
        attributes=attributes,
        outcome=outcome,
    )


def broken(reason: str = "framing", of: Connection | None = None) -> AccessLog:
    """The log of a break."""
    said = ProtocolBreak(reason=reason, detail="no line", protocol="http")
    return AccessLog(
        connection=(of or connection()).replace(protocol_break=said), start=5, end=5, outcome=Outcome.BREAK
    )
