"""What is masked of a target, a query, a path."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import UsageError
from rover_plugin_mask.names import LONGEST, REMEMBERED, Names
from rover_plugin_mask.paths import Paths
from rover_plugin_mask.texts import DEEPEST, Texts

TEXTS = Texts(Names(), Paths())


@pytest.mark.parametrize(
    ("target", "masked"),
    [
        ("/a?token=x&b=1", "/a?token=REDACTED&b=1"),
        ("/a?b=1&token=x", "/a?b=1&token=REDACTED"),
        ("/a?b=1;token=x;c=2", "/a?b=1;token=REDACTED;c=2"),
        ("/a?user[password]=x", "/a?user[password]=REDACTED"),
        ("/a?user.password=x&user_pwd=y", "/a?user.password=REDACTED&user_pwd=REDACTED"),
        ("/a?%74oken=x&to%6ben=y&api+key=z", "/a?%74oken=REDACTED&to%6ben=REDACTED&api+key=REDACTED"),
        ("/a?token=", "/a?token="),
        ("/a?token", "/a?token"),
        ("/a?token=x==&b", "/a?token=REDACTED&b"),
        # What a masked value goes on with.
        ("/a?token=x/y?z&b=1", "/a?token=REDACTED&b=1"),
        ("/a?token=x?y=z&b=1", "/a?token=REDACTED&b=1"),
        ("/a?token=x;y;b=1", "/a?token=REDACTED;b=1"),
        ("/a?token=x#top", "/a?token=REDACTED#top"),
        ("/a#access_token=x&b=1", "/a#access_token=REDACTED&b=1"),
        # In paths.
        ("/a;jsessionid=X/b?c=1", "/a;jsessionid=REDACTED/b?c=1"),
        ("/a/token=x/b", "/a/token=REDACTED/b"),
        ("/token/x", "/token/x"),
        # Userinfo.
        ("http://user:pw@host/a?b=1", "http://REDACTED:REDACTED@host/a?b=1"),
        ("http://user@host/", "http://REDACTED@host/"),
        ("http://u:p@ss@host/", "http://REDACTED:REDACTED@host/"),
        ("http://u:p&s;s=!@host/", "http://REDACTED:REDACTED@host/"),
        ("user:pw@host:443", "REDACTED:REDACTED@host:443"),
        ("/a?next=http://u:p@h/&b=1", "/a?next=http://REDACTED:REDACTED@h/&b=1"),
        # Within what is encoded.
        ("/login?next=%2Fa%3Ftoken%3Dx&b=2", "/login?next=REDACTED&b=2"),
        ("/login?next=%2Fa%3Fpage%3D2&b=2", "/login?next=%2Fa%3Fpage%3D2&b=2"),
        ("/p/http%3A%2F%2Fu%3Ap%40h%2Fx/y", "/p/REDACTED/y"),
        ("/p/%3Ftoken%3Dx/y", "/p/REDACTED/y"),
        ("/?q=%7B%22token%22%3A%22x%22%7D", "/?q=REDACTED"),
        ("/?q=%7B%22page%22%3A%222%22%7D", "/?q=%7B%22page%22%3A%222%22%7D"),
        ("/?%3Ftoken%3Dx=1", "/?REDACTED=REDACTED"),
        # What only looks alike.
        ("/?q=how+to+reset+a+token", "/?q=how+to+reset+a+token"),
        ("/?q=a@example.com", "/?q=a@example.com"),
        ("/@user/photos", "/@user/photos"),
        ("/caf%C3%A9?q=%E2%98%83", "/caf%C3%A9?q=%E2%98%83"),
        ("*", "*"),
        ("", ""),
        ("host:443", "host:443"),
        ("//", "//"),
        ("?", "?"),
        ("&&;;??##", "&&;;??##"),
    ],
)
def test_a_target(target: str, masked: str) -> None:
    assert TEXTS.target(target) == masked
    assert TEXTS.target(masked) == masked


def test_a_query_alone_has_no_authority() -> None:
    assert TEXTS.query("q=a@example.com&token=x") == "q=a@example.com&token=REDACTED"
    assert TEXTS.text("a@example.com") == "a@example.com"


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Passwd", "PASSPHRASE", "pwd", "user_pwd", "pass", "old-password", "passwordConfirm"),
        *("secret", "client_secret", "clientSecret", "token", "access_token", "accessToken", "X-Auth-Token"),
        *("apikey", "api_key", "api-key", "apiKey", "x-api-key", "API_KEY", "key", "Key", "accessKeyId"),
        *("AWSAccessKeyId", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "Signature"),
        *("X-Goog-Signature", "sig", "JSESSIONID", "PHPSESSID", "session", "sid", "sessionId", "connect.sid"),
        *(
            "auth",
            "authorization",
            "Proxy-Authorization",
            "cookie",
            "Set-Cookie",
            "jwt",
            "otp",
            "pin",
            "code",
        ),
        *("cf-access-jwt-assertion", "csrf", "csrfmiddlewaretoken", "xsrf-token", "credentials", "cvv"),
        *("private_key", "user[password]", " token ", "%74oken", "dbPassword", "DB_PASS"),
    ],
)
def test_a_name_that_is_a_secret_s(name: str) -> None:
    assert Names().is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "page",
            "q",
            "id",
            "sort",
            "sort_key",
            "monkey",
            "keyword",
            "max_tokens",
            "tokens",
            "author",
            "state",
        ),
        *("postcode", "zip_code", "country_code", "status", "design", "signal", "spin", "pinned", "side"),
        *(
            "compass",
            "host",
            "content-type",
            "accept",
            "user-agent",
            "x-request-id",
            "sessions",
            "",
            "=",
            "%",
        ),
    ],
)
def test_a_name_that_is_none_s(name: str) -> None:
    assert not Names().is_secret(name)


def test_names_of_the_user_s() -> None:
    names = Names(["customer", "x-*-id", "a[0]"], ["page_token", "key"])
    assert all(map(names.is_secret, ("customer", "Customer", "x-card-id", "a[0]", "token")))
    assert not any(map(names.is_secret, ("customers", "a0", "page_token", "PAGE_TOKEN", "key", "x-id")))
    for setting, both in (("names", ([""], ())), ("shown", ((), ["a", " "]))):
        with pytest.raises(UsageError, match=rf"^plugin\.mask\.{setting}: a name is empty$"):
            Names(*both)


def test_names_without_end_are_not_remembered() -> None:
    names = Names()
    for number in range(3 * REMEMBERED):
        assert not names.is_secret(f"n{number}")
    assert names.is_secret("token")
    assert names.is_secret("token" + " " * LONGEST)
    assert not names.is_secret("x" * LONGEST + ".token")  # nobody's


@pytest.mark.parametrize(
    ("pattern", "path", "masked"),
    [
        ("/reset/{token}", "/reset/abc", "/reset/REDACTED"),
        ("/reset/{token}", "/reset/abc/done", "/reset/REDACTED/done"),
        ("/reset/{token}", "/%72eset/abc", "/%72eset/REDACTED"),
        ("/reset/{token}", "/reset/", "/reset/"),
        ("/reset/{token}", "/reset", "/reset"),
        ("/reset/{token}", "/a/reset/abc", "/a/reset/abc"),
        ("/u/*/k/{k}/{v}", "/u/7/k/a/b/c", "/u/7/k/REDACTED/REDACTED/c"),
        ("/{any}", "/a", "/REDACTED"),
    ],
)
def test_a_path_of_the_user_s(pattern: str, path: str, masked: str) -> None:
    texts = Texts(Names(), Paths([pattern]))
    assert texts.path(path) == masked
    assert texts.target(f"{path}?a=1") == f"{masked}?a=1"
    assert texts.target(f"http://h{path}") == f"http://h{masked}"
    assert texts.target(f"http://h{path}?b=/reset/x") == f"http://h{masked}?b=/reset/x"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("reset/{token}", "a path begins with /"),
        ("/reset/token", "no segment is in braces, as in /reset/{token}"),
        ("/reset/x{token}", "'x{token}' is no segment: * and {name} stand for a whole one"),
        ("/reset/**/{a}", "'**' is no segment: * and {name} stand for a whole one"),
        ("", "a path begins with /"),
    ],
)
def test_a_path_that_is_none(pattern: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Paths([pattern])
    assert str(caught.value) == f"plugin.mask.paths = {pattern!r}: {message}"


# -- whatever is sent -------------------------------------------------------------------------

SECRET = "s3cr3t"
NAMES = st.sampled_from(["token", "password", "access_token", "X-Amz-Signature", "user[pwd]", "sid"])
WORDS = st.text(alphabet="abc /?&;%#@\u00e9", max_size=8).filter(lambda text: "//" not in text)
PLAIN = st.tuples(st.sampled_from(["page", "q", "sort"]), WORDS)


@given(
    st.lists(PLAIN, max_size=3), NAMES, st.lists(PLAIN, max_size=3), st.integers(0, DEEPEST), st.booleans()
)
def test_a_secret_never_stays_and_all_else_does(
    before: list[tuple[str, str]], name: str, after: list[tuple[str, str]], depth: int, userinfo: bool
) -> None:
    """Wherever it is: in the query that a client encodes, and with the target in a target in a target."""
    pairs = [*before, (name, f"{SECRET}/?{SECRET}"), *after]
    target = "/a?" + "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs)
    if userinfo:
        target = f"http://user:{SECRET}@host{target}"
    masked = TEXTS.target(target)
    assert SECRET not in masked
    kept = parse_qsl(urlsplit(masked).query, keep_blank_values=True)
    assert kept == [(key, "REDACTED" if key == name else value) for key, value in pairs]
    for _ in range(depth):
        target = f"/login?next={quote(target, safe='')}&page=1"
    masked = TEXTS.target(target)
    assert SECRET not in masked
    assert masked.endswith("&page=1") or not depth


@given(st.text(alphabet="/?&;#=@:%.25 3dDa\u00e9token"))
def test_whatever_a_text_is(text: str) -> None:
    """It is masked once and for all; a target and its parts agree."""
    masked = TEXTS.target(text)
    assert TEXTS.target(masked) == masked
    head, mark, query = text.partition("?")
    if head.startswith("/") and "@" not in text:
        assert masked == TEXTS.path(head) + mark + TEXTS.query(query)


SCRAPS = [
    "token",
    "key",
    "q",
    "page",
    "sort_key",
    "=",
    "=",
    "&",
    "/",
    ";",
    "#",
    "\0",
    "x",
    "1",
    "\u00e9",
    "\u0142",
    "code",
]


@given(st.lists(st.sampled_from(SCRAPS)).map("".join))
def test_a_glance_and_a_close_look_say_the_same(text: str) -> None:
    """What is percent-encoded is looked at closely, and all that is beside it."""
    assert TEXTS.query(f"{text}&%41") == f"{TEXTS.query(text)}&%41"
    assert TEXTS.path(f"{text}/%41") == f"{TEXTS.path(text)}/%41"


def test_a_name_that_is_remembered_is_no_other() -> None:
    """Zeros in front of it, as nobody sends, and names of more than eight characters, are their own."""
    texts = Texts(Names(), Paths())
    for _ in range(2):
        for name in ("q", "\0q", "\0key", "\0\0key", "sort_key", "1sort_key"):
            assert texts.query(f"{name}=1") == f"{name}=1"
        for name in ("key", "\0token", "token", "q-access-token"):
            assert texts.query(f"{name}=1") == f"{name}=REDACTED"


@pytest.mark.parametrize(
    "text",
    [
        "/" + "a" * 131_000,
        "/?" + "a" * 131_000,
        "/?" + "a=" * 65_000,
        "/?" + "a=1&" * 32_000,
        "/?" + "token=1&" * 16_000,
        "/?" + "token=?" * 18_000,
        "/" + "a=b/" * 32_000,
        "/" * 131_000,
        "//@" * 43_000,
        "//" + "@" * 131_000,
        "@" * 131_000,
        "/?a=" + "%25" * 43_000,
        "/?a=" + "%22a%22:" * 16_000,
        "/?" + "%3D" * 43_000,
        "/?a=" + "%2F%2F%40" * 14_000,
        "/?a=" + "a%3D%25" * 18_000,
        ";" * 131_000,
    ],
    ids=lambda text: text[:12],
)
def test_what_is_long_takes_time_as_it_is_long(text: str) -> None:
    """A head may be 128 kB; what took a square of that would take minutes."""
    texts = Texts(Names(["*a*b*c*d*"]), Paths(["/a/*/{b}"]))
    begun = time.process_time()
    texts.target(text)
    texts.query(text)
    texts.path(text)
    assert time.process_time() - begun < 5
