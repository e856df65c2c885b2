"""Finding the BPF Compiler Collection: a distribution's package, outside any virtual environment."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rover.errors import RoverError

PLACES: tuple[Path, ...] = (
    Path("/usr/lib/python3/dist-packages"),  # Debian, Ubuntu
    Path(f"/usr/lib/python3.{sys.version_info.minor}/site-packages"),  # Fedora, Arch, Alpine
    Path("/usr/local/lib/python3/dist-packages"),  # its own `make install`
)
MEND = "on Debian: apt-get install python3-bpfcc"


def find_bcc(places: Sequence[Path] = PLACES) -> ModuleType:
    """The package `bcc`. Raises RoverError when there is none.

    A virtual environment does not see the distribution's packages. Only bcc is loaded from
    there: the whole directory on sys.path would offer this program everything the host has.
    """
    other = ""
    module = sys.modules.get("bcc")
    if module is None:
        try:
            module = importlib.import_module("bcc")
        except ImportError:
            module = None
        except OSError as error:  # its Python part is there, libbcc is not
            raise RoverError(f"bcc cannot be loaded: {error}; {MEND}") from None
    if module is not None:
        if hasattr(module, "BPF"):
            return module
        other = f" ({getattr(module, '__file__', 'the one found')} is PyPI's unrelated package of that name)"
        sys.modules.pop("bcc", None)
    for place in places:
        if (place / "bcc" / "__init__.py").is_file():
            return _load(place / "bcc")
    raise RoverError(f"the BPF Compiler Collection for Python is missing{other}; {MEND}")


def _load(package: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "bcc", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise RoverError(f"{package} cannot be imported; {MEND}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        for name in [name for name in sys.modules if name == "bcc" or name.startswith("bcc.")]:
            del sys.modules[name]
        raise RoverError(f"bcc cannot be loaded from {package}: {error}; {MEND}") from None
    return module
