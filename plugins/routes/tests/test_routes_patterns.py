"""The user's own patterns: which paths have them, which goes first, and what is said of one that is none."""

import re
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import UsageError
from rover_plugin_routes.patterns import by_service
from rover_plugin_routes.segments import split

PATTERNS = [
    "/",
    "/users",
    "/users/me",
    "/users/{id}",
    "/users/{id}/orders/{order}",
    "/reports/{name}.pdf",
    "/reports/{name}",
    "/things/{id}:cancel",
    "/things/a-{x}-b",
    "/files/{path...}",
    "/files/{dir}/index",
    "/caf\u00e9/{}",
    "/a/{x}/c",
    "/{any}/b/d",
]


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/", "/"),
        ("/users", "/users"),
        ("/users/", "/users"),
        ("/users/me", "/users/me"),
        ("/users/7", "/users/{id}"),
        ("/users/7/orders", ""),
        ("/users/me/orders/1", "/users/{id}/orders/{order}"),
        ("/reports/may.pdf", "/reports/{name}.pdf"),
        ("/reports/.pdf", "/reports/{name}"),
        ("/things/7:cancel", "/things/{id}:cancel"),
        ("/things/7", ""),
        ("/things/a-7-b", "/things/a-{x}-b"),
        ("/things/a-b", ""),
        ("/files", "/files/{path...}"),
        ("/files/a/b/c", "/files/{path...}"),
        ("/files/a/index", "/files/{dir}/index"),
        ("/files" + "/a" * 500, "/files/{path...}"),
        ("/caf%C3%A9/1", "/caf\u00e9/{}"),
        ("/a/b/c", "/a/{x}/c"),
        ("/a/b/d", "/{any}/b/d"),
        ("/Users", ""),
    ],
)
def test_which_pattern_a_path_has(path: str, pattern: str) -> None:
    assert by_service(PATTERNS)[""].find(*split(path)) == pattern
    assert by_service(reversed(PATTERNS))[""].find(*split(path)) == pattern


def test_patterns_of_one_service() -> None:
    found = by_service(["/x", "Shop/x/{id}", "shop.example/y"])
    assert sorted(found) == ["", "shop", "shop.example"]
    assert found["shop"].find(["x", "1"], cut=False) == "/x/{id}"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("users", "write /users/{id}, or shop/users/{id} where only the service shop has it"),
        ("", "write /users/{id}, or shop/users/{id} where only the service shop has it"),
        ("/a{b", "a{b: a segment has one placeholder, as in {id}, or in {rest...} at the end"),
        ("/{a}{b}", "{a}{b}: a segment has one placeholder, as in {id}, or in {rest...} at the end"),
        ("/{a b}", "{a b}: a segment has one placeholder, as in {id}, or in {rest...} at the end"),
        ("/{a...}/b", "{a...} is the rest of the path, so nothing can follow it"),
        ("/a" * 17, "it has more than 16 segments, or 1024 characters"),
    ],
)
def test_what_is_no_pattern(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"plugin.routes.patterns: {pattern!r}: {said}")):
        by_service(["/fine", pattern])


def test_too_many() -> None:
    with pytest.raises(UsageError, match="there are more than 10000"):
        by_service(f"/a/{number}" for number in range(20_000))


parts = st.lists(st.sampled_from(["a", "b", "{x}", "a{x}", "{x}b"]), max_size=5)


@given(st.lists(parts, max_size=8), st.lists(st.sampled_from(["a", "b", "ab", "aab"]), max_size=5))
def test_a_path_has_a_pattern_that_fits_it(patterns: list[list[str]], segments: list[str]) -> None:
    """And it has none when none fits."""
    texts = ["/" + "/".join(pattern) for pattern in patterns]
    forms = {text: re.compile(re.sub(r"\\{x\\}", "[^/]+", re.escape(text))) for text in texts}
    path = "/" + "/".join(segments)
    fitting = {text for text, form in forms.items() if form.fullmatch(path)}
    found = by_service(texts)[""].find(segments, cut=False) if texts else ""
    assert found in fitting if fitting else not found


def test_hostile_paths_end() -> None:
    """Every way through the patterns fails at the last segment."""
    ways = [list(way) for way in permutations(["{x}"] * 4 + ["a"] * 4)]
    patterns = {"/" + "/".join(way) + "/end" for way in ways}
    found = by_service(patterns)[""]
    assert found.find(["a"] * 9, cut=False) == ""
    assert found.find(["a"] * 8 + ["end"], cut=False) == "/a/a/a/a/{x}/{x}/{x}/{x}/end"
    assert all(first != second for first, second in pairwise(sorted(patterns)))
