"""Plaintext at a TLS library's calls, and whose connection it is: with a library of the tests' own
(tls/library.c), which has the outer shape of OpenSSL and does on demand what is rare there."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import socket
import subprocess
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rover.contracts.source import Selection
from rover.contracts.tls_library import BioLayout, Moment, TlsFunction, TlsLibrarySpec, TlsProbe, TlsProbes
from rover.files.elf import opened
from rover.values.records import Direction
from rover_source_ebpf import bpf, perf_uprobes, tls
from rover_source_ebpf.loader import RefusedError
from rover_source_ebpf.programs import UPROBES
from rover_source_ebpf.reach import divided

pytestmark = pytest.mark.live

Start = Callable[..., Any]
HERE = Path(__file__).parent
OVERHEAD = 21
"""Bytes of a record of the library besides its plaintext."""
HELLO = 61
"""Bytes that each end sends in its handshake."""
BIO = BioLayout(rbio=16, wbio=24, num_read=24, num_written=32, kind=0)
RANDOM = dataclasses.replace(BIO, client_random=(40,))

PRELUDE = """
lib = ctypes.CDLL(sys.argv[1])
for name in ("tls_new", "tls_new_through"):
    getattr(lib, name).restype = ctypes.c_void_p
def new(fd): return ctypes.c_void_p(lib.tls_new(fd))
def write(tls, data): return lib.tls_write(tls, data, ctypes.c_size_t(len(data)))
def read(tls, size=16384, call="tls_read"):
    room = ctypes.create_string_buffer(size)
    if call == "tls_read_ex":
        moved = ctypes.c_size_t()
        done = lib.tls_read_ex(tls, room, ctypes.c_size_t(size), ctypes.byref(moved))
        return room.raw[:moved.value] if done else b""
    moved = getattr(lib, call)(tls, room, ctypes.c_size_t(size))
    return room.raw[:max(moved, 0)]
def send_memory(tls, sock, call="send"):
    room = ctypes.create_string_buffer(1 << 20)
    size = lib.memory_take(tls, room, len(room))
    data = room.raw[:size]
    if call == "writev":
        os.writev(sock.fileno(), [data[:30], data[30:]])
    elif call == "sendmsg":
        sock.sendmsg([data])
    else:
        sock.sendall(data)
def put_memory(tls, data): lib.memory_put(tls, data, len(data))
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (Debian: gcc)")
    made = tmp_path_factory.mktemp("tls") / "libtlstest.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", made, HERE / "tls/library.c"], check=True)
    return made


def find(path: Path, bio: BioLayout | None = BIO) -> TlsProbes:
    """The places of the library's functions."""
    called = {
        "tls_read": (TlsFunction.READ, 0),
        "tls_read_ex": (TlsFunction.READ, 4),
        "tls_write": (TlsFunction.WRITE, 0),
        "tls_peek": (TlsFunction.OTHER, 0),
        "tls_handshake": (TlsFunction.OTHER, 0),
        "tls_free": (TlsFunction.FREE, 0),
        "bio_write": (TlsFunction.CIPHERTEXT, 0),
    }
    probes = []
    with path.open("rb") as file:
        elf = opened(file)
        for name, function in elf.functions(*called).items():
            kind, moved = called[name]
            both = kind in (TlsFunction.READ, TlsFunction.WRITE, TlsFunction.OTHER)
            probes += [
                TlsProbe(offset=elf.entry(function.address), function=kind, moment=moment, moved=moved)
                for moment in ((Moment.ENTRY, Moment.RETURN) if both else (Moment.ENTRY,))
            ]
    return TlsProbes(library="test", probes=tuple(probes), bio=bio)


@pytest.fixture(scope="session")
def spec() -> TlsLibrarySpec:
    return TlsLibrarySpec(name="test", find=lambda file, needed: None)


