"""The `rover` command."""

TYPE_CHECKING = False  # as type checkers know it; to import it from `typing` takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: "Sequence[str] | None" = None) -> None:
    """The console script. Exits 0 when all went well, 1 when it failed, 2 when it was asked wrongly."""
    # Before anything else is imported, which takes a tenth of a second: until then Ctrl-C is an exception
    # wherever it comes, with Python's traceback. Now it ends the process, as it does others. The module
    # `signal` would import a dozen others; this one is in the interpreter.
    import _signal  # type: ignore[import-not-found]

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from rover.cli.command import command

    command(arguments)
