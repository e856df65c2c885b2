"""What can be set of the source, under `source.ebpf`."""

from __future__ import annotations

from rover.contracts.settings import Setting

SETTINGS = (
    Setting(
        "payload_limit",
        524288,  # what programs write at once: bodies of HTTP/2 hide the frames after them if cut
        "bytes captured of one call at most, a power of two up to 1048576",
        minimum=4096,
    ),
    Setting("ring_size", 32, "MiB of memory between kernel and each worker, a power of two", minimum=1),
    Setting("max_connections", 65536, "connections that are known at a time", minimum=16),
    Setting(
        "tracepoints",
        "calls",
        "what calls are seen by: `calls`, or `sockets`, where no other system call takes longer",
        choices=("calls", "sockets"),
    ),
    Setting(
        "opening_bytes",
        4096,
        "bytes captured of each direction while no protocol is known, at least",
        minimum=64,
    ),
    Setting("tls", True, "read what programs say over TLS, inside their TLS libraries"),
)