@pytest.fixture(
    scope="module", params=["calls", "sockets", "calls, before Linux 6.13", "calls, before Linux 6.6"]
)
def watch(
    new_watch: Start, request: pytest.FixtureRequest, library: Path, spec: TlsLibrarySpec
) -> Iterator[Any]:
    """Watches everything that runs the library; in turn by either way of seeing socket calls, and by the
    probes that older kernels have."""
    if reason := tls.why_unsupported():
        pytest.skip(reason)
    way, _, older = request.param.partition(", ")
    with pytest.MonkeyPatch.context() as patch:
        if older:
            patch.setattr(tls, "has_sessions", lambda: False)
        if older.endswith("6.6"):
            if not perf_uprobes.are_there():
                pytest.skip("this kernel has no uprobes one by one")
            patch.setattr(tls, "are_one_by_one", lambda: True)
        started = new_watch(Selection(comms=("tls-test",)), libraries=[spec], tracepoints=way)
    assert started.source._program.has("tls_session") == (tls.has_sessions() and not older)
    links = tls.Probes(started.source._program).attach(str(library), find(library))
    yield started
    tls.detach(links)
    started.source.close()


TAIL_CALL = 12
"""enum bpf_func_id"""
Peer = Callable[[socket.socket], None]


def echo(connection: socket.socket) -> None:
    """Sends back whatever comes: what the library reads is then what it wrote."""
    while data := connection.recv(65536):
        connection.sendall(data)


NAME = "open('/proc/self/comm', 'w').write('tls-test')\n"


@pytest.fixture
def session(watch: Any, run: Start, listen: Start, ports: Any, library: Path) -> Start:
    """Runs code in a watched process that is connected to an echo; returns all that was delivered of it."""

    def start(code: str, connections: int = 1, answer: Peer = echo) -> list[Any]:
        (port,) = ports(1)
        listen(port, answer)
        child = run(NAME + PRELUDE + f"port = {port}\n" + code, library)
        seen = watch.ended(port, connections) if connections else []
        assert child.end() == 0
        watch.drain()
        assert not watch.recorder.losses
        return list(seen)

    return start


def moved(seen: Any, direction: Direction) -> list[tuple[int, bytes]]:
    return [(p.position, data) for p, data in seen.plaintext if p.direction == direction]


def sequences(seen: Any) -> list[int]:
    return [p.sequence for p, _ in seen.plaintext]


def ciphertext(seen: Any, direction: Direction) -> list[int]:
    return [p.ciphertext for p, _ in seen.plaintext if p.direction == direction]


NESTED = """
s = connect(port); t = new(s.fileno())
lib.tls_handshake(t)
assert write(t, b"GET one") == 7 and read(t) == b"GET one"
assert write(t, b"more") == 4 and read(t, call="tls_read_ex") == b"more"
lib.tls_free(t); s.close()
"""


def test_calls_around_socket_calls(session: Start) -> None:
    """Both directions, each call once, where it is, and which ciphertext it owns."""
    (seen,) = session(NESTED)
    assert moved(seen, Direction.EGRESS) == [(0, b"GET one"), (7, b"more")]
    assert moved(seen, Direction.INGRESS) == [(0, b"GET one"), (7, b"more")]
    assert sequences(seen) == [0, 1, 2, 3]
    ends = [HELLO + OVERHEAD + 7, HELLO + 2 * OVERHEAD + 11]
    assert ciphertext(seen, Direction.EGRESS) == ciphertext(seen, Direction.INGRESS) == ends
    assert all(p.start <= p.end and p.pid == seen.opened.pid for p, _ in seen.plaintext)


def test_ciphertext_is_not_uploaded_once_plaintext_is(session: Start) -> None:
    (seen,) = session(NESTED)
    first = seen.plaintext[0][0]
    assert [len(payload) for d, payload in seen.calls if d.start > first.end and d.size] == [0] * 5


