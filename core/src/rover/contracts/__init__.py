"""What a plugin implements, one contract per kind of plugin."""
