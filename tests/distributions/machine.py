"""How this machine reaches its package registries, so that a root reaches them in the same way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", str(CERTIFICATES))
"""Copied into a root, where they are here."""
VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
"""Those that name no file of this machine."""
IN_A_ROOT = {"HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def mirror() -> str:
    """The Debian archive that this machine's apt uses for its own release."""
    known = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SUITE) $(REPO_URI)", "Created-By: Packages"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = [line.split() for line in known.stdout.splitlines()]
    for row in rows:
        if row[0] == "Debian" and row[-1].rstrip("/").endswith("/debian"):
            return row[-1]
    for row in rows:  # of which apt has no lists yet
        if row[-1].rstrip("/").endswith("/debian"):
            return row[-1]
    raise SystemExit("apt knows no Debian archive here: no deb line in /etc/apt names one")


def environment() -> dict[str, str]:
    """For programs in a root."""
    chosen = {name: os.environ[name] for name in (*VARIABLES, *PIP_VARIABLES) if name in os.environ}
    return IN_A_ROOT | chosen


def introduce(root: Path) -> None:
    """Gives a root this machine's names, certificates, and settings of apt and pip."""
    for name in NETWORK_FILES:
        if Path(name).exists():
            target = root / name[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)
    settings = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True)
    network = ("Acquire::http", "Acquire::https")
    lines = [line for line in settings.stdout.splitlines() if line.startswith(network)]
    (root / "etc/apt/apt.conf.d/99machine").write_text("\n".join([*lines, ""]))