@pytest.mark.parametrize("call", ["send", "writev", "sendmsg"])
def test_a_library_that_writes_to_memory(session: Start, call: str) -> None:
    """Its ciphertext tells, from the first write on."""
    (seen,) = session(f"""
s = connect(port); t = new(-1)
lib.tls_handshake(t); send_memory(t, s, "{call}"); put_memory(t, exactly(s, 61)); lib.tls_handshake(t)
for text in (b"one", b"two!"):
    assert write(t, text) == len(text)
    send_memory(t, s, "{call}"); put_memory(t, exactly(s, len(text) + 21))
    assert read(t) == text
lib.tls_free(t); s.close()
""")
    assert moved(seen, Direction.EGRESS) == moved(seen, Direction.INGRESS) == [(0, b"one"), (3, b"two!")]
    ends = [HELLO + OVERHEAD + 3, HELLO + 2 * OVERHEAD + 7]
    assert ciphertext(seen, Direction.EGRESS) == ciphertext(seen, Direction.INGRESS) == ends


def test_bytes_that_a_library_counts_twice(session: Start) -> None:
    """gRPC takes back what came with the end of the handshake, and hands it in anew."""
    (seen,) = session("""
s = connect(port); t = new(-1)
lib.tls_handshake(t); send_memory(t, s); put_memory(t, exactly(s, 61)); lib.tls_handshake(t)
for text in (b"one", b"two!"):
    assert write(t, text) == len(text)
    size = len(text) + 21
    send_memory(t, s); put_memory(t, exactly(s, size))
    room = ctypes.create_string_buffer(size)
    if text == b"one":
        assert lib.memory_take_back(t, room, size) == size
        put_memory(t, room.raw)
    assert read(t) == text
lib.tls_free(t); s.close()
""")
    assert moved(seen, Direction.INGRESS) == [(0, b"one"), (3, b"two!")]
    assert ciphertext(seen, Direction.INGRESS) == [HELLO + OVERHEAD + 3, HELLO + 2 * OVERHEAD + 7]


CLIENT = "lib.tls_handshake(t); send_memory(t, s); put_memory(t, exactly(s, 61)); lib.tls_handshake(t)"
SERVER = "lib.tls_random(t, bytes(range(32))); put_memory(t, exactly(s, 61)); lib.tls_handshake(t)"
TALK = """
for text in (b"one", b"two!"):
    assert write(t, text) == len(text)
    send_memory(t, s); put_memory(t, exactly(s, len(text) + 21))
    assert read(t) == text
lib.tls_free(t); s.close()
"""


def client(connection: socket.socket) -> None:
    """Sends a ClientHello, and then whatever comes."""
    connection.sendall(bytes([22, 3, 1, 0, 56, 1, 0, 0, 52, 3, 3, *range(32)]) + bytes(18))
    echo(connection)


@pytest.mark.parametrize("way", ["calls", "sockets"])
def test_a_beginning_that_was_seen(
    start_watch: Start, run: Start, listen: Start, ports: Any, library: Path, way: str
) -> None:
    """Then the random of the ClientHello tells the connection of a program that encrypts into memory, without
    a look at its ciphertext: of a client, also after a preface, and of a server."""
    if reason := tls.why_unsupported():
        pytest.skip(reason)
    spec = TlsLibrarySpec(name="test", find=lambda file, needed: None)
    watch = start_watch(Selection(comms=("tls-test",)), tracepoints=way, libraries=[spec])
    calls, ciphertexts = divided(find(library, RANDOM))
    assert ciphertexts is not None
    links = tls.Probes(watch.source._program).attach(str(library), calls)
    preface = "s.sendall(b'CONNECT'); exactly(s, 7)"
    try:
        for peer, code, written, had_read in (
            (echo, CLIENT, HELLO, HELLO),
            (echo, f"{preface}\n{CLIENT}", 7 + HELLO, 7 + HELLO),
            (client, SERVER, 0, HELLO),
        ):
            (port,) = ports(1)
            listen(port, peer)
            child = run(f"{NAME}{PRELUDE}s = connect({port}); t = new(-1)\n{code}{TALK}", library)
            (seen,) = watch.ended(port)
            assert child.end() == 0
            watch.drain()
            for direction, before in ((Direction.EGRESS, written), (Direction.INGRESS, had_read)):
                assert moved(seen, direction) == [(0, b"one"), (3, b"two!")]
                ends = [before + OVERHEAD + 3, before + 2 * OVERHEAD + 7]
                assert ciphertext(seen, direction) == ends
    finally:
        tls.detach(links)
    assert not watch.recorder.losses


