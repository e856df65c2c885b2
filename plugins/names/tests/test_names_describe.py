"""What the access logs of a process carry, and the plugin as the core calls it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rover import Process, Provisional, UsageError
from rover.cli.doctor import checked
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue
from rover_plugin_names import Names, describe
from rover_plugin_names.cgroups import Place
from rover_plugin_names.configuration import configure
from rover_plugin_names.container import Container
from rover_plugin_names.describe import Describer
from rover_plugin_names.pods import Owner
from rover_plugin_names.settings import SETTINGS

ID, UID = "0123456789abcdef" * 4, "12345678-9abc-def0-1234-56789abcdef0"
DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
POD = Container(
    pod="shop-6d4b75cb6d-x7k2p", namespace="prod", pod_container="app", owner=Owner("deployment", "shop")
)


class Containers:
    """Knows one container."""

    def __init__(self) -> None:
        self.known: tuple[Container, bool] = (Container(), True)
        self.asked: list[Place] = []

    def find(self, place: Place) -> tuple[Container, bool]:
        self.asked.append(place)
        return self.known


Write = Callable[[int, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts a process into a cgroup."""

    def put(pid: int, cgroup: str) -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cgroup").write_text(f"0::{cgroup}\n")

    return put


@pytest.fixture
def containers() -> Containers:
    return Containers()


@pytest.fixture
def describer(tmp_path: Path, containers: Containers) -> Describer:
    known: Any = containers
    return Describer(configure(DEFAULTS), known, tmp_path)


def process(pid: int = 7, name: str = "java") -> Process:
    return Process(pid=pid, name=name)


@pytest.mark.parametrize(
    ("cgroup", "container", "attributes"),
    [
        ("/", Container(), {"service.name": "java"}),
        ("/user.slice/session-3.scope", Container(), {"service.name": "java"}),
        (
            "/system.slice/nginx.service",
            Container(),
            {"service.name": "nginx", "rover.systemd.unit": "nginx"},
        ),
        ("/lxc.payload.mail", Container(), {"service.name": "mail", "container.name": "mail"}),
        (f"/docker/{ID}", Container(), {"service.name": "java", "container.id": ID}),
        (
            f"/docker/{ID}",
            Container("shop"),
            {"service.name": "shop", "container.id": ID, "container.name": "shop"},
        ),
        (
            f"/docker/{ID}",
            Container("shop-web-1", "web", "shop"),
            {
                "service.name": "web",
                "service.namespace": "shop",
                "container.id": ID,
                "container.name": "shop-web-1",
            },
        ),
        (
            f"/kubepods/pod{UID}/{ID}",
            POD,
            {
                "service.name": "shop",
                "service.namespace": "prod",
                "container.id": ID,
                "k8s.namespace.name": "prod",
                "k8s.pod.name": "shop-6d4b75cb6d-x7k2p",
                "k8s.pod.uid": UID,
                "k8s.container.name": "app",
                "k8s.deployment.name": "shop",
            },
        ),
        (
            f"/kubepods/pod{UID}/{ID}",
            Container(pod="db-0", namespace="prod", owner=Owner("", "db")),
            {
                "service.name": "db",
                "service.namespace": "prod",
                "container.id": ID,
                "k8s.namespace.name": "prod",
                "k8s.pod.name": "db-0",
                "k8s.pod.uid": UID,
                "rover.k8s.workload": "db",
            },
        ),
        (
            f"/kubepods/pod{UID}/{ID}",
            Container(pod="b-29012345-x7k2p", namespace="prod", owner=Owner("job", "b-29012345", "b")),
            {
                "service.name": "b",
                "service.namespace": "prod",
                "container.id": ID,
                "k8s.namespace.name": "prod",
                "k8s.pod.name": "b-29012345-x7k2p",
                "k8s.pod.uid": UID,
                "k8s.job.name": "b-29012345",
                "k8s.cronjob.name": "b",
            },
        ),
        (
            f"/kubepods/pod{UID}/{ID}",
            Container(pod="web", namespace="prod", owner=Owner("", "web")),
            {
                "service.name": "web",
                "service.namespace": "prod",
                "container.id": ID,
                "k8s.namespace.name": "prod",
                "k8s.pod.name": "web",
                "k8s.pod.uid": UID,
            },
        ),
    ],
)
def test_what_logs_carry(
    describer: Describer,
    containers: Containers,
    write: Write,
    cgroup: str,
    container: Container,
    attributes: Mapping[str, str],
) -> None:
    containers.known = container, True
    write(7, cgroup)
    said = describer.describe(process())
    assert said == attributes
    assert type(said) is dict
    assert bool(containers.asked) == (ID in cgroup)


def test_a_process_that_has_ended_is_not_named_after_its_command(describer: Describer) -> None:
    assert describer.describe(process()) is None


