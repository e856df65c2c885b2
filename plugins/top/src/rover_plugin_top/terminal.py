"""The terminal while a view is on it, given back as it was however the view ends."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import termios
import threading
from collections.abc import Sequence

from rich.console import Console
from rich.segment import Segment, Segments

from rover_plugin_top.text import printable

STDOUT, STDERR = 1, 2
ENTER = b"\x1b[?1049h\x1b[?25l\x1b[2J"
"""The other screen, without a cursor (xterm's control sequences)."""
LEAVE = b"\x1b[?25h\x1b[?1049l"
SMALL = 80, 24
"""Columns and lines of a terminal that does not tell."""
PATIENCE = 0.2
"""Seconds that leaving waits for a write that hangs: a terminal may be stopped, or gone."""
MAX_SAID = 1 << 16
"""Bytes of what was said on standard error meanwhile, which leaving passes on: the last ones."""
TAIL = 500
"""Bytes that a line of it is looked for in."""


class Terminal:
    """Standard output, and the keyboard of the controlling terminal."""

    def __init__(self) -> None:
        """Raises OSError where there is no such terminal."""
        if not os.isatty(STDOUT) or os.environ.get("TERM", "dumb") in ("", "dumb"):
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        self.keyboard = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._before = termios.tcgetattr(self.keyboard)
        except termios.error as error:
            os.close(self.keyboard)
            raise OSError(errno.ENOTTY, str(error)) from None
        self._lock = threading.Lock()
        self._entered = self._left = False
        self._said = self._stderr = -1
        self._text = io.StringIO()
        self._console = Console(file=self._text, force_terminal=True, legacy_windows=False)

    def enter(self) -> None:
        """Takes it: keys come one by one and are not shown. Ctrl-C remains a signal; Ctrl-Z, Ctrl-\\ and
        Ctrl-S are none any more, because they would leave the terminal as it is now."""
        mode = [*self._before[:6], list(self._before[6])]
        mode[0] &= ~termios.IXON
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        for at in (termios.VSUSP, termios.VQUIT):
            mode[6][at] = b"\0"  # none (_POSIX_VDISABLE, asm-generic/termbits.h)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.keyboard, termios.TCSANOW, mode)
        self._entered = True
        if os.isatty(STDERR):
            # What is said there would go across the picture.
            self._said = os.memfd_create("rover-said", os.MFD_CLOEXEC)
            self._stderr = os.dup(STDERR)
            os.dup2(self._said, STDERR)
        self._write(ENTER)

    def size(self) -> tuple[int, int]:
        """Its columns and lines at this moment."""
        try:
            size = os.get_terminal_size(STDOUT)
        except OSError:
            return SMALL
        return size.columns or SMALL[0], size.lines or SMALL[1]

    def draw(self, lines: Sequence[Sequence[Segment]]) -> None:
        """Writes lines over what stands there, from the top."""
        text = self._text
        text.seek(0)
        text.truncate()
        pieces: list[Segment] = []
        for at, line in enumerate(lines):
            # Each at its place: what follows the last column would else depend on how the terminal wraps.
            pieces.append(Segment(f"\x1b[{at + 1};1H"))
            pieces += line
        self._console.print(Segments(pieces), end="", crop=False, soft_wrap=True)
        self._write(text.getvalue().encode(errors="replace"))

    def said(self) -> str:
        """The last line that was said on standard error meanwhile."""
        if self._said < 0:
            return ""
        end = os.lseek(self._said, 0, os.SEEK_CUR)
        lines = os.pread(self._said, TAIL, max(end - TAIL, 0)).decode(errors="replace").splitlines()
        return printable(lines[-1].removeprefix("rover: ")) if lines else ""

    def read(self) -> bytes:
        """What was typed, if anything. Raises OSError when the terminal is gone."""
        try:
            data = os.read(self.keyboard, 4096)
        except BlockingIOError:
            return b""
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data

    def _write(self, data: bytes) -> None:
        with self._lock:
            while data and not self._left:
                data = data[os.write(STDOUT, data) :]

    def leave(self) -> None:
        """Gives it back; from any thread, also when another one hangs in a write. Once is enough."""
        if not self._entered:
            return
        held = self._lock.acquire(timeout=PATIENCE)
        try:
            if self._left:
                return
            self._left = True
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.keyboard, termios.TCSANOW, self._before)
                if not held:
                    termios.tcflush(self.keyboard, termios.TCOFLUSH)
                writable = select.poll()
                writable.register(STDOUT, select.POLLOUT)
                if any(event & select.POLLOUT for _, event in writable.poll(0)):
                    os.write(STDOUT, LEAVE)
            self._give_back_stderr()
        finally:
            if held:
                self._lock.release()

    def _give_back_stderr(self) -> None:
        if self._said < 0:
            return
        os.dup2(self._stderr, STDERR)
        end = os.lseek(self._said, 0, os.SEEK_CUR)
        with contextlib.suppress(OSError):
            os.write(STDERR, os.pread(self._said, MAX_SAID, max(end - MAX_SAID, 0)))
