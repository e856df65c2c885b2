"""Who knows a container, asked in a thread: what waits, how long, and what is remembered."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rover_plugin_names import lookup
from rover_plugin_names.cgroups import Place
from rover_plugin_names.container import Container, ForbiddenError, NotThereError, UnreachableError
from rover_plugin_names.lookup import Containers

Answer = Container | None | Exception


def place(number: int = 0) -> Place:
    return Place(container_id=f"{number:064x}")


SHOP, APP = Container("shop"), Container(pod="app-0")


class Knows:
    """A directory that gives these answers, one after the other, and the last again and again."""

    name = "knows"

    def __init__(self, *answers: Answer, gate: threading.Event | None = None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.gate = gate

    def find(self, place: Place) -> Container | None:
        self.asked.append(place.container_id)
        if self.gate is not None:
            self.gate.wait(60)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def containers() -> Iterator[Callable[..., Containers]]:
    made = []

    def make(*directories: Knows) -> Containers:
        made.append(Containers(directories))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits as long as it takes, so that answers do not depend on this machine's load."""
    monkeypatch.setattr(lookup, "WAIT", 60.0)
    monkeypatch.setattr(lookup, "SHARE", 1e6)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.usefixtures("patient")
def test_a_container_is_asked_for_once(containers: Callable[..., Containers]) -> None:
    knows = Knows(SHOP)
    found = containers(knows)
    assert [found.find(place(1)) for _ in range(3)] == [(SHOP, True)] * 3
    assert len(knows.asked) == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("first", [None, NotThereError("no /x")])
def test_the_first_that_knows_it_is_believed(containers: Callable[..., Containers], first: Answer) -> None:
    later = Knows(APP)
    assert containers(Knows(first), Knows(SHOP), later).find(place()) == (SHOP, True)
    assert later.asked == []


@pytest.mark.usefixtures("patient")
def test_with_nobody_to_ask(containers: Callable[..., Containers]) -> None:
    container, _ = containers().find(place())
    assert container == Container()


@pytest.mark.usefixtures("patient")
def test_a_container_that_is_not_known_yet(
    containers: Callable[..., Containers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines and the kubelet write about it while it starts."""
    knows = Knows(None, None, SHOP)
    found = containers(knows)
    assert found.find(place()) == (Container(), False)
    assert found.find(place()) == (Container(), False)
    assert len(knows.asked) == 1, "not before it is due"
    for entry in found._entries.values():
        entry.due = 0
    found.find(place())
    until(lambda: len(knows.asked) == 2 and not found._entries[place().container_id].waiting)
    found._entries[place().container_id].due = 0
    found.find(place())
    until(lambda: found.find(place()) == (SHOP, True))


@pytest.mark.usefixtures("patient")
def test_a_container_that_nobody_ever_knows_is_given_up(
    containers: Callable[..., Containers], monkeypatch: pytest.MonkeyPatch
) -> None:
    knows = Knows(None)
    found = containers(knows)

    def due() -> bool:
        container, final = found.find(place())
        assert container == Container()
        found._entries[place().container_id].due = 0
        return final

    until(due)
    assert len(knows.asked) == lookup.TRIES


@pytest.mark.usefixtures("patient")
def test_who_could_not_be_asked_may_know_it_better(
    containers: Callable[..., Containers], caplog: pytest.LogCaptureFixture
) -> None:
    runtime, files = Knows(UnreachableError("/run/x.sock: refused"), APP), Knows(SHOP)
    found = containers(runtime, files)
    assert found.find(place()) == (SHOP, False)
    assert "names: /run/x.sock: refused; until it answers" in caplog.text
    found._entries[place().container_id].due = found._desks[0]._rests_until = 0
    found.find(place())
    until(lambda: found.find(place()) == (APP, True))


@pytest.mark.usefixtures("patient")
def test_who_could_not_be_asked_rests(
    containers: Callable[..., Containers], caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred containers do not wait for one that hangs a hundred times."""
    broken, files = Knows(UnreachableError("/run/x.sock: refused")), Knows(SHOP)
    found = containers(broken, files)
    for number in range(100):
        assert found.find(place(number)) == (SHOP, False)
    assert len(broken.asked) < 10
    assert len(files.asked) == 100
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("patient")
def test_who_may_not_be_asked_is_asked_once(
    containers: Callable[..., Containers], caplog: pytest.LogCaptureFixture
) -> None:
    """The agent's user stays the same: nothing is to be hoped for."""
    closed = Knows(ForbiddenError("/run/x.sock: Permission denied"))
    found = containers(closed, Knows(SHOP))
    for number in range(10):
        assert found.find(place(number)) == (SHOP, True)
    assert len(closed.asked) == 1
    (record,) = caplog.records
    said = "names: /run/x.sock: Permission denied; its containers have no names from there"
    assert record.getMessage() == said


@pytest.mark.usefixtures("patient")
def test_a_defect_ends_no_thread(
    containers: Callable[..., Containers], caplog: pytest.LogCaptureFixture
) -> None:
    found = containers(Knows(ZeroDivisionError("oops")), Knows(SHOP))
    assert found.find(place(1)) == (SHOP, False)
    assert found.find(place(2)) == (SHOP, False)
    assert "ZeroDivisionError: oops" in caplog.text


def test_nobody_waits_for_one_that_hangs(
    containers: Callable[..., Containers], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand containers wait no longer than one, where that is all that may be waited."""
    monkeypatch.setattr(lookup, "SHARE", 0.0)
    gate = threading.Event()
    found = containers(Knows(SHOP, gate=gate))
    waited = []
    wait_for = found._changed.wait_for

    def count(predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        if timeout is not None:
            waited.append(timeout)
        return wait_for(predicate, timeout)

    monkeypatch.setattr(found._changed, "wait_for", count)
    assert {found.find(place(number)) for number in range(1000)} == {(Container(), False)}
    assert waited
    assert sum(waited) <= lookup.WAIT * 1.001
    gate.set()
    until(lambda: found.find(place(999)) == (SHOP, True))


def test_only_the_first_process_of_a_container_waits(
    containers: Callable[..., Containers], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    found = containers(Knows(SHOP, gate=gate))
    found.find(place())
    monkeypatch.setattr(found, "_wait", lambda entry: pytest.fail("it waits again"))
    assert found.find(place()) == (Container(), False)
    gate.set()


@pytest.mark.usefixtures("patient")
def test_what_is_remembered_is_bounded(
    containers: Callable[..., Containers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "MAX_CONTAINERS", 3)
    knows = Knows(SHOP)
    found = containers(knows)
    for number in range(10):
        found.find(place(number))
        found.find(place(0))
    assert len(found._entries) == 3
    assert knows.asked.count(place(0).container_id) == 1, "the one asked for longest ago goes"


def test_the_end_waits_for_nobody(
    containers: Callable[..., Containers], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gate = threading.Event()
    found = containers(Knows(SHOP, gate=gate))
    found.find(place())
    began = time.monotonic()
    found.close()
    assert time.monotonic() - began < 10  # the question takes a minute
    thread = found._thread
    assert thread is not None
    gate.set()
    thread.join(60)
    assert not thread.is_alive()


def test_without_containers_there_is_no_thread(containers: Callable[..., Containers]) -> None:
    assert containers(Knows(SHOP))._thread is None
