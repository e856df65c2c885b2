"""Installs every package of the workspace editable: `python -m workspace.editable`.

pip would start three processes for each package, one after the other. Here the packages' own backends
(PEP 660) build them side by side, each in a fork of one process that has imported what they share, and
pip installs what came of it at once. What they require has been installed before.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType

from workspace.members import ROOT, configuration, members


def build(member: Path, backend: ModuleType, folder: Path) -> int:
    """Starts to build a package's editable wheel into the folder; the process that does."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(member)
        backend.build_editable(str(folder))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> int:
    """The exit code."""
    os.environ["ROVER_COMPILE"] = "0"  # workspace.compile does
    sys.path.insert(0, str(ROOT / "core/src"))  # what is not installed yet says how the packages are built
    with tempfile.TemporaryDirectory() as folder:
        names = {member: configuration(member)["build-system"]["build-backend"] for member in members()}
        backends = {member: importlib.import_module(name) for member, name in names.items()}
        children = [build(member, backend, Path(folder)) for member, backend in backends.items()]
        failures = [child for child in children if os.waitpid(child, 0)[1]]
        if failures:
            return 1
        wheels = sorted(map(str, Path(folder).glob("*.whl")))
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        install = [*pip, "--no-index", "--no-deps", "--force-reinstall", *wheels]
        return subprocess.run(install, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
