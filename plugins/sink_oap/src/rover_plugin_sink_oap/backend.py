"""The OAP server at the other end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rover.sending import backend
from rover.sending.backend import Failure
from rover.sending.call import Status
from rover.sending.grpc_call import ClientCall
from rover.sending.tls import context_of
from rover_plugin_sink_oap.settings import Configuration

METHOD = "/skywalking.v3.EBPFAccessLogService/collect"

FAILURES = {
    "UNAVAILABLE": Failure.AWAY,
    "RESOURCE_EXHAUSTED": Failure.AWAY,
    "DEADLINE_EXCEEDED": Failure.AWAY,
    "CANCELLED": Failure.AWAY,
    "ABORTED": Failure.AWAY,
    "UNIMPLEMENTED": Failure.REFUSED,
    "UNAUTHENTICATED": Failure.REFUSED,
    "PERMISSION_DENIED": Failure.REFUSED,
}
"""Of every other gRPC status: FAULT."""

FIXES = {
    "UNIMPLEMENTED": "it takes no access logs; is sink.oap.address its gRPC port?",
    "UNAUTHENTICATED": "set sink.oap.authentication to its token",
    "PERMISSION_DENIED": "set sink.oap.authentication to a token that may send",
}


class Backend(backend.Backend):
    """A batch is one stream of messages."""

    fixes: Mapping[str, str] = FIXES

    def __init__(self, configuration: Configuration) -> None:
        """Raises RoverError for certificates that cannot be used."""
        tls = configuration.tls
        super().__init__(
            configuration.addresses,
            configuration.timeout,
            context_of(tls, "oap", "h2") if tls else None,
            tls.server_name if tls else "",
        )
        token = configuration.authentication
        self._metadata = (("authentication", token),) if token else ()

    def failure(self, status: Status) -> Failure:
        """See `backend.Backend`."""
        return FAILURES.get(status.code, Failure.FAULT)

    def begin(self, messages: Sequence[bytes], authority: str, timeout: float) -> ClientCall:
        """See `backend.Backend`."""
        return ClientCall(
            METHOD,
            messages,
            authority=authority,
            secure=self.secure,
            timeout=timeout,
            metadata=self._metadata,
        )
