"""A program that talks on selected ports and on others: every call on the selected ones is seen."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness import free_port

pytestmark = pytest.mark.live

PEERS = Path(__file__).parent / "peers"
ROUNDS = 200


def test_a_thread_that_had_a_connection_on_another_port_is_seen_on_this_one(nginx, start_agent):
    """Also where the kernel gives the new socket the place in memory that the other one had."""
    agent = start_agent("--port", str(nginx.port))
    command = [sys.executable, PEERS / "mixed_ports.py", str(free_port()), str(nginx.port), str(ROUNDS)]
    subprocess.run(command, check=True, timeout=60)
    asked = [line["url.path"] for line in agent.wait_for_exchanges(ROUNDS, "client")]
    assert asked == [f"/{number}" for number in range(ROUNDS)]
    agent.finish()
