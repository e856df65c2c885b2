"""Docker and podman, and what answers in their place."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import MAX_NAME, Container, engine_container, text
from rover_plugin_names.container import NotThereError as NotThere
from rover_plugin_names.container import UnreachableError as Unreachable
from rover_plugin_names.engine import MAX_ANSWER, Engine
from rover_plugin_names.pods import Owner

ID = "0123456789abcdef" * 4
PLACE = Place(container_id=ID)

SHOP = {"Id": ID, "Name": "/shop-web-1", "Config": {"Labels": {}, "Env": ["SECRET=1"]}}
COMPOSE = {"com.docker.compose.service": "web", "com.docker.compose.project": "shop"}


def asked(connection: socket.socket) -> str:
    """The head of the request."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(4096)
        if not piece:
            break
        head += piece
    return head.decode()


def answering(status: str, body: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        asked(connection)
        head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return answer


def test_a_container_by_its_id(serve: Any) -> None:
    requests = []

    def answer(connection: socket.socket) -> None:
        requests.append(asked(connection))
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(SHOP).encode())

    found = Engine("docker", serve(answer)).find(PLACE)
    assert found == Container(name="shop-web-1")
    (request,) = requests
    assert request.startswith(f"GET /containers/{ID}/json HTTP/1.0\r\nHost: localhost\r\n")


def test_a_container_that_it_does_not_know(serve: Any) -> None:
    assert Engine("docker", serve(answering("404 Not Found", b'{"message": "no"}'))).find(PLACE) is None


@pytest.mark.parametrize(
    ("labels", "container"),
    [
        ({}, Container("shop")),
        (None, Container("shop")),
        ([1], Container("shop")),
        (COMPOSE, Container("shop", "web", "shop")),
        ({"com.docker.compose.service": "web"}, Container("shop", "web")),
        (
            {"io.podman.compose.service": "web", "io.podman.compose.project": "shop"},
            Container("shop", "web", "shop"),
        ),
        (
            {"com.docker.swarm.service.name": "shop_web", "com.docker.stack.namespace": "shop"},
            Container("shop", "web", "shop"),
        ),
        ({"com.docker.swarm.service.name": "web"}, Container("shop", "web")),
        ({"com.docker.compose.service": 7, "com.docker.compose.project": "shop"}, Container("shop")),
        (
            {
                "io.kubernetes.pod.name": "shop-6d4b75cb6d-x7k2p",
                "io.kubernetes.pod.namespace": "prod",
                "io.kubernetes.container.name": "app",
            },
            Container(
                "shop",
                pod="shop-6d4b75cb6d-x7k2p",
                namespace="prod",
                pod_container="app",
                owner=Owner("deployment", "shop"),
            ),
        ),
    ],
)
def test_what_labels_tell(labels: object, container: Container) -> None:
    assert engine_container("/shop", labels) == container


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no answer of HTTP"),
        (b"SSH-2.0-OpenSSH\r\n", "no answer of HTTP"),
        (b"HTTP/1.0 200 OK\r\n", "no answer of HTTP"),
        (b"HTTP/1.0 two OK\r\n\r\n{}", "no answer of HTTP"),
        (b"HTTP/1.0 200 OK\r\n" + b"a: b\r\n" * 10_000 + b"\r\n{}", "no answer of HTTP"),
        (b"HTTP/2 200\r\n\r\n{}", "no answer of HTTP"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "no JSON"),
        (b"HTTP/1.0 200 OK\r\n\r\n{", "no JSON"),
        (b"HTTP/1.0 200 OK\r\n\r\n\xff", "no JSON"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100_000, "no JSON"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"Name": ' + b"1" * 10_000 + b"}", "no JSON"),
        (b"HTTP/1.0 200 OK\r\n\r\n[]", "no object"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "no JSON"),
        (b"HTTP/1.0 500 Internal Server Error\r\n\r\n{}", "status 500"),
        (b"HTTP/1.0 301 Moved\r\nLocation: http://elsewhere/\r\n\r\n", "status 301"),
        (b"HTTP/1.0 403 Forbidden\r\n\r\nnot here", "status 403"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (MAX_ANSWER + 1), "more than"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error(serve: Any, answer: bytes, said: str) -> None:
    def send(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(answer)

    with pytest.raises(Unreachable, match=said) as caught:
        Engine("docker", serve(send)).find(PLACE)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def mutated(answer: bytes, cuts: list[tuple[int, bytes]]) -> bytes:
    """With some bytes in it replaced."""
    for at, piece in cuts:
        place = at % (len(answer) + 1)
        answer = answer[:place] + piece + answer[place + len(piece) :]
    return answer


def test_whatever_is_answered_is_a_container_or_an_error(serve: Any) -> None:
    answers: list[bytes] = []

    def send(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(answers[-1])

    engine = Engine("docker", serve(send))
    whole = b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps({**SHOP, "Config": {"Labels": COMPOSE}}).encode()

    @settings(max_examples=50)
    @given(st.lists(st.tuples(st.integers(0, 500), st.binary(max_size=8)), max_size=4))
    def check(cuts: list[tuple[int, bytes]]) -> None:
        answers.append(mutated(whole, cuts))
        found: Container | str | None
        try:
            found = engine.find(PLACE)
        except Unreachable as error:
            found = str(error)
        texts = [each for each in found if isinstance(each, str)] if isinstance(found, Container) else [found]
        assert all(each is None or (isinstance(each, str) and each.isprintable()) for each in texts)

    check()


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"Name": 7},
        {"Name": "", "Config": []},
        {"Name": None, "Config": {"Labels": 7}},
        {"Name": ["a"], "Config": {"Labels": {"com.docker.compose.service": {}}}},
    ],
)
def test_values_of_other_types_are_no_names(serve: Any, told: object) -> None:
    body = json.dumps(told).encode()
    assert Engine("docker", serve(answering("200 OK", body))).find(PLACE) == Container()


def test_names_are_short_lines(serve: Any) -> None:
    told = {
        "Name": "/\x1b[31m" + "x" * 10_000,
        "Config": {"Labels": {"com.docker.compose.service": "\ud800\n"}},
    }
    found = Engine("docker", serve(answering("200 OK", json.dumps(told).encode()))).find(PLACE)
    assert found is not None
    assert found.name == "?[31m" + "x" * (MAX_NAME - 6)
    assert found.compose_service == "??"


def hang(connection: socket.socket) -> None:
    asked(connection)
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    for byte in b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.01)


