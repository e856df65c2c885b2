"""Rover on other Debian releases than this machine's, each in a root of its own: `make test-distributions`."""
