"""What a handshake tells in the clear; OpenSSL, by way of Python's ssl, makes the handshakes."""

from __future__ import annotations

import random
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover import Direction, Plaintext, Role, Syscall
from rover.pipeline.tls_handshake import MAX_HELLO, MAX_NAME, Handshake, begins_record
from rover.testing import cut

IN, OUT = Direction


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed one and its key, in one file."""
    path: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -days 2"
    subprocess.run(
        ["openssl", *arguments.split(), "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    with path.open("ab") as file:
        file.write(path.with_suffix(".crt").read_bytes())
    return path


def contexts(certificate: Path, version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a client and a server."""
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client.minimum_version = client.maximum_version = version
    return client, server


def flights(certificate: Path, version: ssl.TLSVersion, name: str | None) -> Iterator[tuple[Role, bytes]]:
    """What each side sends, in turns, and then some data."""
    client_context, server_context = contexts(certificate, version)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    ends = ((Role.CLIENT, client, to_server, to_client), (Role.SERVER, server, to_client, to_server))
    # What was written stays until it is the other's turn.
    for _ in range(4):
        for role, end, out, into in ends:
            waiting = into.read()
            if waiting:
                yield Role.SERVER if role is Role.CLIENT else Role.CLIENT, waiting
                into.write(waiting)
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            end.write(b"secret")
            if sent := out.read():
                yield role, sent
                return


VERSIONS = [(ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", ["example.org", None])
@pytest.mark.parametrize(("version", "told"), VERSIONS)
def test_a_handshake_tells_who_is_called_and_which_version(bench, certificate, role, name, version, told):
    bench.open(role=None)
    for speaker, data in flights(certificate, version, name):
        move = bench.write if speaker is role else bench.read
        move(data)
    bench.close()
    connection = bench.logs[-1].connection
    assert (connection.tls, connection.tls_version) == (True, told)
    assert connection.server_name == (name or "")
    assert connection.role is role
    assert bench.pipeline.totals.tls_unread == 1
    assert sorted(d.sequence for d in bench.delivered) == list(range(len(bench.sent)))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("version", "told"), VERSIONS)
def test_in_any_pieces(certificate, version, told, seed):
    """A library reads the header of a record first, and whoever sends it may fragment it."""
    rng = random.Random(seed)
    handshake = Handshake()
    for speaker, data in flights(certificate, version, "a.example"):
        direction = OUT if speaker is Role.CLIENT else IN
        for piece in cut(data, rng) if seed else (bytes([byte]) for byte in data):
            handshake.feed(direction, piece)
    assert (handshake.client, handshake.server_name, handshake.version) == (OUT, "a.example", told)
    assert handshake.over
    assert handshake.size == 0


def vector(size: int, content: bytes) -> bytes:
    return len(content).to_bytes(size) + content


def client_hello(*extensions: tuple[int, bytes], fragment: int = 16384) -> bytes:
    """In records of so many bytes."""
    listed = b"".join(kind.to_bytes(2) + vector(2, content) for kind, content in extensions)
    body = b"\3\3" + bytes(32) + vector(1, b"") + vector(2, b"\x13\1") + vector(1, b"\0")
    body += vector(2, listed) if extensions else b""
    message = b"\1" + vector(3, body)
    pieces = [message[at : at + fragment] for at in range(0, len(message), fragment)]
    return b"".join(b"\x16\3\1" + vector(2, piece) for piece in pieces)


def names(*named: tuple[int, bytes]) -> tuple[int, bytes]:
    """The extension server_name."""
    return 0, vector(2, b"".join(bytes([kind]) + vector(2, name) for kind, name in named))


@pytest.mark.parametrize(
    ("hello", "told"),
    [
        (client_hello(names((0, b"example.org"))), "example.org"),
        (client_hello(names((0, b"example.org")), fragment=7), "example.org"),
        (client_hello((5, b"x"), (21, bytes(900)), names((0, b"a.b"))), "a.b"),
        (client_hello(names((7, b"other"), (0, b"a.b"))), "a.b"),
        (client_hello(names((0, b"a.b"), (0, b"c.d"))), "a.b"),
        (client_hello(names((0, b"a" * MAX_NAME))), "a" * MAX_NAME),
        (client_hello(), ""),
        (client_hello((0, b"")), ""),
        (client_hello(names()), ""),
        (client_hello(names((0, b""))), ""),
        (client_hello(names((0, b"a" * (MAX_NAME + 1)))), ""),
        (client_hello(names((0, b"\x1b[2J"))), ""),
        (client_hello(names((0, b"two words"))), ""),
        (client_hello(names((0, b"\xc3\xa9.org"))), ""),
    ],
)
def test_a_name_is_told_where_it_can_be_one(hello, told):
    handshake = Handshake()
    handshake.feed(IN, hello)
    assert (handshake.client, handshake.server_name) == (IN, told)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\3\1\0\5\1\0\0\1\3" + bytes(100),  # a version cut in two
        client_hello((0, b"\0\5\0")),  # a list longer than the extension
        b"\x16\3\1" + vector(2, b"\1" + vector(3, b"\3\3" + bytes(31))),
        b"\x16\3\1" + vector(2, b"\2" + vector(3, b"\3\3" + bytes(32) + b"\xff")),
        b"\x16\3\1" + vector(2, b"\x0b" + vector(3, bytes(50))),  # a certificate
        b"\x16\3\1" + vector(2, b"\1\xff\xff\xff" + bytes(50)),  # of 16 MB
        b"\x15\3\1\0\2\2\x28",  # an alert
        b"\x17\3\3\0\5hello",
        b"GET / HTTP/1.1\r\n",
        b"\x16\3\1\0\1\1" * (MAX_HELLO // 6 + 1),  # without an end
    ],
    ids=lambda data: data[:12].hex(),
)
def test_what_is_no_hello_says_nothing(data):
    handshake = Handshake()
    handshake.feed(IN, data)
    assert (handshake.client, handshake.server_name, handshake.version) == (None, "", "")
    handshake.feed(IN, client_hello(names((0, b"late.example"))))
    assert handshake.server_name == ""
    assert handshake.size == 0


