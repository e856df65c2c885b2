"""Settings of sinks that send to a server: what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rover import UsageError
from rover.sending.settings import MAX_PERIOD, TLS, check_periods, text, tls
from rover.sending.tls import Tls


def given(**changes: object) -> dict[str, object]:
    return dict(zip(TLS, ("", "", "", "", False), strict=True)) | changes


@pytest.mark.parametrize("value", [0.0, -1.0, MAX_PERIOD + 1.0, float("inf"), float("nan")])
def test_a_period_that_no_thread_can_wait_for(value: float) -> None:
    check_periods("acme", {"short": 0.001, "long": MAX_PERIOD}, ("short", "long"))
    with pytest.raises(UsageError, match=r"^sink\.acme\.other = .*: must be more than 0, and at most 86400$"):
        check_periods("acme", {"short": 1.0, "other": value}, ("short", "other"))


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: text("acme", "host_name", "a\udc80"), "sink.acme.host_name must be UTF-8"),
        (
            lambda: tls("acme", given(tls_server_name="a b")),
            "sink.acme.tls_server_name 'a b': write a name in ASCII, or an IP address",
        ),
    ],
)
def test_a_text_that_cannot_be_sent(read: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read()
    assert str(raised.value) == message


def test_what_is_right_is_taken_as_it_is() -> None:
    assert text("acme", "host_name", "h\u00f4te") == "h\u00f4te"
    assert tls("acme", given()) == Tls()
    whole = given(tls_ca="a", tls_cert="c", tls_key="k", tls_server_name="s.example", tls_insecure=True)
    assert tls("acme", whole) == Tls("a", "c", "k", "s.example", insecure=True)
