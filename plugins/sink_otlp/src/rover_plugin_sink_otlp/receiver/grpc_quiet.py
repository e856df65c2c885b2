"""gRPC, imported in the one place that keeps it quiet.

What its C core has to say goes to standard error past Python's logging, between the lines of the
console. Every failure that concerns us comes back as a status; whoever wants to see more sets the
variable.
"""

from __future__ import annotations

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # type: ignore[import-untyped]

__all__ = ["grpc"]
