"""Access logs as histograms: which instrument, which attributes, how many series."""

from __future__ import annotations

import collections
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import AccessLog, Address, Attributes, Connection, Outcome, Process, Role, Shape
from rover.http import KNOWN_METHODS
from rover.metrics import INSTRUMENTS, OVERFLOW, SERVICE, Exemplar, Requests, named_by
from rover.metrics.conventions import describe, split_host
from rover.testing.sinks import access_logs

SECOND = 1_000_000_000
SHOP = Process(
    pid=7, name="python3", attributes={"service.name": "shop", "service.namespace": "prod", "x": "y"}
)
NGINX = Process(pid=8, name="nginx")
HERE, THERE = Address(host="10.0.0.1", port=8080), Address(host="10.0.0.2", port=40_000)


def make_log(
    role=Role.SERVER,
    process=SHOP,
    tls=False,
    outcome=Outcome.COMPLETE,
    protocol="http",
    version="1.1",
    took=3_000_000,
    shaped=False,
    **said,
):
    """`said`: names with `__` for dots."""
    attributes = {name.replace("__", "."): value for name, value in said.items()}
    if shaped:
        attributes = Attributes(Shape(tuple(attributes)), tuple(attributes.values()))
    local, remote = (HERE, THERE) if role is Role.SERVER else (THERE, HERE)
    connection = Connection(
        id=1, local=local, remote=remote, role=role, process=process, opened=0, epoch=1000 * SECOND, tls=tls
    )
    return AccessLog(
        connection=connection,
        start=5,
        end=5 + took,
        protocol=protocol,
        version=version,
        attributes=attributes,
        outcome=outcome,
    )


def get(**changes):
    return make_log(**{"http__request__method": "GET", "http__response__status_code": 200, **changes})


def call(**changes):
    return make_log(
        **{
            "http__request__method": "POST",
            "http__response__status_code": 200,
            "rpc__system__name": "grpc",
            "rpc__method": "shop.Cart/Add",
            "rpc__status_code": "OK",
            "version": "2",
            **changes,
        }
    )


def query(**changes):
    return make_log(
        **{
            "db__system__name": "redis",
            "db__operation__name": "GET",
            "protocol": "redis",
            "version": "",
            "role": Role.CLIENT,
            **changes,
        }
    )


CLIENT = Role.CLIENT
PLAIN = {"http.request.method": "GET", "url.scheme": "http", "network.protocol.version": "1.1"}
OK = {**PLAIN, "http.response.status_code": 200}
TO = {"server.address": "10.0.0.1", "server.port": 8080}
GRPC = {"rpc.system.name": "grpc", "rpc.method": "shop.Cart/Add"}


