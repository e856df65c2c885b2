"""Filters and masks of a live run, in one process and in several."""

import sys

import pytest

from harness import curl

pytestmark = pytest.mark.live

SECRET = "s3cr3t"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_kept_is_masked_and_what_is_dropped_is_counted(nginx, start_agent, tmp_path, workers):
    configuration = tmp_path / "rover.toml"
    configuration.write_text("""
        [headers]
        request = ["authorization"]
        response = ["server"]
        [plugin.filter.drop]
        health = 'path == "/nothing"'
        """)
    agent = start_agent(
        *("--port", str(nginx.port), "--workers", workers, "--config", str(configuration)),
        *("--filter", "rover.role == 'server' and status < 400 and process.startswith('ngin')"),
    )
    for _ in range(4):  # a connection each, so that every worker has some
        curl("-H", f"Authorization: Bearer {SECRET}", f"{nginx.url}/?token={SECRET}&page=1")
        curl(f"{nginx.url}/nothing", f"{nginx.url}/nowhere")
    agent.wait_for_exchanges(4)
    totals = agent.finish()
    lines = agent.exchanges()
    assert {line["url.original"] for line in lines} == {"/?token=REDACTED&page=1"}
    assert {tuple(line["http.request.header.authorization"]) for line in lines} == {("REDACTED",)}
    assert all(line["http.response.header.server"][0].startswith("nginx") for line in lines)
    assert SECRET not in agent.path.read_text()
    # Of both ends: those of health checks are dropped first.
    assert (totals.seen, totals.logged) == (24, {"jsonl": 4})
    assert totals.dropped == {"filter health": 8, "filter keep": 12}


def test_an_expression_that_is_none_refuses_the_run(nginx, start_program):
    program = start_program(sys.executable, "-m", "rover", "run", "--filter", "status => 500")
    assert program.join() == 2
    assert program.err == ["rover: plugin.filter.keep: column 8, at '=> 500': write >="]
