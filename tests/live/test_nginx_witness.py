"""nginx's own access log is the witness: the same exchanges, none twice, none missing, none lost."""

import collections
import signal
import subprocess
import time

import pytest

from harness import ask_every_kind, counted, curl

pytestmark = pytest.mark.live


CONTINUE = len(b"HTTP/1.1 100 Continue\r\n\r\n")
"""nginx counts what it sent beyond the final head as body, so also the interim response."""


def witnessed(nginx) -> collections.Counter:
    return collections.Counter(
        (e["method"], e["target"], int(e["status"]), int(e["body"]) - CONTINUE * (e["expect"] != "-"))
        for e in nginx.entries()
    )


def compare(agent, nginx) -> list[dict]:
    """The server end's exchanges, found equal to nginx's log once nginx has ended and written all of it."""
    nginx.program.stop(signal.SIGQUIT)
    expected = witnessed(nginx)
    served = agent.wait_for_exchanges(expected.total(), "server")
    assert counted(served) == expected
    return served


@pytest.fixture
def watched(nginx, start_agent):
    """An agent that watches nginx alone."""
    return start_agent("--pid", str(nginx.program.pid), "--port", str(nginx.port))


def test_every_kind_of_exchange(nginx, watched, tmp_path):
    ask_every_kind(nginx, tmp_path)
    served = compare(watched, nginx)
    assert {line["http.response.status_code"] for line in served} >= {200, 204, 206, 301, 304, 404}

    sizes = collections.Counter(
        (e["method"], e["target"], int(e["request_length"])) for e in nginx.entries() if e["method"] != "POST"
    )
    assert sizes == collections.Counter(
        (
            line["http.request.method"],
            line["url.original"],
            line["http.request.header.size"] + line["http.request.body.size"],
        )
        for line in served
        if line["http.request.method"] != "POST"
    )
    posted = sorted(
        line["http.request.body.size"] for line in served if line["http.request.method"] == "POST"
    )
    assert posted == [10, 70_000, 70_000]
    totals = watched.finish()
    assert totals.records_lost == 0
    assert totals.breaks == {}


def test_thousands_of_requests(nginx, watched, tmp_path):
    """Keep-alive and fresh connections, curl and wrk, at the speed they come."""
    urls = tmp_path / "urls"
    urls.write_text("".join(f'url = "{nginx.url}/?kept={n}"\noutput = /dev/null\n' for n in range(700)))
    curl("-K", str(urls))
    for n in range(0, 300, 10):
        curl(*(f"{nginx.url}/?fresh={n + i}" for i in range(10)), "-H", "Connection: close")
    script = tmp_path / "thousand.lua"
    script.write_text(
        "local n = 0\n"
        "request = function() n = n + 1; return wrk.format('GET', '/?wrk=' .. n) end\n"
        "local seen = 0\n"
        "response = function() seen = seen + 1; if seen == 1000 then wrk.thread:stop() end end\n"
    )
    subprocess.run(
        ["wrk", "-t1", "-c8", "-d20s", "-s", str(script), nginx.url],
        check=True,
        capture_output=True,
        timeout=60,
    )
    served = compare(watched, nginx)
    assert len(served) >= 2000
    totals = watched.finish()
    assert totals.records_lost == 0
    assert totals.seen == len(served)


def test_both_ends_of_loopback_are_seen(nginx, start_agent):
    agent = start_agent("--port", str(nginx.port))
    curl(nginx.url + "/")
    client, server = sorted(agent.wait_for_exchanges(2), key=lambda line: line["rover.role"])
    assert [client["rover.role"], server["rover.role"]] == ["client", "server"]
    assert client["process.executable.name"] == "curl"
    assert server["process.executable.name"] == "nginx"
    for key in ("client.address", "client.port", "server.address", "server.port", "url.original"):
        assert client[key] == server[key]
    assert client["duration_ns"] > 0
    assert [call["name"] for call in server["rover.syscalls"]]
    assert agent.finish().records_lost == 0


def test_ipv6(nginx, watched):
    curl(f"http://[::1]:{nginx.port}/")
    (line,) = watched.wait_for_exchanges(1)
    assert (line["client.address"], line["server.address"]) == ("::1", "::1")


def test_a_line_comes_within_a_second(nginx, start_agent):
    """Read from the file: the delay a user sees. The least of some, since other load only adds to it."""
    agent = start_agent("--port", str(nginx.port))
    delays = []
    for count in range(1, 6):
        curl(nginx.url + "/")
        done = time.monotonic()
        agent.wait_for_exchanges(2 * count)
        delays.append(time.monotonic() - done)
    assert min(delays) < 1


def test_the_console_shows_both_ends(nginx, start_agent):
    agent = start_agent("--port", str(nginx.port), sinks=("console",))
    curl(nginx.url + "/?shown")
    agent.wait_for(r"server +nginx\[\d+\] .* 200 .* GET +/\?shown")
    agent.wait_for(r"client +curl\[\d+\] .* 200 .* GET +/\?shown")
    assert agent.out[0].startswith("TIME")
    agent.finish()
