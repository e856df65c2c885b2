"""Compiles what is hot: each module with a .pxd beside it, and each .pyx.

Without Cython, without a C compiler, or with ROVER_COMPILE=0, the package works all the same, in
plain Python.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("src")


def extensions() -> list[Extension]:
    if os.environ.get("ROVER_COMPILE") == "0":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    typed = (path.with_suffix(".py") for path in SOURCE.rglob("*.pxd"))
    modules = [
        Extension(
            ".".join(path.relative_to(SOURCE).with_suffix("").parts),
            [str(path)],
            extra_compile_args=["-O2", "-g0"],
        )
        for path in sorted([*typed, *SOURCE.rglob("*.pyx")])
    ]
    directives = {"language_level": 3, "annotation_typing": False}
    found: list[Extension] = cythonize(modules, build_dir="build", compiler_directives=directives, quiet=True)
    for module in found:
        module.optional = True  # a failure is a warning
    return found


setup(ext_modules=extensions())
