"""The agent's place among the processes it watches."""

import os
import subprocess
import sys

import pytest

from rover.errors import UsageError
from rover.priority import set_nice

PROGRAM = """
import os, threading
from rover.priority import set_nice
if user := os.environ.get("BECOME"):
    os.setuid(int(user))
set_nice(int(os.environ["NICE"]))
found = []
thread = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
thread.start(); thread.join()
print(os.getpriority(os.PRIO_PROCESS, 0), *found)
"""


def run(nice, become=""):
    environment = {**os.environ, "NICE": str(nice), "BECOME": become}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("nice", [7, 19])
def test_it_is_that_of_every_thread_made_later(nice):
    assert run(nice).stdout == f"{nice} {nice}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go before others")
def test_before_others():
    assert run(-4).stdout == "-4 -4\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_who_may_not_goes_on_as_he_is():
    done = run(-4, become="65534")
    assert done.stdout == "0 0\n"
    assert done.stderr.startswith("run.nice = -4 needs CAP_SYS_NICE")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("nice", "become", "may"), [(-4, "", True), (-4, "65534", False), (4, "65534", True)]
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_whether_it_may_is_asked_without_a_change(nice, become, may):
    program = PROGRAM.replace("set_nice(", "answer = may_set(").replace("print(", "print(answer, ")
    program = program.replace("import set_nice", "import may_set")
    environment = {**os.environ, "NICE": str(nice), "BECOME": become}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{may} 0 0\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start with a lower niceness")
def test_who_was_started_with_it_needs_nothing():
    """A service manager sets it before it gives up root: see packaging/systemd/rover.service."""
    program = PROGRAM.replace("if user", "os.nice(-6)\nif user")
    environment = {**os.environ, "NICE": "-6", "BECOME": "65534"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("-6 -6\n", "")


@pytest.mark.parametrize("nice", [-21, 20])
def test_what_is_no_niceness_is_named(nice):
    with pytest.raises(UsageError, match=f"run.nice = {nice}: must be from -20 to 19"):
        set_nice(nice)
