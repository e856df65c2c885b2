"""Which attributes of an access log may hold a secret, and the log without it."""

from __future__ import annotations

from collections.abc import Callable

from rover.values.access_log import AccessLog
from rover.values.attributes import Attributes, AttributeValue, Cell, Shape, attributes_of
from rover_plugin_mask.names import Names
from rover_plugin_mask.paths import MASK
from rover_plugin_mask.texts import Texts

Mask = Callable[[str], str]
"""Of a text the same without secrets."""

TARGETS = frozenset(("url.original", "url.full"))
QUERIES = frozenset(("url.query", "url.fragment"))
PATHS = frozenset(("url.path", "http.route"))
HEADERS = ("http.request.header.", "http.response.header.")
NO_FIELDS = frozenset(f"{HEADERS[0]}{name}" for name in ("size", "host")) | {f"{HEADERS[1]}size"}
"""Figures, and a name that tells no secret."""

REMEMBERED = 1024
"""Names and shapes of attributes that are remembered: plugins have a few dozen."""


def _whole(_text: str) -> str:
    return MASK


class Masking:
    """Masks one log after the other."""

    def __init__(self, names: Names, texts: Texts, attributes: frozenset[str] = frozenset()) -> None:
        """`attributes`: names of those that are masked whatever they hold."""
        self._names = names
        self._texts = texts
        self._attributes = attributes
        self._masks: dict[str, Mask | None] = {}
        self._places: dict[Shape, tuple[tuple[int, Mask], ...]] = {}

    def masked(self, log: AccessLog) -> AccessLog | None:
        """The log without secrets; None where it has none."""
        attributes = log.attributes
        if type(attributes) is Attributes:  # type: ignore[comparison-overlap]
            return self._of_cells(log, attributes)
        changes = {
            name: masked
            for name, value in attributes.items()
            if (mask := self._mask_of(name)) is not None and (masked := _apply(mask, value)) != value
        }
        return log.replace(attributes={**attributes, **changes}) if changes else None

    def _of_cells(self, log: AccessLog, attributes: Attributes) -> AccessLog | None:
        shape, cells = attributes.shape, attributes.cells
        places = self._places.get(shape)
        if places is None:
            places = self._places_of(shape)
        changed: list[Cell] | None = None
        for at, mask in places:
            value = cells[at]
            if value is None:
                continue
            masked = mask(value) if type(value) is str else _apply(mask, value)
            if masked is not value and masked != value:
                if changed is None:
                    changed = list(cells)
                changed[at] = masked
        if changed is None:
            return None
        return log.replace(attributes=attributes_of(shape, tuple(changed)))

    def _places_of(self, shape: Shape) -> tuple[tuple[int, Mask], ...]:
        found = [
            (at, mask) for at, name in enumerate(shape.names) if (mask := self._mask_of(name)) is not None
        ]
        if len(self._places) >= REMEMBERED:
            self._places.clear()
        places = self._places[shape] = tuple(found)
        return places

    def _mask_of(self, name: str) -> Mask | None:
        """What is done with the attribute of this name."""
        try:
            return self._masks[name]
        except KeyError:
            if len(self._masks) >= REMEMBERED:
                self._masks.clear()
            mask = self._masks[name] = self._judge(name)
            return mask

    def _judge(self, name: str) -> Mask | None:
        if name in self._attributes:
            return _whole
        if name in TARGETS:
            return self._texts.target
        if name in QUERIES:
            return self._texts.query
        if name in PATHS:
            return self._texts.path
        if name.startswith(HEADERS) and name not in NO_FIELDS:
            field = name.split(".", 3)[3]
            return _whole if self._names.is_secret(field) else self._texts.text
        return None


def _apply(mask: Mask, value: AttributeValue) -> AttributeValue:
    """A number has nothing to mask, but where all is masked."""
    if type(value) is str:
        return mask(value)
    if type(value) is tuple:
        return tuple([mask(text) for text in value])
    return MASK if mask is _whole else value