def test_many_connections_in_one_thread(session: Start) -> None:
    """Each object's plaintext is its own connection's, in memory or not."""
    count = 20
    found = session(
        f"""
socks = [connect(port) for _ in range({count})]
objects = [new(-1 if n % 2 else s.fileno()) for n, s in enumerate(socks)]
for each in range(3):
    for n, (s, t) in enumerate(zip(socks, objects)):
        assert write(t, b"%d of %d" % (each, s.getsockname()[1])) > 0
        if n % 2: send_memory(t, s)
    for n, (s, t) in enumerate(zip(socks, objects)):
        text = b"%d of %d" % (each, s.getsockname()[1])
        if n % 2: put_memory(t, exactly(s, len(text) + 21))
        assert read(t) == text
for t in objects: lib.tls_free(t)
for s in socks: s.close()
""",
        count,
    )
    assert len(found) == count
    for seen in found:
        texts = [b"%d of %d" % (each, seen.opened.local.port) for each in range(3)]
        for direction in Direction:
            assert [data for _, data in moved(seen, direction)] == texts


def test_what_waits_for_its_connection(session: Start) -> None:
    """A server in memory that was joined late reads before it writes: its plaintext is delivered when the
    ciphertext of its answer tells where. Here it is the first call of all."""
    (seen,) = session("""
s = connect(port)
record = bytes([23, 3, 3, 0, 21]) + bytes(8) + bytes(255 - b for b in b"hello") + bytes(8)
s.sendall(record)
t = new(-1); put_memory(t, exactly(s, len(record)))
assert read(t, 2) == b"he" and read(t) == b"llo"
assert write(t, b"answer") == 6; send_memory(t, s); exactly(s, 27)
lib.tls_free(t); s.close()
""")
    assert moved(seen, Direction.INGRESS) == [(0, b"he"), (2, b"llo")]
    assert moved(seen, Direction.EGRESS) == [(0, b"answer")]
    assert sequences(seen) == [0, 1, 2]
    # The library has written nothing of the first record, so it counts from there; of what it reads that
    # is not known.
    assert ciphertext(seen, Direction.EGRESS) == [26 + 27]


def test_calls_that_deliver_nothing(session: Start) -> None:
    """A peek, and a call that wants to be called again: what they consume is the next call's."""
    (seen,) = session("""
s = connect(port); t = new(s.fileno())
lib.tls_refuse(t, 2)
assert write(t, b"once") == -1 and write(t, b"once") == -1 and write(t, b"once") == 4
assert read(t, call="tls_peek") == b"once"
assert read(t, 2) == b"on" and read(t) == b"ce"
lib.tls_free(t); s.close()
""")
    assert moved(seen, Direction.EGRESS) == [(0, b"once")]
    assert moved(seen, Direction.INGRESS) == [(0, b"on"), (2, b"ce")]
    assert ciphertext(seen, Direction.INGRESS) == [OVERHEAD + 4] * 2


def test_tls_within_tls(session: Start) -> None:
    """What the outer object carries is the inner one's ciphertext: the plaintext is that of the inner one."""
    (seen,) = session("""
s = connect(port); outer = new(s.fileno())
assert write(outer, b"CONNECT") == 7 and read(outer) == b"CONNECT"
inner = ctypes.c_void_p(lib.tls_new_through(outer))
assert write(inner, b"GET") == 3 and read(inner) == b"GET"
assert write(inner, b"again") == 5 and read(inner) == b"again"
for t in (inner, outer): lib.tls_free(t)
s.close()
""")
    for direction in Direction:
        assert moved(seen, direction) == [(0, b"CONNECT"), (7, b"GET"), (10, b"again")]
        end = OVERHEAD + 7
        sizes = [end, end + 2 * OVERHEAD + 3, end + 4 * OVERHEAD + 8]
        if direction == Direction.EGRESS:  # read in two calls, each a record's part of its own
            assert ciphertext(seen, direction) == sizes


