"""What is dropped, what is masked, and what stays as it is."""

import pytest

import rover_plugin_example as example
from rover import DROP, Setting
from rover.testing import access_logs


@pytest.fixture(autouse=True)
def settings():
    """As rover hands them over at its start."""
    given = {f"plugin.example.{setting.name}": setting.default for setting in example.register_settings()}
    example.startup(given)
    return given


def log(target):
    path, _, query = target.partition("?")
    return access_logs()[0].replace(
        attributes={"url.original": target, "url.path": path, **({"url.query": query} if query else {})}
    )


@pytest.mark.parametrize("target", ["/healthz", "/healthz?from=probe"])
def test_health_checks_are_dropped(target):
    assert example.handle_access_log(log(target)) is DROP


def test_query_strings_are_masked():
    masked = example.handle_access_log(log("/orders?key=secret"))
    assert masked.attributes == {"url.original": "/orders", "url.path": "/orders"}
    assert masked.details == log("/orders?key=secret").details


@pytest.mark.parametrize("each", [log("/orders"), *access_logs()])
def test_all_else_stays_as_it_is(each):
    assert example.handle_access_log(each) is None


def test_paths_are_a_setting(settings):
    example.startup({**settings, "plugin.example.paths": ["/ready"]})
    assert example.handle_access_log(log("/ready")) is DROP
    assert example.handle_access_log(log("/healthz")) is None


def test_settings_are_as_rover_wants_them():
    assert all(type(setting) is Setting for setting in example.register_settings())
