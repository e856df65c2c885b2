"""Names of containers, remembered, and looked up in a thread of their own.

Who tells names may be slow, hang or die, and connections wait for nobody: the thread asks, and what it has
not learned when a process is first seen comes later. What waiting there is, is for the process that makes one
connection and ends: most engines answer within some milliseconds, so the first process of a container waits
for up to WAIT, as long as all waiting together stays below SHARE of the time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import Container, Directory, ForbiddenError, NotThereError, UnreachableError

MAX_CONTAINERS = 4096
"""Containers remembered, some kB each; the one asked for longest ago goes. A host has a few hundred."""
WAIT = 0.02
"""Seconds that the first process of a container waits for its name, at most: a fifth of the time in which
an access log is to be at its sink. Records of that time wait in the ring buffer."""
SHARE = 0.02
"""The part of the time that is waited, at most."""
TRIES = 6
"""Times that a container is looked for which nobody knows, 1, 2, 4, ... s apart: engines and the kubelet
write its files about when it starts."""
MAX_PAUSE = 60.0
"""Seconds, at most, until somebody who could not be asked is asked again."""
REPORT_INTERVAL = 60.0
"""Seconds between two lines about the same directory."""
CLOSING = 0.2
"""Seconds that the end waits for a question that is under way. The thread keeps no process from ending."""

logger = logging.getLogger("rover.names")


class _Entry:
    """What is known of a container."""

    __slots__ = ("container", "due", "final", "place", "tries", "waiting")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.container = Container()
        self.final = False  # nothing more will be known
        self.waiting = False  # for the thread
        self.tries = 0
        self.due = 0.0  # when to look for it again


class _Desk:
    """A directory, and when it may be asked."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._failures = 0
        self._rests_until = 0.0
        self._said = -REPORT_INTERVAL
        self._closed = False  # to the agent's user

    def ask(self, place: Place) -> tuple[Container | None, bool]:
        """(what it knows, whether that is all that it will tell)."""
        if self._closed:
            return None, True
        if time.monotonic() < self._rests_until:
            return None, False
        try:
            found = self.directory.find(place)
        except NotThereError:
            found = None
        except ForbiddenError as error:
            self._closed = True
            logger.warning("names: %s; its containers have no names from there", error)
            return None, True
        except Exception as error:  # a defect of ours must not end the thread
            self._failed(error)
            return None, False
        self._failures = 0
        return found, True

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._rests_until = now + min(MAX_PAUSE, 2.0**self._failures)
        self._failures = min(self._failures + 1, 10)
        if now - self._said >= REPORT_INTERVAL:
            self._said = now
            what = str(error) if isinstance(error, UnreachableError) else f"{type(error).__name__}: {error}"
            logger.warning("names: %s; until it answers, its containers have no names from there", what)


class Containers:
    """`find` is called in one thread, and never waits long."""

    def __init__(self, directories: Sequence[Directory]) -> None:
        """`directories`: asked in this order; the first that knows a container is believed."""
        self._desks = [_Desk(directory) for directory in directories]
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._queue: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._allowance = WAIT
        self._refilled = time.monotonic()

    def find(self, place: Place) -> tuple[Container, bool]:
        """(what is known of the container of this place, whether that is all that will be known)."""
        with self._changed:
            entry = self._entries.get(place.container_id)
            first = entry is None
            if entry is None:
                entry = self._entries[place.container_id] = _Entry(place)
                if len(self._entries) > MAX_CONTAINERS:
                    self._entries.popitem(last=False)
            else:
                self._entries.move_to_end(place.container_id)
            if not (entry.final or entry.waiting or time.monotonic() < entry.due):
                entry.waiting = True
                self._queue.append(entry)
                self._start()
                self._changed.notify_all()
            if first:
                self._wait(entry)
            return entry.container, entry.final

    def close(self) -> None:
        """Asks nobody any more."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSING)

    def _wait(self, entry: _Entry) -> None:
        began = time.monotonic()
        self._allowance = min(WAIT, self._allowance + (began - self._refilled) * SHARE)
        if self._allowance > 0:
            self._changed.wait_for(lambda: not entry.waiting, self._allowance)
        self._refilled = time.monotonic()
        self._allowance -= self._refilled - began

    def _start(self) -> None:
        if self._thread is None:
            # Not before there is a container: most replays and many hosts have none.
            self._thread = threading.Thread(target=self._run, name="rover names", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if self._closing:
                    return
                entry = self._queue.popleft()
            container, complete = self._ask(entry.place)
            with self._changed:
                entry.waiting = False
                entry.tries += 1
                entry.due = time.monotonic() + min(MAX_PAUSE, 2.0 ** (entry.tries - 1))
                if container is not None:
                    entry.container = container
                # Somebody who cannot be asked might know it, or know it better.
                entry.final = complete and (container is not None or entry.tries >= TRIES)
                self._changed.notify_all()

    def _ask(self, place: Place) -> tuple[Container | None, bool]:
        """(what is known, whether everybody that goes before could be asked)."""
        complete = True
        for desk in self._desks:
            found, asked = desk.ask(place)
            complete &= asked
            if found is not None:
                return found, complete
        return None, complete
