"""What the pipeline asks of the source that its records come from. A failure is the source's own: the
pipeline goes on as if it had not asked."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from rover.contracts.source import DescribingSource, SkippingSource
from rover.plugins.guard import checked_opened, found
from rover.plugins.manager import PluginManager
from rover.values.records import Direction, Opened, Process


class UploadSwitch(Protocol):
    """The part of a source that it must have for this: see `rover.contracts.source.Source`."""

    def set_upload(self, connection: int, limit: int) -> None: ...

    def is_open(self, connection: int) -> bool: ...


@runtime_checkable
class ListeningSource(Protocol):
    """The optional part of a source that is recorded: a replay cannot ask the plugins that ran here."""

    def described(self, process: Process) -> None:
        """What plugins say of a process from now on."""


class SourceSide:
    """The one way back to the source."""

    def __init__(self, source: UploadSwitch, manager: PluginManager) -> None:
        self._source = source
        self._manager = manager
        self._describing: DescribingSource | None = None
        self._skipping: SkippingSource | None = None
        self._listening: ListeningSource | None = source if isinstance(source, ListeningSource) else None
        try:
            if isinstance(source, DescribingSource):
                self._describing = source
        except BaseException as error:
            self._failed("describe", error)
        try:
            if isinstance(source, SkippingSource):
                self._skipping = source
        except BaseException as error:
            self._failed("set_unneeded", error)

    def _failed(self, method: str, error: BaseException) -> None:
        self._manager.maker(self._source).failed(method, error)

    @property
    def skips(self) -> bool:
        """Whether it can leave out bytes that are unneeded."""
        return self._skipping is not None

    def set_upload(self, connection: int, limit: int) -> None:
        """See `rover.contracts.source.Source`."""
        try:
            self._source.set_upload(connection, limit)
        except BaseException as error:
            self._failed("set_upload", error)

    def set_unneeded(self, connection: int, direction: Direction, position: int) -> None:
        """See `rover.contracts.source.SkippingSource`, which it has to be."""
        try:
            if self._skipping is not None:
                self._skipping.set_unneeded(connection, direction, position)
        except BaseException as error:
            self._failed("set_unneeded", error)

    def is_open(self, connection: int) -> bool:
        """Whether the connection still exists, as far as the source can say."""
        try:
            said = self._source.is_open(connection)
            if type(said) is not bool:
                raise TypeError(f"returned {found(said)} where a bool is due")
        except BaseException as error:
            self._failed("is_open", error)
            return True
        return said

    def describe(self, connection: int) -> Opened | None:
        """What the source knows of a connection that it told of before: one that was evicted."""
        if self._describing is None:
            return None
        try:
            opened = checked_opened(self._describing.describe(connection))
        except BaseException as error:
            self._failed("describe", error)
            return None
        return opened.replace(connection=connection) if opened is not None else None

    def described(self, process: Process) -> None:
        """Tells a source that is recorded what plugins say of a process."""
        if self._listening is not None:
            try:
                self._listening.described(process)
            except BaseException as error:
                self._failed("described", error)
