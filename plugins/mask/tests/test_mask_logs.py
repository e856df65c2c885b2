"""Which attributes of a log are masked, in either form of attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rover import NEVER, AccessLog, Attributes, Role, Settings, Shape, UsageError
from rover.testing import access_logs, connection
from rover_plugin_mask import MaskPlugin

FORMS: list[Callable[[dict[str, Any]], Any]] = [
    dict,
    lambda pairs: Attributes(Shape([*pairs]), tuple(pairs.values())),
]


def plugin_with(**given: Any) -> MaskPlugin:
    plugin = MaskPlugin()
    declared = {f"plugin.mask.{setting.name}": setting for setting in plugin.register_settings()}
    plugin.startup(Settings(declared, {f"plugin.mask.{name}": value for name, value in given.items()}))
    return plugin


def log_of(attributes: Any) -> AccessLog:
    facts = connection(Role.SERVER)
    return AccessLog(connection=facts, start=0, end=1, protocol="http", version="1.1", attributes=attributes)


def masked(plugin: MaskPlugin, attributes: Any) -> dict[str, Any]:
    log = log_of(attributes)
    made = plugin.handle_access_log(log)
    assert made is not NEVER
    return dict((made or log).attributes.items())  # type: ignore[union-attr]


SENT = {
    "http.request.method": "GET",
    "url.original": "/reset/abc?token=x&page=2",
    "url.path": "/reset/abc",
    "url.query": "token=x&page=2",
    "http.route": "/reset/abc",
    "url.template": "/reset/abc",
    "url.full": "http://u:p@h/?sig=1",
    "http.request.header.host": ("h",),
    "http.request.header.size": 100,
    "http.request.header.authorization": ("Bearer x",),
    "http.request.header.cookie": ("a=b; c=d",),
    "http.request.header.referer": ("http://h/?token=x",),
    "http.request.header.x-tag": ("a", "b"),
    "http.response.header.set-cookie": ("a=b", "c=d"),
    "http.response.header.location": ("/welcome?code=1",),
    "http.response.header.size": 90,
    "redis.key": "session:7",
    "trace_id": "0" * 31 + "1",
    "custom": "token=x",
}
BY_DEFAULT = SENT | {
    "url.original": "/reset/abc?token=REDACTED&page=2",
    "url.query": "token=REDACTED&page=2",
    "url.full": "http://REDACTED:REDACTED@h/?sig=REDACTED",
    "http.request.header.authorization": ("REDACTED",),
    "http.request.header.cookie": ("REDACTED",),
    "http.request.header.referer": ("http://h/?token=REDACTED",),
    "http.response.header.set-cookie": ("REDACTED", "REDACTED"),
    "http.response.header.location": ("/welcome?code=REDACTED",),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_masked_by_default(form: Any) -> None:
    assert masked(plugin_with(), form(SENT)) == BY_DEFAULT


@pytest.mark.parametrize("form", FORMS)
def test_what_the_user_adds(form: Any) -> None:
    plugin = plugin_with(
        paths=["/reset/{token}"],
        attributes=["redis.key", "custom", "http.request.header.size"],
        names=["x-t*"],
        shown=["code"],
    )
    assert masked(plugin, form(SENT)) == BY_DEFAULT | {
        "url.original": "/reset/REDACTED?token=REDACTED&page=2",
        "url.path": "/reset/REDACTED",
        "http.route": "/reset/REDACTED",
        "url.template": "/reset/REDACTED",
        "http.request.header.x-tag": ("REDACTED", "REDACTED"),
        "http.request.header.size": "REDACTED",
        "http.response.header.location": ("/welcome?code=1",),
        "redis.key": "REDACTED",
        "custom": "REDACTED",
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_log_without_secrets_stays_the_same_object(form: Any) -> None:
    plugin = plugin_with()
    plain = {"url.original": "/a?page=1", "url.path": "/a", "url.query": "page=1", "n": 1, "b": True}
    for attributes in ({}, plain):
        assert plugin.handle_access_log(log_of(form(attributes))) is None
    for log in access_logs():
        assert plugin.handle_access_log(log) is None


def test_a_log_keeps_its_form_and_all_else() -> None:
    """So that sinks write it as fast as others."""
    shape = Shape(["url.query", "absent"])
    log = log_of(Attributes(shape, ("token=x", None)))
    made = plugin_with().handle_access_log(log)
    assert type(made) is AccessLog
    assert type(made.attributes) is Attributes  # type: ignore[comparison-overlap]
    assert made.attributes.shape is shape
    assert made.replace(attributes=log.attributes) == log


def test_more_shapes_and_names_than_are_remembered() -> None:
    plugin = plugin_with()
    for number in range(3000):
        pairs = {f"a{number}": "x", "url.query": "token=x"}
        form = FORMS[number % 2]
        assert masked(plugin, form(pairs)) == {f"a{number}": "x", "url.query": "token=REDACTED"}


def test_switched_off_it_is_not_asked_again() -> None:
    assert plugin_with(enabled=False).handle_access_log(log_of(SENT)) is NEVER


def test_a_rule_that_is_none_refuses_the_run() -> None:
    with pytest.raises(UsageError, match=r"^plugin\.mask\.paths = '/x': no segment is in braces"):
        plugin_with(paths=["/x"])
