"""Which package brings what, for a message when something that is not installed is named.

The core knows no protocol, capture technology or backend; this is only a table of names.
"""

from __future__ import annotations

from rover.errors import NotInstalledError, UsageError

PACKAGES = {
    "source ebpf": "rover-source-ebpf",
    "source pcap": "rover-source-pcap",
    "protocol http1": "rover-plugin-http1",
    "protocol http2": "rover-plugin-http2",
    "protocol websocket": "rover-plugin-websocket",
    "protocol redis": "rover-plugin-redis",
    "sink console": "rover-plugin-sink-log",
    "sink jsonl": "rover-plugin-sink-log",
    "sink prometheus": "rover-plugin-sink-prometheus",
    "sink oap": "rover-plugin-sink-oap",
    "sink otlp": "rover-plugin-sink-otlp",
    "tls gnutls": "rover-plugin-tls-gnutls",
    "tls go": "rover-plugin-tls-go",
    "tls boringssl": "rover-plugin-tls-openssl",
    "tls openssl": "rover-plugin-tls-openssl",
}
"""Rover's own; tests/test_workspace.py holds it to what they register."""


def hint(error: UsageError) -> str:
    """What to install, to stand after the error's message; empty when that is not known."""
    package = PACKAGES.get(error.named) if isinstance(error, NotInstalledError) else None
    return f"; pip install {package}" if package else ""
