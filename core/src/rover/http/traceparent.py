"""The W3C `traceparent` header (https://www.w3.org/TR/trace-context/#traceparent-header).

`_traceparent.pyx` is the same, compiled.
"""

from __future__ import annotations

import re

# Version 00 is exactly four fields, a later version may append more; ff is never valid, nor are ids
# of zeros.
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


def traceparent(value: str) -> tuple[str, str] | None:
    """(trace id, parent id), None where the value is malformed."""
    match = _FORM.fullmatch(value.strip())
    if match is None:
        return None
    version, trace_id, span_id, more = match.groups()
    if version == "ff" or trace_id == _NO_TRACE or span_id == _NO_SPAN or (more and version == "00"):
        return None
    return trace_id, span_id
