"""Metrics of what is exchanged: access logs aggregated into histograms, for any sink that exports metrics."""

from rover.metrics.conventions import GRPC_SERVER_ERRORS, Pairs
from rover.metrics.instruments import INSTRUMENTS, Instrument
from rover.metrics.requests import OVERFLOW, SERVICE, Exemplar, Point, Requests, named_by

__all__ = [
    "GRPC_SERVER_ERRORS",
    "INSTRUMENTS",
    "OVERFLOW",
    "SERVICE",
    "Exemplar",
    "Instrument",
    "Pairs",
    "Point",
    "Requests",
    "named_by",
]
