"""OpenSSL for rover: where plaintext is in it. 1.1.1 to 4.0, shared or in a program with symbols."""

from __future__ import annotations

from collections.abc import Sequence

from rover import TlsLibrarySpec, hookimpl
from rover_plugin_tls_openssl.probes import find


@hookimpl
def register_tls_libraries() -> Sequence[TlsLibrarySpec]:
    """The library of this package."""
    return [TlsLibrarySpec(name="openssl", find=find)]
