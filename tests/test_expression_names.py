"""A name in an expression stands for what the JSON line has under it, of whatever log."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from rover import AccessLog, Address, Connection, Process, Role
from rover.expression import MAX_LENGTH, compile_expression
from rover.expression.names import OWN, SHORT
from rover.testing import access_logs, connection
from rover_plugin_sink_log.line import OWN as KEYS
from rover_plugin_sink_log.line import Lines

ATTRIBUTES: dict[str, Any] = {
    "http.request.method": "GET",
    "http.request.header.host": ("a.example",),
    "http.request.header.x-tag": ("a", "b"),
    "http.response.status_code": 200,
    "server.port": 8443,  # as a plugin says instead of the core
    "error": True,
    "number": 1 << 61,
    "text": "caf\u00e9 \"'\\ \n",
}


def connections() -> list[Connection]:
    """Of each role, proxied or not, of a process or of none, and one that is not known yet."""
    proxied = Address(host="192.0.2.9", port=7)
    described = Process(pid=7, name="a b", attributes={"service.name": "shop", "tls": "no", "n": 1})
    made = [
        connection(role).replace(proxied=proxy, process=process)
        for role, proxy, process in itertools.product(
            (*Role, None), (None, proxied), (None, described, Process(pid=0, name=""))
        )
    ]
    return [*made, made[0].replace(local=None, remote=None), made[0].replace(tls=True)]


LOGS = [
    *access_logs(),
    *(
        AccessLog(
            connection=each, start=5, end=1_000_000_007, protocol="http", version="1.1", attributes=ATTRIBUTES
        )
        for each in connections()
    ),
]


def literal(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return json.dumps(value)


@pytest.mark.parametrize("log", LOGS, ids=itertools.count())
def test_a_key_is_a_name(log: AccessLog) -> None:
    line = json.loads(Lines(syscalls=False).line(log))
    for key, value in line.items():
        for each in value if isinstance(value, list) else [value]:
            if len(text := f"{key} == {literal(each)}") <= MAX_LENGTH:
                assert compile_expression(text).holds(log), text
    for key in {*OWN, *SHORT.values(), "service.name"} - line.keys() - {"duration"}:
        assert not compile_expression(f"{key} != 1").holds(log), key


def test_every_key_of_a_line_s_own_is_one() -> None:
    assert set(OWN) - {"duration"} == KEYS - {"rover.syscalls"}
