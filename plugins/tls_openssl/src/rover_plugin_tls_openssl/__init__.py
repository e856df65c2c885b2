"""OpenSSL for rover: where plaintext is in it. 1.1.1 to 4.0, shared or in a program with symbols; and
BoringSSL, also in a file without them."""

from __future__ import annotations

from collections.abc import Sequence

from rover import TlsLibrarySpec, hookimpl
from rover_plugin_tls_openssl import boringssl, probes


@hookimpl
def register_tls_libraries() -> Sequence[TlsLibrarySpec]:
    """The libraries of this package. What BoringSSL's own errors tell goes before its symbols, which look
    like OpenSSL's and tell less."""
    return [
        TlsLibrarySpec(name="boringssl", find=boringssl.find),
        TlsLibrarySpec(name="openssl", find=probes.find),
    ]
