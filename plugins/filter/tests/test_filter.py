"""What a run's rules keep and drop, and how it is counted."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from rover import NEVER, AccessLog, Attributes, Drop, Outcome, Role, Settings, Shape, UsageError
from rover.testing import access_logs, connection
from rover_plugin_filter import FilterPlugin
from rover_plugin_filter.sampling import RANGE, threshold_of

FACTS = connection(Role.SERVER)


def plugin_with(given: dict[str, Any]) -> FilterPlugin:
    """`given`: settings as a file has them; a table for `drop` and for `sample`."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        below = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"plugin.filter.{name}{'.' if key else ''}{key}": each for key, each in below}
    plugin = FilterPlugin()
    declared = {f"plugin.filter.{setting.name}": setting for setting in plugin.register_settings()}
    plugin.startup(Settings(declared, flat))
    return plugin


def log_of(status: int = 200, path: str = "/", *, number: int = 1, **attributes: Any) -> AccessLog:
    said = {"http.response.status_code": status, "url.path": path} | attributes
    facts = FACTS.replace(id=number)
    return AccessLog(
        connection=facts, start=0, end=5_000_000, protocol="http", version="1.1", attributes=said
    )


def fate(plugin: FilterPlugin, log: AccessLog) -> str:
    """ "kept", or the rule by which it is dropped."""
    made = plugin.handle_access_log(log)
    assert made is not NEVER
    return made.rule if type(made) is Drop else "kept"


def test_without_rules_it_is_not_asked_again() -> None:
    for given in ({}, {"keep": " "}, {"drop": {}}):
        assert plugin_with(given).handle_access_log(log_of()) is NEVER


def test_keep_drops_all_else() -> None:
    plugin = plugin_with({"keep": "status >= 500 or path.startswith('/api')"})
    assert [fate(plugin, log) for log in (log_of(500), log_of(path="/api/x"), log_of())] == [
        "kept",
        "kept",
        "keep",
    ]
    assert plugin.handle_access_log(log_of(500)) is None


def test_drops_come_first_and_have_names() -> None:
    plugin = plugin_with(
        {
            "keep": "status == 200",
            "drop": {"health": "path in ('/healthz', '/ready')", "quick": "duration < 1ms"},
        }
    )
    fates = [
        fate(plugin, log) for log in (log_of(path="/healthz"), log_of(404, "/ready"), log_of(404), log_of())
    ]
    assert fates == ["health", "health", "keep", "kept"]
    assert fate(plugin, log_of().replace(end=10)) == "quick"


def test_logs_without_an_exchange_are_asked_the_same() -> None:
    """What a condition asks for, they do not have."""
    broken = [log for log in access_logs() if log.outcome is Outcome.BREAK]
    assert {fate(plugin_with({"keep": "status >= 500"}), log) for log in broken} == {"keep"}
    assert {fate(plugin_with({"keep": "rover.outcome == 'break'"}), log) for log in broken} == {"kept"}
    assert {fate(plugin_with({"drop": {"x": "status < 500"}}), log) for log in broken} == {"kept"}


# -- sampling ---------------------------------------------------------------------------------


def shares(plugin: FilterPlugin, logs: list[AccessLog]) -> Counter[str]:
    return Counter(fate(plugin, log) for log in logs)


@pytest.mark.parametrize("ids", [range(20_000), [random.Random(n).getrandbits(64) for n in range(20_000)]])
def test_one_in_ten_connections_is_kept_whole(ids: Any) -> None:
    """Ids of captures count up, those of the kernel are random."""
    plugin = plugin_with({"sample": {"status < 400": "10 %"}})
    logs = [log_of(number=number) for number in ids]
    found = shares(plugin, logs)
    assert set(found) == {"kept", "sample 10%"}
    assert 1800 < found["kept"] < 2200
    for log in logs[:500]:
        again = [log.replace(attributes={**log.attributes, "url.path": f"/{n}"}) for n in range(3)]
        assert len(shares(plugin, [log, *again])) == 1