@pytest.mark.parametrize(
    ("log", "instrument", "attributes"),
    [
        (get(), "http.server.request.duration", OK),
        (get(version=""), "http.server.request.duration", {**OK, "network.protocol.version": None}),
        (get(protocol="spdy"), "http.server.request.duration", {**OK, "network.protocol.name": "spdy"}),
        (get(tls=True), "http.server.request.duration", {**OK, "url.scheme": "https"}),
        (get(http__route="/u/{id}"), "http.server.request.duration", {**OK, "http.route": "/u/{id}"}),
        (get(http__route=""), "http.server.request.duration", OK),
        (
            get(http__request__method="QUERY"),
            "http.server.request.duration",
            {**OK, "http.request.method": "QUERY"},
        ),
        (
            get(http__request__method="get"),
            "http.server.request.duration",
            {**OK, "http.request.method": "_OTHER"},
        ),
        (
            get(http__response__status_code=404),
            "http.server.request.duration",
            {**OK, "http.response.status_code": 404},
        ),
        (
            get(http__response__status_code=503),
            "http.server.request.duration",
            {**OK, "http.response.status_code": 503, "error.type": "503"},
        ),
        (get(http__response__status_code=None), "http.server.request.duration", PLAIN),
        (
            get(http__response__status_code=None, outcome=Outcome.ABORTED),
            "http.server.request.duration",
            {**PLAIN, "error.type": "aborted"},
        ),
        (
            get(outcome=Outcome.ABORTED, error__type="CANCEL"),
            "http.server.request.duration",
            {**OK, "error.type": "CANCEL"},
        ),
        # What strangers choose as a host is nothing to tell series of a server by.
        (get(http__request__header__host="evil"), "http.server.request.duration", OK),
        (get(role=CLIENT), "http.client.request.duration", {**OK, **TO}),
        # A client's is called otherwise.
        (
            get(role=CLIENT, http__route="/u"),
            "http.client.request.duration",
            {**OK, **TO, "url.template": "/u"},
        ),
        (
            get(role=CLIENT, http__response__status_code=404),
            "http.client.request.duration",
            {**OK, **TO, "http.response.status_code": 404, "error.type": "404"},
        ),
        (
            get(role=CLIENT, http__request__header__host="Shop.example"),
            "http.client.request.duration",
            {**OK, "server.address": "shop.example", "server.port": 8080},
        ),
        (
            get(role=CLIENT, http__request__header__host=["shop:81"]),
            "http.client.request.duration",
            {**OK, "server.address": "shop", "server.port": 81},
        ),
        (call(), "rpc.server.call.duration", {**GRPC, "rpc.status_code": "OK"}),
        (
            call(rpc__status_code="UNAVAILABLE"),
            "rpc.server.call.duration",
            {**GRPC, "rpc.status_code": "UNAVAILABLE", "error.type": "UNAVAILABLE"},
        ),
        (
            call(rpc__status_code="NOT_FOUND"),
            "rpc.server.call.duration",
            {**GRPC, "rpc.status_code": "NOT_FOUND"},
        ),
        (
            call(rpc__status_code="UNIMPLEMENTED"),
            "rpc.server.call.duration",
            {
                **GRPC,
                "rpc.method": "_OTHER",
                "rpc.status_code": "UNIMPLEMENTED",
                "error.type": "UNIMPLEMENTED",
            },
        ),
        (
            call(role=CLIENT, rpc__status_code="NOT_FOUND"),
            "rpc.client.call.duration",
            {**GRPC, **TO, "rpc.status_code": "NOT_FOUND", "error.type": "NOT_FOUND"},
        ),
        (
            call(role=CLIENT, outcome=Outcome.ABORTED, rpc__status_code=None),
            "rpc.client.call.duration",
            {**GRPC, **TO, "error.type": "aborted"},
        ),
        (
            query(),
            "db.client.operation.duration",
            {**TO, "db.system.name": "redis", "db.operation.name": "GET"},
        ),
        (
            query(error__type="WRONGTYPE", db__response__status_code="WRONGTYPE", db__namespace="0"),
            "db.client.operation.duration",
            {
                **TO,
                "db.system.name": "redis",
                "db.operation.name": "GET",
                "db.namespace": "0",
                "db.response.status_code": "WRONGTYPE",
                "error.type": "WRONGTYPE",
            },
        ),
    ],
)
def test_what_is_measured(log, instrument, attributes):
    found, pairs = describe(log)
    assert found.name == instrument
    assert dict(pairs) == {name: value for name, value in attributes.items() if value is not None}
    assert len(dict(pairs)) == len(pairs)


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (make_log(protocol="websocket", websocket__opcode="text"), "protocol"),
        (query(role=Role.SERVER), "role"),
        (get(role=None), "role"),
        (get(outcome=Outcome.SPLIT), "split"),
        (get(outcome=Outcome.UNFINISHED), "unfinished"),
    ],
)
def test_what_is_not_measured_is_counted_by_cause(log, cause):
    requests = Requests()
    requests.observe([log, log], 1)
    assert requests.unmeasured == {cause: 2}
    assert requests.points(1) == []


def test_kernel_logs_and_breaks_are_no_requests():
    requests = Requests()
    logs = [log for log in access_logs() if not log.protocol]
    assert logs
    requests.observe(logs, 1)
    assert (requests.points(1), requests.unmeasured) == ([], {})


@pytest.mark.parametrize(
    ("process", "pairs"),
    [
        (SHOP, (("service.namespace", "prod"), ("service.name", "shop"))),
        (NGINX, (("process.executable.name", "nginx"),)),
        (Process(pid=1, name=""), ()),
        (
            Process(pid=1, name="x", attributes={"service.namespace": "n"}),
            (("service.namespace", "n"), ("process.executable.name", "x")),
        ),
        (Process(pid=1, name="x", attributes={"service.name": "y" * 999}), (("service.name", "y" * 255),)),
        (None, ()),
    ],
)
def test_who_it_is_of(process, pairs):
    assert named_by(SERVICE)(process) == pairs


def test_who_it_is_of_by_other_attributes():
    pod = Process(pid=1, name="x", attributes={"k8s.pod.name": "a", "service.name": "b"})
    assert named_by(["k8s.pod.name"])(pod) == (("k8s.pod.name", "a"),)
    assert named_by(["k8s.pod.name"])(NGINX) == (("process.executable.name", "nginx"),)
    assert named_by([])(pod) == (("process.executable.name", "x"),)