def test_the_address_of_an_object_that_was_freed(session: Start) -> None:
    """It is soon another one's."""
    first, second = session(
        """
used = set()
for text in (b"first", b"second"):
    s = connect(port); t = new(s.fileno()); used.add(t.value)
    assert write(t, text) > 0 and read(t) == text
    lib.tls_free(t); s.close()
""",
        2,
    )
    assert [data for _, data in moved(first, Direction.EGRESS)] == [b"first"]
    assert [data for _, data in moved(second, Direction.EGRESS)] == [b"second"]


def test_a_call_on_another_socket_within_a_call(session: Start) -> None:
    """A library that asks somebody else meanwhile, by a callback, does not change its connection."""
    first, other = session(
        """
s = connect(port); o = connect(port); t = new(s.fileno())
assert write(t, b"mine") == 4 and read(t) == b"mine"
SEND = ctypes.CFUNCTYPE(None)(lambda: o.sendall(b"aside") or exactly(o, 5) and None)
lib.tls_call_back(t, SEND)
assert write(t, b"again") == 5 and read(t) == b"again"
lib.tls_free(t); s.close(); o.close()
""",
        2,
    )
    assert moved(first, Direction.EGRESS) == [(0, b"mine"), (4, b"again")]
    assert ciphertext(first, Direction.EGRESS) == [OVERHEAD + 4, 2 * OVERHEAD + 9]
    assert other.plaintext == []
    assert [payload for _, _, payload in other.moved(Direction.EGRESS)] == [b"aside"]


def test_a_preface_before_tls(session: Start) -> None:
    """STARTTLS, or a proxy: the library counts from where TLS begins."""
    (seen,) = session("""
s = connect(port); s.sendall(b"STARTTLS"); exactly(s, 8)
t = new(s.fileno()); lib.tls_handshake(t)
assert write(t, b"text") == 4 and read(t) == b"text"
lib.tls_free(t); s.close()
""")
    end = 8 + HELLO + OVERHEAD + 4
    assert ciphertext(seen, Direction.EGRESS) == ciphertext(seen, Direction.INGRESS) == [end]


def test_a_child_goes_on_with_its_parents_object(session: Start) -> None:
    """After fork(2) the connection is the same, the process another: its plaintext goes on where it was."""
    (seen,) = session("""
s = connect(port); t = new(s.fileno()); lib.tls_handshake(t)
assert write(t, b"parent") == 6 and read(t) == b"parent"
pid = os.fork()
if not pid:
    assert write(t, b"child") == 5 and read(t) == b"child"
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
lib.tls_free(t); s.close()
""")
    for direction in Direction:
        assert moved(seen, direction) == [(0, b"parent"), (6, b"child")]
    assert sequences(seen) == [0, 1, 2, 3]
    assert len({p.pid for p, _ in seen.plaintext}) == 2
    ends = [HELLO + OVERHEAD + 6, HELLO + 2 * OVERHEAD + 11]
    assert ciphertext(seen, Direction.EGRESS) == ends


def test_objects_that_are_not_of_tls(session: Start) -> None:
    """OpenSSL has one kind of object for QUIC and TLS."""
    (seen,) = session("""
s = connect(port); t = new(s.fileno()); lib.tls_kind(t, 7)
assert write(t, b"quic") == 4 and read(t) == b"quic"
lib.tls_free(t); s.close()
""")
    assert seen.plaintext == []


