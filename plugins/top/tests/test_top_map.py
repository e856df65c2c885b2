"""Who talks to whom, and how a map is written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from top_logs import MILLISECOND, broken, connection, exchange

from rover import AccessLog, Address, Process, Role
from rover.testing import access_logs
from rover_plugin_top.conversations import MAX_EDGES, MAX_PAIRS, Conversations, Edge, Figures
from rover_plugin_top.counting import OTHER
from rover_plugin_top.graphs import MERMAID, dot, entities, mermaid, quoted
from rover_plugin_top.mapping import table
from rover_plugin_top.text import printable


def edges_of(*logs: AccessLog) -> dict[Edge, Figures]:
    conversations = Conversations()
    for log in logs:
        conversations.add(log)
    return dict(conversations.edges())


SERVER, CLIENT = connection(1), connection(1, Role.CLIENT)
"""The two ends of one socket connection."""
BOTH = Edge("curl", "nginx", "http", 80)


def test_an_exchange_seen_from_both_ends_is_one():
    slow = 5 * MILLISECOND
    found = edges_of(
        *(exchange(of=CLIENT, took=slow), exchange(of=SERVER)),
        *(exchange(of=SERVER, status=500), exchange(of=CLIENT, status=500, took=slow)),
    )
    assert found.keys() == {BOTH}
    figures = found[BOTH]
    assert (figures.count, figures.errors, figures.bytes) == (2, 1, 200)
    assert figures.p95 == pytest.approx(slow, rel=0.02)  # as the client sees it, network included


def test_who_has_seen_more_has_seen_all():
    assert edges_of(exchange(of=CLIENT), *[exchange(of=SERVER)] * 3)[BOTH].count == 3


def test_one_end_alone_is_known_by_its_name_and_the_other_by_its_address():
    assert edges_of(exchange(of=SERVER)).keys() == {Edge("10.0.0.1", "nginx", "http", 80)}
    assert edges_of(exchange(of=CLIENT)).keys() == {Edge("curl", "10.0.0.2", "http", 80)}
    assert edges_of(exchange(of=connection(process=None))).keys() == {
        Edge("10.0.0.1", "10.0.0.2", "http", 80)
    }


def test_processes_of_a_program_are_one_and_a_service_has_its_name():
    logs = [exchange(of=connection(pid, process=Process(pid=pid, name="nginx"))) for pid in (1, 2)]
    assert edges_of(*logs).keys() == {Edge("10.0.0.1", "nginx", "http", 80)}
    named = Process(pid=9, name="python3", attributes={"service.name": "shop"})
    assert edges_of(exchange(of=connection(process=named))).keys() == {Edge("10.0.0.1", "shop", "http", 80)}


def test_behind_a_proxy_the_proxy_is_who_talks():
    proxied = connection(proxied=Address(host="192.0.2.1", port=5))
    assert edges_of(exchange(of=proxied)).keys() == {Edge("10.0.0.1", "nginx", "http", 80)}


def test_breaks_are_counted_and_what_has_no_direction_is_left_out():
    assert edges_of(broken(of=SERVER))[Edge("10.0.0.1", "nginx", "http", 80)].breaks == 1
    assert edges_of(broken(of=connection(role=None)), exchange(of=connection(local=None))) == {}
    edges_of(*access_logs())


def test_new_connections_without_end_are_as_few_edges():
    conversations = Conversations()
    for number in range(2 * MAX_PAIRS):
        for role in Role:
            conversations.add(exchange(of=connection(number, role)))
    assert len(conversations._pairs) <= MAX_PAIRS
    ((edge, figures),) = conversations.edges()
    assert (edge, figures.count) == (BOTH, 2 * MAX_PAIRS)


def test_too_many_edges_are_one():
    found = edges_of(
        *(exchange(of=connection(remote=Address(host=f"10.{at}", port=5))) for at in range(MAX_EDGES + 10))
    )
    assert len(found) == MAX_EDGES + 1
    assert found[Edge(OTHER, OTHER, OTHER, 0)].count == 10


# -- how it is written -----------------------------------------------------------------------------

EDGES = [
    (Edge("curl", "nginx", "http", 80), Figures(12.5, 100, 3, 1, 2 * MILLISECOND, 54321)),
    (Edge("nginx", "10.0.0.9", "redis", 6379), Figures(0.0, 0, 0, 1, 0, 0)),
]


def test_a_table():
    assert list(table(EDGES)) == [
        "CLIENT  SERVER    PROTOCOL  PORT  RATE  COUNT  ERRORS  BREAKS     P95  BYTES",
        "curl    nginx     http        80    12    100       3       1  2.00ms  54321",
        "nginx   10.0.0.9  redis     6379     0      0       0       1       -      0",
    ]


def test_for_graphviz():
    assert list(dot(EDGES)) == [
        "digraph rover {",
        "  rankdir=LR;",
        "  node [shape=box];",
        '  n0 [label="curl"];',
        '  n1 [label="nginx"];',
        '  n2 [label="10.0.0.9"];',
        '  n0 -> n1 [label="http :80\\n12/s, p95 2.00ms\\n3 errors, 1 break", color=red];',
        '  n1 -> n2 [label="redis :6379\\nno exchange\\n1 break", color=red];',
        "}",
    ]


def test_for_mermaid():
    assert list(mermaid(EDGES)) == [
        "flowchart LR",
        '  n0["curl"]',
        '  n1["nginx"]',
        '  n2["10.0.0.9"]',
        '  n0 -->|"http :80<br/>12/s, p95 2.00ms<br/>3 errors, 1 break"| n1',
        '  n1 -->|"redis :6379<br/>no exchange<br/>1 break"| n2',
    ]


@given(st.text(st.characters() | st.sampled_from('"\\\n<>&#`\x1b')))
def test_names_that_would_be_more_are_quoted(name):
    """Read back by the rules of each language, they are what was meant."""
    inside = quoted(name)[1:-1]
    assert re.fullmatch(r'(?:[^"\\]|\\["\\])*', inside)
    assert re.sub(r"\\(.)", r"\1", inside) == printable(name)
    text = entities(name)
    assert not set(text) & set('"<>&`\\')
    back = {value: chr(key) for key, value in MERMAID.items()}
    assert re.sub("|".join(map(re.escape, back)), lambda found: back[found[0]], text) == printable(name)
