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
    assert (done.stdout, done.stderr) == ("0 0\n", "")


@pytest.mark.parametrize("nice", [-21, 20])
def test_what_is_no_niceness_is_named(nice):
    with pytest.raises(UsageError, match=f"run.nice = {nice}: must be from -20 to 19"):
        set_nice(nice)
