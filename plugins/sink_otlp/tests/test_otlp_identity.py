"""Which trace a span is of, and whose child: both ends of a request find the same answer."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover import Attributes, Role, Shape
from rover_plugin_sink_otlp import identity
from rover_plugin_sink_otlp.identity import Identities

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def ends(traffic: Any) -> tuple[Any, Any]:
    """Client's and server's end of one connection."""
    server = traffic.connection(Role.SERVER)
    return traffic.other_end(server), server


def test_the_client_is_the_callers_child_and_the_server_the_clients(traffic: Any) -> None:
    client, server = ends(traffic)
    identities = Identities()
    asked = identities.of(traffic.traced(client))
    answered = identities.of(traffic.traced(server))
    assert asked.trace == answered.trace == bytes.fromhex(TRACE)
    assert asked.parent == answered.parent == bytes.fromhex(CALLER)
    assert answered.client == asked.span
    assert identities.watched(answered.connection)
    assert len({asked.span, asked.parent, answered.span}) == 3
    assert not asked.client


def test_a_client_that_is_not_watched_is_not_known(traffic: Any) -> None:
    identities = Identities()
    client, server = ends(traffic)
    answered = identities.of(traffic.traced(server))
    assert not identities.watched(answered.connection)
    other, _ = ends(traffic)
    identities.of(traffic.traced(other))
    identities.of(traffic.exchange(client))  # without a context it is no parent of any
    assert not identities.watched(answered.connection)


@given(order=st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_context_sent_again_and_again(traffic: Any, order: list[tuple[bool, int]]) -> None:
    """A client that sets one header for all its requests: spans differ, and the ends still agree."""
    both = ends(traffic)
    contexts = [f"{n + 1:016x}" for n in range(3)]
    identities = Identities()
    asked: list[list[bytes]] = [[], [], []]
    answered: list[list[bytes]] = [[], [], []]
    for of_client, which in order:
        found = identities.of(traffic.traced(both[0 if of_client else 1], caller=contexts[which]))
        if of_client:
            asked[which].append(found.span)
        else:
            answered[which].append(found.client)
        assert found.span not in (found.parent, found.client)
    for spans, parents in zip(asked, answered, strict=True):
        common = min(len(spans), len(parents))
        assert spans[:common] == parents[:common]
    everything = [span for spans in asked for span in spans]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize(
    ("provider", "trace", "span", "found", "parent"),
    [
        ("w3c", TRACE, CALLER, TRACE, CALLER),
        ("zipkin", TRACE[16:], CALLER, "0" * 16 + TRACE[16:], CALLER),
        ("zipkin", TRACE, "", TRACE, ""),
        ("zipkin", TRACE, None, TRACE, ""),
        ("zipkin", TRACE, "0" * 16, TRACE, ""),
        ("zipkin", TRACE, "xyz", TRACE, ""),
        ("w3c", "0" * 32, CALLER, None, ""),
        ("w3c", "xyz", CALLER, None, ""),
        ("w3c", TRACE[:30] + "  ", CALLER, None, ""),
        ("w3c", "é" * 32, CALLER, None, ""),
        ("w3c", TRACE + "00", CALLER, None, ""),
        ("w3c", "", CALLER, None, ""),
        ("w3c", 7, CALLER, None, ""),
        ("w3c", None, None, None, ""),
    ],
)
def test_contexts(
    traffic: Any, provider: str, trace: object, span: object, found: str | None, parent: str
) -> None:
    said = {"trace.provider": provider, "trace_id": trace, "span_id": span}
    log = traffic.exchange(traffic.connection(Role.CLIENT), said=said)
    names = tuple(log.attributes)
    shaped = log.replace(attributes=Attributes(Shape(names), tuple(log.attributes.values())))
    for each in (log, shaped):
        made = Identities().of(each)
        assert len(made.trace) == 16
        assert len(made.span) == 8
        assert made.parent == bytes.fromhex(parent)
        assert (made.trace.hex() == found) is (found is not None)


def test_skywalkings_trace_ids_are_the_same_at_both_ends(traffic: Any) -> None:
    said = {"trace.provider": "skywalking", "trace_id": "a.b.c", "span_id": "3"}
    client, server = ends(traffic)
    identities = Identities()
    asked = identities.of(traffic.exchange(client, said=said))
    answered = identities.of(traffic.exchange(server, said=said))
    assert asked.trace == answered.trace
    assert (asked.parent, answered.client) == (b"", asked.span)


def test_without_a_context_every_exchange_is_a_trace(traffic: Any) -> None:
    identities, connection = Identities(), traffic.connection()
    found = [identities.of(traffic.exchange(connection)) for _ in range(100)]
    assert len({each.trace for each in found}) == len({each.span for each in found}) == 100
    assert {(each.parent, each.client) for each in found} == {(b"", b"")}


def test_addresses_that_are_not_known(traffic: Any) -> None:
    for changes in ({"local": None}, {"remote": None}, {"role": None}):
        found = Identities().of(traffic.traced(traffic.connection(**changes)))
        assert (found.parent.hex(), found.client) == (CALLER, b"")


def test_what_is_remembered_is_bounded(traffic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "GENERATION", 10)
    monkeypatch.setattr(identity, "MAX_CONNECTIONS", 10)
    monkeypatch.setattr(identity, "MAX_SHAPES", 10)
    identities = Identities()
    for _ in range(100):
        client, server = ends(traffic)
        log = traffic.traced(client, caller=f"{random.getrandbits(64) | 1:016x}")
        shape = Shape(tuple(log.attributes))
        identities.of(log.replace(attributes=Attributes(shape, tuple(log.attributes.values()))))
        identities.of(traffic.traced(server))
    assert len(identities._salts) <= 10
    assert len(identities._picks) <= 10
    for kept in (identities._clients, identities._given, identities._expected):
        assert len(kept._new) <= 10
        assert len(kept._old) <= 10
