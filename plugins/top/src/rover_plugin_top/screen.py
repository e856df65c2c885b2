"""The view on the terminal, in a thread of its own: it draws twice a second at most, and after each key."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from types import TracebackType

from rover import RoverError, UsageError
from rover_plugin_top.frame import Around, frame
from rover_plugin_top.keys import Keys
from rover_plugin_top.tables import Predicate, Tables, predicate
from rover_plugin_top.terminal import Terminal
from rover_plugin_top.view import View, Wish

REFRESH = 0.5
"""Seconds between two pictures, at least."""
SHARE = 20
"""A picture takes a millisecond; of some thousand rows, fifty. The next one comes when so many times its
processor time has passed: the pipeline needs the processor, too."""
SETTLE = 0.05
"""Seconds after which an escape was the key, and not the beginning of another's sequence."""


class Screen:
    """A context: within it the view is on the terminal."""

    def __init__(
        self,
        terminal: Terminal,
        view: View,
        tables: Tables,
        title: Callable[[], str],
        *,
        wanted: Predicate | None,
        lost: Callable[[], int],
        quit: Callable[[], object],  # noqa: A002
        count: Callable[[Predicate | None], object],
    ) -> None:
        """`wanted`: what is counted so far. `lost`: how many records were lost by now. `quit` ends the run.
        `count` counts anew, what this is true of."""
        self._terminal = terminal
        self._view = view
        self._tables = tables
        self._title = title
        self._lost = lost
        self._quit = quit
        self._count = count
        self._wanted = wanted
        self._ended = False
        self._failure: BaseException | None = None
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="rover-top", daemon=True)

    def __enter__(self) -> None:
        self._terminal.enter()
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self._thread.join(SETTLE * 10)
        if self._failure is not None and error is None:
            raise self._failure

    def leave(self) -> None:
        """Gives the terminal back, at once; from any thread, and once is enough."""
        self._ended = True
        with contextlib.suppress(OSError):
            os.write(self._write, b"x")
        self._terminal.leave()

    def _run(self) -> None:
        try:
            self._work()
        except OSError:  # the terminal is gone, and what is started from it ends
            self._quit()
        except BaseException as error:
            self._terminal.leave()
            self._failure = RoverError(f"the view failed: {type(error).__name__}: {error}")
            self._failure.__cause__ = error
            self._quit()

    def _work(self) -> None:
        keys = Keys()
        waiting = select.poll()
        waiting.register(self._read, select.POLLIN)
        waiting.register(self._terminal.keyboard, select.POLLIN)
        due = time.monotonic()
        size = (0, 0)
        while not self._ended:
            if self._terminal.size() != size or time.monotonic() >= due:
                size = self._terminal.size()
                began, spent = time.monotonic(), time.thread_time()
                self._look()
                self._draw(*size)
                due = began + max(REFRESH, SHARE * (time.thread_time() - spent))
            patience = SETTLE if keys.unsure else max(due - time.monotonic(), 0.0)
            pressed: list[str] = []
            if waiting.poll(1000 * patience):
                if self._ended:
                    return
                pressed = keys.feed(self._terminal.read())
            elif keys.unsure:
                pressed = keys.settle()
            for key in pressed:
                self._press(key)
            if pressed and not self._ended:
                self._draw(*size)

    def _look(self) -> None:
        """Takes the figures as they are now."""
        view = self._view
        self._total, rows = self._tables.rows(view.group, view.sort, reverse=view.reverse)
        view.update(rows)

    def _draw(self, width: int, height: int) -> None:
        around = Around(self._title(), self._total, self._lost(), self._terminal.said())
        self._terminal.draw(frame(self._view, around, width, height))

    def _press(self, key: str) -> None:
        """What a key changes, before the next one: that may be of the rows which this one brings."""
        view = self._view
        before = view.group, view.sort, view.reverse
        wish = view.press(key)
        self._do(wish)
        if wish in (Wish.CLEAR, Wish.FILTER) or (view.group, view.sort, view.reverse) != before:
            self._look()

    def _do(self, wish: Wish | None) -> None:
        view = self._view
        if wish is Wish.QUIT:
            self._ended = True
            self._quit()
        elif wish is Wish.CLEAR:
            self._count(self._wanted)
        elif wish is Wish.OPEN:
            view.open(self._tables.kept(view.group, view.rows[view.selected].name))
        elif wish is Wish.FILTER:
            try:
                wanted = predicate(view.typed or "")
            except UsageError as error:
                view.message = str(error)
                return
            view.accept()
            self._wanted = wanted
            self._count(wanted)
