"""Has rover's own modules imported in plain Python, as where nothing could be compiled."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence

PACKAGES = (
    "rover",
    "rover_plugin_http1",
    "rover_plugin_http2",
    "rover_plugin_mask",
    "rover_plugin_redis",
    "rover_plugin_routes",
    "rover_plugin_sink_log",
    "rover_source_ebpf",
    "rover_source_pcap",
)


class PlainFinder:
    """Finds sources only; what has none is not there."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is None or name.partition(".")[0] not in PACKAGES:
            return None
        loader = (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)
        for entry in path:
            if spec := importlib.machinery.FileFinder(entry, loader).find_spec(name, target):
                return spec
        raise ModuleNotFoundError(f"no source of {name}", name=name)


def install() -> None:
    """From here on; nothing of rover may have been imported yet."""
    sys.meta_path.insert(0, PlainFinder)
