"""gRPC between grpcio and grpcio: every kind of call and every kind of end, as the client counted them. Over
TLS it is read within grpcio's own BoringSSL, which has no symbols."""

import collections
import sys
from pathlib import Path

import grpc
import pytest

from harness import free_port, listening, syscalls_of, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

PEERS = Path(__file__).parent / "peers"
ROUNDS = 30
WAYS = {"grpc": False, "grpc_tls": True}
PREFIX = 5
"""Bytes before each gRPC message on the wire."""


@pytest.fixture(params=WAYS)
def secured(request):
    return WAYS[request.param]


@pytest.fixture
def server(start_program, secured, certificate):
    port = free_port()
    program = start_program(
        sys.executable, PEERS / "grpc_server.py", str(port), *(certificate if secured else ())
    )
    wait_until(lambda: listening(port), f"the server: {program.err}")
    return port


@pytest.fixture
def channel(server, secured, certificate):
    address = f"127.0.0.1:{server}"
    if secured:
        credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
        named = [("grpc.ssl_target_name_override", "localhost")]
        opened = grpc.secure_channel(address, credentials, named)
    else:
        opened = grpc.insecure_channel(address)
    with opened as channel:
        yield channel


def framed(*messages: bytes) -> int:
    """Bytes of these messages in a body."""
    return sum(PREFIX + len(message) for message in messages)


def make_calls(channel, rounds: int) -> collections.Counter:
    """Every kind of call; returns (path, grpc-status, request bytes, response bytes) as counted here."""
    made: collections.Counter = collections.Counter()
    unary = channel.unary_unary("/test.Witness/Unary")
    upload = channel.stream_unary("/test.Witness/ClientStream")
    download = channel.unary_stream("/test.Witness/ServerStream")
    both = channel.stream_stream("/test.Witness/Both")
    fail = channel.unary_unary("/test.Witness/Fail")
    fail_late = channel.unary_stream("/test.Witness/FailLate")
    nowhere = channel.unary_unary("/test.Witness/Nowhere")
    for n in range(rounds):
        question = b"question %d" % n
        made["/test.Witness/Unary", "OK", framed(question), framed(unary(question))] += 1
        parts = [b"x" * (100 * i) for i in range(n % 5 + 1)]
        answer = upload(iter(parts))
        made["/test.Witness/ClientStream", "OK", framed(*parts), framed(answer)] += 1
        wanted = b"%d" % (n % 7)
        received = list(download(wanted))
        made["/test.Witness/ServerStream", "OK", framed(wanted), framed(*received)] += 1
        received = list(both(iter(parts)))
        made["/test.Witness/Both", "OK", framed(*parts), framed(*received)] += 1
        for call, path, replies in (
            (fail, "/test.Witness/Fail", ()),
            (nowhere, "/test.Witness/Nowhere", ()),
            (lambda message: list(fail_late(message)), "/test.Witness/FailLate", (b"first",)),
        ):
            try:
                call(b"x")
            except grpc.RpcError as error:
                made[path, error.code().name, framed(b"x"), framed(*replies)] += 1
    return made


def logged(lines) -> collections.Counter:
    return collections.Counter(
        (
            line["url.original"],
            line["rpc.status_code"],
            line["http.request.body.size"],
            line["http.response.body.size"],
        )
        for line in lines
    )


def test_every_kind_of_call(server, channel, secured, start_agent):
    agent = start_agent("--port", str(server), "--set", "sink.jsonl.kernel_logs=true")
    made = make_calls(channel, ROUNDS)
    assert made.total() == 7 * ROUNDS
    for role in ("client", "server"):
        lines = agent.wait_for_exchanges(made.total(), role)
        assert logged(lines) == made
        assert {line["rpc.system.name"] for line in lines} == {"grpc"}
        assert {line["rpc.method"].rpartition("/")[2] for line in lines} >= {"Unary", "Both"}
        assert {line["http.response.status_code"] for line in lines} == {200}
        assert {line["tls"] for line in lines} == {secured}
    totals = agent.finish()
    assert (totals.records_lost, totals.breaks) == (0, {})
    assert not [line for line in agent.err if "unread" in line]
    for sequences in syscalls_of(agent.lines()).values():
        assert sorted(sequences) == list(range(len(sequences)))


def test_cancelled_and_too_late(server, channel, start_agent):
    agent = start_agent("--port", str(server))
    slow = channel.unary_unary("/test.Witness/Slow")
    for _ in range(ROUNDS):
        with pytest.raises(grpc.RpcError) as raised:
            slow(b"x", timeout=0.3)  # time enough to be sent, beside other load
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        call = slow.future(b"x")
        call.cancel()
        assert call.cancelled()
    # A call cancelled before it was sent never was on the wire: what the server saw is the measure.
    unary = channel.unary_unary("/test.Witness/Unary")
    unary(b"last")
    wait_until(
        lambda: sum(line["url.original"].endswith("Unary") for line in agent.exchanges()) == 2,
        "the last call",
    )
    sides = {role: agent.exchanges(role) for role in ("client", "server")}
    counts = {role: sum(line["url.original"].endswith("Slow") for line in sides[role]) for role in sides}
    assert counts["client"] == counts["server"]
    assert ROUNDS <= counts["client"] <= 2 * ROUNDS
    for line in sides["client"]:
        if line["url.original"].endswith("Slow"):
            assert line["rover.outcome"] == "aborted" or line.get("rpc.status_code") in (
                "CANCELLED",
                "DEADLINE_EXCEEDED",
            )
    assert agent.finish().records_lost == 0


def test_joined_late(server, channel, start_agent):
    """The agent starts between calls of one channel: no wrong line, at most one break per end."""
    make_calls(channel, 3)
    agent = start_agent("--port", str(server), "--set", "sink.jsonl.kernel_logs=true")
    made = make_calls(channel, ROUNDS)
    channel.close()

    def ended() -> bool:
        calls = [call["name"] for line in agent.lines() for call in line.get("rover.syscalls", ())]
        return calls.count("close") >= 2

    wait_until(ended, "both ends to close")
    totals = agent.finish()
    lines = agent.lines()
    exchanges = [line for line in lines if "http.request.method" in line]
    assert all(line["url.original"].startswith("/test.Witness/") for line in exchanges)
    known = {key[0] for key in made}
    assert {line["url.original"] for line in exchanges} <= known
    breaks = [line for line in lines if line.get("rover.outcome") == "break"]
    assert {line["rover.break.reason"] for line in breaks} <= {"hpack"}
    per_connection = collections.Counter(line["rover.connection"] for line in breaks)
    assert set(per_connection.values()) <= {1}
    assert all(line["rover.break.detail"] for line in breaks)
    for sequences in syscalls_of(lines).values():
        assert sorted(sequences) == list(range(len(sequences)))
    assert totals.records_lost == 0
