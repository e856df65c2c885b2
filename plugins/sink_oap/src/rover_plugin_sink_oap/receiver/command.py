"""`rover oap-receiver`."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from rover import UsageError
from rover.errors import file_error

PATIENCE = 0.2
"""Seconds waited at a time for the end."""


def register(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command("oap-receiver")
    def oap_receiver(
        listen: Annotated[str, typer.Option(help="host:port; port 0 takes a free one.")] = "127.0.0.1:11800",
        as_json: Annotated[bool, typer.Option("--json", help="Each message as a line of JSON.")] = False,
        quiet: Annotated[bool, typer.Option("--quiet", help="Only the totals, at the end.")] = False,
        authentication: Annotated[str, typer.Option(help="The token a stream must bring.")] = "",
        cert: Annotated[Path | None, typer.Option(help="PEM certificate: listen with TLS.")] = None,
        key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
        client_ca: Annotated[Path | None, typer.Option(help="PEM CA that clients must be of.")] = None,
        delay: Annotated[float, typer.Option(help="Answer each stream so many seconds late.", min=0)] = 0,
        refuse: Annotated[str, typer.Option(help="Refuse each stream with this gRPC status.")] = "",
        reset_after: Annotated[
            int, typer.Option(help="Reset each stream after so many messages.", min=0)
        ] = 0,
    ) -> None:
        """Stand in for an OAP server: take access logs, print them, check them.

        Ctrl-C or SIGTERM ends it with the totals; exit code 1 says that a rule was broken.
        """
        from rover_plugin_sink_oap.receiver.grpc_quiet import grpc
        from rover_plugin_sink_oap.receiver.rules import LogStream
        from rover_plugin_sink_oap.receiver.server import Faults, Receiver

        if refuse and refuse not in grpc.StatusCode.__members__:
            raise UsageError(f"--refuse {refuse!r}: {', '.join(grpc.StatusCode.__members__)}")

        def print_stream(stream: LogStream) -> None:
            for line in lines(stream, as_json=as_json):
                typer.echo(line)
            for finding in stream.findings:
                typer.echo(f"rover: stream {stream.number}: {finding.rule}: {finding.what}", err=True)

        receiver = Receiver(
            listen,
            faults=Faults(delay, refuse, reset_after),
            authentication=authentication,
            credentials=_credentials(cert, key, client_ca),
            accepted=None if quiet else print_stream,
        )
        ended: list[int] = []

        def end(number: int, _frame: FrameType | None) -> None:
            ended.append(number)  # no more: what it interrupts may hold any lock

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        receiver.start()
        said = json.dumps({"listening": receiver.address}) if as_json else f"listening on {receiver.address}"
        typer.echo(said)
        while not ended:
            # A signal may be taken by one of gRPC's threads: only between waits is it noticed here.
            time.sleep(PATIENCE)
        receiver.stop(grace=1.0)
        totals = receiver.received.totals
        typer.echo(json.dumps({"totals": _figures(totals)}) if as_json else str(totals))
        if totals.broken:
            if quiet:
                for finding in receiver.received.findings[:10]:
                    typer.echo(f"rover: stream {finding.stream}: {finding.rule}: {finding.what}", err=True)
            raise typer.Exit(1)


def _credentials(cert: Path | None, key: Path | None, client_ca: Path | None) -> Any:
    from rover_plugin_sink_oap.receiver.grpc_quiet import grpc

    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError("--cert and --key belong together")
    try:
        pair = (key.read_bytes(), cert.read_bytes())
        roots = client_ca.read_bytes() if client_ca is not None else None
    except OSError as error:
        raise file_error(f"cannot read {error.filename}", error) from None
    return grpc.ssl_server_credentials([pair], roots, roots is not None)


def lines(stream: Any, *, as_json: bool) -> Iterator[str]:
    """What is printed of a stream: a line per message as JSON, or per log for people."""
    from google.protobuf import json_format  # type: ignore[import-untyped]

    connection: Any = None
    for message in stream.messages:
        if as_json:
            fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
            yield json.dumps({"stream": stream.number, **fields})
            continue
        if message.HasField("connection"):
            connection = message.connection
        yield f"{_connection(connection)}  {_logs(message)}"


def _connection(connection: Any) -> str:
    if connection is None:
        return "?"
    local, remote = connection.local.kubernetes, connection.remote.kubernetes
    arrow = "->" if connection.role == 0 else "<-"
    tls = " TLS" if connection.tlsMode else ""
    return _printable(
        f"{_value(connection, 'role'):6}  {local.serviceName} ({local.podName}) {arrow} "
        f"{remote.serviceName} ({remote.podName})  {_value(connection, 'protocol')}{tls}"
    )


def _logs(message: Any) -> str:
    calls = " ".join(log.WhichOneof("operation") or "empty" for log in message.kernelLogs)
    if not message.HasField("protocolLog"):
        return calls or "-"
    request, response = message.protocolLog.http.request, message.protocolLog.http.response
    method = _value(request, "method").upper()
    return _printable(f"{method} {request.path} {response.statusCode or '-'}  {calls}")


def _value(message: Any, field: str) -> str:
    """The name of an enumeration's value."""
    number = getattr(message, field)
    known = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    return str(known.name) if known is not None else str(number)


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape", "replace").decode()


def _figures(totals: Any) -> dict[str, Any]:
    return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(totals).items()}