@pytest.mark.parametrize("slow", [hang, drip])
def test_one_that_is_slow_is_given_up(serve: Any, slow: Callable[[socket.socket], None]) -> None:
    engine = Engine("docker", serve(slow), timeout=0.2)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"within 0\.2 s"):
        engine.find(PLACE)
    assert time.monotonic() - began < 5  # a dripping server takes 10 s, a hanging one has no end


def test_one_that_takes_no_connections(tmp_path: Any) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        with pytest.raises(Unreachable):
            Engine("docker", path, timeout=0.2).find(PLACE)


def test_one_that_dies(serve: Any, tmp_path: Any) -> None:
    """Its socket outlives it."""
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    with pytest.raises(Unreachable, match="refused"):
        Engine("docker", str(path)).find(PLACE)


@pytest.mark.parametrize("path", ["nowhere.sock", "nowhere/at.sock", "file/at.sock"])
def test_one_that_is_not_there(tmp_path: Any, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotThere, match=r"^no /"):
        Engine("docker", str(tmp_path / path)).find(PLACE)


@pytest.mark.parametrize("path", ["file", "x" * 200, "\0"])
def test_a_path_that_is_no_socket(tmp_path: Any, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable):
        Engine("docker", str(tmp_path / path)).find(PLACE)


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ({"Components": [{"Name": "Engine"}], "Version": "27.1"}, "Docker Engine 27.1"),
        ({"Components": [{"Name": "Podman Engine"}], "Version": "4.3.1"}, "Podman Engine 4.3.1"),
        ({"Version": "1.13"}, "Docker Engine 1.13"),
        ({"Components": [1], "Version": 1}, "Docker Engine"),
    ],
)
def test_its_version(serve: Any, told: object, version: str) -> None:
    assert Engine("docker", serve(answering("200 OK", json.dumps(told).encode()))).version() == version


@settings(max_examples=50)
@given(st.none() | st.integers() | st.text() | st.binary() | st.lists(st.text()))
def test_a_name_is_one_line_that_can_be_encoded(value: object) -> None:
    name = text(value)
    assert name.isprintable()
    assert len(name) <= MAX_NAME
    name.encode()
