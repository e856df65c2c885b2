"""Keeps secrets out of access logs: values of queries, credentials, cookies, what the user names."""

from rover_plugin_mask.plugin import MaskPlugin

__all__ = ["MaskPlugin", "plugin"]

plugin = MaskPlugin()
"""What the entry point names."""
