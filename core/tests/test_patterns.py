"""Names made by the user's patterns of what is known."""

from __future__ import annotations

import pytest

from rover import Patterns, UsageError


def test_the_first_pattern_of_which_all_is_known() -> None:
    patterns = Patterns("x", ["{a}-{b}", "{a}", "fixed"], ("a", "b"))
    assert patterns.name({"a": "1", "b": "2"}) == "1-2"
    assert patterns.name({"a": "1", "b": ""}) == "1"
    assert patterns.name({}) == "fixed"


def test_none_where_too_little_is_known() -> None:
    assert Patterns("x", ["{a}{b}"], ("a", "b")).name({"a": "1"}) == ""


def test_what_is_known_is_no_pattern() -> None:
    """It comes from other programs."""
    assert Patterns("x", ["<{a}>"], ("a",)).name({"a": "{a}{b!r}"}) == "<{a}{b!r}>"


@pytest.mark.parametrize("pattern", ["{b}", "{a!r}", "{a:>9}", "{", "{}", "{a.real}", "{a[0]}", "{0}", "}"])
def test_a_pattern_that_cannot_work_is_refused_by_its_setting(pattern: str) -> None:
    with pytest.raises(UsageError, match=r"^some\.setting "):
        Patterns("some.setting", ["{a}", pattern], ("a",))


def test_no_pattern_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^some\.setting is empty"):
        Patterns("some.setting", [], ("a",))
