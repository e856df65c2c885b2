"""Recognition: what opens HTTP/2, what does not, and when it is too early to tell."""

from __future__ import annotations

import gzip
import os
import struct
import zlib

import h2.config
import h2.connection
import hpack
import pytest
from hyperframe import frame as hf
from hypothesis import given
from hypothesis import strategies as st

from rover import Verdict
from rover_plugin_http2.sniff import sniff

YES, NO, MAYBE = Verdict.YES, Verdict.NO, Verdict.MAYBE
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def headers(first, flags=0x4, stream=1, before=b""):
    block = before + bytes.fromhex(first) + b"\x86\x84"
    return (len(block)).to_bytes(3, "big") + bytes([1, flags]) + stream.to_bytes(4, "big") + block


def announce(settings):
    payload = b"".join(struct.pack(">HI", *setting) for setting in settings.items())
    return len(payload).to_bytes(3, "big") + b"\x04\0\0\0\0\0" + payload


WINDOW = bytes.fromhex("0000040800000000000000ffff")
ACK = bytes.fromhex("000000040100000000")
PING = bytes.fromhex("000008060000000000") + b"12345678"
EMPTY_SETTINGS = bytes.fromhex("000000040000000000")
DATA = bytes.fromhex("000003000000000001") + b"abc"

OPENINGS = {
    "the preface": (PREFACE, YES),
    "the preface and more": (PREFACE + b"anything", YES),
    "a request": (headers("82"), YES),
    "a request, :path first": (headers("44"), YES),
    "a response": (headers("88"), YES),
    "a response on a promised stream": (headers("88", stream=2), YES),
    "padded": (headers("82", 0xC, before=b"\0"), YES),
    "with priority": (headers("82", 0x24, before=b"\0\0\0\0\x10"), YES),
    "padded with priority": (headers("82", 0x2C, before=b"\0\0\0\0\0\x10"), YES),
    "after four other frames": (ACK + WINDOW + PING + DATA + headers("88"), YES),
    "the server's SETTINGS": (announce({3: 100, 4: 65535}), YES),
    "SETTINGS with extensions": (
        announce({1: 4096, 0xFE03: 1, 0x3A3A: 9}),
        YES,
    ),
    "after five other frames": (ACK + WINDOW * 4 + headers("88"), NO),
    "type above 0x09": (b"\0\0\x03\x0a\0\0\0\0\x01\x82\x86\x84", NO),
    "HEADERS of stream 0": (headers("82", stream=0), NO),
    "a request on an even stream": (headers("82", stream=2), NO),
    "HEADERS with flags it has not": (headers("82", 0x6), NO),
    "the reserved bit": (headers("82", stream=0x8000_0001), NO),
    "PADDED taken for PRIORITY": (headers("ff", 0xC, before=b"\0\0\0\0\0"), NO),
    "a static field that is no pseudo-header field": (headers("90"), NO),
    "a dynamic entry": (headers("be"), NO),
    "a literal name": (headers("40"), NO),
    "a frame longer than the default": (b"\0\x40\x01\x01\x04\0\0\0\x01\x82", NO),
    "SETTINGS of what nobody registered": (announce({0x77: 1}), NO),
    "SETTINGS of values nobody sends": (announce({5: 1}), NO),
    "SETTINGS without end": (announce(dict.fromkeys(range(30), 1)), NO),
    "an unknown extension's SETTINGS only": (announce({0x3A3A: 9}), NO),
    "half the preface": (PREFACE[:12], MAYBE),
    "SETTINGS of nothing": (EMPTY_SETTINGS, MAYBE),
    "SETTINGS of nothing, then WINDOW_UPDATE": (EMPTY_SETTINGS + WINDOW, MAYBE),
    "a window update": (WINDOW, MAYBE),
    "HEADERS whose block has not come": (headers("82")[:9], MAYBE),
    "HEADERS of nothing": (b"\0\0\0\x01\x04\0\0\0\x01\x82", NO),
    "a frame header that has begun": (b"\0\0\x20\x01\x04", MAYBE),
    "a length no frame has": (b"\x10", NO),
    "a type no frame has": (b"\0\0\x20\x41", NO),
    "nothing": (b"", MAYBE),
}


@pytest.mark.parametrize("case", OPENINGS)
def test_openings(case):
    data, expected = OPENINGS[case]
    assert sniff(data) is expected
    assert sniff(bytearray(data)) is expected


def client_hello():
    """The record and handshake header, random, session, ciphers (RFC 8446 section 4.1.2)."""
    body = (
        b"\x03\x03" + bytes(range(32)) + b"\x20" + bytes(range(32)) + b"\0\x06\x13\x01\x13\x02\x13\x03\x01\0"
    )
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello


def postgres(message):
    return (len(message) + 4).to_bytes(4, "big") + message


