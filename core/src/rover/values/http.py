"""HTTP messages as values, the same for every version (RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rover.values.exchange import Outcome
from rover.values.value import Value

if TYPE_CHECKING:
    from rover.values.connection import Connection
    from rover.values.records import Detail


def text(raw: bytes | bytearray) -> str:
    """Bytes of a message as text: UTF-8 where they are, else one character per byte.

    Field values have no declared encoding (RFC 9110 section 5.5); this never fails and never
    yields what JSON cannot hold.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Headers:
    """Fields of a message in the order sent, names lower-case."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: tuple[tuple[str, str], ...] | None = tuple(fields)

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Every (name, value), repeated names included."""
        if self._fields is None:
            self._fields = tuple(self._parse())
        return self._fields

    def _parse(self) -> Iterable[tuple[str, str]]:
        """For subclasses that keep the head's bytes and read the fields when first asked."""
        return ()

    def get(self, name: str) -> str | None:
        """The first value of a lower-case name, None when absent."""
        for field, value in self.fields:
            if field == name:
                return value
        return None

    def get_all(self, name: str) -> list[str]:
        """Every value of a lower-case name, in order."""
        return [value for field, value in self.fields if field == name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.fields)

    def __repr__(self) -> str:
        return f"Headers({list(self.fields)!r})"


NO_HEADERS = Headers()


class HttpRequest(Value):
    """A request as it was sent."""

    __slots__ = (
        "authority",
        "body_size",
        "end",
        "header_size",
        "headers",
        "method",
        "scheme",
        "start",
        "target",
        "version",
    )

    def __init__(
        self,
        *,
        method: str,
        target: str,
        version: str,
        headers: Headers,
        start: int,
        end: int,
        header_size: int,
        body_size: int | None,
        authority: str = "",
        scheme: str = "",
    ) -> None:
        self.method = method
        self.target = target
        """As sent: origin, absolute, authority or asterisk form. For HTTP/2 the `:path`."""
        self.version = version
        """"1.0", "1.1" or "2"."""
        self.headers = headers
        """Without pseudo-header fields."""
        self.start = start
        """ns, first byte, on the source's clock."""
        self.end = end
        """ns, last byte seen."""
        self.header_size = header_size
        """Bytes: HTTP/1 head with its blank line, HTTP/2 header blocks without frame headers."""
        self.body_size = body_size
        """Content bytes without framing; None when the gap that hid them hid their number too."""
        self.authority = authority
        """HTTP/2 `:authority`; empty for HTTP/1, whose Host is a header."""
        self.scheme = scheme


class HttpResponse(Value):
    """The final response (or 101, which ends HTTP)."""

    __slots__ = ("body_size", "end", "header_size", "headers", "start", "status", "trailers", "version")

    def __init__(
        self,
        *,
        status: int,
        version: str,
        headers: Headers,
        start: int,
        end: int,
        header_size: int,
        body_size: int | None,
        trailers: Headers = NO_HEADERS,
    ) -> None:
        self.status = status
        self.version = version
        self.headers = headers
        self.start = start
        self.end = end
        self.header_size = header_size
        self.body_size = body_size
        self.trailers = trailers


class HttpExchange(Value):
    """A finished HTTP/1.x exchange, for `handle_http_data`."""

    __slots__ = ("assumed", "end", "outcome", "owner", "request", "response")

    def __init__(
        self,
        *,
        owner: int,
        request: HttpRequest,
        response: HttpResponse | None,
        outcome: Outcome = Outcome.COMPLETE,
        end: int = 0,
        assumed: bool = False,
    ) -> None:
        self.owner = owner
        self.request = request
        self.response = response
        """None when the connection ended before a response began."""
        self.outcome = outcome
        self.end = end
        """ns, when it was over, where that is later than the last byte of either message: a request that was
        never answered lasts until somebody gave up. 0 where the messages tell."""
        self.assumed = assumed
        """Whether bytes were lost so that no count proves any more that the response answers this request:
        its log carries `rover.pairing`."""

    @staticmethod
    def hook() -> str:
        """The hook that it goes to."""
        return "handle_http_data"

    def arguments(self, connection: Connection, details: tuple[Detail, ...]) -> tuple[object, ...]:
        """What that is called with."""
        return connection, self.request, self.response, details


class HttpStream(Value):
    """A finished or split HTTP/2 stream, for `handle_whole_stream`."""

    __slots__ = ("end", "error_code", "outcome", "owner", "request", "response")

    def __init__(
        self,
        *,
        owner: int,
        request: HttpRequest,
        response: HttpResponse | None,
        outcome: Outcome = Outcome.COMPLETE,
        error_code: int | None = None,
        end: int = 0,
    ) -> None:
        self.owner = owner
        """The stream identifier."""
        self.request = request
        self.response = response
        self.outcome = outcome
        self.error_code = error_code
        """Of the RST_STREAM or GOAWAY that ended it (RFC 9113 section 7), else None."""
        self.end = end
        """ns, when it was over, where that is later than the last byte of either message, else 0."""

    @property
    def assumed(self) -> bool:
        """Never: a stream's number tells which response answers which request."""
        return False

    @staticmethod
    def hook() -> str:
        """The hook that it goes to."""
        return "handle_whole_stream"

    def arguments(self, connection: Connection, details: tuple[Detail, ...]) -> tuple[object, ...]:
        """What that is called with."""
        return connection, self, details


def new_request(
    method: str,
    target: str,
    version: str,
    headers: Headers,
    start: int,
    end: int,
    header_size: int,
    body_size: int | None,
    authority: str,
    scheme: str,
) -> HttpRequest:
    """Compiled, a call of C, with the fields as keywords; else what the class does."""
    made = HttpRequest.__new__(HttpRequest)
    made.method = method
    made.target = target
    made.version = version
    made.headers = headers
    made.start = start
    made.end = end
    made.header_size = header_size
    made.body_size = body_size
    made.authority = authority
    made.scheme = scheme
    return made


def new_response(
    status: int,
    version: str,
    headers: Headers,
    start: int,
    end: int,
    header_size: int,
    body_size: int | None,
    trailers: Headers,
) -> HttpResponse:
    """Compiled, a call of C, with the fields as keywords; else what the class does."""
    made = HttpResponse.__new__(HttpResponse)
    made.status = status
    made.version = version
    made.headers = headers
    made.start = start
    made.end = end
    made.header_size = header_size
    made.body_size = body_size
    made.trailers = trailers
    return made


def new_exchange(
    owner: int,
    request: HttpRequest,
    response: HttpResponse | None,
    outcome: Outcome,
    end: int,
    assumed: bool,
) -> HttpExchange:
    """Compiled, a call of C, with the fields as keywords; else what the class does."""
    made = HttpExchange.__new__(HttpExchange)
    made.owner = owner
    made.request = request
    made.response = response
    made.outcome = outcome
    made.end = end
    made.assumed = assumed
    return made


def new_stream(
    owner: int,
    request: HttpRequest,
    response: HttpResponse | None,
    outcome: Outcome,
    error_code: int | None,
    end: int,
) -> HttpStream:
    """Compiled, a call of C, with the fields as keywords; else what the class does."""
    made = HttpStream.__new__(HttpStream)
    made.owner = owner
    made.request = request
    made.response = response
    made.outcome = outcome
    made.error_code = error_code
    made.end = end
    return made
