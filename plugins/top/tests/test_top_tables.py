"""What is counted, under which names, and within which bounds."""

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_top_histogram import WITHIN, nearest_rank
from top_logs import MILLISECOND, broken, connection, exchange

from rover import AccessLog, Address, Attributes, Outcome, Process, Role, Shape
from rover.testing import access_logs
from rover_plugin_top.bounds import (
    KEPT,
    KEPT_CALLS,
    KEPT_MEMORY,
    KEPT_TEXT,
    LOG_MEMORY,
    MAX_CELLS,
    MAX_CONNECTIONS,
    MAX_NAME,
)
from rover_plugin_top.choices import GROUPS, SORTS
from rover_plugin_top.counting import OTHER, Counting
from rover_plugin_top.tables import RATE_SECONDS, Tables


def tables_of(*logs: AccessLog) -> Tables:
    tables = Tables()
    for log in logs:
        tables.add(log)
    return tables


def names(tables: Tables, group: str) -> dict[str, int]:
    """The rows of a group and their counts."""
    return {row.name: row.count for row in tables.rows(group)[1]}


CLIENT = connection(3, Role.CLIENT)
NAMED = [
    # What is logged, and what its row is called in each group.
    (exchange("/a"), ("GET /a", "a.example", "nginx[42]", "10.0.0.1", "200")),
    (
        exchange("/users/7", http__route="/users/{id}"),
        ("GET /users/{id}", "a.example", "nginx[42]", "10.0.0.1", "200"),
    ),
    (
        exchange("/a", http__request__header__host=["b.example"]),
        ("GET /a", "b.example", "nginx[42]", "10.0.0.1", "200"),
    ),
    (exchange("/a", http__request__header__host=()), ("GET /a", "10.0.0.2", "nginx[42]", "10.0.0.1", "200")),
    (exchange("/a", of=CLIENT), ("GET /a", "a.example", "curl[7]", "10.0.0.2:80", "200")),
    (
        exchange("/s/M", rpc__status_code="NOT_FOUND"),
        ("GET /s/M", "a.example", "nginx[42]", "10.0.0.1", "200 grpc NOT_FOUND"),
    ),
    (
        exchange("/a", None, outcome=Outcome.ABORTED),
        ("GET /a", "a.example", "nginx[42]", "10.0.0.1", "aborted"),
    ),
    (broken("hpack"), ("break: hpack", "10.0.0.2", "nginx[42]", "10.0.0.1", "break: hpack")),
    (
        exchange(
            "/a", of=connection(process=Process(pid=9, name="python3", attributes={"service.name": "shop"}))
        ),
        ("GET /a", "a.example", "shop python3[9]", "10.0.0.1", "200"),
    ),
    (exchange("/a", of=connection(process=None)), ("GET /a", "a.example", "-", "10.0.0.1", "200")),
    (
        exchange("/a", of=CLIENT.replace(remote=Address(host="::1", port=80))),
        ("GET /a", "a.example", "curl[7]", "[::1]:80", "200"),
    ),
    (
        AccessLog(
            connection=connection(),
            start=0,
            end=1,
            protocol="redis",
            attributes={"db.operation.name": "GET", "error.type": "WRONGTYPE", "redis.request.size": 9},
        ),
        ("GET", "10.0.0.2", "nginx[42]", "10.0.0.1", "WRONGTYPE"),
    ),
]


@pytest.mark.parametrize(
    ("log", "expected"), NAMED, ids=lambda value: str(value[0]) if type(value) is tuple else ""
)
def test_what_rows_are_called(log, expected):
    tables = tables_of(log)
    for group, name in zip(GROUPS, expected, strict=False):
        assert [row.name for row in tables.rows(group)[1]] == [name]


def test_a_connection_is_from_client_to_server_and_one_lifetime():
    again = connection(1, id=9)
    tables = tables_of(exchange(of=connection(1)), exchange(of=connection(1)), exchange(of=again))
    assert sorted(names(tables, "connection").values()) == [1, 2]
    assert all(name.startswith("10.0.0.1:40001 > 10.0.0.2:80") for name in names(tables, "connection"))
    assert names(tables_of(exchange(of=CLIENT)), "connection") == {"10.0.0.1:40003 > 10.0.0.2:80 0003": 1}


@pytest.mark.parametrize(
    ("log", "failed"),
    [
        (exchange(), False),
        (exchange(status=404), False),
        (exchange(status=500), True),
        (exchange(status=503), True),
        (exchange(rpc__status_code="OK"), False),
        (exchange(rpc__status_code="INTERNAL"), True),
        (exchange(error__type="timeout"), True),
        (exchange(outcome=Outcome.ABORTED), True),
        (exchange(outcome=Outcome.UNFINISHED), False),
        (exchange(outcome=Outcome.SPLIT), False),
    ],
)
def test_what_an_error_is(log, failed):
    total, _ = tables_of(log).rows("route")
    assert (total.count, total.errors, total.breaks) == (1, int(failed), 0)


