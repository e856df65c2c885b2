"""Compiles what is hot: each module with a .pxd beside it, and each .pyx.

Without Cython, without a C compiler, or with ROVER_COMPILE=0, the package works all the same, in
plain Python.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("src")


def sources() -> list[Path]:
    """The modules that are compiled."""
    return sorted([*(path.with_suffix(".py") for path in SOURCE.rglob("*.pxd")), *SOURCE.rglob("*.pyx")])


def extensions(sources: Sequence[Path], folder: str = "build") -> list[Extension]:
    """What compiles these, translated to C in the folder."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    modules = [
        Extension(
            ".".join(path.relative_to(SOURCE).with_suffix("").parts),
            [str(path)],
            extra_compile_args=["-O2", "-g0"],
        )
        for path in sources
    ]
    directives = {"language_level": 3, "annotation_typing": False}
    found: list[Extension] = cythonize(modules, build_dir=folder, compiler_directives=directives, quiet=True)
    for module in found:
        module.optional = True  # a failure is a warning
    return found


if __name__ == "__main__":
    setup(ext_modules=extensions(sources()) if os.environ.get("ROVER_COMPILE") != "0" else [])
