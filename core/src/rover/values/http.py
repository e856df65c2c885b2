"""HTTP messages as values, the same for every version (RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from rover.values.exchange import Outcome

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


class HttpRequest(NamedTuple):
    """A request as it was sent."""

    method: str
    target: str
    """As sent: origin, absolute, authority or asterisk form. For HTTP/2 the `:path`."""
    version: str
    """"1.0", "1.1" or "2"."""
    headers: Headers
    """Without pseudo-header fields."""
    start: int
    """ns, first byte, on the source's clock."""
    end: int
    """ns, last byte seen."""
    header_size: int
    """Bytes: HTTP/1 head with its blank line, HTTP/2 header blocks without frame headers."""
    body_size: int | None
    """Content bytes without framing; None when the gap that hid them hid their number too."""
    authority: str = ""
    """HTTP/2 `:authority`; empty for HTTP/1, whose Host is a header."""
    scheme: str = ""


class HttpResponse(NamedTuple):
    """The final response (or 101, which ends HTTP)."""

    status: int
    version: str
    headers: Headers
    start: int
    end: int
    header_size: int
    body_size: int | None
    trailers: Headers = Headers()


class HttpExchange(NamedTuple):
    """A finished HTTP/1.x exchange, for `handle_http_data`."""

    owner: int
    request: HttpRequest
    response: HttpResponse | None
    """None when the connection ended before a response began."""
    outcome: Outcome = Outcome.COMPLETE
    end: int = 0
    """ns, when it was over, where that is later than the last byte of either message: a request that was
    never answered lasts until somebody gave up. 0 where the messages tell."""
    assumed: bool = False
    """Whether bytes were lost so that no count proves any more that the response answers this request:
    its log carries `rover.pairing`."""

    @staticmethod
    def hook() -> str:
        """The hook that it goes to."""
        return "handle_http_data"

    def arguments(self, connection: Connection, details: tuple[Detail, ...]) -> tuple[object, ...]:
        """What that is called with."""
        return connection, self.request, self.response, details


class HttpStream(NamedTuple):
    """A finished or split HTTP/2 stream, for `handle_whole_stream`."""

    owner: int
    """The stream identifier."""
    request: HttpRequest
    response: HttpResponse | None
    outcome: Outcome = Outcome.COMPLETE
    error_code: int | None = None
    """Of the RST_STREAM or GOAWAY that ended it (RFC 9113 section 7), else None."""
    end: int = 0
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