def test_what_is_not_known_yet_is_provisional_even_of_one_that_ends(
    describer: Describer, containers: Containers, write: Write, tmp_path: Path
) -> None:
    containers.known = Container(), False
    write(7, f"/docker/{ID}")
    for _ in range(2):
        said = describer.describe(process())
        assert type(said) is Provisional
        assert said == {"service.name": "java", "container.id": ID}
        (tmp_path / "7/cgroup").unlink(missing_ok=True)
    containers.known = Container("shop"), True
    said = describer.describe(process())
    assert type(said) is dict
    assert said["service.name"] == "shop"
    assert not describer._places


def test_processes_waiting_are_bounded(
    describer: Describer, containers: Containers, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "MAX_PROCESSES", 3)
    containers.known = Container(), False
    for pid in range(10):
        write(pid, f"/docker/{ID}")
        describer.describe(process(pid))
    assert [pid for pid, _ in describer._places] == [7, 8, 9]


def test_the_longest_names_fit_into_what_logs_of_a_process_may_carry(
    tmp_path: Path, containers: Containers, write: Write
) -> None:
    from rover.plugins.guard import checked_description

    long = "x" * 255
    containers.known = Container(*[long] * 6, Owner("job", long, long)), True
    write(7, f"/system.slice/{long[8:]}.service/kubepods/pod{UID}/{ID}")
    known: Any = containers
    every = ["{process}{unit}{container}{compose_service}{compose_project}{workload}{pod}{namespace}"]
    configuration = configure({**DEFAULTS, "service": every, "service_namespace": every})
    said = Describer(configuration, known, tmp_path).describe(process(name=long))
    assert said is not None
    assert len(said) == 11
    checked_description(said)


def test_names_are_by_the_users_patterns(tmp_path: Path, containers: Containers, write: Write) -> None:
    containers.known = POD, True
    write(7, f"/kubepods/pod{UID}/{ID}")
    known: Any = containers
    patterns = {
        "service": ["{unit}", "{namespace}/{workload}-{container_id}"],
        "service_namespace": ["{unit}"],
    }
    said = Describer(configure({**DEFAULTS, **patterns}), known, tmp_path).describe(process())
    assert said is not None
    assert said["service.name"] == "prod/shop-0123456789ab"
    assert "service.namespace" not in said


@pytest.mark.parametrize("name", ["service", "service_namespace"])
def test_a_pattern_that_cannot_work_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^plugin\.names\.{name} "):
        configure({**DEFAULTS, name: ["{nothing}"]})


def test_who_is_asked_in_which_order() -> None:
    names = [each.name for each in configure(DEFAULTS).directories()]
    assert names == [*["cri"] * 4, "docker", "podman", "files"]
    nobody: dict[str, object] = {"cri": [], "docker": "", "podman": "", "files": False}
    assert configure({**DEFAULTS, **nobody}).directories() == ()
    assert configure({**DEFAULTS, **nobody, "cri": [""]}).directories() == ()


# -- as the core calls it ---------------------------------------------------------------------


@pytest.fixture
def started() -> Iterator[tuple[Names, PluginManager, Catalogue]]:
    """A plugin that has started, with nobody to ask."""
    manager, plugin = PluginManager(), Names()
    manager.register(plugin, "names")
    catalogue = Catalogue(manager)
    nobody = ["cri=", "docker=/nowhere", "podman=", "files=true"]
    settings = catalogue.settings(None, [f"plugin.names.{each}" for each in nobody], {})
    plugin.startup(settings)
    yield plugin, manager, catalogue
    plugin.shutdown()


def test_in_a_replay_nothing_is_said(started: tuple[Names, PluginManager, Catalogue]) -> None:
    plugin, _, _ = started
    this = process(os.getpid(), "python")
    assert plugin.describe_process(this, live=False) is None
    said = plugin.describe_process(this, live=True)
    assert said is not None
    assert "service.name" in said


def test_before_the_start_and_after_the_end_nothing_is_said(
    started: tuple[Names, PluginManager, Catalogue],
) -> None:
    plugin, _, _ = started
    this = process(os.getpid(), "python")
    assert Names().describe_process(this, live=True) is None
    plugin.shutdown()
    plugin.shutdown()
    assert plugin.describe_process(this, live=True) is None


def test_the_doctor_has_a_line_for_each(started: tuple[Names, PluginManager, Catalogue]) -> None:
    _, manager, catalogue = started
    ((_, check),) = manager.implementations("check_host")
    returned: Any = check(catalogue.settings(None, ["plugin.names.docker=/nowhere", "plugin.names.cri="], {}))
    lines = {line.subject: line for line in checked(returned)}
    assert set(lines) == {"names docker", "names podman", "names files"}
    assert lines["names docker"].finding == "no /nowhere"
    assert not lines["names docker"].tried
    assert not any(line.required for line in lines.values())
