"""`rover otlp-receiver`."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rover import UsageError
from rover.sending import address

if TYPE_CHECKING:
    from rover_plugin_sink_otlp.receiver.server import Certificate

PATIENCE = 0.2
"""Seconds waited at a time for the end."""


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("otlp-receiver")
    def otlp_receiver(
        grpc: Annotated[str, typer.Option(help="host:port for gRPC; port 0 takes a free one.")] = (
            "127.0.0.1:4317"
        ),
        http: Annotated[str, typer.Option(help="host:port for HTTP.")] = "127.0.0.1:4318",
        quiet: Annotated[bool, typer.Option("--quiet", help="Only the totals, at the end.")] = False,
        header: Annotated[
            list[str] | None, typer.Option(help="name=value that each request must bring.")
        ] = None,
        cert: Annotated[Path | None, typer.Option(help="PEM certificate: listen with TLS.")] = None,
        key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
        client_ca: Annotated[Path | None, typer.Option(help="PEM CA that clients must be of.")] = None,
        delay: Annotated[float, typer.Option(help="Answer each request so many seconds late.", min=0)] = 0,
        refuse: Annotated[
            str, typer.Option(help="Refuse each request with this gRPC status, or number of HTTP.")
        ] = "",
        retry_after: Annotated[
            int, typer.Option(help="Tell those that are refused to wait so many seconds.", min=0, max=120)
        ] = 0,
        reject: Annotated[
            int, typer.Option(help="Say of each request that so many items are not taken.", min=0)
        ] = 0,
    ) -> None:
        """Stand in for a receiver of OTLP: take traces, metrics and logs, print them as JSON lines.

        Ctrl-C or SIGTERM ends it with the totals.
        """
        from rover_plugin_sink_otlp.receiver.grpc_quiet import grpc as library
        from rover_plugin_sink_otlp.receiver.items import items
        from rover_plugin_sink_otlp.receiver.server import Faults, Receiver

        if refuse and refuse not in library.StatusCode.__members__ and not _is_status(refuse):
            known = ", ".join(library.StatusCode.__members__)
            raise UsageError(f"--refuse {refuse!r}: must be a status of HTTP, 400 to 599, or one of {known}")
        totals = {"traces": 0, "metrics": 0, "logs": 0}

        def accepted(signal_name: str, request: Any) -> None:
            for item in items(signal_name, request):
                totals[signal_name] += 1
                if not quiet:
                    typer.echo(json.dumps(item))

        receiver = Receiver(
            _listen("--grpc", grpc),
            _listen("--http", http),
            accepted=accepted,
            faults=Faults(delay, refuse, retry_after, reject),
            headers=_headers(header or []),
            certificate=_certificate(cert, key, client_ca),
        )
        ended: list[int] = []

        def end(number: int, _frame: FrameType | None) -> None:
            ended.append(number)  # no more: what it interrupts may hold any lock

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        receiver.start()
        typer.echo(json.dumps({"grpc": receiver.grpc_address, "http": receiver.http_address}))
        while not ended:
            # A signal may be taken by one of gRPC's threads: only between waits is it noticed here.
            time.sleep(PATIENCE)
        receiver.stop(grace=1.0)
        typer.echo(json.dumps({"totals": {**totals, "requests": dict(receiver.requests)}}))


def _listen(option: str, value: str) -> str:
    """Port 0 takes a free one."""
    host, _, port = value.rpartition(":")
    try:
        address.read(f"{host}:1" if port == "0" else value, 4317)
    except ValueError as error:
        raise UsageError(f"{option} {value[:100]!r}: {error}") from None
    return value


def _is_status(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) == 3 and "400" <= text <= "599"


def _headers(given: list[str]) -> dict[str, str]:
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise UsageError("--header: write name=value")
        found[name.lower()] = value
    return found


def _certificate(cert: Path | None, key: Path | None, client_ca: Path | None) -> Certificate | None:
    from rover_plugin_sink_otlp.receiver.server import Certificate

    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError("--cert and --key belong together")
    return Certificate(cert, key, client_ca)
