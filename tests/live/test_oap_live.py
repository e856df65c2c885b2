"""The agent into the OAP receiver: what it took is what the JSON lines say, every call once."""

import collections
import json
import re
import subprocess
import sys

import pytest

from harness import free_port, listening, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def test_the_receiver_takes_what_the_lines_say(nginx, start_agent, start_program, tmp_path):
    port = free_port()
    receiver = start_program(
        sys.executable, "-m", "rover", "oap-receiver", "--json", "--listen", f"127.0.0.1:{port}"
    )
    wait_until(lambda: listening(port), f"the receiver: {receiver.err}")
    agent = start_agent(
        *("--port", str(nginx.port), "--set", f"sink.oap.address=127.0.0.1:{port}"),
        *("--set", f"sink.oap.spool_path={tmp_path / 'spool'}", "--set", "sink.jsonl.kernel_logs=true"),
        sinks=("jsonl", "oap"),
    )
    for n in range(10):
        urls = [f"{nginx.url}/?{n}-{i}" for i in range(20)]
        subprocess.run(["curl", "-s", "-o", "/dev/null", *urls], check=True, timeout=60)
    agent.wait_for_exchanges(200, "client")
    agent.wait_for_exchanges(200, "server")
    totals = agent.finish()
    assert totals.logged == {"jsonl": 400, "oap": 400}
    assert receiver.stop() == 0, receiver.err  # 1 would say that a rule of the contract was broken
    messages = [json.loads(line) for line in receiver.out if '"stream"' in line]

    lines = agent.lines()
    expected = collections.Counter(
        (line["rover.role"], line["url.path"], line["http.response.status_code"])
        for line in lines
        if "http.request.method" in line
    )
    taken = collections.Counter(
        (
            "server" if message["connection"].get("role") == "server" else "client",
            message["protocolLog"]["http"]["request"]["path"],
            message["protocolLog"]["http"]["response"]["statusCode"],
        )
        for message in messages
        if "protocolLog" in message
    )
    assert taken == expected

    def kind(name: str) -> str:
        """What the contract calls a call."""
        known = {"connect": "connect", "accept4": "accept", "close": "close"}
        return known.get(name) or ("read" if re.match("read|recv", name) else "write")

    calls = collections.Counter(
        kind(call["name"])
        for line in lines
        for call in line.get("rover.syscalls", ())
        if call["name"] != "shutdown"
    )
    logs = collections.Counter(
        next(iter(log)) for message in messages for log in message.get("kernelLogs", ())
    )
    assert logs == calls
