"""Container runtimes: real gRPC on real sockets, with the interface's published messages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import Container, NotThereError, UnreachableError
from rover_plugin_names.cri import MAX_ANSWER, SERVICE, Runtime
from rover_plugin_names.grpc_quiet import grpc
from rover_plugin_names.messages import CLASSES
from rover_plugin_names.pods import Owner

ID, SANDBOX, OTHER = "0123456789abcdef" * 4, "5" * 64, "f" * 64
PLACE = Place(container_id=ID)

Methods = dict[str, Callable[[Any, Any], Any]]
Start = Callable[[Methods], str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with these methods; the path of its socket."""
    servers = []

    def serve(methods: Methods) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                function,
                request_deserializer=CLASSES[f"{name}Request"].FromString,
                response_serializer=lambda made: made if type(made) is bytes else made.SerializeToString(),
            )
            for name, function in methods.items()
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE[1:], handlers)])
        path = str(tmp_path / f"cri{len(servers)}.sock")
        server.add_insecure_port(f"unix:{path}")
        server.start()
        servers.append(server)
        return path

    yield serve
    for server in servers:
        server.stop(0).wait(10)


def containers(**more: Any) -> Any:
    return CLASSES["ListContainersResponse"](
        containers=[
            {"id": OTHER, "pod_sandbox_id": OTHER, "metadata": {"name": "other"}},
            {"id": ID, "pod_sandbox_id": SANDBOX, "metadata": {"name": "app"}, **more},
        ]
    )


def sandboxes(**labels: str) -> Any:
    metadata = {"name": "shop-6d4b75cb6d-x7k2p", "uid": "u", "namespace": "prod"}
    told = {"id": SANDBOX, "metadata": metadata, "labels": {"pod-template-hash": "6d4b75cb6d", **labels}}
    return CLASSES["ListPodSandboxResponse"](items=[told])


WHOLE = Container(
    pod="shop-6d4b75cb6d-x7k2p",
    namespace="prod",
    pod_container="app",
    owner=Owner("deployment", "shop"),
)


def test_a_container_and_its_pod(start: Start) -> None:
    """Each is asked for by its id: a node may have hundreds."""
    filters = []

    def listed(request: Any, _: Any) -> Any:
        filters.append(request.filter.id)
        return containers()

    def pods(request: Any, _: Any) -> Any:
        filters.append(request.filter.id)
        return sandboxes()

    path = start({"ListContainers": listed, "ListPodSandbox": pods})
    assert Runtime(path).find(PLACE) == WHOLE
    assert filters == [ID, SANDBOX]


def test_the_pods_own_container(start: Start) -> None:
    """It runs `pause`, and is listed as a sandbox only."""
    path = start(
        {
            "ListContainers": lambda request, _: CLASSES["ListContainersResponse"](),
            "ListPodSandbox": lambda request, _: sandboxes(),
        }
    )
    assert Runtime(path).find(Place(container_id=SANDBOX)) == WHOLE._replace(pod_container="")


def test_a_container_that_it_does_not_know(start: Start) -> None:
    """As Docker's containers in its containerd."""
    path = start(
        {
            "ListContainers": lambda request, _: CLASSES["ListContainersResponse"](),
            "ListPodSandbox": lambda request, _: CLASSES["ListPodSandboxResponse"](),
        }
    )
    assert Runtime(path).find(PLACE) is None


def test_a_pod_by_the_labels_of_its_container(start: Start) -> None:
    labels = {"io.kubernetes.pod.name": "db-0", "io.kubernetes.pod.namespace": "prod"}
    path = start(
        {
            "ListContainers": lambda request, _: containers(labels=labels),
            "ListPodSandbox": lambda request, _: CLASSES["ListPodSandboxResponse"](),
        }
    )
    found = Runtime(path).find(PLACE)
    assert found == Container(pod="db-0", namespace="prod", pod_container="app", owner=Owner("", "db"))


def test_one_that_speaks_no_cri_is_asked_once(start: Start) -> None:
    """containerd as Docker's packages configure it."""
    calls = []

    def count(request: Any, context: Any) -> Any:
        calls.append(1)
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service runtime.v1.RuntimeService")

    runtime = Runtime(start({"ListContainers": count}))
    assert runtime.find(PLACE) is None
    assert runtime.find(PLACE) is None
    assert len(calls) == 1
    with pytest.raises(UnreachableError, match="does not speak CRI v1"):
        Runtime(start({})).version()


def failing(request: Any, context: Any) -> Any:
    context.abort(grpc.StatusCode.INTERNAL, "\x1b[31m" + "x" * 5_000)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (failing, "INTERNAL"),
        (lambda request, _: b"\xff" * 1000, "INTERNAL"),
        (lambda request, _: b"\n\xff\xff\xff\xff\x0f", "INTERNAL"),
        (
            lambda request, _: CLASSES["ListContainersResponse"](containers=[{"id": "x" * MAX_ANSWER}]),
            "RESOURCE_EXHAUSTED",
        ),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error(
    start: Start, method: Callable[[Any, Any], Any], said: str
) -> None:
    with pytest.raises(UnreachableError, match=said) as caught:
        Runtime(start({"ListContainers": method})).find(PLACE)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_names_are_short_lines(start: Start) -> None:
    metadata = {"name": "\x1b" + "p" * 10_000, "namespace": "\n"}
    path = start(
        {
            "ListContainers": lambda request, _: containers(),
            "ListPodSandbox": lambda request, _: CLASSES["ListPodSandboxResponse"](
                items=[{"id": SANDBOX, "metadata": metadata, "labels": {"job-name": "x" * 10_000}}]
            ),
        }
    )
    found = Runtime(path).find(PLACE)
    assert found is not None
    assert found.pod == "?" + "p" * 254
    assert found.namespace == "?"


def test_one_that_hangs_is_given_up(start: Start) -> None:
    hold = threading.Event()
    runtime = Runtime(start({"ListContainers": lambda request, _: hold.wait(60)}), timeout=0.2)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="DEADLINE_EXCEEDED"):
        runtime.find(PLACE)
    hold.set()
    assert time.monotonic() - began < 10


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"\xff" * 100_000)


def silence(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def death(connection: socket.socket) -> None:
    connection.recv(24)


@pytest.mark.parametrize("server", [garbage, silence, death])
def test_one_that_speaks_no_grpc(serve: Any, server: Callable[[socket.socket], None]) -> None:
    with pytest.raises(UnreachableError, match=r"no answer of gRPC|DEADLINE_EXCEEDED"):
        Runtime(serve(server), timeout=0.5).find(PLACE)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotThereError, match=r"^no /"):
        Runtime(str(tmp_path / "nowhere.sock")).find(PLACE)


def test_one_that_died(tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    with pytest.raises(UnreachableError, match="no answer of gRPC"):
        Runtime(str(path), timeout=5).find(PLACE)


def test_its_version(start: Start) -> None:
    told = CLASSES["VersionResponse"](runtime_name="containerd", runtime_version="2.1.0")
    assert Runtime(start({"Version": lambda request, _: told})).version() == "containerd 2.1.0"