def test_a_break_is_no_exchange():
    total, (row,) = tables_of(broken()).rows("route")
    assert (total.count, total.errors, total.breaks, total.p99) == (0, 0, 1, 0)
    assert (row.count, row.breaks) == (0, 1)


def test_attributes_with_a_shape_are_read_like_a_mapping():
    for log in [log for log, _ in NAMED if log.outcome is not Outcome.BREAK]:
        shape = Shape(("example.absent", *log.attributes))
        shaped = log.replace(attributes=Attributes(shape, (None, *log.attributes.values())))
        for group in GROUPS:
            assert tables_of(shaped).rows(group) == tables_of(log).rows(group)


def test_every_log_that_a_sink_may_get_is_counted():
    logs = access_logs()
    total, _ = tables_of(*(log for log in logs if log.protocol or log.outcome is Outcome.BREAK)).rows("route")
    assert total.count == len([log for log in logs if log.protocol and log.outcome is not Outcome.BREAK])


SOME = st.lists(
    st.tuples(
        st.sampled_from(["/", "/a", "/b"]),
        st.sampled_from([200, 404, 503, None]),
        st.integers(0, 10**10),
        st.integers(1, 4),
        st.sampled_from(list(Role)),
    ),
    min_size=1,
    max_size=60,
)


@given(SOME)
def test_figures_are_those_of_the_exchanges(some):
    logs = [
        exchange(path, status, took, of=connection(number, role)) for path, status, took, number, role in some
    ]
    tables = tables_of(*logs)
    for group, at in (("route", 0), ("status", 1)):
        total, rows = tables.rows(group)
        assert total.count == len(logs)
        for row in rows:
            shown = [each for each in some if row.name == [f"GET {each[0]}", str(each[1] or "complete")][at]]
            assert row.count == len(shown)
            assert row.errors == len([each for each in shown if each[1] == 503])
            assert row.bytes == 100 * len(shown)
            for share, found in ((0.5, row.p50), (0.95, row.p95), (0.99, row.p99)):
                expected = nearest_rank([each[2] for each in shown], share)
                assert abs(found - expected) <= WITHIN * expected
    for group in GROUPS:
        assert sum(names(tables, group).values()) == len(logs)


def test_rows_are_sorted_by_any_column():
    tables = tables_of(
        *[exchange("/many")] * 3, exchange("/slow", took=10**9), exchange("/fails", 500), broken()
    )
    first = {sort: tables.rows("route", sort)[1][0].name for sort in SORTS}
    assert first == {
        "name": "GET /fails",
        "rate": "GET /many",
        "count": "GET /many",
        "errors": "GET /fails",
        "breaks": "break: framing",
        "p50": "GET /slow",
        "p95": "GET /slow",
        "p99": "GET /slow",
        "bytes": "GET /many",
    }
    for sort in SORTS:
        total, rows = tables.rows("route", sort)
        assert tables.rows("route", sort, reverse=True) == (total, rows[::-1])


# -- rates -----------------------------------------------------------------------------------------


def test_the_rate_of_files_is_of_their_time():
    tables = tables_of(*(exchange(start=at * 1000 * MILLISECOND) for at in range(5)))
    total, _ = tables.rows("route")
    assert total.rate == pytest.approx(5 / 4.001)
    assert tables_of(exchange()).rows("route")[0].rate == 1  # of one exchange there is no rate


def test_a_live_rate_is_of_the_last_seconds():
    now = 100.0
    tables = Tables(lambda: now)
    for _ in range(40):
        tables.add(exchange())
    now += 4
    assert tables.rows("route")[0].rate == 10
    for _ in range(4):
        now += RATE_SECONDS
        total, (row,) = tables.rows("route")
    assert total.count == row.count == 40
    assert total.rate == row.rate == 0
    tables.add(exchange())
    assert 0 < tables.rows("route")[0].rate <= 1 / RATE_SECONDS


# -- bounds ----------------------------------------------------------------------------------------


def test_too_many_paths_are_one_row_and_processes_stay():
    count = MAX_CELLS + 1000
    tables = tables_of(
        *(exchange(f"/{at}", of=connection(process=Process(pid=at % 3 + 1, name="a"))) for at in range(count))
    )
    routes = names(tables, "route")
    assert len(routes) == MAX_CELLS + 1
    assert routes[OTHER] == 1000
    assert names(tables, "process") == {f"a[{pid}]": len(range(pid - 1, count, 3)) for pid in (1, 2, 3)}
    assert names(tables, "status") == {"200": count}
    assert tables.rows("route")[0].count == count


