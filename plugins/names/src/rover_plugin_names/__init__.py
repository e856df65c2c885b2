"""What processes are called: systemd unit, container, pod, service.

Each access log of a process carries it (`describe_process`). Only on a live run: in a replay the process ran
at another time or on another host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rover import Check, Process, Setting, Settings, hookimpl
from rover_plugin_names.settings import SECTION, SETTINGS

if TYPE_CHECKING:
    from rover_plugin_names.describe import Describer
    from rover_plugin_names.lookup import Containers


class Names:
    """The plugin; what it knows begins with `startup` and ends with `shutdown`."""

    def __init__(self) -> None:
        self._containers: Containers | None = None
        self._describer: Describer | None = None

    @hookimpl
    def register_settings(self) -> Sequence[Setting]:
        """`plugin.names.*`."""
        return SETTINGS

    @hookimpl
    def startup(self, settings: Settings) -> None:
        """Reads the settings; asks nobody yet."""
        from rover_plugin_names.configuration import configure
        from rover_plugin_names.describe import Describer
        from rover_plugin_names.lookup import Containers

        configuration = configure(settings.section(SECTION))
        self._containers = Containers(configuration.directories())
        self._describer = Describer(configuration, self._containers)

    @hookimpl(trylast=True)  # who has a plugin of their own for it believe that
    def describe_process(self, process: Process, live: bool) -> Mapping[str, str | int | bool] | None:
        """What is known of it by now."""
        if self._describer is None or not live:
            return None
        return self._describer.describe(process)

    @hookimpl
    def check_host(self, settings: Settings) -> Sequence[Check]:
        """Who could be asked on this host."""
        from rover_plugin_names.configuration import configure
        from rover_plugin_names.doctor import checks

        return list(checks(configure(settings.section(SECTION))))

    @hookimpl
    def shutdown(self) -> None:
        """Asks nobody any more."""
        containers, self._containers, self._describer = self._containers, None, None
        if containers is not None:
            containers.close()


plugin = Names()
"""What the entry point names."""
