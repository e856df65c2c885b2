"""The text of a page: exactly what it is, and what promtool says of it."""

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover.metrics import INSTRUMENTS, OVERFLOW, Exemplar, Point
from rover_plugin_sink_prometheus.exposition import (
    OPENMETRICS,
    TEXT,
    Snapshot,
    decimal,
    exemplar_of,
    label_name,
    labels_of,
    name_of,
    pieces,
)

SECOND = 1_000_000_000
BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}
HTTP = BY_NAME["http.server.request.duration"]
DATABASE = BY_NAME["db.client.operation.duration"]
TARGET = (("service.name", "rover"), ("host.name", "here"))


def point(instrument=HTTP, resource=(), attributes=(), counts=None, exemplars=(), took=0):
    counts = counts or (0,) * (len(instrument.bounds) + 1)
    return Point(instrument, resource, attributes, tuple(counts), took, exemplars, 0)


def page(form, points=(), counts=None, gauges=None):
    snapshot = Snapshot(TARGET, points, counts or {}, gauges or {})
    return b"".join(pieces(snapshot, form)).decode()


ONE = point(
    DATABASE,
    (("service.name", "shop"),),
    (("db.system.name", "redis"), ("server.port", 6379)),
    (1, 0, 0, 2, 0, 0, 0, 0, 0, 4),
    (Exemplar("a" * 32, "b" * 16, 500_000, 1700 * SECOND + 5), *(None,) * 9),
    took=42 * SECOND + 7,
)
LABELS = 'service_name="shop",db_system_name="redis",server_port="6379"'
COUNTS = {("rover_exchanges", ()): 7, ("rover_sink_exchanges_lost", (("sink", "oap"), ("cause", "error"))): 1}
GAUGES = {"rover_series": 1}


def test_text():
    assert page(TEXT, [ONE], COUNTS, GAUGES) == (
        "# HELP target_info Who tells this.\n"
        "# TYPE target_info gauge\n"
        'target_info{service_name="rover",host_name="here"} 1\n'
        "# HELP db_client_operation_duration_seconds Duration of database client operations.\n"
        "# TYPE db_client_operation_duration_seconds histogram\n"
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.001"}} 1\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.005"}} 1\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.01"}} 1\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.05"}} 3\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.1"}} 3\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.5"}} 3\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="1.0"}} 3\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="5.0"}} 3\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="10.0"}} 3\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="+Inf"}} 7\n'
        f"db_client_operation_duration_seconds_sum{{{LABELS}}} 42.000000007\n"
        f"db_client_operation_duration_seconds_count{{{LABELS}}} 7\n"
        "# HELP rover_exchanges_total Exchanges seen.\n"
        "# TYPE rover_exchanges_total counter\n"
        "rover_exchanges_total 7\n"
        "# HELP rover_sink_exchanges_lost_total Exchanges that a sink never passed on, by cause.\n"
        "# TYPE rover_sink_exchanges_lost_total counter\n"
        'rover_sink_exchanges_lost_total{sink="oap",cause="error"} 1\n'
        "# HELP rover_series Histograms on this page.\n"
        "# TYPE rover_series gauge\n"
        "rover_series 1\n"
    )


def test_openmetrics():
    text = page(OPENMETRICS, [ONE], COUNTS, GAUGES)
    assert text.startswith(
        "# HELP target Who tells this.\n"
        "# TYPE target info\n"
        'target_info{service_name="rover",host_name="here"} 1\n'
        "# HELP db_client_operation_duration_seconds Duration of database client operations.\n"
        "# TYPE db_client_operation_duration_seconds histogram\n"
        "# UNIT db_client_operation_duration_seconds seconds\n"
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.001"}} 1'
        f' # {{trace_id="{"a" * 32}",span_id="{"b" * 16}"}} 0.000500000 1700.000000005\n'
        f'db_client_operation_duration_seconds_bucket{{{LABELS},le="0.005"}} 1\n'
    )
    assert "# TYPE rover_exchanges counter\nrover_exchanges_total 7\n" in text
    assert text.endswith("# TYPE rover_series gauge\nrover_series 1\n# EOF\n")
    assert text.count("# EOF") == 1


