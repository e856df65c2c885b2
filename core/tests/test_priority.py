"""The agent's place among the processes it watches."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from rover.errors import UsageError
from rover.run.priority import set_nice

PROGRAM = """
import os, threading
from rover.run.priority import may_set, set_nice, unmet
os.setpriority(os.PRIO_PROCESS, 0, int(os.environ["BEGIN"]))
if user := os.environ.get("BECOME"):
    os.setuid(int(user))
nice = int(os.environ["NICE"])
print("may" if may_set(nice) else "may not")
print(os.getpriority(os.PRIO_PROCESS, 0))
set_nice(nice)
found = []
thread = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, 0)))
thread.start(); thread.join()
print(os.getpriority(os.PRIO_PROCESS, 0), *found)
print(unmet(nice))
"""
AUTOGROUP = Path("/proc/self/autogroup")
SESSION = """
from pathlib import Path
from rover.run.priority import set_nice
set_nice(-4)
print(Path("/proc/self/autogroup").read_text().split()[-1])
"""


BEGIN = 0 if os.geteuid() == 0 else os.getpriority(os.PRIO_PROCESS, 0)
"""The niceness that the tests begin with, however they were started: root may take it back."""


def run(nice, become="", begin=BEGIN):
    """Whether it may, the niceness that asking left, the one that was set, what is told of it."""
    environment = {**os.environ, "NICE": str(nice), "BECOME": become, "BEGIN": str(begin)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("nice", [7, 19])
def test_it_is_that_of_every_thread_made_later(nice):
    assert run(nice) == ["may", str(BEGIN), f"{nice} {nice}", ""]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go before others")
def test_before_others():
    assert run(-4) == ["may", "0", "-4 -4", ""]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go before others")
@pytest.mark.skipif(not AUTOGROUP.exists(), reason="the kernel groups no sessions")
@pytest.mark.parametrize(("own", "nice"), [(True, "-4"), (False, "0")])
def test_a_session_of_its_own_goes_before_others(own, nice):
    """The kernel lets one process in a tenth of a second set that, but for CAP_SYS_ADMIN."""
    program = SESSION if own else f"import os\nif not os.fork():\n{indent(SESSION, '    ')}\nelse: os.wait()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, start_new_session=True
    )
    assert done.stdout.strip() == nice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_who_may_not_goes_on_as_he_is():
    may, asked, left, told = run(-4, become="65534")
    assert (may, asked, left) == ("may not", "0", "0 0")
    assert told.startswith("run.nice = -4 needs CAP_SYS_NICE")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start with a lower niceness")
def test_who_was_started_with_it_needs_nothing():
    """A service manager sets it before it gives up root: see packaging/systemd/rover.service."""
    assert run(-6, become="65534", begin=-6) == ["may", "-6", "-6 -6", ""]


@pytest.mark.parametrize("nice", [-21, 20])
def test_what_is_no_niceness_is_named(nice):
    with pytest.raises(UsageError, match=f"run.nice = {nice}: must be from -20 to 19"):
        set_nice(nice)
