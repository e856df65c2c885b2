"""What the server is told of this host at the beginning of every stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rover_plugin_sink_oap.messages import EBPFAccessLogMessage, EBPFAccessLogNodeInfo

NETWORK = Path("/sys/class/net")
FRESH = 10.0
"""Seconds after which the interfaces are read again: containers bring theirs and take them away."""
SECOND = 1_000_000_000


class Node:
    """This host."""

    def __init__(
        self, name: str, cluster: str = "", exclude: Sequence[str] = (), network: Path = NETWORK
    ) -> None:
        """`exclude`: Kubernetes namespaces the server shall leave out."""
        self._info = EBPFAccessLogNodeInfo(name=name, clusterName=cluster)
        if exclude:
            self._info.policy.excludeNamespaces.extend(exclude)
        self._network = network
        self._read = -FRESH

    def message(self, epoch: int) -> bytes:
        """The beginning of a stream's first message.

        `epoch`: Unix time (ns) of the zero of the access logs' clock, see `Connection.epoch`.
        """
        now = time.monotonic()
        if now - self._read >= FRESH:
            self._read = now
            self._read_interfaces()
        self._info.bootTime.seconds, self._info.bootTime.nanos = divmod(epoch, SECOND)
        message: bytes = EBPFAccessLogMessage(node=self._info).SerializeToString()
        return message

    def _read_interfaces(self) -> None:
        """Every interface with index and MTU; one that goes away meanwhile is left out."""
        interfaces = self._info.netInterfaces
        del interfaces[:]
        for directory in sorted(self._network.iterdir()) if self._network.is_dir() else ():
            try:
                index = int((directory / "ifindex").read_text())
                mtu = int((directory / "mtu").read_text())
            except (OSError, ValueError):
                continue  # bonding_masters is a file, not an interface
            interfaces.add(index=index, mtu=mtu, name=directory.name)
