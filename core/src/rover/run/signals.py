"""Signals: a handler notes that one came, and nothing else; the loop that reads the note acts.

A handler runs between any two instructions of the main thread, also within a lock it holds: whatever it does
beyond noting can wait for itself for ever. A thread beside sees to what the main thread cannot when it is
stuck, in a plugin or in a system call: to a closed terminal, and to the end's deadline.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

ENDING = (signal.SIGINT, signal.SIGTERM)
TAKEN = (*ENDING, signal.SIGHUP)
ORDERLY = 0.9
"""Of `limits.stop_seconds`, what the ending may take in good order; the rest is for its totals."""
AT_LEAST = 1.0
"""Seconds after which, at the earliest, the process is ended whatever it does: also with a deadline of 0
the totals are told."""
NOTHING = object()
LOOK = 0.5
"""Seconds between two looks at the terminal, once a SIGHUP came: a shell or sudo may send its own before the
kernel takes the terminal away."""


class Running(Protocol):
    """What signals are for."""

    def stop(self, deadline: float) -> None:
        """Ends soon; what is not finished at the deadline (time.monotonic) is lost."""

    def reopen(self) -> None:
        """Opens the files again."""


class Signals:
    """SIGINT, SIGTERM and a closed terminal end a run, SIGHUP reopens its files.

    A second SIGINT or SIGTERM ends the process at once, and so does the deadline.
    """

    def __init__(self) -> None:
        """Takes nothing yet."""
        self.stopping = False
        """Whether an end was asked for; it stays."""
        self._for_life = False
        self._noted: dict[int, Any] = {}
        # A method of a type in C: no other handler can run within it, so that a storm of signals piles up
        # no calls. It keeps the frame that was interrupted until the note is read.
        self._note = self._noted.__setitem__
        self._arrived: float | None = None
        self._terminal: Terminal | None = None
        self._watch: Watch | None = None

    def take(self) -> None:
        """As the first thing a process does, for its life. SIGHUP waits until something runs: it would end
        what is about to begin, or interrupt the kernel while it verifies a program (bpf(2), EAGAIN).
        SIGINT and SIGTERM end it at once until then: an exception could be taken for a plugin's."""
        self._for_life = True
        self._look_at_terminal()
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)

    def _look_at_terminal(self) -> None:
        # Whom nohup(1) started, it started with SIGHUP ignored: it is to outlive its terminal.
        nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._terminal = None if nohup else Terminal()

    @contextmanager
    def watch(
        self,
        seconds: float,
        last_words: Callable[[], Iterable[str]],
        leave: Callable[[], object] = lambda: None,
    ) -> Iterator[None]:
        """While something runs that calls `pass_on`. When an end is asked for and has not come `seconds`
        later (one at least), the process says so, and `last_words`, and ends with exit code 1.

        `last_words` is called in another thread, whatever the main one is doing. `leave` gives the terminal
        back to who had it before. It is called, from any thread and maybe more than once, before the process
        may end at once; it must not wait.
        """
        if not self._for_life:
            self._look_at_terminal()
        before: Mapping[int, Any] = {number: signal.getsignal(number) or signal.SIG_DFL for number in TAKEN}
        self._watch = watch = Watch(self, seconds, last_words, leave)
        for number in TAKEN:
            signal.signal(number, self._note)
        if self._for_life:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
        try:
            yield
        finally:
            if self._for_life:
                # There are no files any more. Python's own end would leave it to the default.
                before = {**before, signal.SIGHUP: signal.SIG_IGN}
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
            if self._for_life and self.stopping:
                watch.last_words = list  # what is left of the end is watched, too; the totals are told
            else:
                for taken, handler in before.items():
                    signal.signal(taken, handler)
                self._watch = None
                watch.close()

    def pass_on(self, running: Running) -> None:
        """Acts on what was noted; for the main thread, between two pieces of work."""
        noted, watch = self._noted, self._watch
        if noted:
            if noted.pop(signal.SIGHUP, NOTHING) is not NOTHING:
                running.reopen()
            for number in ENDING:
                if noted.pop(number, NOTHING) is not NOTHING:
                    self.end()
                    if watch is not None:
                        watch.leave()
                    signal.signal(number, signal.SIG_DFL)
        if self.stopping and watch is not None:
            running.stop((self._arrived or time.monotonic()) + ORDERLY * watch.seconds)

    def end(self) -> None:
        """An end is asked for."""
        if self._arrived is None:
            self._arrived = time.monotonic()
        self.stopping = True

    def forget(self) -> None:
        """In a process that was forked: the three are ignored there, its parent says when."""
        signal.set_wakeup_fd(-1)
        for number in TAKEN:
            signal.signal(number, signal.SIG_IGN)
        if self._watch is not None:
            self._watch.shut()

    @property
    def arrived(self) -> float | None:
        """When an end was first asked for (time.monotonic)."""
        return self._arrived

    def terminal_closed(self) -> bool:
        """Whether the terminal it was started from is gone."""
        return self._terminal is not None and self._terminal.closed()