@pytest.mark.parametrize(
    ("host", "split"),
    [
        ("example.org", ("example.org", None)),
        ("Example.ORG:80", ("example.org", 80)),
        ("[::1]:443", ("::1", 443)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
        ("a:", ("a", None)),
        ("a:99999", ("a", None)),
        ("a:\u0661", ("a", None)),
        (":80", ("", 80)),
        ("", ("", None)),
    ],
)
def test_a_host(host, split):
    assert split_host(host) == split


@given(st.text())
def test_any_host(host):
    name, port = split_host(host)
    assert isinstance(name, str)
    assert port is None or 0 <= port <= 0xFFFF


def test_other_methods_may_be_known():
    log = get(http__request__method="PURGE")
    assert dict(describe(log, {*KNOWN_METHODS, "PURGE"})[1])["http.request.method"] == "PURGE"


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda each: each.name)
def test_a_bound_is_in_its_bucket(instrument):
    """As le has it: less or equal."""
    bounds = instrument.bounds
    assert list(bounds) == sorted(set(bounds))
    make = {"http": get, "rpc": call, "db": query}[instrument.name.partition(".")[0]]
    role = CLIENT if "client" in instrument.name else Role.SERVER
    for number, bound in enumerate(bounds):
        requests = Requests()
        requests.observe([make(role=role, took=took) for took in (bound, bound + 1)], 1)
        (point,) = requests.points(1)
        assert point.instrument is instrument
        assert [index for index, count in enumerate(point.counts) for _ in range(count)] == [
            number,
            number + 1,
        ]
        assert (point.sum, point.total) == (2 * bound + 1, 2)


def test_the_advised_bounds():
    by_name = {each.name: each.seconds for each in INSTRUMENTS}
    assert by_name["http.server.request.duration"] == (
        *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
        *(1.0, 2.5, 5.0, 7.5, 10.0),
    )
    assert by_name["db.client.operation.duration"] == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


@given(st.integers(-(1 << 62), 1 << 62), st.integers(-(1 << 62), 1 << 62))
def test_any_times(start, end):
    requests = Requests()
    requests.observe([get().replace(start=start, end=end)], 1)
    (point,) = requests.points(1)
    assert (point.total, point.sum) == (1, max(end - start, 0))


KINDS = st.sampled_from([get, call, query])
SAID = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from([*Role, None]),
        "process": st.sampled_from([SHOP, NGINX, None]),
        "tls": st.booleans(),
        "outcome": st.sampled_from([Outcome.COMPLETE, Outcome.ABORTED, Outcome.SPLIT]),
        "version": st.sampled_from(["1.1", "2"]),
        "took": st.integers(0, 20 * SECOND),
        "shaped": st.booleans(),
        "http__request__method": st.sampled_from(["GET", "POST", "PURGE"]),
        "http__response__status_code": st.sampled_from([200, 404, 500, None]),
        "http__route": st.sampled_from(["/a", "/b"]),
        "http__request__header__host": st.sampled_from(["a", "b:1", ["c"]]),
        "rpc__method": st.sampled_from(["a/b", "c/d"]),
        "error__type": st.sampled_from(["CANCEL"]),
    },
)


@given(st.lists(st.tuples(KINDS, SAID)))
def test_every_log_is_counted_where_it_belongs(recipes):
    """Whatever was remembered of logs before it, and in whichever form its attributes are."""
    logs = [make(**said) for make, said in recipes]
    expected: dict[object, list[int]] = collections.defaultdict(list)
    unmeasured = collections.Counter()
    for log in logs:
        described = describe(log) if log.outcome is not Outcome.SPLIT else "split"
        if isinstance(described, str):
            unmeasured[described] += 1
        else:
            expected[described[0], named_by(SERVICE)(log.connection.process), described[1]].append(
                log.end - log.start
            )
    requests = Requests()
    for half in (logs[::2], logs[1::2]):
        requests.observe(half, 1)
    points = {(point.instrument, point.resource, point.attributes): point for point in requests.points(1)}
    assert {key: (point.total, point.sum) for key, point in points.items()} == {
        key: (len(durations), sum(durations)) for key, durations in expected.items()
    }
    assert requests.unmeasured == unmeasured
    assert sum(unmeasured.values()) + sum(point.total for point in points.values()) == len(logs)


def test_the_newest_trace_is_the_exemplar_of_its_bucket():
    traced = [
        get(trace_id=f"{n:032x}", span_id=f"{n:016x}", took=n * 1_000_000, shaped=n % 2 == 0)
        for n in (1, 2, 9)
    ]
    requests = Requests()
    requests.observe([*traced, get()], 1)
    (point,) = requests.points(1)
    kept = [each for each in point.exemplars if each]
    end = 1000 * SECOND + 5
    assert kept == [
        Exemplar(f"{2:032x}", f"{2:016x}", 2_000_000, end + 2_000_000),
        Exemplar(f"{9:032x}", f"{9:016x}", 9_000_000, end + 9_000_000),
    ]
    assert point.exemplars[0] is kept[0]


