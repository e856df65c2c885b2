"""The page: made when it is asked for, at most once in a second."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Sequence

from rover_plugin_sink_prometheus.exposition import OPENMETRICS, TEXT, Format, Snapshot, pieces
from rover_plugin_sink_prometheus.http_server import Request, Response, message

FRESH = 1.0
"""Seconds for which a page is the same: no client can make one be made more often."""
GZIP = 31
"""The window of zlib, with a header of gzip."""
LEVEL = 1
"""Of compression: lines are so much alike that the fastest makes 50 bytes one."""
FRONT = b"rover: what processes say over the network. The metrics are at /metrics\n"


class Page:
    """Answers requests; in one thread."""

    def __init__(self, collect: Callable[[], Snapshot]) -> None:
        """`collect` is called for every page that is made."""
        self._collect = collect
        self._snapshot: Snapshot | None = None
        self._since = 0.0
        self._made: dict[tuple[Format, bool], Sequence[bytes]] = {}
        self.scrapes = 0

    def answer(self, request: Request) -> Response:
        """The metrics, a line about where they are, or that there is nothing."""
        if request.path == "/":
            return Response(200, "text/plain; charset=utf-8", [FRONT])
        if request.path != "/metrics":
            return message(404)
        self.scrapes += 1
        form = chosen(request.headers.get("accept", ""))
        packed = takes_gzip(request.headers.get("accept-encoding", ""))
        headers = {"Vary": "Accept, Accept-Encoding"} | ({"Content-Encoding": "gzip"} if packed else {})
        return Response(200, form.content_type, self._body(form, packed), headers)

    def _body(self, form: Format, packed: bool) -> Sequence[bytes]:
        now = time.monotonic()
        if self._snapshot is None or not 0 <= now - self._since < FRESH:
            self._made.clear()
            self._snapshot = self._collect()
            self._since = time.monotonic()
        body = self._made.get((form, packed))
        if body is None:
            plain = pieces(self._snapshot, form)
            body = self._made[form, packed] = list(gzipped(plain) if packed else plain)
        return body

    def forget(self) -> None:
        """Lets go of the newest page."""
        self._snapshot = None
        self._made.clear()


def gzipped(plain: Iterable[bytes]) -> Iterable[bytes]:
    """Piece by piece: the whole is never there."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    for piece in plain:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def chosen(accept: str) -> Format:
    """OpenMetrics where it is named and as welcome as text, else text."""
    openmetrics = text = 0.0
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        quality = quality_of(given.get("q", "1"))
        if kind == "application/openmetrics-text":
            if given.get("version", "1.0.0") in ("1.0.0", "0.0.1"):
                openmetrics = max(openmetrics, quality)
        elif kind in ("text/plain", "text/*"):
            text = max(text, quality)
    return OPENMETRICS if openmetrics > 0 and openmetrics >= text else TEXT


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes it (RFC 9110 section 12.5.3)."""
    by_coding: dict[str, float] = {}
    for part in accept_encoding.split(","):
        coding, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        by_coding[coding] = quality_of(given.get("q", "1"))
    return by_coding.get("gzip", by_coding.get("*", 0.0)) > 0


def quality_of(text: str) -> float:
    """A weight (RFC 9110 section 12.4.2); 0 for one that is none."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
