"""Routes for rover: `http.route` of each HTTP request: few of them, however many paths there are."""

from rover_plugin_routes.plugin import Plugin

__all__ = ["Plugin", "plugin"]

plugin = Plugin()
"""What the entry point names."""
