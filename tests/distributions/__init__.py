"""Rover on Debian releases, each in a root of its own: `make test-distributions`."""
