"""Reports add up, and travel between processes unchanged."""

from __future__ import annotations

import dataclasses
import os
import select
import time
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from rover.contracts.lock import locks
from rover.pipeline.totals import by_cause
from rover.run.report import PluginFailure, Report, SinkReport

NAMES = st.sampled_from(["a", "b", "c"])
FIGURES = st.dictionaries(NAMES, st.integers(0, 1 << 60), max_size=3)
SINKS = st.lists(
    st.builds(SinkReport, NAMES, st.integers(0, 9), FIGURES, FIGURES), unique_by=lambda s: s.name
)
FAILURES = st.lists(
    st.builds(PluginFailure, NAMES, NAMES, st.text(), st.integers(1, 9)),
    unique_by=lambda f: (f.plugin, f.kind),
)
COUNT = st.integers(0, 1 << 60)
REPORTS = st.builds(
    Report, COUNT, COUNT, COUNT, COUNT, FIGURES, FIGURES, FIGURES, SINKS, FAILURES, FIGURES, dropped=FIGURES
)


@given(REPORTS)
@settings(max_examples=100)
def test_there_and_back(report: Report) -> None:
    assert Report.from_json(report.to_json()) == report
    assert "\n" not in report.to_json()


@given(REPORTS)
@settings(max_examples=50)
def test_nothing_adds_nothing(report: Report) -> None:
    assert report + Report() == report
    assert Report() + report == report


@given(REPORTS, REPORTS, REPORTS)
@settings(max_examples=50)
def test_the_order_of_adding_does_not_matter(one: Report, two: Report, three: Report) -> None:
    assert (one + two) + three == one + (two + three)
    assert (one + two).exchanges == one.exchanges + two.exchanges
    for cause in ("a", "b", "c"):
        assert (one + two).records_lost.get(cause, 0) == (
            one.records_lost.get(cause, 0) + two.records_lost.get(cause, 0)
        )
        logged = [sum(s.logged for s in report.sinks if s.name == cause) for report in (one, two, one + two)]
        assert logged[2] == logged[0] + logged[1]


def test_the_totals_in_words() -> None:
    report = Report(
        exchanges=5,
        unhandled=1,
        connections=2,
        calls=9,
        breaks={"gap": 1, "hpack": 2},
        source={"records": 9, "malformed": 0},
        sinks=[SinkReport("console", 4), SinkReport("jsonl", 1, {"queue_full": 3}, {"files": 1})],
        failures=[PluginFailure("late", "shutdown: OSError", "why", 2)],
        noted={"connections evicted": 3, "connections returned": 0, "records missing": 4},
    )
    assert report.lines() == [
        "source: records 9",
        "jsonl: files 1",
        "seen 5 exchanges; 2 connections, 9 calls",
        "console logged 4, lost 1 (unhandled 1)",
        "jsonl logged 1, lost 4 (queue_full 3, unhandled 1)",
        "0 records lost",
        "breaks: hpack 2, gap 1",
        "3 connections evicted",
        "4 records missing",
        "plugin late failed 2 times: shutdown: OSError: why",
    ]


@given(REPORTS)
@settings(max_examples=50)
def test_every_line_of_the_totals_fits_80_columns(report: Report) -> None:
    names = {f"a_rather_long_cause_{n}": n for n in range(1, 20)}
    full = dataclasses.replace(report, breaks=names, source=names, records_lost=names)
    for line in [*full.totals(), *full.counters()]:
        assert len(f"rover: {line}") <= 80
    joined = " ".join(line.strip() for line in full.totals())
    assert f"breaks: {by_cause(Counter(names))}" in joined


def test_in_the_middle_of_a_run_what_no_sink_has_is_lost() -> None:
    report = Report(9, 1, sinks=[SinkReport("slow", 4, {"queue_full": 1}), SinkReport("quick", 8)])
    assert report.with_rest_lost("died").sinks == [
        SinkReport("slow", 4, {"queue_full": 1, "died": 3}),
        SinkReport("quick", 8),
    ]


def test_what_plugins_dropped_is_not_lost() -> None:
    report = Report(9, 1, sinks=[SinkReport("slow", 2, {"queue_full": 1})], dropped={"quiet": 2, "a": 1})
    assert report.totals()[:3] == [
        "seen 9 exchanges; 0 connections, 0 calls",
        "3 exchanges dropped (quiet 2, a 1)",
        "slow logged 2, lost 2 (queue_full 1, unhandled 1)",
    ]
    assert report.with_rest_lost("died").sinks == [SinkReport("slow", 2, {"queue_full": 1, "died": 2})]


def test_a_lock_is_held_by_one_process_and_dies_with_it() -> None:
    first, second = locks(2)
    held, hold = os.pipe()
    end, ended = os.pipe()
    child = os.fork()
    if child == 0:
        first.acquire()
        first.acquire()  # held already
        os.write(hold, b"1")
        os.close(ended)
        os.read(end, 1)
        time.sleep(0.1)  # for whoever does not wait: the test does not depend on it otherwise
        os.write(hold, b"2")
        os._exit(0)  # without letting go
    assert os.read(held, 1) == b"1"
    second.acquire()  # another one
    os.close(ended)
    first.acquire()  # waits for the child's end, so that this is there already:
    assert select.select([held], [], [], 0)[0]
    assert os.read(held, 1) == b"2"
    os.waitpid(child, 0)
    for descriptor in (held, hold, end):
        os.close(descriptor)