def test_a_trace_without_a_span():
    requests = Requests()
    requests.observe([get(trace_id="a")], 1)
    assert requests.points(1)[0].exemplars[0] == Exemplar("a", "", 3_000_000, 1000 * SECOND + 3_000_005)


def test_what_is_beyond_the_most_is_one_series():
    requests = Requests(most=10)
    requests.observe([get(http__route=f"/{n}") for n in range(100)], 1)
    requests.observe([call(rpc__method=f"{n}/a") for n in range(5)], 1)
    points = requests.points(1)
    rest = [point for point in points if point.attributes == OVERFLOW]
    assert len(points) == 10 + 2
    assert {(point.instrument.name, point.total, point.resource) for point in rest} == {
        ("http.server.request.duration", 90, ()),
        ("rpc.server.call.duration", 5, ()),
    }
    assert requests.overflowed == 95
    assert len(requests) == 12


def test_a_series_that_is_idle_makes_room():
    requests = Requests(most=2, idle=60)
    requests.observe([get(http__route="/old"), get(http__route="/new")], 0)
    requests.observe([get(http__route="/new"), get(http__route="/other")], 50 * SECOND)
    assert requests.overflowed == 1
    requests.observe([get(http__route="/other")], 70 * SECOND)
    routes = [dict(point.attributes).get("http.route") for point in requests.points(70 * SECOND)]
    assert routes == ["/new", "/other", None]
    assert requests.overflowed == 1


def test_an_idle_series_is_dropped_and_begins_again():
    requests = Requests(idle=60)
    requests.observe([get()] * 3, 5)
    assert [point.total for point in requests.points(59 * SECOND)] == [3]
    assert requests.points(61 * SECOND) == []
    requests.observe([get()], 90 * SECOND)
    (point,) = requests.points(90 * SECOND)
    assert (point.total, point.start) == (1, 90 * SECOND)


def test_a_process_that_took_anothers_place_in_memory():
    """Whether or not the interpreter gives two processes the same address."""
    requests = Requests(most=3, idle=0)
    for number in range(500):
        process = Process(pid=number, name=f"p{number}")
        requests.observe([get(process=process)], number * 100 * SECOND)
        del process
        (point,) = [
            each for each in requests.points(number * 100 * SECOND - 1) if each.attributes != OVERFLOW
        ][-1:]
        assert point.resource == (("process.executable.name", f"p{number}"),)


def test_parts_add_up():
    """What several processes counted is what one would have counted."""
    rng = random.Random(5)
    logs = [
        get(
            http__route=f"/{rng.randrange(5)}",
            took=rng.randrange(2 * SECOND),
            trace_id=f"{n:032x}",
            span_id="1",
        )
        for n in range(300)
    ]
    whole, first, second, merged = Requests(), Requests(), Requests(), Requests()
    whole.observe(logs, 1)
    for begin in range(0, 300, 50):
        first.observe(logs[begin : begin + 20], 1)
        second.observe(logs[begin + 20 : begin + 50], 1)
        merged.add(first.take(), 1)
        merged.add(second.take(), 1)
    assert (first.points(1), second.take()) == ([], [])
    key = lambda point: point.attributes  # noqa: E731
    assert sorted(merged.points(1), key=key) == sorted(whole.points(1), key=key)


def test_parts_beyond_the_most_add_up():
    part, merged = Requests(most=3), Requests(most=2)
    part.observe([get(http__route=f"/{n}") for n in range(10)], 1)
    merged.add(part.take(), 1)
    points = merged.points(1)
    assert sum(point.total for point in points) == 10
    assert [point.total for point in points if point.attributes == OVERFLOW] == [8]
    assert merged.overflowed == 8


def test_memory_has_an_end():
    """Strangers choose methods, routes and traces; processes come and go."""
    requests = Requests(most=100)

    def observe(rounds):
        for n in rounds:
            process = Process(pid=n, name=f"p{n}")
            requests.observe(
                [
                    get(process=process, http__request__method=f"M{n}", trace_id=f"{n:032x}"),
                    get(http__request__method=f"M{n}", shaped=True),
                    get(http__route="/" * n),
                ],
                n,
            )

    observe(range(2000))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        observe(range(2000, 6000))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(requests) <= 101
    assert grown < 3_000_000
