"""`rover top` and `rover map` on this host: what nginx served is in the table; who asked for it is known."""

import re
import signal
import subprocess
import sys

import pytest

from harness import wait_until
from tmux import Tmux

pytestmark = pytest.mark.live


def ask(url: str, count: int) -> None:
    """Over one connection."""
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"{url}?[1-{count}]"], check=True)


def test_a_live_table(nginx, tmp_path):
    command = [sys.executable, "-m", "rover", "top", "--pid", str(nginx.program.pid)]
    with Tmux(tmp_path, command) as terminal:
        terminal.wait_for("rover top: ebpf  0 exchanges", "q quit")
        ask(nginx.url + "/", 30)
        ask(nginx.url + "/nowhere", 3)
        terminal.wait_for(
            "33 exchanges",
            also=lambda screen: (
                [line.split()[1:4:2] for line in screen[3:6]] == [["/", "30"], ["/nowhere", "3"], []]
            ),
        )
        # It counts anew from here on.
        terminal.press("/")
        terminal.type("status == 404")
        terminal.press("Enter")
        terminal.wait_for("only status == 404", " 0 exchanges")
        ask(nginx.url + "/", 2)
        ask(nginx.url + "/nowhere", 2)
        terminal.wait_for(" 2 exchanges", "GET /nowhere")
        terminal.press("Enter")
        terminal.wait_for("the last of route GET /nowhere", "404", "nginx[", "recvfrom")
        terminal.press("q", "q")
        code, text = terminal.ended()
    assert code == 0
    assert "rover: top logged 37, lost 0" in text


def test_once_in_a_pipe(nginx, start_program):
    top = start_program(sys.executable, "-m", "rover", "top", "--pid", nginx.program.pid, "--by", "status")
    top.wait_for("watching through")
    ask(nginx.url + "/", 5)
    wait_until(lambda: len(nginx.entries()) == 5, "the witness")
    assert top.stop(signal.SIGINT) == 0
    assert [line.split()[0] for line in top.out] == ["STATUS", "200", "total"]
    assert [line.split()[2] for line in top.out[1:]] == ["5", "5"]


def test_a_live_map_joins_both_ends(nginx, start_program, tmp_path):
    """nginx asks itself for what it proxies. Who asks nginx is known where it is watched."""
    dot = tmp_path / "map.dot"
    rover = (sys.executable, "-m", "rover", "map")
    of_nginx = start_program(*rover, "--pid", nginx.program.pid)
    of_port = start_program(*rover, "--port", nginx.port, "--dot", dot)
    for each in (of_nginx, of_port):
        each.wait_for("watching through")
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"{nginx.url}/back/?[1-4]"], check=True)
    wait_until(lambda: len(nginx.entries()) >= 4, "the witness")
    for each, number in ((of_nginx, signal.SIGTERM), (of_port, signal.SIGINT)):
        assert each.stop(number) == 0
    front, back = edges(of_nginx.out)
    if front[0] == "nginx":
        front, back = back, front
    assert front == ["127.0.0.1", "nginx", "http", str(nginx.port), "4"]
    assert back[:3] + back[4:] == ["nginx", "nginx", "http", "4"]
    assert edges(of_port.out) == [["curl", "nginx", "http", str(nginx.port), "4"]]
    assert re.findall(r'label="(\w+)"', dot.read_text()) == ["curl", "nginx"]


def edges(lines: list[str]) -> list[list[str]]:
    """Client, server, protocol, port and count of each."""
    return [[*cells[:4], cells[5]] for cells in map(str.split, lines[1:])]