def test_too_many_peers_are_one_row_too():
    count = 2 * MAX_CELLS
    tables = tables_of(
        *(exchange(of=connection(at, remote=Address(host=f"10.{at}", port=at))) for at in range(count))
    )
    peers = names(tables, "peer")
    assert len(peers) <= MAX_CELLS * 3 // 2 + 1
    assert sum(peers.values()) == count
    assert len(names(tables, "connection")) == MAX_CONNECTIONS + 1
    assert names(tables, "connection")[OTHER] == count - MAX_CONNECTIONS


def test_a_row_keeps_its_last_exchanges():
    tables = tables_of(*(exchange(f"/{at % 2}", start=at) for at in range(100)))
    kept = tables.kept("route", "GET /1")
    assert [log.start for log in kept] == [99 - 2 * at for at in range(KEPT)]
    assert tables.kept("route", "GET /2") == []


def test_a_connection_keeps_its_last_exchanges_and_shows_what_rows_keep_of_it():
    quiet, busy = connection(1), connection(2)
    tables = tables_of(
        *(exchange(start=at, of=quiet) for at in range(10)),
        *(exchange(start=at, of=busy) for at in range(100)),
    )
    (first, second) = sorted(names(tables, "connection"))
    assert [log.start for log in tables.kept("connection", first)] == [9, 8]
    assert [log.start for log in tables.kept("connection", second)] == list(range(99, 99 - KEPT, -1))


def test_what_is_kept_is_bounded():
    """Many rows, each with exchanges as long as they may be."""
    long = "x" * (KEPT_TEXT // 4)
    tables = Tables()
    per_log = LOG_MEMORY + KEPT_TEXT
    enough = 2 * KEPT_MEMORY // per_log
    for at in range(enough):
        tables.add(exchange(f"/{at % 1000}", user_agent__original=4 * long, of=connection(at % 1000)))
    assert counting_weight(tables._counting) <= KEPT_MEMORY
    assert tables.rows("route")[0].count == enough
    for at in range(1000):
        assert tables.kept("route", f"GET /{at}")


def test_what_is_kept_of_very_many_rows_is_bounded():
    """None can keep one, and they are not looked through for each log."""
    counting = Counting()
    sheds = []
    for at in range(2 * MAX_CELLS):
        before = counting_weight(counting) if at % 1000 == 0 else 0
        counting.add(exchange(f"/{at}", of=connection(at), user_agent__original="x" * KEPT_TEXT))
        sheds.append(before)
    assert max(sheds) <= KEPT_MEMORY
    assert counting_weight(counting) <= KEPT_MEMORY


def counting_weight(counting: Counting) -> int:
    return sum(tally.weight for tally in (*counting.cells.values(), *counting.connections.values()))


def test_names_that_strangers_make_long_are_cut():
    tables = tables_of(
        *(
            exchange("/" + "x" * 100_000 + str(at), http__request__header__host="h" * 100_000)
            for at in range(3)
        )
    )
    for group in ("route", "host"):
        (row,) = tables.rows(group)[1]
        assert row.count == 3
        assert len(row.name) <= MAX_NAME + len("GET ")


def test_errors_that_strangers_name_are_bounded():
    count = 2 * MAX_CELLS
    tables = tables_of(*(exchange(error__type=f"E{at}") for at in range(count)))
    assert len(names(tables, "route")) == 2
    cells = tables._counting.cells
    assert len(cells) <= MAX_CELLS * 3 // 2 + 1
    assert tables.rows("route")[0].errors == count


def test_a_long_exchange_is_kept_shortened():
    (log,) = [log for log in access_logs() if log.protocol and log.details][:1]
    (detail, *_) = log.details
    long = log.replace(attributes={"example.text": "x" * 10**6}, details=(detail,) * 1000)
    (kept,) = tables_of(long).kept("route", log.protocol)
    assert len(kept.details) == KEPT_CALLS
    assert sum(map(len, kept.attributes.values())) <= KEPT_TEXT
    assert kept.connection is long.connection


# -- filters and threads ---------------------------------------------------------------------------


def test_begin_forgets_and_chooses():
    tables = tables_of(exchange(), exchange(status=500))
    tables.begin(lambda log: log.attributes["http.response.status_code"] == 500)
    for status in (200, 500, 500):
        tables.add(exchange(status=status))
    assert tables.rows("route")[0].count == 2
    tables.begin()
    tables.add(exchange())
    assert tables.rows("route")[0].count == 1


def test_somebody_may_look_while_it_counts():
    tables = Tables()
    seen = [0]

    def look():
        while seen[-1] < 3000:
            group = random.choice(GROUPS)
            total, rows = tables.rows(group, random.choice(SORTS))
            assert total.count == sum(row.count for row in rows) >= seen[-1]
            tables.kept(group, rows[0].name if rows else "")
            seen.append(total.count)

    thread = threading.Thread(target=look)
    thread.start()
    for at in range(3000):
        tables.add(exchange(f"/{at % 50}", took=at * at, of=connection(at % 7)))
    thread.join()
    assert seen[-1] == 3000
