"""How rover's packages are built: what is hot is compiled, each module with a .pxd beside it, and each .pyx.

A package's setup.py calls `setup`, and its pyproject.toml names rover-core in what the build requires: its
declarations are in the core. Without Cython, without a C compiler, or with ROVER_COMPILE=0, the package works
all the same, in plain Python.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SOURCE = Path("src")
REFUSED = ("incompatible-pointer-types", "int-conversion", "implicit-function-declaration")
"""What GCC 14 takes for an error, and older compilers only warn of: nobody builds here what fails there."""


def sources() -> list[Path]:
    """The modules of the package in this directory that are compiled."""
    typed = (path.with_suffix(".py") for path in SOURCE.rglob("*.pxd"))
    return sorted([*(path for path in typed if path.exists()), *SOURCE.rglob("*.pyx")])


def extensions(sources: Sequence[Path], folder: str = "build") -> list[Any]:
    """What compiles these (setuptools.Extension), translated to C in the folder."""
    from setuptools import Extension

    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = [
        Extension(
            ".".join(path.relative_to(SOURCE).with_suffix("").parts),
            [str(path)],
            extra_compile_args=["-O2", "-g0", *(f"-Werror={each}" for each in REFUSED)],
        )
        for path in sources
    ]
    directives = {"language_level": 3, "annotation_typing": False}
    core = str(Path(__file__).parent.parent)  # where cimport finds the declarations of the core
    found: list[Any] = cythonize(  # type: ignore[no-untyped-call,unused-ignore]
        modules, build_dir=folder, compiler_directives=directives, include_path=[core], quiet=True
    )
    for module in found:
        module.optional = True  # a failure is a warning
    return found


def setup() -> None:
    """Builds the package in this directory."""
    import setuptools

    compiles = os.environ.get("ROVER_COMPILE") != "0"
    setuptools.setup(ext_modules=extensions(sources()) if compiles else [])
