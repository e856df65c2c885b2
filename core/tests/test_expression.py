"""Expressions on access logs: what they mean, how fast they refuse, and that nothing else is let through."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import AccessLog, Address, Attributes, Outcome, Process, ProtocolBreak, Role, Shape, UsageError
from rover.expression import MAX_DEPTH, MAX_LENGTH, compile_expression
from rover.testing import access_logs, connection

FACTS = connection(Role.SERVER)
HTTP = {
    "http.request.method": "GET",
    "url.path": "/api/users",
    "url.query": "a=1&b=caf\u00e9",
    "http.request.header.x-tag": ("red", "green"),
    "http.response.status_code": 404,
    "http.response.body.size": 5000,
    "error": True,
    "zero": 0,
    "empty": "",
}


def log_of(attributes: Any = HTTP, **fields: Any) -> AccessLog:
    given = {"start": 0, "end": 250_000_000, "protocol": "http", "version": "1.1"} | fields
    return AccessLog(connection=given.pop("connection", FACTS), attributes=attributes, **given)


def holds(text: str, log: AccessLog | None = None) -> bool:
    answer = compile_expression(text).holds(log or log_of())
    assert type(answer) is bool
    return answer


@pytest.mark.parametrize(
    "text",
    [
        "http.response.status_code == 404",
        "status == 404",
        "status != 200",
        "400 <= status < 500",
        "500 > status",
        "404 == status",
        "not status == 200",
        "status in (200, 404)",
        "status in [404]",
        "status not in (200, 204)",
        "method in ('PUT', 'GET')",
        'url.path == "/api/users"',
        "path.startswith('/api')",
        "path.endswith('users')",
        "path.contains('i/u')",
        "'i/u' in path",
        "'xyz' not in path",
        "method not in path",
        "path.contains(path)",
        "url.query.endswith('\u00e9')",
        "path > '/a' and path < '/b'",
        "duration > 200ms",
        "duration >= 250ms",
        "duration == 0.25s",
        "duration < 1m30s",
        "duration <= 0.1h",
        "duration == 250000us",
        "duration_ns == 250000000",
        "http.response.body.size > 4KiB",
        "http.response.body.size < 0.5MiB",
        "http.response.body.size == 5000B",
        "status > 1.5",
        "zero > -1",
        "zero == 0",
        "error",
        "error == true",
        "error != False",
        "error in (1, true)",
        "error not in (1, 2)",
        "path",
        "not url.full",
        "not zero and not empty",
        "true",
        "not false",
        "rover.role == 'server' and tls == false and not tls.established",
        "network.protocol.name == 'http'",
        "rover.outcome in ('complete', 'split')",
        "status == status",
        "status < duration_ns",
        "http.request.header.x-tag == 'red'",
        "http.request.header.x-tag == 'green'",
        "http.request.header.x-tag != 'blue'",
        "http.request.header.x-tag in ('green', 'blue')",
        "http.request.header.x-tag.startswith('gr')",
        "http.request.header.x-tag < 'h'",
        "'blu' not in http.request.header.x-tag",
        "status == 200 or duration > 200ms and path.startswith('/api')",
        "(status == 200 or duration > 200ms) and path.startswith('/api')",
        "status == 404\n  and method == 'GET'",
        '"GET"== method and "GET"!= path',
        r"""path != "a\"b" and path != 'a\'b' and path != '\\'""",
    ],
)
def test_what_holds(text: str) -> None:
    assert holds(text)
    assert not holds(f"not ({text})")


@pytest.mark.parametrize(
    "text",
    [
        *(f"url.full {sign} 'x'" for sign in ("==", "!=", "<", "<=", ">", ">=")),
        *(f"url.full {sign} 1" for sign in ("==", "!=", "<", "<=", ">", ">=")),
        *(f"url.full {sign} path" for sign in ("==", "!=", "<", "<=", ">", ">=")),
        *(f"url.full {sign} url.full" for sign in ("==", "!=", "<", "in", "not in")),
        "url.full in ('x', 1)",
        "url.full not in ('x', 1)",
        "'x' in url.full",
        "'x' not in url.full",
        *(f"url.full.{method}('')" for method in ("startswith", "endswith", "contains", "matches")),
        "url.full",
    ],
)
def test_what_is_absent_makes_a_comparison_false(text: str) -> None:
    assert not holds(text)
    assert not holds(text, log_of({}))
    assert not holds(text, access_logs()[0])


@pytest.mark.parametrize(
    "text",
    [
        "path > 1",
        "path == 1",
        "status > 'a'",
        "status == '404'",
        "status == true",
        "error == 1",
        "error > 0",
        "error > false",
        "zero == false",
        "path < status",
        "status.startswith('4')",
        "'4' in status",
        "method in status",
        "error in (1, 'true')",
        "http.request.header.x-tag != 'red'",
        "http.request.header.x-tag not in ('red', 'blue')",
        "http.request.header.x-tag > 1",
        "'re' not in http.request.header.x-tag",
    ],
)
def test_values_of_different_kinds_are_not_equal_and_have_no_order(text: str) -> None:
    assert not holds(text)


def test_values_of_different_kinds_differ() -> None:
    assert holds("path != 1 and status != '404' and error != 1")


@pytest.mark.parametrize("made", [dict, lambda pairs: Attributes(Shape([*pairs]), tuple(pairs.values()))])
def test_attributes_are_read_in_either_form(made: Any) -> None:
    log = log_of(made({"http.response.status_code": 404, "url.path": "/x"}))
    expression = compile_expression("status == 404 and path == '/x' and not url.query")
    assert expression.holds(log)
    assert expression.holds(log_of({"http.response.status_code": 404, "url.path": "/x"}))
    for number in range(200):  # more shapes than are remembered
        assert expression.holds(
            log_of(made({f"a{number}": 1, "url.path": "/x", "http.response.status_code": 404}))
        )


def test_what_plugins_say_of_the_process_and_what_an_exchange_says_instead() -> None:
    described = FACTS.replace(
        process=Process(pid=7, name="nginx", attributes={"service.name": "shop", "a": 1})
    )
    log = log_of({"a": 2}, connection=described)
    assert holds("service == 'shop' and a == 2 and process == 'nginx' and process.pid == 7", log)


def test_addresses_are_those_of_a_json_line() -> None:
    proxied = FACTS.replace(proxied=Address(host="192.0.2.9", port=7))
    assert holds("client.address == '192.0.2.9' and client.port == 7", log_of(connection=proxied))
    remote = FACTS.remote
    assert remote is not None
    assert holds(
        f"network.peer.address == {json.dumps(remote.host)} and not network.local.address",
        log_of(connection=proxied),
    )
    unknown = FACTS.replace(role=None)
    assert holds(
        f"network.peer.port == {remote.port} and not client.address and not rover.role",
        log_of(connection=unknown),
    )
    assert holds("not network.peer.address and server.port", log_of())


def test_a_break_tells_its_reason() -> None:
    broken = FACTS.replace(protocol_break=ProtocolBreak(reason="gap", detail="d", protocol="http1"))
    text = "rover.break.reason == 'gap' and rover.break.detail == 'd' and rover.break.protocol == 'http1'"
    assert holds(text, log_of({}, connection=broken, outcome=Outcome.BREAK, protocol=""))
    assert not holds("rover.break.reason", log_of({}, connection=broken))


# -- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^/api/", True),
        (r"^/\w+/\w+$", True),
        ("users", True),
        ("(?i)USERS", True),
        ("^users", False),
        (r"\d", False),
        ("", True),
    ],
)
def test_a_pattern_matches_a_part(pattern: str, expected: bool) -> None:
    assert holds(f"path.matches({json.dumps(pattern)})") is expected


def test_without_re2_the_fix_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for by `matches` alone."""
    monkeypatch.setitem(sys.modules, "re2", None)
    assert holds("path.startswith('/')")
    with pytest.raises(
        UsageError, match=r"^column 14, .*: matches needs another package: pip install google-re2$"
    ):
        compile_expression("path.matches('x')")


