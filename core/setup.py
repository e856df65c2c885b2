"""Compiles what is hot: `rover.building` says how."""

import sys

sys.path.insert(0, "src")

from rover.building import setup

setup()
