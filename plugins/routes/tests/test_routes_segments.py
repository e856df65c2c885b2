"""A path in segments."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_plugin_routes.segments import MAX_DEPTH, MAX_PATH, split
from rover_plugin_routes.shape import MAX_WORD, is_value


@pytest.mark.parametrize(
    ("path", "segments", "cut"),
    [
        ("/", [], False),
        ("//", [], False),
        ("/users/", ["users"], False),
        ("/users//7", ["users", "7"], False),
        ("users/7", ["users", "7"], False),
        ("/cart;jsessionid=A1/items;x=1;y=2", ["cart", "items"], False),
        ("/;x/a", [";", "a"], False),
        ("/caf%C3%A9/%75sers", ["caf\u00e9", "users"], False),
        ("/a%2Fb/c", ["a/b", "c"], False),
        ("/%", ["%"], False),
        ("/%FF", ["\ufffd"], False),
        ("/a" * MAX_DEPTH, ["a"] * MAX_DEPTH, False),
        ("/a" * (MAX_DEPTH + 1), ["a"] * MAX_DEPTH, True),
        ("/" + "a" * MAX_PATH, [], True),
        ("/a/" + "b" * MAX_PATH + "/c", ["a"], True),
        ("/" * 100_000 + "a", [], True),
    ],
)
def test_a_path_in_segments(path: str, segments: list[str], cut: bool) -> None:
    assert split(path) == (segments, cut)


@given(st.text(max_size=2000))
def test_segments_are_few_and_words_are_plain(path: str) -> None:
    segments, _ = split(path)
    assert len(segments) <= MAX_DEPTH
    assert sum(map(len, segments)) <= MAX_PATH
    for segment in segments:
        assert segment
        if not is_value(segment):
            assert quote(segment, safe="~$:") == segment
            assert len(segment) <= MAX_WORD