def samples(text):
    return [line.partition(" # ")[0] for line in text.splitlines() if not line.startswith("#")]


def test_both_forms_have_the_same_samples():
    other = point(HTTP, attributes=OVERFLOW, counts=(1,) * 15, took=5)
    pages = [samples(page(form, [ONE, other, ONE], COUNTS, GAUGES)) for form in (TEXT, OPENMETRICS)]
    assert pages[0] == pages[1]


def test_a_series_without_labels():
    lines = samples(page(TEXT, [point()]))
    assert 'http_server_request_duration_seconds_bucket{le="0.005"} 0' in lines
    assert "http_server_request_duration_seconds_count 0" in lines


def test_what_is_beyond_the_most_says_so():
    assert labels_of(OVERFLOW) == 'otel_metric_overflow="true"'


def test_more_series_than_are_joined_at_once():
    points = [point(attributes=(("http.route", f"/{n}"),)) for n in range(1000)]
    text = page(TEXT, points)
    assert re.findall(r'_count{http_route="/(\d+)"}', text) == [str(n) for n in range(1000)]
    assert text.count("# TYPE http_server_request_duration_seconds ") == 1


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda each: each.name)
def test_names(instrument):
    assert name_of(instrument) == instrument.name.replace(".", "_") + "_seconds"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("http.route", "http_route"),
        ("service.name", "service_name"),
        ("a..b--c", "a_b_c"),
        ("_x", "_x"),
        ("9x", "key_9x"),
        ("", "key_"),
        ("caf\u00e9", "caf_"),
    ],
)
def test_label_names(name, label):
    assert label_name(name) == label


def test_names_that_become_one_label():
    assert labels_of((("a.b", "x"), ("a_b", 2), ("c", True))) == 'a_b="x;2",c="true"'


def unescaped(value):
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], value)


@given(st.text())
def test_any_value_is_one_label(value):
    text = labels_of((("x", value),))
    assert "\n" not in text
    match = re.fullmatch(r'x="((?:[^"\\]|\\.)*)"', text, re.DOTALL)
    assert match
    assert unescaped(match[1]) == value


@given(st.text(st.characters()), st.integers(0, 1 << 62))
def test_any_page_is_text(value, took):
    odd = point(attributes=(("x", value + "\ud800"),), counts=(1,) * 15, took=took)
    for form in (TEXT, OPENMETRICS):
        b"".join(pieces(Snapshot(TARGET, [odd], {}, {}), form)).decode()


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0.000000000"), (1, "0.000000001"), (12 * SECOND + 500, "12.000000500")]
)
def test_seconds(ns, text):
    assert decimal(ns) == text


def test_an_exemplar_is_not_longer_than_it_may_be():
    """128 characters, names and values together (OpenMetrics 1.0)."""
    assert exemplar_of(Exemplar("a" * 97, "b" * 16, 1, 1)).startswith(" # ")
    assert exemplar_of(Exemplar("a" * 98, "b" * 16, 1, 1)) == ""
    assert exemplar_of(Exemplar("a" * 120, "", 1, 1)).startswith(' # {trace_id="aaa')
    assert exemplar_of(Exemplar('"\n', "", 1, 2)) == r' # {trace_id="\"\n"} 0.000000001 0.000000002'


def test_promtool_has_nothing_to_say():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian: prometheus)")
    counts = COUNTS | {
        ("rover_records_lost", (("cause", "ring_full"),)): 3,
        ("rover_bytes_after_a_break", ()): 3,
    }
    for number, instrument in enumerate(INSTRUMENTS):
        counts["rover_exchanges_dropped", (("plugin", f"p{number}"),)] = number
        points = [
            point(
                instrument,
                attributes=(("http.route", f'/a"b\\c\n{n}'),),
                counts=(n,) * (len(instrument.bounds) + 1),
            )
            for n in range(3)
        ]
        text = page(TEXT, points, counts, GAUGES)
        ran = subprocess.run(
            [promtool, "check", "metrics"], input=text.encode(), capture_output=True, check=False, timeout=20
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