def test_a_trace_is_kept_whole_whatever_its_connections() -> None:
    plugin = plugin_with({"sample": {"true": "25%"}})
    ids = [f"{random.Random(n).getrandbits(128):032x}" for n in range(4000)]
    logs = [log_of(number=n, trace_id=trace) for n, trace in enumerate(ids)]
    found = shares(plugin, logs)
    assert 900 < found["kept"] < 1100
    for trace in ids[:200]:
        assert len(shares(plugin, [log_of(number=n, trace_id=trace) for n in range(5)])) == 1


def test_a_larger_share_keeps_what_a_smaller_one_does() -> None:
    """So that hosts with different shares agree on the traces that are whole."""
    small, large = (plugin_with({"sample": {"true": share}}) for share in ("5 %", "50 %"))
    logs = [log_of(number=n) for n in range(1000)]
    assert all(fate(large, log) == "kept" for log in logs if fate(small, log) == "kept")


def test_a_log_that_stands_for_others_says_so() -> None:
    plugin = plugin_with({"sample": {"status < 400": "99.5 %"}})
    made = plugin.handle_access_log(log_of(number=1))
    assert type(made) is AccessLog
    assert made == log_of(number=1, **{"rover.sample": "99.5%"})
    shape = Shape(["http.response.status_code"])
    made = plugin.handle_access_log(log_of(number=1).replace(attributes=Attributes(shape, (200,))))
    assert type(made) is AccessLog
    assert made.attributes == {"http.response.status_code": 200, "rover.sample": "99.5%"}
    assert plugin.handle_access_log(log_of(500)) is None


def test_the_first_that_is_true_decides() -> None:
    plugin = plugin_with({"sample": {"path == '/pay'": "100 %", "status < 400": "0 %", "status < 500": "0%"}})
    assert plugin.handle_access_log(log_of(path="/pay")) is None
    assert shares(plugin, [log_of(number=n) for n in range(50)]) == {"sample 0%": 50}
    assert fate(plugin, log_of(404)) == "sample 0%"
    assert fate(plugin, log_of(500)) == "kept"


def test_whatever_an_id_is() -> None:
    plugin = plugin_with({"sample": {"true": "50%"}})
    for log in (
        log_of(number=0),
        log_of(number=(1 << 64) - 1),
        log_of(trace_id=""),
        log_of(trace_id=7),
        log_of(trace_id="\ud800"),
    ):
        assert fate(plugin, log) in ("kept", "sample 50%")
    for log in access_logs():
        assert fate(plugin, log) in ("kept", "sample 50%")


@pytest.mark.parametrize(
    ("share", "threshold"),
    [("1 %", round(RANGE / 100)), ("0%", 0), ("100 %", RANGE), (" 50.0% ", RANGE // 2)],
)
def test_a_share(share: str, threshold: int) -> None:
    assert threshold_of(share) == threshold


@pytest.mark.parametrize(
    "share", ["", "1", "-1 %", "101 %", "1 %%", "\u0661 %", "nan%", "1e1%", "1" * 1000 + "%"]
)
def test_what_is_no_share(share: str) -> None:
    with pytest.raises(UsageError, match="is no share, such as 1 %"):
        threshold_of(share)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": "status => 5"}, "plugin.filter.keep: column 8, at '=> 5': write >="),
        ({"drop": {"x": ""}}, "plugin.filter.drop.x: the expression is empty"),
        (
            {"sample": {"a ==": "1 %"}},
            "plugin.filter.sample, 'a ==': column 5: something is missing after this",
        ),
        ({"sample": {"a": "1"}}, "plugin.filter.sample, 'a': '1' is no share, such as 1 %"),
    ],
)
def test_a_rule_that_is_none_refuses_the_run(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plugin_with(given)
    assert str(caught.value) == message
