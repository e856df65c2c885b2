"""What a command of a plugin needs to watch this host, or to read files, into a sink of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import typer

from rover.cli import options
from rover.cli.messages import say, say_totals
from rover.cli.replay import Files
from rover.cli.run import hooks_settings, live_source
from rover.contracts.settings import Settings
from rover.contracts.sink import Sink
from rover.contracts.source import Source
from rover.plugins.manager import PluginManager
from rover.run.agent import Agent
from rover.run.configuration import Catalogue
from rover.run.priority import unmet
from rover.run.signals import Signals
from rover.values.records import RecordHandler


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be watched: the files, or the options that `rover run` has, too."""

    files: options.Files = None
    config: options.Config = None
    source: options.SourceName = None
    pids: options.Pids = None
    comms: options.Comms = None
    ports: options.Ports = None
    cgroups: options.Cgroups = None
    no_mask: options.NoMask = False
    sets: options.Sets = None

    def settings(self, catalogue: Catalogue, more: Mapping[str, object] = {}) -> Settings:
        """With all that is configured elsewhere. Raises UsageError."""
        chosen: dict[str, object] = {
            "run.source": self.source,
            "select.pid": self.pids,
            "select.comm": self.comms,
            "select.port": self.ports,
            "select.cgroup": self.cgroups,
        }
        chosen |= hooks_settings(catalogue, None, no_mask=self.no_mask)
        return catalogue.settings(self.config, self.sets or (), {**chosen, **more})


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, of a function with a parameter `asked`: in its place, after all others, it has the
    argument and the options that `Asked` is made of."""
    own = inspect.signature(command, eval_str=True).parameters
    added = inspect.signature(Asked, eval_str=True).parameters
    parameters = {**own, **added}
    del parameters["asked"]

    def asked_for(**given: Any) -> None:
        asked = Asked(**{name: given.pop(name) for name in added})
        command(asked=asked, **given)

    by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters.values()]
    # Both are what typer looks at.
    asked_for.__signature__ = inspect.Signature(by_name)  # type: ignore[attr-defined]
    asked_for.__annotations__ = {each.name: each.annotation for each in by_name}
    asked_for.__doc__ = command.__doc__
    return asked_for


class Watching:
    """One run into one sink, which the command has made. It is in the hands of signals as `rover run` is."""

    def __init__(
        self,
        manager: PluginManager,
        asked: Asked,
        name: str,
        sink: Sink,
        *,
        again: Callable[[float], bool | None] | None = None,
    ) -> None:
        """Starts the source, or opens the first file that can be read; the sink is called `name` in the
        totals. Raises RoverError, UsageError, and typer.Exit where no file can be read.

        `again` is called again and again after the last file, with the seconds it may wait: until it returns
        true, and the files are read once more, or false, and the run ends. None is not to ask.
        """
        self._signals = Signals()
        self._signals.take()
        self._code = 0
        self._files = bool(asked.files)
        self._again = again
        self.reading = bool(asked.files)
        """Whether there are files that have not been read to their end."""
        catalogue = Catalogue(manager)
        settings = asked.settings(catalogue)
        follow = None
        if asked.files:
            files = Files(catalogue, asked.files, lambda more: asked.settings(catalogue, more), 0)
            follow = self._sources(files)
            source = next(follow, None)
            if source is None:
                raise typer.Exit(self._code)
            self.source = ", ".join("standard input" if file == "-" else file for file in asked.files)
        else:
            source = live_source(catalogue, settings)
            self.source = settings["run.source"]
        self.notice = "" if asked.files else unmet(settings["run.nice"])
        """What the user should know of how it runs; mostly empty."""
        self.agent = Agent(
            catalogue,
            settings,
            source,
            follow=follow,
            lossless=self._files,
            sinks=(),
            signals=self._signals,
            brought={name: sink},
        )
        if asked.files:
            files.attend = self.agent.attend

    @property
    def stopping(self) -> bool:
        """Whether an end was asked for."""
        return self._signals.stopping or self.agent.stopping

    def run(
        self,
        during: contextlib.AbstractContextManager[object],
        leave: Callable[[], object] = lambda: None,
    ) -> str:
        """Runs to its end, within `during`. Returns what went wrong, empty if nothing did.

        `leave` gives back the terminal: see `Signals.watch`.
        """
        agent = self.agent
        with self._signals.watch(agent.stop_seconds, agent.last_words, leave), during:
            return agent.run()

    def end(self, failure: str) -> None:
        """Tells how it went: the totals, and what went wrong. Raises typer.Exit where
        something did."""
        say_totals(self.agent.report(), self._signals)
        for message in self.agent.failures or ([failure] if failure else []):
            say(message)
        if code := max(self._code, bool(failure)):
            raise typer.Exit(code)

    def _sources(self, files: Files) -> Iterator[Source]:
        while True:
            found = False
            for source in files:
                found = True
                yield source
            self._code = max(self._code, files.code)
            if self._again is None or not found:
                return
            waiting = Waiting(self._again)
            self.reading = False
            yield waiting
            if not waiting.again:
                return
            self.reading = True


class Waiting:
    """A source without records, which is polled while somebody looks at what the files came to."""

    epoch = 0

    def __init__(self, ask: Callable[[float], bool | None]) -> None:
        """`ask`: see `Watching`."""
        self.again = False
        """What the answer was."""
        self._ask = ask

    def start(self) -> None:
        """Nothing to start."""

    def poll(self, handler: RecordHandler, timeout: float) -> bool:
        """Asks. False once there is an answer."""
        del handler
        answer = self._ask(timeout)
        self.again = answer is True
        return answer is None

    def now(self) -> int:
        """Nothing happens here, at no time."""
        return 0

    def set_upload(self, connection: int, limit: int) -> None:
        """There are no connections."""

    def is_open(self, connection: int) -> bool:
        """There are no connections."""
        del connection
        return False

    def counters(self) -> Mapping[str, int]:
        """Nothing to add."""
        return {}

    def stop(self, handler: RecordHandler) -> None:
        """Nothing is left."""

    def close(self) -> None:
        """Nothing to free."""
