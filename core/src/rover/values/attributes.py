"""The attributes of an access log whose names others share."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView

AttributeValue = str | int | bool | tuple[str, ...]
"""What an attribute can be. Sinks write a tuple as a list."""
Cell = AttributeValue | None
"""None where the attribute is absent."""


def characters(value: AttributeValue) -> int:
    """Those of its texts; each text of several counts one more, for the room that it takes itself."""
    if isinstance(value, tuple):
        return sum(map(len, value)) + len(value)
    return len(value) if isinstance(value, str) else 0


class Shape:
    """The names of attributes, in the order in which sinks write them.

    A plugin makes one for all its logs; a sink prepares the names once for each.
    """

    __slots__ = ("names",)

    def __init__(self, names: Sequence[str]) -> None:
        """Raises ValueError when a name is there twice."""
        self.names = tuple(names)
        if len(set(self.names)) != len(self.names):
            raise ValueError("a name is there twice")


class Attributes:
    """A Mapping, read-only, without a dictionary until somebody reads it as one."""

    __slots__ = ("_made", "cells", "shape")

    def __init__(self, shape: Shape, cells: tuple[Cell, ...]) -> None:
        """`cells`: a value for each name, None where the attribute is absent. Raises ValueError for more or
        fewer."""
        if len(cells) != len(shape.names):
            raise ValueError(f"{len(cells)} cells for {len(shape.names)} names")
        self.shape = shape
        self.cells = cells
        self._made: dict[str, AttributeValue] | None = None

    def _dict(self) -> dict[str, AttributeValue]:
        made = self._made
        if made is None:
            made = {}
            for name, cell in zip(self.shape.names, self.cells, strict=True):
                if cell is not None:
                    made[name] = cell
            self._made = made
        return made

    def __getitem__(self, name: str) -> AttributeValue:
        return self._dict()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict())

    def __len__(self) -> int:
        return len(self._dict())

    def __contains__(self, name: object) -> bool:
        return name in self._dict()

    def get(self, name: str, default: Cell = None) -> Cell:
        """As of any Mapping."""
        return self._dict().get(name, default)

    def keys(self) -> KeysView[str]:
        """The names of those that are not absent."""
        return self._dict().keys()

    def items(self) -> ItemsView[str, AttributeValue]:
        """Names and values of those that are not absent."""
        return self._dict().items()

    def values(self) -> ValuesView[AttributeValue]:
        """The values of those that are not absent."""
        return self._dict().values()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Attributes):
            return self._dict() == other._dict()
        return self._dict() == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as of a dict

    def __repr__(self) -> str:
        return repr(self._dict())

    def __reduce__(self) -> tuple[type[dict[str, object]], tuple[dict[str, AttributeValue]]]:
        return dict, (self._dict(),)


Mapping.register(Attributes)


def attributes_of(shape: Shape, cells: tuple[Cell, ...]) -> Attributes:
    """Compiled, a call of C; else what the class does. There is a cell for each name."""
    made = Attributes.__new__(Attributes)
    made.shape = shape
    made.cells = cells
    made._made = None
    return made
