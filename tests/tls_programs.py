"""What of TLS is read: the table of README.md and of docs/tls.md, which names what the live tests try.

`python -m tests.tls_programs` prints it.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """Programs that are alike."""

    programs: str
    library: str
    read: str
    plugin: str = ""
    """The name of the library that finds it; empty where none does."""
    witnesses: tuple[str, ...] = ()
    """Servers and clients of tests/tls_peers.py."""


ROWS = (
    Row(
        "curl, nginx, apache2, HAProxy, Ruby, PHP and most others",
        "OpenSSL 1.1.1, 3 and 4 (`libssl`), also in containers",
        "yes",
        "openssl",
        ("nginx", "apache", "haproxy", "nghttpd", "curl1", "curl2", "h2load1", "h2load2"),
    ),
    Row(
        "Python: `ssl`, asyncio, uvicorn, hypercorn, httpx, aiohttp",
        "OpenSSL",
        "yes",
        "openssl",
        ("python", "debian_python", "asyncio", "hypercorn", "http.client", "httpx", "httpx2"),
    ),
    Row("Node.js", "OpenSSL within the program", "yes", "openssl", ("node",)),
    Row("wget, git, apt", "GnuTLS 3", "yes", "gnutls", ("wget",)),
    Row(
        "Go programs, stripped or not", "`crypto/tls` of Go 1.18 and later", "yes", "go", ("go", "go1", "go2")
    ),
    Row("Java", "JSSE", "no: it is compiled at run time, and rover changes no program"),
    Row("gRPC's Python package", "BoringSSL without symbols", "yes", "boringssl", ("grpc_tls",)),
    Row("Envoy, Chrome", "BoringSSL", "not tried; `rover doctor` says whether its functions are found"),
    Row("Rust programs with rustls; Firefox", "rustls; NSS", "no plugin yet"),
    Row("HTTP/3; TLS by the kernel", "QUIC; kTLS", "no"),
)


def table() -> str:
    """In Markdown."""
    lines = ["| programs | TLS by | read |", "| --- | --- | --- |"]
    lines += [f"| {row.programs} | {row.library} | {row.read} |" for row in ROWS]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    print(table(), end="")
