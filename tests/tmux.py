"""A command in a real terminal: tmux draws what it writes, and types what a test presses."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from harness import wait_until


class Tmux:
    """A server of its own with one pane, in which a shell runs the command, and then says how it ended."""

    def __init__(self, directory: Path, command: Sequence[str], width: int = 80, height: int = 24) -> None:
        """`directory`: for its socket, and for the number of the command's process."""
        if shutil.which("tmux") is None:
            pytest.skip("needs tmux (Debian: tmux)")
        self._socket = directory / "tmux"
        self._pid = directory / "pid"
        script = (
            f"trap : INT; sh -c 'echo $$ >{self._pid}; exec \"$@\"' sh {shlex.join(command)}; "
            'echo "ended with $?"; stty -a; exec cat >/dev/null'
        )
        environment = {
            "PATH": os.environ["PATH"],
            "TERM": "xterm",
            "LC_ALL": "C.UTF-8",
            "HOME": str(directory),
        }
        subprocess.run(
            [
                *(*self._tmux(), "-f", "/dev/null", "new-session", "-d"),
                *("-x", str(width), "-y", str(height), "sh", "-c", script),
            ],
            check=True,
            env=environment,
        )

    def _tmux(self) -> list[str]:
        return ["tmux", "-S", str(self._socket)]

    def _ask(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux(), *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*self._tmux(), "kill-server"], capture_output=True, check=False)

    @property
    def pid(self) -> int:
        """Of the command."""
        wait_until(lambda: self._pid.exists() and self._pid.read_text().strip(), "the command's process")
        return int(self._pid.read_text())

    def lines(self) -> list[str]:
        """What stands on the screen."""
        return self._ask("capture-pane", "-p").splitlines()

    def wait_for(self, *texts: str, also: Callable[[list[str]], object] = bool) -> list[str]:
        """The screen, as soon as all of these stand on it, wherever, and it is as `also` wants it. It may be
        looked at while half of a picture has been drawn."""
        screen: list[str] = []

        def stand() -> bool:
            screen[:] = self.lines()
            text = "\n".join(screen)
            return all(each in text for each in texts) and bool(also(screen))

        try:
            wait_until(stand, f"{texts}")
        except AssertionError as error:
            raise AssertionError(f"{error}; there is\n" + "\n".join(screen)) from None
        return screen

    def press(self, *keys: str) -> None:
        """Keys by tmux's names: Enter, Escape, Down, C-c, q."""
        self._ask("send-keys", *keys)

    def type(self, text: str) -> None:
        """Characters."""
        self._ask("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        """Gives the window another size."""
        self._ask("resize-window", "-x", str(width), "-y", str(height))

    def ended(self) -> tuple[int, str]:
        """Once the command has ended: its exit code, and what stands on the screen. The terminal is as it
        was before."""
        screen = self.wait_for("ended with ", " icanon", " echo ", " ixon")
        assert self._ask("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]
        text = "\n".join(screen)
        assert "susp = ^Z" in text
        assert "quit = ^\\" in text
        return int(text.partition("ended with ")[2].split()[0]), text