def test_a_pattern_matches_whatever_a_log_holds() -> None:
    assert holds("a.matches('^.$')", log_of({"a": "\u00e9"}))
    assert holds("a.matches('^.$')", log_of({"a": "\U0001f600"}))
    assert not holds("a.matches('b')", log_of({"a": "\ud800"}))  # a plugin's, which UTF-8 cannot hold
    assert holds("http.request.header.x-tag.matches('^g')")


def test_a_pattern_takes_time_as_its_text_is_long() -> None:
    """Python's own would need longer than the universe has."""
    log = log_of({"a": "a" * 100_000 + "!"})
    for pattern in ("^(a+)+$", "^(a|aa)*$", "(.*)(.*)(.*)(.*)[^a!]$", "(a?){50}a{50}$"):
        begun = time.process_time()
        assert not holds(f"a.matches({json.dumps(pattern)})", log)
        assert time.process_time() - begun < 10


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the expression is empty"),
        (" \n", "the expression is empty"),
        ("and", "there is nothing to compare"),
        ("status => 5", "column 8, at '=> 5': write >="),
        ("a = 3", "column 3, at '= 3': write =="),
        ("a && b", "column 3, at '&& b': write and"),
        ("!a", "column 1, at '!a': write not"),
        ("a === 1", "column 3, at '=== 1': this is no operator"),
        ("a == 1 and\n b = 2", "line 2, column 4, at '= 2': write =="),
        ("duration > 200", "column 12, at '200': a duration has a unit, as in 200ms"),
        ("5KiB < duration", "column 1, at '5KiB < duration': a duration has a unit, as in 200ms"),
        ("stauts > 3", "column 1, at 'stauts > 3': there is no 'stauts'; did you mean status?"),
        ("rover.syscalls == 1", "column 1, at 'rover.syscalls == 1': rover.syscalls is no single value"),
        ("(a", "column 1, at '(a': this bracket is never closed"),
        ("a) or (b", "column 2, at ') or (b': this bracket closes nothing"),
        ("(a]", "column 3, at ']': this bracket closes nothing"),
        ("a == 'x", "column 6, at \"'x\": this text has no end"),
        ("a == '\u00e9' and", "column 13: something is missing after this"),
        ("a ==", "column 5: something is missing after this"),
        ("a b", "column 3, at 'b': this cannot stand here"),
        ("a is None", "column 3, at 'is None': this cannot stand here"),
        ("a -1", "column 3, at '-1': this cannot stand here"),
        ("a + 1", "column 3, at '+ 1': there is no arithmetic"),
        ("'x'", "column 1, at \"'x'\": this is no condition"),
        ("a,", "column 1, at 'a,': this is no condition"),
        ("(a, b)", "column 1, at '(a, b)': this is no condition"),
        ("a == 1 == 2", "column 6, at '1 == 2': neither side is a name of an access log"),
        ("a == (1, 2)", "column 6, at '(1, 2)': a name or a value is due"),
        ("a in (1)", "column 7, at '1)': a list is due, as in (200, 204) or [200]"),
        ("a in (1, b)", "column 10, at 'b)': a list has values alone"),
        ("1 in (1, 2)", "column 1, at '1 in (1, 2)': a name of an access log is due"),
        ("1 in a", "column 1, at '1 in a': a text is due"),
        ("a == 12x", "column 6, at '12x': this is no number; units are ns, us, ms, s, m, h, B, KiB, MiB, GiB, TiB"),  # noqa: E501
        ("a == 1" + "0" * 19, f"column 6, at '1{'0' * 19}': a number of more than 19 digits"),
        ("a.b(1)", "column 3, at 'b(1)': there is no function b; there are startswith, endswith, contains, matches"),  # noqa: E501
        ("startswith('a')", "column 1, at \"startswith('a')\": write url.path.startswith(...)"),
        ("a.startswith(1)", "column 14, at '1)': a text in quotes is due"),
        ("a.startswith(b)", "column 14, at 'b)': a text in quotes is due"),
        ("a.startswith()", "column 1, at 'a.startswith()': startswith takes one text"),
        ("a.startswith('a', 'b')", "column 1, at \"a.startswith('a', 'b\": startswith takes one text"),
        ("a.matches('(')", "column 11, at \"'(')\": RE2 does not take this pattern: missing ): ("),
        (r"a.matches('(a)\1')", "column 11, at \"'(a)\\\\1')\": RE2 does not take this pattern: invalid escape sequence: \\1"),  # noqa: E501
        ('f"{a}"', "column 2, at '\"{a}\"': a blank is due before this"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_where(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_expression(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "().__class__",
        "__import__('os').system('x')",
        "a.__class__()",
        "open('/etc/passwd')",
        "[a for a in b]",
        "{a: b}",
        "lambda: a",
        "a if b else c",
        "(a := 1)",
        "a[0] == 1",
        "a[0:1]",
        "*a",
        "**a",
        "a.startswith(*b)",
        "a.startswith(x='b')",
        "a.startswith('b').contains",
        "a.startswith('b').startswith('b')",
        "'a'.startswith('b')",
        "b'a' == a",
        "a == 1j",
        "a == 0x10",
        "a == 1e999",
        "a == 1_000",
        "a == 9**9**9",
        "a == " + "9" * 4000,
        "a @ b",
        "~a",
        "-a",
        "await a",
        "yield a",
        "a; b",
        "a # b",
        "a\\\n== 1",
        "a == 1\0",
        "\0",
        "a == \u00b2",
        "\uff41 == 1",
        "\u00e9",
        "\ufeffa",
        "a\u00a0== 1",
        "a == $1",
        "a <> 1",
        "...",
        "a . b",
        "not " * 1000 + "a",
        "(" * 1000 + "a" + ")" * 1000,
        "[" * 2000,
        "(" * MAX_DEPTH + "not a" + ")" * MAX_DEPTH,
        "a == '" + "x" * MAX_LENGTH + "'",
        "a and " * 1000 + "a",
        "'" * 4001,
        '"""a""" == a',
    ],
)  # fmt: skip
def test_nothing_else_is_let_through(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(UsageError) as caught:
        compile_expression(text)
    assert time.process_time() - begun < 1
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 200


SCRAPS = [*"ab.'\"()[],=<>!-_ \n\\1~\0\u00e9", "not ", " and ", " in ", ".matches(", "5ms", "a == ", "'x'"]


@given(st.lists(st.sampled_from(SCRAPS)).map("".join))
def test_whatever_is_written_is_taken_or_refused(text: str) -> None:
    try:
        expression = compile_expression(text)
    except UsageError as error:
        assert str(error).isprintable()  # noqa: PT017  what is caught is the point
    else:
        assert type(expression.holds(log_of())) is bool


@pytest.mark.parametrize(
    "text",
    [
        "a == 1" + " and a == 1" * 360,
        "a in (" + "1, " * 1300 + "1)",
        "(" * 31 + "not a" + ")" * 31,
        "not " * 32 + "a",
    ],
)
def test_what_is_as_large_as_may_be_is_read(text: str) -> None:
    assert len(text) <= MAX_LENGTH
    compile_expression(text).holds(log_of())


def test_an_expression_tells_what_it_asks_for() -> None:
    expression = compile_expression("status >= 500 and path.startswith('/') and 'a' in http.route")
    assert expression.names == {"http.response.status_code", "url.path", "http.route"}


# -- as Python evaluates it -------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "n.small": 3,
    "n.large": 1 << 40,
    "n.zero": 0,
    "t.word": "word",
    "t.empty": "",
    "t.quoted": "a'\"\\b",
}
NUMBERS = st.sampled_from([name for name in VALUES if name.startswith("n.")])
TEXTS = st.sampled_from([name for name in VALUES if name.startswith("t.")])
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
NUMBER = st.integers(-10, 10) | st.sampled_from([1 << 40, (1 << 40) + 1])
TEXT = st.text(alphabet="awordb'\"\\", max_size=5)

Both = tuple[str, str]
"""An expression, and Python's of the same meaning."""


def py(name: str) -> str:
    return f"V[{name!r}]"


def ours(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def comparison(draw: Any) -> Both:
    sign = draw(SIGNS)
    if draw(st.integers(0, 9)) == 0:  # of what is absent nothing is true
        some, other = draw(NUMBERS), draw(TEXTS)
        absent = st.sampled_from(
            ["{0} {1} 3", "3 {1} {0}", "{0} {1} {2}", "{0} not in (3, 'a')", "{0}", "'' in {0}"]
        )
        return draw(absent).format("x.gone", sign, draw(st.sampled_from([some, other]))), "False"
    if draw(st.booleans()):
        name, number = draw(NUMBERS), draw(NUMBER)
        other = draw(NUMBERS)
        return draw(
            st.sampled_from(
                [
                    (f"{name} {sign} {number}", f"{py(name)} {sign} {number}"),
                    (f"{number} {sign} {name}", f"{number} {sign} {py(name)}"),
                    (f"{name} {sign} {other}", f"{py(name)} {sign} {py(other)}"),
                    (f"{number} < {name} {sign} 5", f"{number} < {py(name)} {sign} 5"),
                    (f"{name} in ({number}, 3)", f"{py(name)} in ({number}, 3)"),
                    (f"{name} not in [{number}]", f"{py(name)} not in [{number}]"),
                    (name, f"bool({py(name)})"),
                ]
            )
        )
    name, text, other = draw(TEXTS), draw(TEXT), draw(TEXTS)
    method, function = draw(
        st.sampled_from(
            [("startswith", "startswith"), ("endswith", "endswith"), ("contains", "__contains__")]
        )
    )
    return draw(
        st.sampled_from(
            [
                (f"{name} {sign} {ours(text)}", f"{py(name)} {sign} {text!r}"),
                (f"{ours(text)} {sign} {name}", f"{text!r} {sign} {py(name)}"),
                (f"{name} {sign} {other}", f"{py(name)} {sign} {py(other)}"),
                (f"{name}.{method}({ours(text)})", f"{py(name)}.{function}({text!r})"),
                (f"{ours(text)} in {name}", f"{text!r} in {py(name)}"),
                (f"{ours(text)} not in {name}", f"{text!r} not in {py(name)}"),
                (f"{other} in {name}", f"{py(other)} in {py(name)}"),
                (f"{name} in ({ours(text)}, 'word')", f"{py(name)} in ({text!r}, 'word')"),
            ]
        )
    )


CONDITIONS = st.recursive(
    st.composite(comparison)(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
            lambda three: tuple(f"{three[0][at]} {three[1]} {three[2][at]}" for at in (0, 1))
        ),
        inner.map(lambda one: tuple(f"not {each}" for each in one)),
        inner.map(lambda one: tuple(f"({each})" for each in one)),
    ),
    max_leaves=8,
)


@given(CONDITIONS)
def test_it_means_what_it_means_in_python(condition: Both) -> None:
    """Of values of one kind."""
    expression, python = condition
    assert holds(expression, log_of(VALUES)) is bool(eval(python, {"V": VALUES})), expression
