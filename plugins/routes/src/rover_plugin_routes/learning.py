"""The routes of one service, learned from the paths that it answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rover_plugin_routes.shape import is_value

with contextlib.suppress(ImportError):  # not compiled
    from rover_plugin_routes._shape import is_value  # type: ignore[no-redef]

VALUE = "{}"
REST = "{...}"
"""What follows the segments that are looked at."""


class Level:
    """What is known of the next segment, after one beginning of a path."""

    __slots__ = ("branches", "ends", "is_end", "route", "value", "words")

    def __init__(self) -> None:
        self.words: dict[str, Level] = {}
        """By word; what follows the segments that are looked at is without one."""
        self.value: Level | None = None
        """What follows where the segment is a value."""
        self.is_end = False
        """Whether paths end here."""
        self.route: tuple[str, str] | None = None
        """The route of these, and its source, once it was asked for."""
        self.ends = True
        """Whether another word may be learned with which a path ends."""
        self.branches = True
        """Whether another word may be learned after which paths go on."""

    @property
    def goes_on(self) -> bool:
        """Whether there are longer paths."""
        return bool(self.words) or self.value is not None

    @property
    def is_learned(self) -> bool:
        """Whether words have become a value here."""
        return not (self.ends and self.branches)


class Learned:
    """A tree of levels. Words are learned until a level has more than `words` that end a path, or more than
    `words` after which paths go on: then those become a value, as are all others of their kind from then on.
    Pages that lie beside an interface do not hide its words so.

    When there are more than `routes` routes, the words of the level that has most become a value, until there
    are fewer. So the tree has `routes` times MAX_DEPTH levels at most.
    """

    def __init__(self, words: int, routes: int) -> None:
        self._words = words
        self._most = routes
        self._first = Level()
        self.routes = 0
        """How many there are."""
        self.levels = 1
        """Of all beginnings of them."""

    def find(self, segments: list[str], cut: bool, teaches: bool) -> tuple[str, str] | None:
        """The route of a path, and its source; None where it is not known, and is not to be learned.

        `cut`: there are more segments.
        """
        if cut:
            segments = [*segments, ""]
        level = self._first
        left = len(segments)
        for segment in segments:
            left -= 1
            following = level.words.get(segment)
            if following is None:
                # What may be learned of the level: a word, or what follows the segments that are looked at.
                if not segment or ((level.branches if left else level.ends) and not is_value(segment)):
                    if not teaches:
                        return None
                    following = self._teach(level, segment, left == 0)
                if following is None:
                    following = level.value
                    if following is None:
                        if not teaches:
                            return None
                        following = level.value = self._new_level()
            level = following
        if not level.is_end:
            if not teaches:
                return None
            level.is_end = True
            self.routes += 1
            if self.routes > self._most:
                self._shrink()
                return self.find(segments[:-1] if cut else segments, cut, teaches)
        if level.route is None:
            level.route = self._route(segments)
        return level.route

    def _route(self, segments: list[str]) -> tuple[str, str]:
        """That of a path whose levels are all there."""
        level = self._first
        said = [""]
        learned = False
        for segment in segments:
            following = level.words.get(segment)
            if following is not None:
                said.append(segment or REST)
            else:
                following = level.value
                assert following is not None  # noqa: S101
                said.append(VALUE)
                learned = learned or level.is_learned
            level = following
        return "/".join(said) or "/", "learned" if learned else "shape"

    def _new_level(self) -> Level:
        self.levels += 1
        return Level()

    def _teach(self, level: Level, word: str, is_end: bool) -> Level | None:
        """Adds the word. None where it makes too many: then it is a value, with all others of its kind."""
        if not word or sum(each.goes_on != is_end for each in level.words.values()) < self._words:
            following = level.words[word] = self._new_level()
            return following
        self._close(level, is_end, not is_end)
        self._settle()
        return None

    def _close(self, level: Level, ends: bool, branches: bool) -> None:
        """Makes a value of all words of the level that are of these kinds."""
        level.ends = level.ends and not ends
        level.branches = level.branches and not branches
        if level.value is None:
            level.value = Level()
        for word in [word for word in level.words if word]:
            if branches if level.words[word].goes_on else ends:
                self._merge(level.value, level.words.pop(word))

    def _merge(self, level: Level, other: Level) -> None:
        """Adds what is known of another level, which is not used any more."""
        level.is_end |= other.is_end
        for word, following in other.words.items():
            if word in level.words:
                self._merge(level.words[word], following)
            else:
                level.words[word] = following
        if other.value is not None:
            if level.value is None:
                level.value = Level()
            self._merge(level.value, other.value)
        ends = not (level.ends and other.ends) or self._too_many(level, goes_on=False)
        branches = not (level.branches and other.branches) or self._too_many(level, goes_on=True)
        if ends or branches:
            self._close(level, ends, branches)

    def _too_many(self, level: Level, goes_on: bool) -> bool:
        return sum(each.goes_on == goes_on for each in level.words.values()) > self._words

    def _shrink(self) -> None:
        """Makes values of words, those first of which there are most in a level, until there are few enough
        routes. It ends: without words there is one route for each depth.

        An eighth of them goes at once, so that paths that are made up to this end do not make it each time.
        """
        while self.routes > self._most - self._most // 8:
            levels = [level for level in self._all() if level.words.keys() - {""}]
            if not levels:
                return
            self._close(max(levels, key=lambda level: len(level.words)), True, True)
            self._settle()

    def _settle(self) -> None:
        """Counts the routes, after words became values."""
        self.routes = self.levels = 0
        for level in self._all():
            level.route = None
            self.levels += 1
            self.routes += level.is_end

    def _all(self) -> Iterator[Level]:
        left = [self._first]
        while left:
            level = left.pop()
            yield level
            left.extend(level.words.values())
            if level.value is not None:
                left.append(level.value)