@given(st.lists(st.tuples(st.sampled_from([IN, OUT]), st.binary(max_size=200)), max_size=20), st.booleans())
def test_any_bytes(pieces, plausible):
    handshake = Handshake()
    for direction, data in pieces:
        handshake.feed(direction, b"\x16\3\1" + vector(2, b"\1" + data) if plausible else data)
    assert handshake.size <= 2 * MAX_HELLO
    assert handshake.server_name.isprintable()


@given(st.data())
def test_a_hello_with_any_byte_changed(data):
    hello = bytearray(client_hello((5, b"x"), names((0, b"example.org")), (43, b"\2\3\4")))
    hello[data.draw(st.integers(0, len(hello) - 1))] = data.draw(st.integers(0, 255))
    handshake = Handshake()
    handshake.feed(IN, bytes(hello))
    assert handshake.server_name.isprintable()


@pytest.mark.parametrize(
    ("data", "begins"),
    [
        (b"\x16\3\1\2\0", True),
        (b"\x17\3\3\0\1", True),
        (b"\x14\3\3\0\1\1", True),
        (b"\x16\3\1\2", False),
        (b"\x16\3\1\0\0", False),
        (b"\x16\3\1\xff\xff", False),
        (b"\x16\3\5\0\1", False),
        (b"\x16\2\1\0\1", False),
        (b"\x18\3\3\0\1", False),
        (b"GET /", False),
    ],
)
def test_the_header_of_a_record(data, begins):
    assert begins_record(data, 0) is begins
    assert begins_record(b"xy" + data, 2) is begins


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_handshake_without_an_answer_is_no_connection_left_unread(bench, reply):
    """A port that was tried, or something else that answers: nothing was said that could be read."""
    bench.open()
    bench.read(client_hello(names((0, b"a.b"))))
    if reply:
        bench.write(reply)
    bench.close()
    assert bench.logs[-1].connection.server_name == "a.b"
    assert bench.pipeline.totals.tls_unread == 0


def test_a_connection_that_is_read_is_not_counted_as_unread(bench, certificate):
    bench.open()
    for speaker, data in flights(certificate, ssl.TLSVersion.TLSv1_3, "a.b"):
        (bench.read if speaker is Role.CLIENT else bench.write)(data)
    for number, (direction, line) in enumerate([(IN, b"?a\n"), (OUT, b"!a\n")]):
        bench.move(Syscall.READ, direction, b"", 1, 25)
        bench.pipeline.plaintext(
            Plaintext(
                connection=1,
                sequence=number,
                start=bench.clock,
                end=bench.clock,
                position=0,
                size=len(line),
                ciphertext=bench.positions[1, direction],
                pid=42,
                direction=direction,
            ),
            line,
        )
    bench.close()
    (log,) = bench.exchanges
    connection = log.connection
    assert (connection.tls_version, connection.server_name) == ("1.3", "a.b")
    assert bench.pipeline.totals.tls_unread == 0


@pytest.mark.parametrize("lost", [Direction.INGRESS, Direction.EGRESS])
def test_a_hello_that_was_not_captured(bench, certificate, lost):
    bench.open(role=None)
    for speaker, data in flights(certificate, ssl.TLSVersion.TLSv1_3, "a.b"):
        direction = IN if speaker is Role.CLIENT else OUT
        call = Syscall.READ if direction is IN else Syscall.WRITE
        bench.move(call, direction, b"" if direction is lost else data, 1, len(data))
    bench.close()
    connection = bench.logs[-1].connection
    assert connection.server_name == ("" if lost is IN else "a.b")
    assert connection.tls_version == ("" if lost is OUT else "1.3")
    assert connection.role is Role.SERVER
