"""containerd, CRI-O and cri-dockerd, asked over the Container Runtime Interface: gRPC on a Unix socket.

gRPC and protobuf take a third of a second to import, so that is done when there is a socket to ask.
"""

from __future__ import annotations

import os
from typing import Any

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import Container, ForbiddenError, NotThereError, UnreachableError, text
from rover_plugin_names.pods import owner_of

SERVICE = "/runtime.v1.RuntimeService"
TIMEOUT = 2.0
"""Seconds for one call."""
MAX_ANSWER = 4 << 20
"""Bytes of a message. Both lists are asked for one entry; a runtime that ignores the filter sends all, some
5 kB each, and a node has a few hundred."""
MAX_SHOWN = 200
"""Characters of a runtime's message."""
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_ANSWER),
    ("grpc.default_authority", "localhost"),  # a path is no authority, and Go refuses it
    ("grpc.enable_http_proxy", 0),
    (
        "grpc.min_reconnect_backoff_ms",
        int(TIMEOUT * 1000),
    ),  # the handshake outlives the channel
    ("grpc.use_local_subchannel_pool", 1),  # a pause after a failure is ours to keep
)


class Runtime:
    """One runtime's socket."""

    name = "cri"

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        self.path = path
        self._timeout = timeout
        self._silent = False  # it does not speak CRI, or no version of it that we do

    def find(self, place: Place) -> Container | None:
        """See `Directory`."""
        if self._silent:
            return None
        listed = self._call("ListContainers", filter={"id": place.container_id})
        if listed is None:
            self._silent = True
            return None
        found = next((each for each in listed.containers if each.id == place.container_id), None)
        if found is None:
            return self._sandbox(place.container_id)
        pod = self._sandbox(found.pod_sandbox_id)
        if pod is None:
            # Its labels tell, too: those that every kubelet writes.
            name = text(found.labels.get("io.kubernetes.pod.name"))
            namespace = text(found.labels.get("io.kubernetes.pod.namespace"))
            pod = Container(pod=name, namespace=namespace, owner=owner_of(name, {}))
        return pod._replace(pod_container=text(found.metadata.name))

    def version(self) -> str:
        """What answers there, for people. Raises UnreachableError."""
        told = self._call("Version")
        if told is None:
            raise UnreachableError(f"{self.path}: it does not speak CRI v1")
        return f"{text(told.runtime_name)} {text(told.runtime_version)}"

    def _sandbox(self, identity: str) -> Container | None:
        """What is known of a pod; its sandbox, which holds its namespaces, is a container of its own."""
        listed = self._call("ListPodSandbox", filter={"id": identity})
        for each in listed.items if listed is not None else ():
            if each.id == identity:
                labels = {text(name): text(value) for name, value in each.labels.items()}
                name = text(each.metadata.name)
                return Container(
                    pod=name, namespace=text(each.metadata.namespace), owner=owner_of(name, labels)
                )
        return None

    def _call(self, method: str, **request: object) -> Any:
        """The answer; None when the method is not known there. Raises UnreachableError."""
        if not os.path.exists(self.path):
            raise NotThereError(f"no {self.path}")
        if not os.access(self.path, os.W_OK):  # which connecting takes, unix(7); gRPC would not say so
            raise ForbiddenError(f"{self.path}: Permission denied")
        from rover_plugin_names.grpc_quiet import grpc
        from rover_plugin_names.messages import CLASSES

        # A channel for one call: containers are new seldom, and an idle one would keep a connection.
        with grpc.insecure_channel(f"unix:{self.path}", options=OPTIONS) as channel:
            call = channel.unary_unary(
                f"{SERVICE}/{method}",
                request_serializer=CLASSES[f"{method}Request"].SerializeToString,
                response_deserializer=CLASSES[f"{method}Response"].FromString,
            )
            try:
                return call(CLASSES[f"{method}Request"](**request), timeout=self._timeout)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return None
                if error.code() is grpc.StatusCode.UNAVAILABLE:  # gRPC tells how often it tried what
                    raise UnreachableError(f"{self.path}: no answer of gRPC") from None
                said = text((error.details() or "")[:MAX_SHOWN])
                raise UnreachableError(f"{self.path}: {error.code().name}: {said}") from None
