"""Sockets that the agent's user may not connect to."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import ForbiddenError
from rover_plugin_names.cri import Runtime
from rover_plugin_names.engine import Engine

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("make", [lambda path: Engine("docker", path), Runtime], ids=["engine", "cri"])
def test_one_that_may_not_be_asked(
    fork: Callable[[Callable[[], object]], int], make: Callable[[str], Engine | Runtime]
) -> None:
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        Path(name).chmod(0o755)
        path = f"{name}/engine.sock"
        server.bind(path)
        server.listen()
        Path(path).chmod(0o660)

        def ask() -> None:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            with pytest.raises(ForbiddenError, match="Permission denied"):
                make(path).find(Place(container_id="0" * 64))

        _, status = os.waitpid(fork(ask), 0)
        assert status == 0
