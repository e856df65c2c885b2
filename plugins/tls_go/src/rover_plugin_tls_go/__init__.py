"""Go's crypto/tls for rover: where plaintext is in a program, with symbols or stripped."""

from __future__ import annotations

from collections.abc import Sequence

from rover import TlsLibrarySpec, hookimpl
from rover_plugin_tls_go.probes import find


@hookimpl
def register_tls_libraries() -> Sequence[TlsLibrarySpec]:
    """The library of this package."""
    return [TlsLibrarySpec(name="go", find=find)]
