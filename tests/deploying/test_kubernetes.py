"""The manifests: valid for the API, no more privileges than the unit's, settings that the agent takes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import deployment
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue

KUBERNETES = deployment.PACKAGING / "kubernetes"
MANIFESTS = sorted(KUBERNETES.glob("*.yaml"))
CONFIGS = sorted(KUBERNETES.glob("config-*.yaml"))
VERSIONS = ("1.30", "1.34", "latest")
"""1.30 is the first with appArmorProfile."""

yaml = pytest.importorskip("yaml", reason="needs PyYAML (comes with kubernetes-validate)")


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def pod() -> dict[str, Any]:
    """The DaemonSet's template."""
    (daemonset,) = (each for each in documents(KUBERNETES / "daemonset.yaml") if each["kind"] == "DaemonSet")
    template: dict[str, Any] = daemonset["spec"]["template"]["spec"]
    return template


def config(path: Path) -> str:
    (document,) = documents(path)
    text: str = document["data"]["rover.toml"]
    return text


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_the_api_takes_it(path: Path, version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    if version == "latest":
        version = validate.latest_version()
    for document in documents(path):
        validate.validate(document, version, strict=True)


def test_a_misspelt_field_is_noticed() -> None:
    """The schema is strict, else the test above could not fail."""
    validate = pytest.importorskip("kubernetes_validate")
    (document,) = (each for each in documents(KUBERNETES / "daemonset.yaml") if each["kind"] == "DaemonSet")
    document["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(validate.ValidationError):
        validate.validate(document, validate.latest_version(), strict=True)


def test_privileges_are_the_units_and_those_of_run_nice() -> None:
    (container,) = pod()["containers"]
    context = container["securityContext"]
    assert context["capabilities"]["drop"] == ["ALL"]
    added = [name.lower() for name in context["capabilities"]["add"]]
    assert sorted(added) == sorted([*deployment.unit_capabilities(), "sys_nice"])
    assert context["privileged"] is context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False
    assert pod().get("hostNetwork", False) is pod().get("hostIPC", False) is False


def test_what_is_mounted_is_there_and_what_is_there_is_mounted() -> None:
    (container,) = pod()["containers"]
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(volumes) == set(mounts)
    for name, volume in volumes.items():
        if "hostPath" in volume and name != "state":
            assert mounts[name]["readOnly"] is True
    assert mounts["config"]["mountPath"] + "/rover.toml" == container["args"][-1]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_its_settings_are_taken(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "rover.toml"
    file.write_text(config(path))
    manager = PluginManager()
    manager.load_entry_points()
    settings = Catalogue(manager).settings(file, (), {})
    assert settings["run.sinks"] == tomllib.loads(config(path))["run"]["sinks"]
    assert documents(path)[0]["metadata"]["name"] == "rover"


def test_the_units_settings_are_taken() -> None:
    manager = PluginManager()
    manager.load_entry_points()
    settings = Catalogue(manager).settings(deployment.PACKAGING / "systemd/rover.toml", (), {})
    assert settings["run.sinks"] == ["jsonl"]


def test_the_environment_is_what_the_agent_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = pod()["containers"]
    manager = PluginManager()
    manager.load_entry_points()
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], "of-the-environment")
    settings = Catalogue(manager).settings(None, (), {})
    assert settings["sink.oap.node_name"] == settings["sink.oap.authentication"] == "of-the-environment"
