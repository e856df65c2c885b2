"""`python -m rover` is `rover`."""

from rover.cli import main

main()
