"""The OAP server goes away and comes back, the agent is killed: what is sent again, and what is not."""

import collections
import signal

import pytest
from google.protobuf import json_format

from harness import Load, free_port, wait_until
from oap_witness import boot_of, by_stream, calls_taken, exchanges_taken, exchanges_told
from rover.sending.batch import unpack
from rover_plugin_sink_oap.messages import EBPFAccessLogMessage

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

AWAY = 8
"""Batches the spool holds before the server comes back: so many flushes have failed."""


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


@pytest.fixture
def start(nginx, spool, start_agent, tmp_path):
    """Starts the first, the second agent, both with one spool."""

    def start(name, port):
        directory = tmp_path / name
        directory.mkdir()
        return start_agent(
            *("--port", str(nginx.port), "--set", f"sink.oap.address=127.0.0.1:{port}"),
            *("--set", f"sink.oap.spool_path={spool}"),
            *("--set", "sink.oap.flush_period=0.25", "--set", "sink.oap.retry_max=0.5"),
            sinks=("oap", "jsonl"),
            directory=directory,
        )

    return start


def spooled(spool):
    """Every exchange and every call in the spool."""
    messages = []
    for file in spool.glob("*.batch"):
        batch = unpack(file.read_bytes())
        read = [
            json_format.MessageToDict(EBPFAccessLogMessage.FromString(part), preserving_proto_field_name=True)
            for part in batch.stream()
        ]
        messages += [{**message, "boot": boot_of(read[0]["node"])} for message in read]
    return exchanges_taken(messages), calls_taken(messages)


@pytest.mark.parametrize("when", ["spool-filled", "server-back"])
def test_killed_and_killed(nginx, start, start_receiver, spool, when):
    """The server is killed and stays away; the agent is killed before, or just after, it is back."""
    before = start_receiver()
    first = start("first", before.port)
    with Load(nginx.port):
        wait_until(lambda: before.streams() >= 2, f"the server to take something: {first.err}")
        before.stop(signal.SIGKILL)
        wait_until(lambda: len(list(spool.glob("*.batch"))) >= AWAY, f"the spool to fill: {first.err}")
        if when == "server-back":
            after = start_receiver(port=before.port)
            wait_until(lambda: after.streams() >= 2, f"the server to take what waited: {first.err}")
        first.stop(signal.SIGKILL)
        exchanges_left, calls_left = spooled(spool)
        if when == "spool-filled":
            after = start_receiver(port=before.port)
            assert exchanges_left
        second = start("second", before.port)
        second.wait_for_exchanges(100)
        wait_until(lambda: after.streams() >= AWAY, f"the server to take what was left: {second.err}")
    # The end of the agent waits some seconds for what is not sent, which is little when the spool is empty.
    wait_until(lambda: not list(spool.glob("*.batch")), f"the spool to empty: {second.err}")
    totals = second.finish()
    counted = after.finish()
    assert list(spool.glob("*")) == [spool / "lock"]

    taken_before, taken_after = by_stream(before.messages()), by_stream(after.messages())
    streams = taken_before + taken_after
    exchanges = sum((each for each, _ in streams), collections.Counter())
    calls = sum((each for _, each in streams), collections.Counter())
    # What reached the spool is there.
    assert not exchanges_left.keys() - exchanges.keys()
    assert not calls_left.keys() - calls.keys()
    # What one killed server took last may have lacked its answer; the other end, killed, may not have
    # heard an answer. Each is one batch, the last there was, sent again whole.
    twice = {each for each, times in (exchanges + calls).items() if times > 1}
    assert all(times <= 2 for times in (exchanges + calls).values())
    again = [stream for stream in streams if twice & (stream[0].keys() | stream[1].keys())]
    assert again in ([], [taken_before[-1], taken_after[0]])
    assert counted["repeated"] <= (when == "server-back")
    # What was lost with the agent is what it had seen last.
    told = exchanges_told(first.lines())
    here = [each in exchanges for each in told]
    assert here == sorted(here, reverse=True)
    # The second agent loses nothing.
    told = exchanges_told(second.lines())
    assert totals.logged == {"oap": len(told), "jsonl": len(told)}
    assert all(exchanges[each] == 1 for each in told)


def test_nothing_listens_at_first(nginx, start, start_receiver, spool):
    """It starts, says so in one line, works, and delivers everything when somebody comes up."""
    port = free_port()
    agent = start("agent", port)
    with Load(nginx.port):
        agent.wait_for_exchanges(100)
        wait_until(lambda: len(list(spool.glob("*.batch"))) >= AWAY, f"the spool to fill: {agent.err}")
        (said,) = [line for line in agent.err if "oap" in line]
        assert f"127.0.0.1:{port} takes no access logs (Connection refused); access logs wait in" in said
        receiver = start_receiver(port=port)
        wait_until(lambda: receiver.streams() > AWAY, f"the server to take what waited: {agent.err}")
        agent.wait_for("takes access logs now")
    wait_until(lambda: not list(spool.glob("*.batch")), f"the spool to empty: {agent.err}")
    totals = agent.finish()
    receiver.finish()
    told = exchanges_told(agent.lines())
    assert totals.logged == {"oap": len(told), "jsonl": len(told)}
    assert exchanges_taken(receiver.messages()) == dict.fromkeys(told, 1)
