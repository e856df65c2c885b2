"""Of a large body the kernel copies what came before the agent knew its length, and no more."""

import subprocess

import pytest

pytestmark = pytest.mark.live

SIZE = 5_000_000
RATE = "10M"
"""Bytes per second: half a second for each body, where the agent takes milliseconds to say that it
needs nothing of it."""


def test_large_bodies_are_counted_but_not_copied(nginx, start_agent, tmp_path):
    agent = start_agent("--port", str(nginx.port), "--comm", "curl")
    sent = tmp_path / "sent"
    sent.write_bytes(b"x" * SIZE)
    curl = ["curl", "-s", "-o", "/dev/null", "--limit-rate", RATE]
    subprocess.run([*curl, "-o", "/dev/null", nginx.url + "/big.bin?0", nginx.url + "/big.bin?1"], check=True)
    subprocess.run([*curl, "-H", "Expect:", "-T", sent, nginx.url + "/upload"], check=True)
    lines = agent.wait_for_exchanges(3)
    agent.finish()
    assert {line["rover.outcome"] for line in lines} == {"complete"}
    sizes = [(line["http.request.body.size"], line["http.response.body.size"]) for line in lines]
    assert sizes == [(0, SIZE), (0, SIZE), (SIZE, len("taken\n"))]
    assert int(agent.wait_for(r"uploaded_bytes (\d+)")[1]) < 3 * SIZE / 2
