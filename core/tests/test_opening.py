"""What a protocol says of the beginning of its connections: how much it needs, which ports are its own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from rover import ProtocolSpec, Role, SourceSpec, UsageError, Verdict, Wanted, hookimpl
from rover.cli.run import make_source
from rover.pipeline.recognition import SNIFFED, wanted
from rover.plugins.manager import PluginManager
from rover.run.configuration import Catalogue

OWN = 80  # the server's end of the scripted connections


@pytest.mark.parametrize(
    ("protocols", "pinned", "due"),
    [
        ([], [], Wanted(opening=0, ports=frozenset())),
        ([{"opening": 100}, {"opening": 9000}, {}], [], Wanted(opening=9000, ports=frozenset())),
        (
            [{"ports": frozenset({6379})}, {"ports": frozenset({53, 6379})}],
            [],
            Wanted(ports=frozenset({53, 6379})),
        ),
        ([{"ports": frozenset({6379})}], ["8080"], Wanted(ports=frozenset({6379, 8080}))),
    ],
)
def test_what_is_wanted_is_what_any_of_them_wants(
    lines: ProtocolSpec, protocols: list[dict[str, Any]], pinned: list[str], due: Wanted
) -> None:
    specs = [dataclasses.replace(lines, **each) for each in protocols]
    assert wanted(specs, pinned) == due


@pytest.mark.parametrize("port", ["", "0", "65536", "http", "-1", "٨٠"])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(UsageError, match="not a port number"):
        wanted([], [port])


def test_a_source_is_told_before_it_starts(lines: ProtocolSpec) -> None:
    told: list[Wanted] = []

    class Informed:
        epoch = 0

        def inform(self, wanted: Wanted) -> None:
            told.append(wanted)

        def start(self) -> None: ...
        def poll(self, handler: object, timeout: float) -> bool:
            return False

        def now(self) -> int:
            return 0

        def set_upload(self, connection: int, limit: int) -> None: ...
        def is_open(self, connection: int) -> bool:
            return False

        def counters(self) -> Mapping[str, int]:
            return {}

        def stop(self, handler: object) -> None: ...
        def close(self) -> None: ...

    class Plugin:
        @hookimpl
        def register_protocols(self) -> list[ProtocolSpec]:
            return [dataclasses.replace(lines, opening=9000, ports=frozenset({6379}))]

        @hookimpl
        def register_sources(self) -> list[SourceSpec]:
            return [SourceSpec("made", lambda settings, selection: Informed())]

    manager = PluginManager()
    manager.register(Plugin(), "plugin")
    catalogue = Catalogue(manager)
    settings = catalogue.settings(None, ["ports.8080=lines"], {})
    make_source(catalogue, catalogue.sources["made"], settings)
    assert told == [Wanted(opening=9000, ports=frozenset({6379, 8080}))]


def no(data: bytes | bytearray) -> Verdict:
    return Verdict.NO


def yes(data: bytes | bytearray) -> Verdict:
    return Verdict.YES


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER, None])
@pytest.mark.parametrize(("port", "sniffed"), [(OWN, "own"), (4000, "own"), (81, "any")])
def test_on_its_own_ports_a_protocol_may_sniff_in_another_way(make_bench, lines, role, port, sniffed) -> None:
    """At either end: who is the client is not always known. Elsewhere it sniffs as ever."""
    asked = []

    def sniff(data: bytes | bytearray) -> Verdict:
        asked.append("any")
        return Verdict.NO

    def sniff_own(data: bytes | bytearray) -> Verdict:
        asked.append("own")
        return Verdict.NO

    spec = dataclasses.replace(lines, sniff=sniff, sniff_own=sniff_own, ports=frozenset({port}))
    bench = make_bench(protocols=[spec])
    bench.open(role=role)
    bench.read(b"?whatever\n")
    assert asked == [sniffed]


def test_an_own_port_is_no_pin(make_bench, lines) -> None:
    """The sniff decides: what it does not know may be another protocol's."""
    first = dataclasses.replace(
        lines, name="first", sniff=yes, sniff_own=no, ports=frozenset({OWN}), priority=1
    )
    bench = make_bench(protocols=[lines, first])
    bench.open()
    bench.read(b"?a\n")
    bench.write(b"!a\n")
    assert [log.connection.protocol for log in bench.exchanges] == ["lines"]


@pytest.mark.parametrize(("opening", "shown"), [(0, SNIFFED), (9000, 9000)])
def test_a_sniff_is_shown_as_much_as_its_protocol_asks_for(make_bench, lines, opening, shown) -> None:
    """And answers MAYBE for so long."""
    asked: list[int] = []

    def sniff(data: bytes | bytearray) -> Verdict:
        asked.append(len(data))
        return Verdict.MAYBE

    bench = make_bench(protocols=[dataclasses.replace(lines, sniff=sniff, opening=opening)])
    bench.open()
    for _ in range(shown // 1000 + 1):
        bench.read(b"x" * 1000)
    waited = [size for size in asked if size >= 1000]
    assert max(waited) >= shown
    assert waited[: shown // 1000] == [1000 * n for n in range(1, shown // 1000 + 1)]
