"""What a segment of a path is by its shape: a word, or a value. Compiled, it is the same."""

import importlib
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rover_plugin_routes import shape

VALUES = """
0 123 -5 12.5.3 555-1234 10.0.0.1 +15551234 2026-11-26 26.11.2026 20261126 20261126T101500Z 2026-W48
10:15:00 123e4567-e89b-12d3-a456-426614174000 123E4567-E89B-12D3-A456-426614174000
urn:uuid:123e4567-e89b-12d3-a456-426614174000 9f1c2ab DEADBEEF01 507f1f77bcf86cd799439011
d41d8cd98f00b204e9800998ecf8427e da39a3ee5e6b4b0d3255bfef95601890afd80709 app.3f2a1b9c.js
i-0abcd1234ef567890 aGVsbG8gd29ybGQ= YWJj+ZGVm eyJhbGciOiJIUzI1NiJ9 dQw4w9WgXcQ
V1StGXR8_Z5jdHi6B-myT 01ARZ3NDEKTSV4RRFFQ69G5FAV cjld2cjxh0000qzrmn831i7rn cus_NffrFeUfNV2Hib
C024BE91L order-12345 INV-2024-0001 T12345 user_4217 who@example.org @alice a,b,c key=value
Products(5) . .. ... {} {...} {id} * ; ~
"""
WORDS = """
- _ users orders api v1 v2.1 v1beta1 v10 1.1 2.0 en-US zh_CN _search _cat $metadata .well-known
openid-configuration oauth2 s3 h264 utf8mb4 iso8601 md5 k8s-pods e2e-tests log4j2-config
x509v3extensions step-2 getUserByIdAndName getHTTPResponseCode OAuth2Callback CreateEC2Instance
MySQLTableXML UserService ISO3166 index.html logo.png wp-login.php jquery.min.js
apple-touch-icon.png api-docs.json things:batchGet deadbeef facade helloworld.Greeter base64decode
"""
TITLES = ["a-word" * 9, "caf\u00e9", "\u5546\u54c1", "a b", "\x00", "a\nb", "\ufffd"]


FORMS = [pytest.param("shape", id="plain"), pytest.param("_shape", id="compiled", marks=pytest.mark.compiled)]


@pytest.fixture(params=FORMS)
def is_value(request: pytest.FixtureRequest) -> Callable[[str], bool]:
    """In either form."""
    module = importlib.import_module(f"rover_plugin_routes.{request.param}")
    found: Callable[[str], bool] = module.is_value
    return found


@pytest.mark.parametrize("segment", [*VALUES.split(), *TITLES])
def test_values(segment: str, is_value: Callable[[str], bool]) -> None:
    assert is_value(segment)


@pytest.mark.parametrize("segment", WORDS.split())
def test_words(segment: str, is_value: Callable[[str], bool]) -> None:
    assert not is_value(segment)


numbers_uuids_and_times = st.integers(0) | st.uuids() | st.dates() | st.datetimes()


@given(numbers_uuids_and_times.map(str))
def test_numbers_uuids_and_times_are_values(text: str) -> None:
    assert shape.is_value(text)


@given(st.binary(min_size=4, max_size=20).map(bytes.hex).filter(lambda text: not text.isalpha()))
def test_hashes_are_values(text: str) -> None:
    assert shape.is_value(text)


def runs(*alphabets: str) -> st.SearchStrategy[str]:
    """Some characters of one alphabet, then some of another: what the rules tell apart by their turns."""
    one = st.sampled_from(alphabets).flatmap(lambda alphabet: st.text(alphabet, max_size=9))
    return st.lists(one, max_size=8).map("".join)


segments = st.one_of(
    st.text(max_size=60),
    runs("abcxyz", "ABCXYZ", "0123", "-_.", "-_.~$:"),
    runs("abcdef", "ABCDEF", "0123456789", "-", "abcdef0123"),
    runs("a", "B", "1", "-", ",=+%", "\u00e9", "\u0661", "\n\0"),
    st.from_regex(r"v?\d{1,4}([.]\d{1,4}){0,3}([a-z]+\d{0,4})?[.v-]?", fullmatch=True),
    st.from_regex(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{11,12}g?", fullmatch=True),
    st.from_regex(r"[a-f]{8}(-[a-f]{4}){3}-[a-f]{12}", fullmatch=True),
)


@pytest.mark.compiled
@settings(max_examples=2000)
@given(segments)
@example("")
def test_compiled_it_is_the_same(segment: str) -> None:
    from rover_plugin_routes import _shape

    assert _shape.is_value(segment) is shape.is_value(segment)
