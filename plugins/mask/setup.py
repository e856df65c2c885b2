"""Compiles what is hot: `rover.building` says how."""

from rover.building import setup

setup()
