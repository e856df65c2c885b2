"""What keys do, and what a screen of any size shows."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from top_logs import broken, connection, exchange

from rover import Detail, Direction, Outcome, ProtocolBreak, Syscall
from rover_plugin_top.choices import GROUPS, SORTS
from rover_plugin_top.columns import COLUMNS
from rover_plugin_top.frame import TABLE_KEYS, Around, frame
from rover_plugin_top.keys import Keys
from rover_plugin_top.tables import Row, Tables
from rover_plugin_top.text import duration, fitted, number, printable
from rover_plugin_top.view import View, Wish


def row(name: str, count: int = 1, errors: int = 0, breaks: int = 0) -> Row:
    return Row(name, 1.0, count, errors, breaks, 10**6, 2 * 10**6, 3 * 10**9, 1234)


ROWS = [row(f"GET /{at}", 100 - at) for at in range(50)]
TOTAL = row("", 2000, 3, 1)


def shown(view: View, width: int = 80, height: int = 24, lost: int = 0, note: str = "") -> list[str]:
    lines = frame(view, Around("rover top: ebpf", TOTAL, lost, note), width, height)
    return ["".join(segment.text for segment in line) for line in lines]


def view_of(rows: list[Row], *keys: str) -> View:
    view = View()
    view.update(rows)
    shown(view)
    for key in keys:
        view.press(key)
        shown(view)
    return view


def test_a_screen_of_80_by_24():
    lines = shown(view_of(ROWS))
    assert lines[0].startswith("rover top: ebpf  2000 exchanges, 1/s, 3 errors, 1 break")
    assert lines[1].startswith("by route, sorted by count")
    assert lines[2].split() == ["ROUTE", *(column.name.upper() for column in COLUMNS)]
    assert lines[3].split() == ["GET", "/0", "1", "100", "0", "0", "1.00ms", "2.00ms", "3.00s", "1234"]
    assert lines[22].startswith("GET /19 ")
    assert "q quit" in lines[23]


def test_what_a_narrow_screen_leaves_out():
    heads = {width: shown(view_of(ROWS), width)[2].split() for width in (120, 60, 50, 40, 24, 12)}
    assert len(heads[120]) == 9
    assert heads[40] == ["ROUTE", "RATE", "P99"]
    assert heads[60][-1] in ("P99", "BYTES")
    assert all(head[0] == "ROUTE" for head in heads.values() if head)
    assert [len(heads[width]) for width in (120, 60, 50, 40)] == sorted(
        [len(heads[width]) for width in (120, 60, 50, 40)], reverse=True
    )


def test_losses_and_messages_are_visible():
    assert "7 records lost" in shown(view_of(ROWS), lost=7)[0]
    assert "sink gone" in shown(view_of(ROWS), note="sink gone")[1]


HOSTILE = st.text(
    st.characters() | st.sampled_from(["\x1b", "\x9b", "\n", "\r", "\x07", "\u202e", "\u0301", "漢", "😀"])
)


@given(st.lists(HOSTILE, max_size=5), st.integers(1, 130), st.integers(1, 40), st.booleans())
def test_a_screen_of_any_size_is_filled_and_no_more(names, width, height, open_):
    """Whatever the names are, and nothing in it is what a terminal would obey."""
    tables = Tables()
    for name in names:
        tables.add(exchange(name))
        tables.add(broken(name))
    view = View()
    total, rows = tables.rows(view.group)
    view.update(rows)
    if open_ and rows:
        view.open(tables.kept(view.group, rows[0].name))
    lines = frame(view, Around("rover top: x", total, 0), width, height)
    assert len(lines) == height
    for line in lines:
        text = "".join(segment.text for segment in line)
        assert text.isprintable() or not text
        assert cell_len(text) == width


@given(HOSTILE, st.integers(0, 50))
def test_a_text_is_fitted_to_its_columns(text, width):
    made = fitted(text, width)
    assert cell_len(made) == width
    assert made.isprintable()
    if cell_len(printable(text)) <= width:
        assert made.rstrip() == printable(text).rstrip()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (9.99, "9.99"),
        (10.4, "10"),
        (9999, "9999"),
        (12345, "12.3k"),
        (10**6, "1.0M"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


@given(st.integers(0, 10**18) | st.floats(0, 1e18))
def test_a_number_fits_its_column(value):
    assert len(number(value)) <= 6


@given(st.integers(0, 1 << 62) | st.integers(0, 10**13))
def test_a_duration_fits_its_column(value):
    assert len(duration(value)) <= 6


def test_durations():
    texts = {
        0: "0ns",
        999: "999ns",
        85_440: "85.4us",
        999_499: "999us",
        999_500: "1.00ms",
        1_234_567: "1.23ms",
        12_345_678: "12.3ms",
        3_410_000_000: "3.41s",
        10**13: "167m",
        10**16: "116d",
    }
    assert {value: duration(value) for value in texts} == texts


# -- keys ------------------------------------------------------------------------------------------


def test_the_selection_moves_and_the_rows_scroll():
    view = view_of(ROWS)
    assert view.page == 20
    for key, selected, first in [
        ("down", 1, 0),
        ("up", 0, 0),
        ("up", 0, 0),
        ("page down", 20, 1),
        ("end", 49, 30),
        ("down", 49, 30),
        ("page up", 29, 29),
        ("j", 30, 29),
        ("k", 29, 29),
        ("home", 0, 0),
    ]:
        view.press(key)
        shown(view)
        assert (view.selected, view.first) == (selected, first), key


def test_the_selection_follows_its_row():
    view = view_of(ROWS, "down", "down")
    view.update(ROWS[::-1])
    assert view.rows[view.selected].name == "GET /2"
    view.update(ROWS[:2])
    assert view.selected == 1
    view.update([])
    assert (view.selected, view.press("enter"), view.press("down")) == (0, None, None)


def test_keys_group_and_sort():
    view = View()
    for group in (*GROUPS[1:], GROUPS[0]):
        view.press("g")
        assert view.group == group
    view.press("G")
    assert view.group == GROUPS[-1]
    sorts = []
    for _ in SORTS:
        view.press("s")
        sorts.append(view.sort)
    assert sorted(sorts) == sorted(SORTS)
    before = view.sort
    view.press("s")
    view.press("S")
    assert view.sort == before
    view.press("r")
    assert view.reverse


def test_a_filter_is_typed():
    view = View()
    for key in ["/", *"status >= 50x", "backspace", "0"]:
        assert view.press(key) is None
    assert view.typed == "status >= 500"
    assert shown(view)[1].startswith("filter: status >= 500_")
    assert view.press("enter") is Wish.FILTER
    view.accept()
    assert (view.typed, view.filter) == (None, "status >= 500")
    assert "only status >= 500" in shown(view)[1]
    view.press("/")
    assert view.typed == "status >= 500"
    view.press("ctrl-u")
    assert view.typed == ""
    view.press("escape")
    assert (view.typed, view.filter) == (None, "status >= 500")


def test_a_long_filter_shows_its_end():
    view = view_of(ROWS, "/", *"a" * 200, *"the end")
    assert shown(view)[1].endswith("the end_")


def test_keys_that_end_and_clear():
    assert View().press("q") is Wish.QUIT
    assert View().press("c") is Wish.CLEAR


def call(syscall: Syscall, direction: Direction, start: int, error: int = 0) -> Detail:
    return Detail(
        connection=1,
        sequence=0,
        syscall=syscall,
        direction=direction,
        position=0,
        size=512,
        start=start,
        end=start + 3000,
        pid=42,
        fd=7,
        error=error,
    )


def test_the_exchanges_of_a_row_with_their_calls_breaks_and_losses():
    said = ProtocolBreak(reason="hpack", detail="index 70", protocol="http2")
    logs = [
        exchange("/x?y=1", 503, 2 * 10**6, rover__pairing="assumed").replace(
            details=(
                call(Syscall.READ, Direction.INGRESS, 0),
                call(Syscall.WRITE, Direction.EGRESS, 10**6, error=11),
            )
        ),
        exchange("/y", None, outcome=Outcome.ABORTED),
        broken().replace(connection=connection(protocol_break=said)),
    ]
    view = view_of(ROWS, "down")
    view.open(logs)
    text = "\n".join(shown(view, 110))
    assert "the last of route GET /1" in text
    assert re.search(r"503 +2\.00ms  pairing assumed: bytes were lost  GET /x\?y=1", text)
    assert re.search(r"read +in +512 bytes +took +3\.00us +after +0ns +fd 7  pid 42", text)
    assert re.search(r"write +out +512 bytes +took +3\.00us +after +997us +fd 7  pid 42  errno 11", text)
    assert re.search(r"- +1\.00ms  aborted  GET /y", text)
    assert "break  http2 to tcp: hpack index 70" in text
    assert "nginx[42]  10.0.0.1:40001 > 10.0.0.2:80" in text
    assert "Esc back" in shown(view)[-1]


@pytest.mark.parametrize("key", ["escape", "enter", "backspace", "q", "left"])
def test_back_to_the_table(key):
    view = view_of(ROWS, "end")
    view.open([exchange()])
    assert view.press(key) is None
    assert view.opened is None
    assert shown(view)[22].startswith("GET /49")


def test_exchanges_scroll():
    view = view_of(ROWS)
    view.open([exchange() for _ in range(30)])
    shown(view)
    assert view.lines == 60
    last = 60 - view.page
    for key, first in [
        ("down", 1),
        ("page down", 1 + view.page),
        ("end", last),
        ("down", last),
        ("home", 0),
        ("up", 0),
    ]:
        view.press(key)
        shown(view)
        assert view.first == first


def test_every_key_does_no_harm_anywhere():
    """In each state, on an empty table too."""
    keys = [
        *"qcgGsSr/<>jk xé",
        "up",
        "down",
        "left",
        "right",
        "home",
        "end",
        "page up",
        "page down",
        "enter",
        "escape",
    ]
    for rows in ([], ROWS):
        for before in ([], ["/"], ["down"]):
            for key in [*keys, "backspace", "ctrl-u"]:
                view = view_of(rows, *before)
                view.press(key)
                assert len(shown(view)) == 24


# -- the keyboard ----------------------------------------------------------------------------------

TYPED = [
    (b"q", ["q"]),
    (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
    (b"\x1b[5~\x1b[6~\x1b[H\x1b[F\x1b[1~\x1bOF", ["page up", "page down", "home", "end", "home", "end"]),
    (b"\r\n\x7f\x08\x15", ["enter", "enter", "backspace", "backspace", "ctrl-u"]),
    ("é漢😀".encode(), ["é", "漢", "😀"]),
    (b"\x1b[1;5C\x1b[200~a", ["a"]),  # unknown sequences are none
    (b"\x01\x02\x00\xff\xfeb", ["b"]),
    (b"\x1bq", ["escape", "q"]),
    (b"\x1b\x1b[A", ["escape", "up"]),
]


@pytest.mark.parametrize(("data", "keys"), TYPED)
def test_bytes_are_keys_whole_or_one_by_one(data, keys):
    assert Keys().feed(data) == keys
    one = Keys()
    assert [key for at in range(len(data)) for key in one.feed(data[at : at + 1])] == keys


def test_an_escape_alone_is_a_key_once_nothing_follows():
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.unsure
    assert keys.settle() == ["escape"]
    assert not keys.unsure
    assert keys.feed(b"[A") == ["[", "A"]


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_no_bytes_are_too_much(parts):
    keys = Keys()
    for part in parts:
        for key in [*keys.feed(part), *keys.settle()]:
            assert len(key) > 1 or key.isprintable()
    assert not keys.unsure


def test_the_page_shows_the_table_as_it_is():
    page = (Path(__file__).parents[3] / "docs/top.md").read_text()
    tables = re.findall(r"^rover top: .*\nby .*\n(ROUTE .*)\n(GET .*\n)+", page, re.MULTILINE)
    assert tables
    view = View()
    view.update(ROWS)
    lines = frame(view, Around("rover top: ebpf", row("", 1), 0), 80, 24)
    assert {header for header, _ in tables} == {"".join(segment.text for segment in lines[2])}
    keys = set(re.findall(r"(\S+) [a-z]+", TABLE_KEYS)) - {"clear"}
    assert keys <= set(re.findall(r"[`|] ?(\w+|/)[`,; ]", page)) | set(page.split())
