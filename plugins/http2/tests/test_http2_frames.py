"""Frame headers that endpoints send, and those that none does."""

from __future__ import annotations

import itertools

import pytest

from rover_plugin_http2 import frames

NEVER = {
    "DATA": (0, [(0, 0, 5), (8, 1, 0)]),
    "HEADERS": (1, [(4, 0, 5), (8, 1, 0), (0x20, 1, 4), (0x28, 1, 5)]),
    "PRIORITY": (2, [(0, 0, 5), (0, 1, 4), (0, 1, 6)]),
    "RST_STREAM": (3, [(0, 0, 4), (0, 1, 3), (0, 1, 5)]),
    "SETTINGS": (4, [(0, 1, 6), (0, 0, 5), (1, 0, 6)]),
    "PUSH_PROMISE": (5, [(4, 0, 9), (4, 1, 3), (8, 1, 4)]),
    "PING": (6, [(0, 1, 8), (0, 0, 7), (1, 0, 9)]),
    "GOAWAY": (7, [(0, 1, 8), (0, 0, 7)]),
    "WINDOW_UPDATE": (8, [(0, 0, 3), (0, 1, 5)]),
    "CONTINUATION": (9, [(4, 0, 5)]),
}
SENT = {
    "DATA": (0, [(0, 1, 0), (1, 1, 16384), (8, 1, 1), (9, 3, 300)]),
    "HEADERS": (1, [(4, 1, 1), (5, 1, 20), (0x24, 1, 6), (0x2D, 1, 7)]),
    "PRIORITY": (2, [(0, 1, 5)]),
    "RST_STREAM": (3, [(0, 1, 4)]),
    "SETTINGS": (4, [(0, 0, 0), (1, 0, 0), (0, 0, 18)]),
    "PUSH_PROMISE": (5, [(4, 1, 4), (0, 1, 30), (0xC, 1, 5)]),
    "PING": (6, [(0, 0, 8), (1, 0, 8)]),
    "GOAWAY": (7, [(0, 0, 8), (0, 0, 100)]),
    "WINDOW_UPDATE": (8, [(0, 0, 4), (0, 1, 4)]),
    "CONTINUATION": (9, [(0, 1, 0), (4, 1, 100)]),
}


@pytest.mark.parametrize("name", NEVER)
def test_what_no_endpoint_sends(name):
    kind, cases = NEVER[name]
    assert frames.name(kind) == name
    for flags, stream, length in cases:
        assert frames.fault(kind, flags, stream, length)
        assert frames.implausible(kind, flags, stream, length)


@pytest.mark.parametrize("name", SENT)
def test_what_endpoints_send(name):
    kind, cases = SENT[name]
    for flags, stream, length in cases:
        assert not frames.fault(kind, flags, stream, length)
        assert not frames.implausible(kind, flags, stream, length)


def test_types_and_flags_of_extensions_are_ignored_but_not_believed():
    """RFC 9113 section 4.1; before anything has shown that these are frames, they show it is not."""
    for kind, flags in itertools.product((0xA, 0x10, 0xFF), (0, 1, 0xFF)):
        assert not frames.fault(kind, flags, 0, 7)
        assert frames.implausible(kind, flags, 0, 7)
    for kind, defined in enumerate(frames.DEFINED_FLAGS):
        stream = 0 if frames.ON_CONNECTION[kind] else 1
        length = {2: 5, 3: 4, 4: 0, 6: 8, 8: 4}.get(kind, 50)
        for bit in (1 << i for i in range(8)):
            assert not frames.fault(kind, bit, stream, length)
            assert bool(frames.implausible(kind, bit, stream, length)) is not bool(bit & defined)
        assert frames.implausible(kind, 0, stream | 0x8000_0000, length)


@pytest.mark.parametrize(
    ("settings", "fine"),
    [
        ([], True),
        ([(2, 0), (2, 1), (4, 0x7FFF_FFFF), (5, 16384), (5, 0xFF_FFFF), (1, 0xFFFF_FFFF), (0xFE03, 7)], True),
        ([(2, 2)], False),
        ([(4, 0x8000_0000)], False),
        ([(5, 16383)], False),
        ([(5, 0x100_0000)], False),
    ],
)
def test_settings(settings, fine):
    assert bool(frames.settings_fault(settings)) is not fine
    payload = b"".join(i.to_bytes(2, "big") + v.to_bytes(4, "big") for i, v in settings)
    assert frames.read_settings(payload) == settings