def test_plaintext_of_nobody(watch: Any, run: Start, library: Path) -> None:
    """What never finds its connection is lost, and told so, and does not grow."""
    watch.source._decoder.finish(watch.recorder)
    watch.recorder.losses.clear()
    before = watch.source.counters()["tls_unplaced"]
    child = run(
        NAME
        + PRELUDE
        + """
t = new(-1)
for _ in range(40): assert write(t, bytes(8192)) == 8192
lib.tls_free(t)
""",
        library,
    )
    assert child.end() == 0
    try:
        watch.until(
            lambda: watch.source.counters()["tls_unplaced"] == before + 32, "what is more than may wait"
        )
        watch.drain()
        watch.source._decoder.finish(watch.recorder)
        assert watch.source.counters()["tls_unplaced"] == before + 40
        watch.until(lambda: watch.recorder.losses["tls_unplaced"] == 40, "the losses")
    finally:
        watch.recorder.losses.clear()


def test_a_process_that_is_not_selected(
    watch: Any, run: Start, listen: Start, ports: Any, library: Path
) -> None:
    """Its plaintext is nowhere."""
    (port,) = ports(1)
    listen(port, echo)
    before = watch.source.counters()
    child = run(PRELUDE + f"port = {port}\n" + NESTED, library)
    assert child.end() == 0
    time.sleep(0.1)
    watch.drain()
    after = watch.source.counters()
    assert after["uploaded_bytes"] == before["uploaded_bytes"]
    assert after["tls_unplaced"] == before["tls_unplaced"]
    assert watch.of_port(port) == []


def test_limits_speak_of_plaintext(watch: Any, run: Start, listen: Start, ports: Any, library: Path) -> None:
    """Bytes of each call of the library, and the position up to which none are needed."""
    (port,) = ports(1)
    listen(port, echo)
    child = run(
        NAME
        + PRELUDE
        + f"""
s = connect({port}); t = new(s.fileno())
while size := hear():
    assert write(t, b"x" * size) == size
    say()
lib.tls_free(t); s.close()
""",
        library,
    )

    def send(size: int) -> int:
        child.say(size)
        child.hear()
        count = len(seen[0].plaintext) if seen else 0
        watch.until(
            lambda: watch.of_port(port) and len(watch.of_port(port)[0].plaintext) > count, "plaintext"
        )
        seen[:] = watch.of_port(port)
        return len(seen[0].plaintext[-1][1])

    seen: list[Any] = []
    assert send(10_000) == 4096, "the opening bytes of what nobody recognises"
    connection = seen[0].opened.connection
    watch.source.set_upload(connection, 100)
    assert send(5000) == 100
    watch.source.set_unneeded(connection, Direction.EGRESS, 20_000)
    assert send(5000) == 0, "it ends where the needed bytes begin"
    assert send(5000) == 100
    child.say(0)
    assert child.end() == 0


def test_what_was_said_of_ciphertext(
    watch: Any, run: Start, listen: Start, ports: Any, library: Path
) -> None:
    """An agent that wants nothing more of a tunnel says so while TLS begins in it: that is not said of the
    plaintext."""
    (port,) = ports(1)
    listen(port, echo)
    child = run(
        NAME
        + PRELUDE
        + f"""
s = connect({port}); t = new(s.fileno()); s.sendall(b"CONNECT"); exactly(s, 7); say()
while text := hear():
    assert write(t, text.encode()) == len(text); say()
lib.tls_free(t); s.close()
""",
        library,
    )
    child.hear()
    watch.until(lambda: watch.of_port(port), "the connection")
    (seen,) = watch.of_port(port)
    child.say("first")
    child.hear()
    watch.source.set_upload(seen.opened.connection, 0)
    child.say("second")
    child.hear()
    watch.until(lambda: len(seen.plaintext) == 2, "plaintext")
    assert [data for _, data in seen.plaintext] == [b"first", b"second"]
    child.say("")
    assert child.end() == 0


def test_programs_have_the_stack_of_their_thread(watch: Any) -> None:
    """By a tail call, which takes Linux 6.13 and later from giving them one that they share."""
    image = watch.source._program._image
    called = {
        function.name: {
            int.from_bytes(function.instructions[at + 4 : at + 8], "little")
            for at in range(0, len(function.instructions), 8)
            if function.instructions[at] == 0x85 and function.instructions[at + 1] >> 4 == 0
        }
        for function in image.functions
        if function.name in UPROBES
    }
    assert called
    assert all(TAIL_CALL in helpers for helpers in called.values()), called


