"""Access logs of every process on a Linux host, as a framework of plugins.

What a plugin author needs is here, in one place: `rover.api` lists it. docs/plugins.md tells how to use it.
"""

# Whoever imports a part of rover imports this first. So it imports nothing that takes time until a name of
# `rover.api` is asked for (PEP 562): the command has taken its signals some milliseconds after its start, not
# a hundred.
import sys

from rover.abi import FittingFinder

sys.meta_path.insert(0, FittingFinder())
TYPE_CHECKING = False  # as type checkers know it; to import it from `typing` takes milliseconds
if TYPE_CHECKING:
    from rover.api import *  # noqa: F403
    from rover.api import __all__ as __all__


def __getattr__(name: str) -> object:
    if name.startswith("__") and name != "__all__":  # what Python itself looks for
        raise AttributeError(name)
    import importlib

    api = importlib.import_module("rover.api")
    if name != "__all__" and name not in api.__all__:
        raise AttributeError(f"module 'rover' has no attribute {name!r}")
    value: object = getattr(api, name)
    globals()[name] = value
    return value
