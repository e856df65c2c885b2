"""Which attributes of an access log may hold a secret, and the log without it."""

from __future__ import annotations

from rover.values.access_log import AccessLog, new_log
from rover.values.attributes import Attributes, AttributeValue, Cell, Shape, attributes_of
from rover_plugin_mask.names import Names
from rover_plugin_mask.paths import MASK
from rover_plugin_mask.texts import Texts

NOTHING, TARGET, PATH, QUERY, TEXT, WHOLE = range(6)
"""What an attribute holds, as far as secrets go. WHOLE: it is one."""

HEADERS = ("http.request.header.", "http.response.header.")
KINDS = {
    "url.original": TARGET,
    "url.full": TARGET,
    "url.path": PATH,
    "url.template": PATH,
    "http.route": PATH,
    "url.query": QUERY,
    "url.fragment": QUERY,
    # Figures, and a name that tells no secret.
    f"{HEADERS[0]}size": NOTHING,
    f"{HEADERS[1]}size": NOTHING,
    f"{HEADERS[0]}host": NOTHING,
}

REMEMBERED = 1024
"""Names and shapes of attributes that are remembered: plugins have a few dozen."""


class Masking:
    """Masks one log after the other."""

    def __init__(self, names: Names, texts: Texts, attributes: frozenset[str] = frozenset()) -> None:
        """`attributes`: names of those that are masked whatever they hold."""
        self._names = names
        self._texts = texts
        self._attributes = attributes
        self._kinds: dict[str, int] = {}
        self._places: dict[Shape, tuple[tuple[int, int], ...]] = {}

    def masked(self, log: AccessLog) -> AccessLog | None:
        """The log without secrets; None where it has none."""
        attributes = log.attributes
        if type(attributes) is Attributes:  # type: ignore[comparison-overlap]
            return self._of_cells(log, attributes)
        changes = {
            name: masked
            for name, value in attributes.items()
            if (kind := self._kind(name)) and (masked := self._value(kind, value)) != value
        }
        return changed(log, {**attributes, **changes}) if changes else None

    def _of_cells(self, log: AccessLog, attributes: Attributes) -> AccessLog | None:
        shape, cells = attributes.shape, attributes.cells
        places = self._places.get(shape)
        if places is None:
            places = self._places_of(shape)
        made: list[Cell] | None = None
        for place in places:
            at, kind = place
            value = cells[at]
            if value is None:
                continue
            masked = self._value(kind, value)
            if masked is not value and masked != value:
                if made is None:
                    made = list(cells)
                made[at] = masked
        return None if made is None else changed(log, attributes_of(shape, tuple(made)))

    def _value(self, kind: int, value: AttributeValue) -> AttributeValue:
        """The same object where there is nothing to mask, as a rule."""
        if type(value) is str:
            return self._text(kind, value)
        if type(value) is tuple:
            return tuple([self._text(kind, text) for text in value])
        return MASK if kind == WHOLE else value

    def _text(self, kind: int, text: str) -> str:
        if kind == TARGET:
            return self._texts.target(text)
        if kind == PATH:
            return self._texts.path(text)
        if kind == QUERY:
            return self._texts.query(text)
        return MASK if kind == WHOLE else self._texts.text(text)

    def _places_of(self, shape: Shape) -> tuple[tuple[int, int], ...]:
        found = [(at, kind) for at, name in enumerate(shape.names) if (kind := self._kind(name))]
        if len(self._places) >= REMEMBERED:
            self._places.clear()
        places = self._places[shape] = tuple(found)
        return places

    def _kind(self, name: str) -> int:
        """What the attribute of this name holds."""
        kind = self._kinds.get(name)
        if kind is None:
            if len(self._kinds) >= REMEMBERED:
                self._kinds.clear()
            kind = self._kinds[name] = self._judge(name)
        return kind

    def _judge(self, name: str) -> int:
        if name in self._attributes:
            return WHOLE
        known = KINDS.get(name)
        if known is not None:
            return known
        if name.startswith(HEADERS):
            return WHOLE if self._names.is_secret(name.split(".", 3)[3]) else TEXT
        return NOTHING


def changed(log: AccessLog, attributes: object) -> AccessLog:
    """The log with other attributes: what `replace` does, which takes ten times as long."""
    return new_log(
        connection=log.connection,
        start=log.start,
        end=log.end,
        protocol=log.protocol,
        version=log.version,
        attributes=attributes,  # type: ignore[arg-type]
        details=log.details,
        outcome=log.outcome,
    )