OTHERS = {
    "HTTP/1.1 request": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "HTTP/1.1 response": b"HTTP/1.1 200 OK\r\n\r\n",
    "PROPFIND": b"PROPFIND / HTTP/1.1\r\n\r\n",
    "TLS ClientHello": client_hello(),
    "TLS ServerHello": b"\x16\x03\x03\0\x5a\x02\0\0\x56\x03\x03" + bytes(range(80)),
    "TLS ChangeCipherSpec": b"\x14\x03\x03\0\x01\x01\x17\x03\x03\0\x45" + bytes(69),
    "TLS application data": b"\x17\x03\x03\x40\x11" + bytes(range(256)) * 4,
    "TLS alert": b"\x15\x03\x03\0\x02\x02\x28",
    "SSH banner": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "SSH key exchange": b"\0\0\x04\x4c\x07\x14" + bytes(range(16)) + b"\0\0\x01\x09curve25519-sha256",
    "SSH packet, short": b"\0\0\0\x0c\x0a\x15" + bytes(10),
    "SSH packet, encrypted": b"\0\0\0\x20" + bytes.fromhex("9f1e2d3c4b5a69788796a5b4c3d2e1f0" * 3),
    "Redis command": b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
    "Redis reply": b"+OK\r\n",
    "Redis inline": b"PING\r\n",
    "PostgreSQL SSLRequest": postgres(b"\x04\xd2\x16\x2f"),
    "PostgreSQL startup": postgres(b"\0\x03\0\0user\0postgres\0database\0app\0\0"),
    "PostgreSQL cancel": postgres(b"\x04\xd2\x16\x2e\0\0\x12\x34\0\0\x56\x78"),
    "PostgreSQL query": b"Q" + postgres(b"SELECT 1\0"),
    "PostgreSQL AuthenticationOk": b"R" + postgres(bytes(4)),
    "MySQL greeting": b"\x4a\0\0\0\x0a8.0.35\0\x08\0\0\0" + bytes(60),
    "MySQL query": b"\x09\0\0\0\x03SELECT 1",
    "MongoDB": b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0" + bytes(38),
    "Kafka": b"\0\0\0\x31\0\x12\0\x03\0\0\0\x01\0\x0crdkafka",
    "AMQP": b"AMQP\0\0\x09\x01",
    "AMQP method": b"\x01\0\0\0\0\x01\xfc\0\x0a\0\x0a\0\x09",
    "Cassandra": b"\x04\0\0\0\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION",
    "Memcached binary": b"\x80\0\0\x03\0\0\0\0\0\0\0\x03" + bytes(12) + b"key",
    "MQTT": b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04test",
    "DNS over TCP": b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01",
    "Thrift framed": b"\0\0\0\x1c\x80\x01\0\x01\0\0\0\x04ping\0\0\0\0\0",
    "LDAP": b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",
    "SMB": b"\0\0\0\xd4\xfeSMB\x40\0" + bytes(60),
    "ZooKeeper": b"\0\0\0\x2d" + bytes(44),
    "length-prefixed zeros": b"\0\0\0\x04\0\0\0\x01\0\0\0\x04\0\0\0\x02",
    "gRPC message of a body": b"\0\0\0\x01\x2c" + bytes(range(200)),
    "JSON": b'{"a": 1}\n',
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "gzip": gzip.compress(bytes(range(256)) * 4, mtime=0),
    "zlib": zlib.compress(b"compressed data " * 40),
    "deflate": zlib.compress(b"compressed data " * 40)[2:],
    "zstd": b"\x28\xb5\x2f\xfd\x24" + bytes(range(64)),
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01",
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "SOCKS5": b"\x05\x01\0",
    "PROXY v1": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
    "PROXY v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_protocols_are_not_claimed(case):
    assert sniff(OTHERS[case]) is NO


@pytest.mark.parametrize("case", [c for c, (_, v) in OPENINGS.items() if v is not MAYBE])
def test_whole_or_byte_by_byte_the_verdict_is_the_same(case):
    """MAYBE until the verdict, which never changes afterwards."""
    data, final = OPENINGS[case]
    verdicts = [sniff(data[:i]) for i in range(len(data) + 1)]
    decided = next((i for i, v in enumerate(verdicts) if v is not MAYBE), None)
    assert decided is not None
    assert set(verdicts[decided:]) == {final}


@given(st.binary(max_size=200), st.integers(0, 200))
def test_a_verdict_on_less_holds_for_more(data, cut):
    early = sniff(data[:cut])
    assert early is MAYBE or sniff(data) is early


@pytest.mark.parametrize("client_side", [True, False])
def test_what_h2_sends_first_and_later(client_side):
    own = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client_side))
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=not client_side))
    own.initiate_connection()
    peer.initiate_connection()
    first = own.data_to_send()
    assert sniff(first) is YES
    peer.receive_data(first)
    own.receive_data(peer.data_to_send())
    client, server = (own, peer) if client_side else (peer, own)
    client.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")])
    later = client.data_to_send()
    if client_side:
        # Here the acknowledgement of SETTINGS comes first.
        assert sniff(later) is YES
    server.receive_data(peer.data_to_send() if client_side else later)
    if not client_side:
        server.send_headers(1, [(":status", "200")])
        assert sniff(server.data_to_send()) is YES


def test_random_bytes_are_never_claimed():
    """A sample; the rate over ten million is in the README."""
    block = os.urandom(1 << 20)
    assert not any(sniff(block[i : i + 64]) is YES for i in range(0, len(block), 64))


def test_a_later_request_whose_first_field_is_an_old_entry_is_not_claimed():
    """It could not be decoded anyway."""
    encoder = hpack.Encoder()
    encoder.encode([(":path", "/seen")])
    block = encoder.encode([(":path", "/seen"), (":method", "GET")])
    assert sniff(hf.HeadersFrame(5, block, flags=["END_HEADERS"]).serialize()) is NO
