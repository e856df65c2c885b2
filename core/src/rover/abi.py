"""Whether what was compiled fits this core.

A package that was compiled against the core's .pxd files reads the fields of its values where they lay then.
Where the layouts are other ones now, Python would at best refuse the import. So each such package has a
module `_abi`, which holds the number that it was compiled with. Where that is not the core's, its plain
Python runs in its stead, and one line says how to compile it again.
"""

from __future__ import annotations

# Nothing that takes time to import: whatever imports rover imports this.
import sys

TYPE_CHECKING = False  # as type checkers know it
if TYPE_CHECKING:
    import importlib.machinery
    from collections.abc import Sequence
    from types import ModuleType

ABI = 3
"""Of this core: `_abi.pxd` has the same number, and tells when it goes up."""

_FIRST = frozenset(("rover.cli", "rover.__main__", "rover.abi"))
"""What the command imports before it takes its signals: nothing compiled."""


class FittingFinder:
    """Finds the sources of packages whose compiled modules do not fit, and leaves all else to Python."""

    def __init__(self, abi: int = ABI) -> None:
        self._abi = abi
        self._plain: dict[str, bool] = {}  # by package: whether its sources are to be found

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        package, _, module = name.partition(".")
        if path is None or module == "_abi" or not package.startswith("rover") or name in _FIRST:
            return None
        plain = self._plain.get(package)
        if plain is None:
            self._plain[package] = False  # what is imported to find out
            plain = self._plain[package] = not self._fits(package, path)
        if not plain:
            return None
        from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader

        for entry in path:
            if spec := FileFinder(entry, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name, target):
                return spec
        raise ModuleNotFoundError(f"no source of {name}", name=name)

    def _fits(self, package: str, path: Sequence[str]) -> bool:
        compiled = number(package, path)
        if compiled is None or (compiled == self._abi and package == "rover"):
            return True
        core = number("rover", sys.modules["rover"].__path__)
        if compiled == core == self._abi:
            return True
        import logging

        named = package.replace("_", "-")
        if core is None:
            reason, again = "rover-core is not compiled", "rover-core"
        elif core != self._abi:
            reason, again = f"rover-core was compiled with ABI {core}, not {self._abi}", "rover-core"
        else:
            reason, again = f"it was compiled for ABI {compiled}, rover-core has {core}", named
        logging.getLogger("rover").warning(
            "%s runs in plain Python, which is slower: %s; "
            "`pip install --force-reinstall --no-deps --no-binary %s %s` compiles it again",
            named,
            reason,
            again,
            again,
        )
        return False


def number(package: str, path: Sequence[str]) -> int | None:
    """What a package was compiled with; None when it has nothing compiled."""
    from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
    from importlib.util import module_from_spec

    for entry in path:
        spec = FileFinder(entry, (ExtensionFileLoader, EXTENSION_SUFFIXES)).find_spec(f"{package}._abi")
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            found: int = module.ABI
            return found
    return None
