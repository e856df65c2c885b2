"""--filter and --no-mask, short for settings of plugins that may be missing."""

from __future__ import annotations

import types

import pytest

from rover import Setting, UsageError, hookimpl
from rover.cli.run import hooks_settings
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue


def catalogue_of(**plugins: Setting) -> Catalogue:
    manager = PluginManager()
    for name, setting in plugins.items():

        @hookimpl
        def register_settings(setting: Setting = setting) -> list[Setting]:
            return [setting]

        manager.register(types.SimpleNamespace(register_settings=register_settings), name)
    return Catalogue(manager)


def test_they_set_what_the_plugins_have() -> None:
    catalogue = catalogue_of(filter=Setting("keep", "", "x"), mask=Setting("enabled", True, "x"))
    assert hooks_settings(catalogue, None, no_mask=False) == {}
    both = hooks_settings(catalogue, "status == 200", no_mask=True)
    assert both == {"plugin.filter.keep": "status == 200", "plugin.mask.enabled": False}


def test_without_the_plugins() -> None:
    """Nothing masks, and nothing would filter."""
    catalogue = catalogue_of()
    assert hooks_settings(catalogue, None, no_mask=True) == {}
    with pytest.raises(UsageError, match=r"^--filter needs a plugin: pip install rover-plugin-filter$"):
        hooks_settings(catalogue, "", no_mask=False)
