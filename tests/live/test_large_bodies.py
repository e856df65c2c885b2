"""Of a large body the kernel copies what came before the agent knew its length, and no more."""

import subprocess
import time

import pytest

pytestmark = pytest.mark.live

SIZE = 5_000_000
RATE = 2_500_000
"""Bytes per second: two seconds for each body, where the agent takes milliseconds to say that it needs
nothing of it."""
STEP = RATE // 50


def test_large_bodies_are_counted_but_not_copied(nginx, start_agent, tmp_path):
    agent = start_agent("--port", str(nginx.port), "--comm", "curl")
    sent = tmp_path / "sent"
    sent.write_bytes(b"x" * SIZE)
    received = read_slowly(["curl", "-sN", nginx.url + "/big.bin?0", nginx.url + "/big.bin?1"])
    assert received == 2 * SIZE
    upload = ["curl", "-s", "-o", "/dev/null", "--limit-rate", str(RATE), "-H", "Expect:"]
    subprocess.run([*upload, "-T", sent, nginx.url + "/upload"], check=True)
    lines = agent.wait_for_exchanges(3)
    agent.finish()
    assert {line["rover.outcome"] for line in lines} == {"complete"}
    sizes = [(line["http.request.body.size"], line["http.response.body.size"]) for line in lines]
    assert sizes == [(0, SIZE), (0, SIZE), (SIZE, len("taken\n"))]
    assert int(agent.wait_for(r"uploaded_bytes (\d+)")[1]) < 3 * SIZE / 2


def read_slowly(curl: list[str]) -> int:
    """The bytes that curl received, at the pace at which its pipe is read: its own limit lets a download that
    is there at once pass as a whole."""
    received = 0
    with subprocess.Popen(curl, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        while taken := child.stdout.read(STEP):
            received += len(taken)
            time.sleep(STEP / RATE)
    assert child.returncode == 0
    return received
