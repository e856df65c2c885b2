"""GnuTLS for rover: where plaintext is in it."""

from __future__ import annotations

from collections.abc import Sequence

from rover import TlsLibrarySpec, hookimpl
from rover_plugin_tls_gnutls.probes import find


@hookimpl
def register_tls_libraries() -> Sequence[TlsLibrarySpec]:
    """The library of this package."""
    return [TlsLibrarySpec(name="gnutls", find=find)]
