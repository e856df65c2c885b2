"""Methods of requests."""

from __future__ import annotations

KNOWN_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
"""Those that OpenTelemetry's semantic conventions 1.44 name for `http.request.method`: RFC 9110 section 9,
PATCH (RFC 5789) and QUERY (draft-ietf-httpbis-safe-method-w-body)."""
