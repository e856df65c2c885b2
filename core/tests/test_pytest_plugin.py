"""The fixtures that rover brings to every project of its environment, in a pytest of their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.fixture
def run_tests(tmp_path: Path):
    """Runs tests in a project of their own; returns what pytest says."""

    def run(source: str, *options: str) -> str:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
        command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options]
        done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True)
        return done.stdout + done.stderr

    return run


def test_nothing_of_rover_is_imported_where_it_is_not_used(run_tests):
    said = run_tests(
        """
        import sys

        def test_nothing_is():
            heavy = ("rover", "typer", "hypothesis")
            found = {name for name in sys.modules if name.partition(".")[0] in heavy}
            assert found <= {"rover", "rover.abi", "rover._abi", "rover.pytest_plugin"}
        """,
        "-p",
        "no:hypothesispytest",
    )
    assert "1 passed" in said, said


def test_its_fixtures_are_listed_with_what_they_are_for(run_tests):
    said = run_tests("", "--fixtures")
    for name in ("rover_watched", "rover_play", "rover_converse", "rover_logs"):
        assert f"\n{name} -- " in said, said
    assert "no docstring available" not in said.partition("rover.pytest_plugin")[2]


PROTOCOL = """
from rover import *

class Echo:
    def __init__(self, connection, settings, upgrade):
        self.role, self.asked = None, 0
    def decode(self, direction, buffer, now):
        if not len(buffer):
            return NEED_MORE
        data, start = bytes(buffer.data[buffer.offset:buffer.offset + 1]), buffer.since
        if data.isupper():
            self.role = Role.SERVER if direction is Direction.INGRESS else Role.CLIENT
            buffer.consume(1, self.asked)
            return self.decode(direction, buffer, now)
        buffer.consume(1, self.asked)
        self.asked += 1
        said = {"echo": data.decode()}
        return Exchange(owner=self.asked - 1, start=start, end=now, name="echo", attributes=said)
    def expire(self, now):
        return ()
    close = expire

def sniff(data):
    return Verdict.YES if data[:1].isalpha() else Verdict.NO

SPEC = ProtocolSpec(name="echo", sniff=sniff, make=Echo)
TALK = [(Role.CLIENT, b"A"), (Role.SERVER, b"a"), (Role.CLIENT, b"B"), (Role.SERVER, b"b")]
"""


def test_a_conversation_is_played_at_both_ends(run_tests):
    said = run_tests(
        PROTOCOL
        + """
def test_it(rover_converse, rover_watched):
    play = rover_converse(SPEC, TALK)
    assert [log.attributes["echo"] for log in play.logs] == ["a", "b"]
    assert {log.connection.role for log in play.logs} == {rover_watched}
    assert rover_converse(SPEC, TALK, lost=[0, 1]).calls[0].sequence == 2
"""
    )
    assert "2 passed" in said, said


def test_what_is_played_is_closed_and_checked_when_the_test_is_over(run_tests):
    said = run_tests(
        PROTOCOL
        + """
plays = []

def test_it(rover_play):
    play = rover_play(SPEC)
    play.send(Direction.INGRESS, b"A")
    plays.append(play)

def test_after():
    assert plays[0].closed and plays[0].waiting == 0

def test_a_call_twice(rover_play):
    rover_play(SPEC).calls.append(plays[0].calls[0])
"""
    )
    assert "3 passed, 1 error" in said, said
    assert "LawError: each call once: 1 were made, 0 delivered" in said


def test_logs_of_every_kind_are_there_for_sinks(run_tests):
    said = run_tests(
        """
        def test_it(rover_logs):
            outcomes = {log.outcome.value for log in rover_logs}
            assert outcomes == {"complete", "aborted", "unfinished", "split", "break"}
            assert "" in {log.protocol for log in rover_logs if log.outcome.value != "break"}
        """
    )
    assert "1 passed" in said, said
