"""Which access logs are kept: `--filter EXPR`, rules that drop, and sampling."""

from rover_plugin_filter.plugin import FilterPlugin

__all__ = ["FilterPlugin", "plugin"]

plugin = FilterPlugin()
"""What the entry point names."""