def test_letting_go_takes_milliseconds(watch: Any, library: Path) -> None:
    """The agent ends within moments."""
    links = tls.Probes(watch.source._program).attach(str(library), find(library))
    began = time.monotonic()
    tls.detach(links)
    assert time.monotonic() - began < 2


def test_a_file_that_cannot_have_probes(watch: Any, tmp_path: Path) -> None:
    """What a plugin says of it may be wrong; nothing of it stays."""
    file = tmp_path / "file"
    file.write_bytes(bytes(10))
    before = os.listdir("/proc/self/fd")
    with contextlib.suppress(OSError):
        tls.detach(tls.Probes(watch.source._program).attach(str(file), find_nowhere()))
    with pytest.raises(FileNotFoundError):
        tls.Probes(watch.source._program).attach(str(tmp_path / "none"), find_nowhere())
    assert len(os.listdir("/proc/self/fd")) == len(before)


def find_nowhere() -> TlsProbes:
    probe = TlsProbe(offset=1 << 30, function=TlsFunction.READ, moment=Moment.ENTRY)
    return TlsProbes(library="test", probes=(probe,))


def test_a_kernel_without_such_links(
    start_watch: Start,
    spec: TlsLibrarySpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The agent runs without TLS, and says so."""
    monkeypatch.setattr(tls, "why_unsupported", lambda: tls.UNSUPPORTED)
    watch = start_watch(Selection(comms=("tls-test",)), libraries=[spec])
    assert [record.getMessage() for record in caplog.records] == [f"TLS is not read: {tls.UNSUPPORTED}"]
    assert not watch.source._program.has("tls_enter")


def test_a_kernel_that_refuses_the_programs(
    start_watch: Start,
    spec: TlsLibrarySpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The agent runs without TLS, and says why. One that refuses others, too, is an error as ever."""
    load, refused = bpf.load, ["tls_"]

    def refuse(name: str, instructions: bytes, *kind: int) -> int:
        if name.startswith(tuple(refused)):
            raise bpf.VerifierError(errno.EACCES, "R1 invalid mem access\n")
        return load(name, instructions, *kind)

    monkeypatch.setattr(bpf, "load", refuse)
    watch = start_watch(Selection(comms=("tls-test",)), libraries=[spec])
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("TLS is not read: the kernel side could not be set up (tls_")
    assert told.endswith("R1 invalid mem access")
    assert not watch.source._program.has("tls_enter")
    assert watch.source._program.has("on_sys_exit")
    refused.append("on_")
    with pytest.raises(RefusedError):
        start_watch(Selection(comms=("tls-test",)), libraries=[spec])


def test_all_probes_are_let_go_of_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel waits for each of them: no close ends here before the last one has begun."""
    links = list(range(300))
    all_closing = threading.Barrier(len(links), timeout=20)
    closed: list[int] = []

    def close(link: int) -> None:
        all_closing.wait()
        closed.append(link)

    monkeypatch.setattr(tls, "os", types.SimpleNamespace(close=close))
    tls.detach(links)
    assert sorted(closed) == list(range(300))
    assert not links


@pytest.mark.parametrize("allowed", [0, 5])
def test_probes_are_let_go_of_without_more_threads(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """As in a container with a limit of processes."""
    left = iter(range(allowed))

    class Limited(threading.Thread):
        def start(self) -> None:
            if next(left, None) is None:
                raise RuntimeError("can't start new thread")
            super().start()

    closed: list[int] = []
    monkeypatch.setattr(tls, "os", types.SimpleNamespace(close=closed.append))
    monkeypatch.setattr(tls, "threading", types.SimpleNamespace(Thread=Limited))
    tls.detach(list(range(50)))
    assert sorted(closed) == list(range(50))
