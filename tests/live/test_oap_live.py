"""The agent into the OAP receiver: what it took is what the JSON lines say, every call once."""

import itertools
import socket
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest

from harness import free_port, listening, tcp_connection, wait_until
from oap_witness import (
    calls_taken,
    calls_told,
    ends_of,
    exchanges_taken,
    exchanges_told,
    ports_of,
    protocol_of,
)

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

PEERS = Path(__file__).parent / "peers"
REQUESTS = 500
"""Of HTTP/1.1, over four connections."""
CALLS = 100
"""Of gRPC, unary and streaming each, over two channels."""
SOCKETS = 4
MESSAGES = 100
"""On each connection that is upgraded."""


@pytest.fixture
def start_peer(start_program):
    """Starts one of the servers in peers/; returns its port."""

    def start(name):
        port = free_port()
        program = start_program(sys.executable, PEERS / name, str(port))
        wait_until(lambda: listening(port), f"{name}: {program.err}")
        return port

    return start


def ask(url):
    subprocess.run(["h2load", "--h1", "-n", str(REQUESTS), "-c", "4", url], check=True, capture_output=True)


def call(port):
    # A connection of its own, which channels to one server would else share.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        unary = channel.unary_unary("/test.Witness/Unary")
        download = channel.unary_stream("/test.Witness/ServerStream")
        for n in range(CALLS):
            unary(b"question %d" % n)
            list(download(b"%d" % (n % 7)))


def converse(port):
    """Goes on in a protocol that nobody decodes, and reads each message back."""
    with tcp_connection(port) as connection, connection.makefile("rwb") as stream:
        stream.write(b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x-echo\r\n\r\n")
        stream.flush()
        assert b" 101 " in stream.readline()
        while stream.readline() != b"\r\n":
            pass
        for n in range(MESSAGES):
            message = b"GET /inside/%d HTTP/1.1\r\n\r\n" % n
            stream.write(message)
            stream.flush()
            assert stream.read(len(message)) == message


def all_at_once(*calls):
    """Runs (function, argument) pairs in a thread each; what one raises is raised here."""
    raised = []

    def run(function, argument):
        try:
            function(argument)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=each) for each in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def test_the_receiver_takes_what_the_lines_say(nginx, start_peer, start_receiver, start_agent, tmp_path):
    grpc_port, switching_port = start_peer("grpc_server.py"), start_peer("switching_server.py")
    receiver = start_receiver()
    watched = [part for port in (nginx.port, grpc_port, switching_port) for part in ("--port", str(port))]
    agent = start_agent(
        *watched,
        *("--set", f"sink.oap.address=127.0.0.1:{receiver.port}"),
        *("--set", f"sink.oap.spool_path={tmp_path / 'spool'}"),
        *("--set", "sink.oap.flush_max_count=1000", "--set", "sink.jsonl.kernel_logs=true"),
        sinks=("oap", "jsonl"),
    )
    all_at_once((ask, nginx.url + "/"), *[(call, grpc_port)] * 2, *[(converse, switching_port)] * SOCKETS)
    expected = REQUESTS + 2 * 2 * CALLS + SOCKETS
    for role in ("client", "server"):
        agent.wait_for_exchanges(expected, role)
    totals = agent.finish()
    assert totals.logged == {"oap": 2 * expected, "jsonl": 2 * expected}
    counted = receiver.finish()
    assert counted["exchanges"] == 2 * expected
    assert counted["streams"] > 2

    lines, messages = agent.lines(), receiver.messages()
    told = exchanges_told(lines)
    assert len(set(told)) == len(told) == 2 * expected
    assert exchanges_taken(messages) == dict.fromkeys(told, 1)
    calls = calls_told(lines)
    assert set(calls.values()) == {1}
    assert calls_taken(messages) == calls

    # The break: the connection is HTTP until it is upgraded, and TCP from there on for good.
    broken = {(line["rover.role"], *ports_of(line)) for line in lines if line.get("rover.outcome") == "break"}
    assert len(broken) == totals.breaks["upgrade"] == 2 * SOCKETS
    for ends in broken:
        sent = [
            (protocol_of(message), "protocolLog" in message)
            for message in messages
            if ends_of(message) == ends
        ]
        protocols = [protocol for protocol, _ in itertools.groupby(sent, key=lambda each: each[0])]
        # What opened it may have gone out before anything was said.
        assert protocols[protocols[0] == "TCP" :] == ["HTTP_1", "TCP"]
        assert [protocol for protocol, exchange in sent if exchange] == ["HTTP_1"]
        assert sum(protocol == "TCP" for protocol, _ in sent) >= MESSAGES


def test_the_agent_does_not_trace_itself(nginx, start_receiver, start_agent, tmp_path):
    """Everything on the host is watched, its receiver too; its own end of that connection is not."""
    receiver = start_receiver()
    agent = start_agent(
        *("--set", f"sink.oap.address=127.0.0.1:{receiver.port}", "--set", "sink.oap.flush_period=0.1"),
        *("--set", f"sink.oap.spool_path={tmp_path / 'spool'}", "--set", "sink.jsonl.kernel_logs=true"),
        sinks=("oap", "jsonl"),
    )
    subprocess.run(["curl", "-s", "-o", "/dev/null", nginx.url], check=True)

    def ends():
        """The receiver's connections, by the end that was seen."""
        return {line["rover.role"] for line in agent.lines() if line.get("server.port") == receiver.port}

    wait_until(lambda: "server" in ends(), f"the receiver's end: {agent.err}")
    agent.finish()
    receiver.finish()
    assert ends() == {"server"}
    assert agent.pid not in {line["process.pid"] for line in agent.lines() if "process.pid" in line}
    assert agent.pid not in {call["pid"] for line in agent.lines() for call in line.get("rover.syscalls", ())}


def test_exchanges_without_a_response_are_left_out_and_their_calls_are_not(
    nginx, start_receiver, start_agent, tmp_path
):
    receiver = start_receiver()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        agent = start_agent(
            *("--port", str(nginx.port), "--port", str(port)),
            *("--set", f"sink.oap.address=127.0.0.1:{receiver.port}"),
            *("--set", f"sink.oap.spool_path={tmp_path / 'spool'}", "--set", "sink.jsonl.kernel_logs=true"),
            sinks=("oap", "jsonl"),
        )
        subprocess.run(["curl", "-s", "-o", "/dev/null", nginx.url], check=True)
        asking = subprocess.Popen(["curl", "-s", "-m", "1", f"http://127.0.0.1:{port}/never"])
        with mute.accept()[0] as connection:
            assert connection.recv(4096).startswith(b"GET /never ")
            assert asking.wait() == 28  # it gave up
        for role in ("client", "server"):
            agent.wait_for_exchanges(2, role)
    totals = agent.finish()
    counted = receiver.finish()
    assert (totals.seen, totals.logged["oap"], totals.lost["oap"], totals.logged["jsonl"]) == (4, 2, 2, 4)
    assert counted["exchanges"] == 2

    lines, messages = agent.lines(), receiver.messages()
    told = exchanges_told(lines)
    assert exchanges_taken(messages) == {each: 1 for each in told if each.path != "/never"}
    assert [each.status for each in told if each.path == "/never"] == [0, 0]
    assert calls_taken(messages) == calls_told(lines)