class Watch:
    """The thread beside. The kernel's part of a handler writes each signal's number into a pipe
    (signal.set_wakeup_fd), also when the main thread does not come to the part in Python."""

    def __init__(
        self,
        signals: Signals,
        seconds: float,
        last_words: Callable[[], Iterable[str]],
        leave: Callable[[], object],
    ) -> None:
        self.seconds = seconds
        self._signals = signals
        self.last_words = last_words
        self.leave = leave
        self._seen: set[int] = set()
        self._looks = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="rover-signals", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        signal.set_wakeup_fd(self._before)
        os.close(self._write)
        self._thread.join()
        os.close(self._read)

    def shut(self) -> None:
        """Closes the pipe, where there is no thread."""
        os.close(self._write)
        os.close(self._read)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while True:
            if poll.poll(self._patience()):
                numbers = os.read(self._read, select.PIPE_BUF)
                if not numbers:
                    return
                self._heard(numbers)
            if self._looks and self._signals.terminal_closed():
                self._looks = False
                self._signals.end()
            arrived = self._signals.arrived
            if arrived is not None and time.monotonic() >= arrived + max(self.seconds, AT_LEAST):
                self._give_up()

    def _patience(self) -> float | None:
        """Milliseconds to wait for a signal."""
        arrived = self._signals.arrived
        if arrived is not None:
            left = arrived + max(self.seconds, AT_LEAST) - time.monotonic()
            return 1000 * min(max(left, 0.0), LOOK) + 1
        # An end may also be asked for by who passes on, before this thread hears of the signal.
        return 1000 * LOOK if self._looks else None

    def _heard(self, numbers: bytes) -> None:
        if signal.SIGHUP in numbers:
            self._looks = True
        for number in ENDING:
            if number in numbers:
                if number in self._seen:
                    self.leave()
                    os._exit(128 + number)  # as a shell has it for what a signal ended
                self._seen.add(number)
                self._signals.end()

    def _give_up(self) -> None:
        """The last resort. Nothing here may wait: not for a lock, not for a reader."""
        try:
            self.leave()
            frame = sys._current_frames().get(self._main)
            where = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}" if frame else "its end"
            lines = [*self.last_words(), f"it did not end within {self.seconds:g} s, held up in {where}"]
            poll = select.poll()
            poll.register(2, select.POLLOUT)
            for line in lines:
                ready = poll.poll(0)
                if not ready or not ready[0][1] & select.POLLOUT:
                    break
                os.write(2, f"rover: {line}\n".encode(errors="replace")[: select.PIPE_BUF])
        finally:
            os._exit(1)


def end_by_sigpipe() -> NoReturn:
    """Ends this process as others end whose reader has left: at once, in silence, by SIGPIPE (signal(7))."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGPIPE,))
    os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)


class Terminal:
    """The controlling terminal of this process, if it has one: what Ctrl-C is pressed at."""

    def __init__(self) -> None:
        self._had = self._error() == 0

    def closed(self) -> bool:
        """Whether there was one and it was taken away (drivers/tty/tty_io.c, __tty_hangup)."""
        return self._had and self._error() in (errno.ENXIO, errno.EIO)

    @staticmethod
    def _error() -> int:
        try:
            os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            return error.errno or 0
        return 0
