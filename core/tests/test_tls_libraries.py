"""register_tls_libraries: what a plugin for a TLS library says of files, and what the core makes of it."""

from __future__ import annotations

import dataclasses
import io
import types
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest

from rover import BioLayout, Moment, TlsFunction, TlsLibrarySpec, TlsProbe, TlsProbes, hookimpl
from rover.plugins.manager import PluginManager
from rover.plugins.tls_library import checked_probes
from rover.run.configuration import Catalogue

PROBE = TlsProbe(offset=4096, function=TlsFunction.READ, moment=Moment.ENTRY)
LAYOUT = BioLayout(rbio=16, wbio=24, num_read=96, num_written=104)
PROBES = TlsProbes(library="Acme 1.0", probes=(PROBE,), bio=LAYOUT)


def library(find: Callable[..., Any] = lambda file, needed: PROBES) -> Any:
    class Acme:
        @hookimpl
        def register_tls_libraries(self) -> list[TlsLibrarySpec]:
            return [TlsLibrarySpec(name="acme", find=find)]

    return Acme()


def registered(plugin: Any) -> tuple[PluginManager, TlsLibrarySpec]:
    manager = PluginManager()
    manager.register(plugin, "acme")
    (spec,) = Catalogue(manager).tls_libraries
    return manager, spec


def nothing(name: str) -> BinaryIO | None:
    return None


def test_what_a_plugin_finds_is_passed_on() -> None:
    manager, spec = registered(library())
    assert spec.find(io.BytesIO(), nothing) == PROBES
    assert manager.plugins[0].provides == ["tls acme"]
    assert not list(manager.failures())


@pytest.mark.parametrize("result", [None, "it is stripped"])
def test_a_file_without_probes(result: str | None) -> None:
    _, spec = registered(library(lambda file, needed: result))
    assert spec.find(io.BytesIO(), nothing) == result


def test_a_reason_is_a_line_that_a_terminal_can_show() -> None:
    _, spec = registered(library(lambda file, needed: "a\x1b[2Jb\n" * 1000))
    said = spec.find(io.BytesIO(), nothing)
    assert isinstance(said, str)
    assert said.startswith("a\\x1b[2Jb\\n")
    assert said.isprintable()
    assert len(said) < 5000


def failing(*_: object) -> Any:
    raise SystemExit("enough")


def test_a_plugin_that_fails_is_counted_and_its_file_cannot_be_read() -> None:
    manager, spec = registered(library(failing))
    assert spec.find(io.BytesIO(), nothing) == "the plugin for acme failed on it"
    assert manager.plugins[0].failures == {"acme: find: SystemExit": 1}


@pytest.mark.parametrize("answer", [False, 1, b"it is stripped", [PROBE]])
def test_an_answer_of_another_type_is_a_failure(answer: object) -> None:
    manager, spec = registered(library(lambda file, needed: answer))
    assert spec.find(io.BytesIO(), nothing) == "the plugin for acme failed on it"
    assert list(manager.plugins[0].failures) == ["acme: find: TypeError"]


def changed(**changes: Any) -> TlsProbes:
    return dataclasses.replace(PROBES, probes=(dataclasses.replace(PROBE, **changes),))


WRONG = {
    "another type": [PROBE],
    "no probes": dataclasses.replace(PROBES, probes=()),
    "a list of probes": dataclasses.replace(PROBES, probes=[PROBE]),  # type: ignore[arg-type]
    "more than a file has": dataclasses.replace(
        PROBES, probes=tuple(dataclasses.replace(PROBE, offset=n) for n in range(1, 1000))
    ),
    "twice at a place": dataclasses.replace(PROBES, probes=(PROBE, PROBE)),
    "a library without a name": dataclasses.replace(PROBES, library=None),  # type: ignore[arg-type]
    "a convention that is none": dataclasses.replace(PROBES, convention=1),  # type: ignore[arg-type]
    "an offset before the file": changed(offset=-1),
    "an offset behind any file": changed(offset=1 << 50),
    "an offset that is no number": changed(offset="4096"),
    "a function that is a number": changed(function=1),
    "a moment that is a number": changed(moment=1),
    "an argument on the stack": changed(buffer=7),
    "an argument 0": changed(object=0),
    "a layout of another type": dataclasses.replace(PROBES, bio={"rbio": 16}),  # type: ignore[arg-type]
    "a field far away": dataclasses.replace(PROBES, bio=dataclasses.replace(LAYOUT, wbio=1 << 20)),
    "a kind that is no offset": dataclasses.replace(PROBES, bio=dataclasses.replace(LAYOUT, kind=-4)),
    "a path that is too long": dataclasses.replace(
        PROBES, bio=dataclasses.replace(LAYOUT, client_random=(1, 2, 3))
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_probes_that_no_source_could_set_are_refused(wrong: object) -> None:
    with pytest.raises(TypeError):
        checked_probes(wrong)


@pytest.mark.parametrize(
    "spec",
    [
        TlsLibrarySpec(name="a.b", find=print),
        TlsLibrarySpec(name="acme", find=None),  # type: ignore[arg-type]
        TlsLibrarySpec(name="acme", find=7),  # type: ignore[arg-type]
        print,
    ],
)
def test_a_specification_is_checked(spec: object) -> None:
    manager = PluginManager()

    @hookimpl
    def register_tls_libraries() -> Any:
        return [spec]

    manager.register(types.SimpleNamespace(register_tls_libraries=register_tls_libraries), "acme")
    assert Catalogue(manager).tls_libraries == []
    assert list(manager.plugins[0].failures) == ["register_tls_libraries: TypeError"]
