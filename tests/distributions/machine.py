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
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_PROXY")
"""Only what names no file of this machine."""


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
    """What programs in a root get to know of this machine's environment."""
    chosen = {name: os.environ[name] for name in (*VARIABLES, *PIP_VARIABLES) if name in os.environ}
    return {
        **{"HOME": "/root", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "PIP_NO_CACHE_DIR": "1"},
        **chosen,
    }


def introduce(root: Path) -> None:
    """Gives a root this machine's names, certificates, and settings of apt and pip."""
    for name in NETWORK_FILES:
        if Path(name).exists():
            target = root / name[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)
    settings = subprocess.run(["apt-config", "dump"], stdout=subprocess.PIPE, text=True, check=True)
    acquire = [line for line in settings.stdout.splitlines() if line.startswith(("Acquire::http", "Acquire::https"))]
    (root / "etc/apt/apt.conf.d/99machine").write_text("\n".join([*acquire, ""]))
