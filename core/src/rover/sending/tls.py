"""How the connection to a server is secured."""

from __future__ import annotations

import dataclasses
import ssl

from rover.errors import RoverError


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """What a user has set of it; paths are of PEM files."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""
    insecure: bool = False


def context_of(tls: Tls, sink: str, protocol: str) -> ssl.SSLContext:
    """What sockets are wrapped with. `sink`: its name, for the settings; `protocol`: by ALPN (`h2`).

    Raises RoverError for certificates that cannot be used.
    """
    if bool(tls.cert) != bool(tls.key):
        raise RoverError(f"sink.{sink}.tls_cert and sink.{sink}.tls_key belong together; one is missing")
    what = f"sink.{sink}.tls_ca {tls.ca}"
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        # From Python 3.13 on a CA without the key usage extension (RFC 5280 section 4.2.1.3) is refused
        # unless this is said. `openssl req -x509` makes such; whoever has one connects with every Python.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if tls.cert:
            what = f"sink.{sink}.tls_cert {tls.cert} with tls_key {tls.key}"
            context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise RoverError(f"{what}: {reason(error)}") from None
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def _no_password() -> str:
    """An encrypted key must not ask the terminal."""
    raise ValueError("the key is encrypted")


def reason(error: Exception) -> str:
    """A failure in words: of TLS the verification's own, which is the most telling."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "what answers speaks no TLS"
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
