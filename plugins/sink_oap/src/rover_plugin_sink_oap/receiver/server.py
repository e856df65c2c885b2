"""A gRPC server for EBPFAccessLogService."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NamedTuple

from rover import RoverError
from rover_plugin_sink_oap.backend import METHOD
from rover_plugin_sink_oap.messages import EBPFAccessLogDownstream, EBPFAccessLogMessage
from rover_plugin_sink_oap.receiver.grpc_quiet import grpc
from rover_plugin_sink_oap.receiver.rules import LogStream, Received

MAX_MESSAGE = 50 << 20
"""Bytes of a message, as the OAP server has it."""
THREADS = 8


class Faults(NamedTuple):
    """How the receiver misbehaves."""

    delay: float = 0.0
    """Seconds before the answer."""
    refuse: str = ""
    """Name of the gRPC status every stream gets."""
    reset_after: int = 0
    """Messages after which a stream is reset; 0 is never."""


class Receiver:
    """Streams count when they are answered: one that fails is the client's to send again."""

    def __init__(
        self,
        listen: str = "127.0.0.1:0",
        *,
        faults: Faults | None = None,
        authentication: str = "",
        credentials: Any = None,
        accepted: Callable[[LogStream], None] | None = None,
    ) -> None:
        """`credentials`: grpc.ServerCredentials for TLS. `accepted` is called with each answered
        stream that is not a repeated one. Raises RoverError when nothing can listen there.
        """
        self.received = Received()
        self.faults = faults or Faults()
        self.changed = threading.Condition()
        """Notified when a stream has ended; hold it to read `received`."""
        self._authentication = authentication
        self._accepted = accepted
        self._stopping = threading.Event()
        self._number = 0
        options = (("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.so_reuseport", 0))
        self._handlers = futures.ThreadPoolExecutor(THREADS)
        self._server = grpc.server(self._handlers, options=options)
        handler = grpc.stream_unary_rpc_method_handler(
            self._collect, response_serializer=EBPFAccessLogDownstream.SerializeToString
        )
        _, service, method = METHOD.split("/")
        services = grpc.method_handlers_generic_handler(service, {method: handler})
        self._server.add_generic_rpc_handlers((services,))
        try:
            if credentials is None:
                self.port: int = self._server.add_insecure_port(listen)
            else:
                self.port = self._server.add_secure_port(listen, credentials)
        except RuntimeError:
            raise RoverError(f"cannot listen on {listen}; is the port taken?") from None
        self.address = f"{listen.rpartition(':')[0]}:{self.port}"

    def start(self) -> None:
        """Begins to take streams."""
        self._server.start()

    def stop(self, grace: float | None = None) -> None:
        """Takes no more; streams under way get `grace` seconds."""
        self._stopping.set()
        self._server.stop(grace).wait()
        # To gRPC a cancelled call is over before its handler has counted it.
        self._handlers.shutdown()

    def _collect(self, requests: Iterator[bytes], context: Any) -> Any:
        faults = self.faults
        with self.changed:
            self._number += 1
            stream = LogStream(self._number)
        answered = False
        try:
            self._refuse(faults, context)
            for count, raw in enumerate(requests, 1):
                stream.add(raw, EBPFAccessLogMessage.FromString(raw))
                if count == faults.reset_after:
                    context.cancel()
            if faults.delay and self._stopping.wait(faults.delay):
                context.abort(grpc.StatusCode.UNAVAILABLE, "the receiver ended before its answer was due")
            with self.changed:
                answered = context.is_active()
                if answered and self.received.accept(stream) and self._accepted is not None:
                    self._accepted(stream)
        finally:
            with self.changed:
                self.received.totals.unanswered += not answered
                self.changed.notify_all()
        return EBPFAccessLogDownstream()

    def _refuse(self, faults: Faults, context: Any) -> None:
        if faults.refuse:
            context.abort(grpc.StatusCode[faults.refuse], "told to refuse")
        if self._authentication:
            sent = dict(context.invocation_metadata()).get("authentication")
            if sent != self._authentication:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong or no authentication")
