"""What is compiled does what the Python beside it does."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from rover import AccessLog, Address, Connection, Detail, Outcome, Process, Role
from rover.http import traceparent
from rover.plugins.manager import PluginManager
from rover_plugin_http1 import handle_http_data, head_fields, ordinary
from rover_plugin_http1.startline import split_request_line
from rover_plugin_http2 import fields, header_blocks
from rover_plugin_http2.undecodable import Undecodable
from rover_plugin_sink_log import line
from rover_source_ebpf import record

pytestmark = pytest.mark.compiled
TESTS = Path(__file__).parent

RUN = """
import random, sys
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "plain":
    import plain
    plain.install()
from rover.streams import buffer
assert buffer.__file__.endswith(".py") == (sys.argv[2] == "plain"), buffer.__file__
from bench import decode, traffic
from cutting import cut
rng = random.Random(int(sys.argv[3]))
if sys.argv[4] == "http1":
    exchanges = [traffic.http1(rng) for _ in range(400)]
    records = traffic.http1_records(exchanges, 7, 30)
elif sys.argv[4] == "cut":  # calls that bring a part of a message, and are captured in part
    exchanges = [traffic.http1(rng) for _ in range(400)]
    records = cut(rng, traffic.http1_records(exchanges, 3, 60))
elif sys.argv[4].startswith("tls"):
    exchanges = [traffic.http1(rng) for _ in range(400)]
    records = traffic.tls_records(exchanges, 7, in_memory=sys.argv[4] == "tls in memory")
else:
    records = traffic.grpc_records(rng, 1200, 60)
for _ in range(40):  # losses, so that the rare ways are gone as well
    del records[rng.randrange(len(records))]
decode.decode(decode.batches(records), None, "/dev/stdout")
"""


def run(form: str, seed: int, traffic: str) -> bytes:
    command = [sys.executable, "-c", RUN, str(TESTS), form, str(seed), traffic]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout


@pytest.mark.parametrize("traffic", ["http1", "cut", "tls", "tls in memory", "grpc"])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_lines_for_the_same_records(seed, traffic):
    compiled = run("compiled", seed, traffic)
    assert compiled.count(b"\n") > 300
    assert compiled == run("plain", seed, traffic)


def mutated(rng: random.Random, head: bytes) -> bytes:
    """A head with some bytes replaced, removed or doubled."""
    changed = bytearray(head)
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(changed))
        match rng.randrange(3):
            case 0:
                changed[at] = rng.choice(b" \t\r\n\0:;/AZaz09\x7f\x80\xff\x0b\x0c")
            case 1:
                del changed[at]
            case _:
                changed[at:at] = changed[at : at + rng.randrange(1, 30)]
    return bytes(changed)


def read(head):
    """All a head says, comparable."""
    if head is None:
        return None
    return [list(head.headers), *(getattr(head, name) for name in type(head).__slots__ if name != "headers")]


REQUESTS = (
    b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nUser-Agent: x y\r\nContent-Length: 12 \r\n\r\n",
    b"POST http://a/ HTTP/1.0\r\nTransfer-Encoding: Chunked\r\nExpect:  100-CONTINUE\r\n\r\n",
    b"M!#$ * HTTP/1.1\r\nhOST:\r\nX:\xff\xfe\r\nexpect: no, 100-continue\r\nexpect: 1\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\ncontent-length: 123456789012345678\r\nCookie: a=b; c=d\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a \nX: y\r\nContent-Length:1\n\n",
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: nginx\r\n\r\n",
    b"HTTP/1.0 404\r\nTransfer-Encoding:chunked\t\r\n\r\n",
    b"HTTP/1.1 200\nTransfer-Encoding: chunked \nA:\n\n",
    b"HTTP/1.1 599 \xe4\xf6 x\r\nA: b\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
)


@pytest.mark.parametrize(
    ("name", "heads"), [("ordinary_request", REQUESTS), ("ordinary_response", RESPONSES)]
)
def test_heads_are_ordinary_to_both_or_to_none(name, heads):
    from rover_plugin_http1 import _ordinary

    rng = random.Random(5)
    plain, compiled = getattr(ordinary, name), getattr(_ordinary, name)
    accepted = 0
    for _ in range(20_000):
        head = mutated(rng, rng.choice(heads))
        if not head:
            continue
        expected = read(plain(b"--" + head + b"--", 2, 2 + len(head)))
        assert read(compiled(b"--" + head + b"--", 2, 2 + len(head))) == expected, head
        assert read(compiled(bytearray(head), 0, len(head))) == expected, head
        accepted += expected is not None
    assert 1_000 < accepted < 19_000


def test_request_lines_are_ordinary_to_both_or_to_none_and_open_a_request():
    from rover_plugin_http1 import _ordinary

    rng = random.Random(6)
    opening = 0
    for _ in range(20_000):
        head = mutated(rng, rng.choice(REQUESTS))[: rng.choice([0, 15, 20, 30, 200])]
        limit = rng.choice([0, 10, 15, 20, 1000])
        expected = ordinary.opens_ordinary_request(head, limit)
        assert _ordinary.opens_ordinary_request(head, limit) is expected, (head, limit)
        assert _ordinary.opens_ordinary_request(bytearray(head), limit) is expected, (head, limit)
        if expected:
            opening += 1
            assert split_request_line(head[:limit].partition(b"\n")[0]), head
    assert 1_000 < opening < 19_000


@pytest.mark.parametrize(("start", "end"), [(-1, 5), (3, 3), (0, 6), (5, 2)])
def test_a_head_outside_its_bytes_is_refused(start, end):
    from rover_plugin_http1 import _ordinary

    for data in (b"12345", bytearray(b"12345")):
        with pytest.raises(ValueError, match="head"):
            _ordinary.ordinary_request(data, start, end)


def test_fields_are_found_alike():
    from rover_plugin_http1 import _head_fields, _ordinary

    rng = random.Random(6)
    names = ["host", "user-agent", "x", "expect", "content-length", "cookie", "nosuch", "", "a:"]
    for _ in range(5_000):
        head = mutated(rng, rng.choice(REQUESTS))
        request = _ordinary.ordinary_request(head, 0, len(head))
        if request is None:
            continue
        marked, head = request.headers, head[: request.size]
        plain, compiled = head_fields.HeadFields(head), _head_fields.HeadFields(head)
        for name in [*names[:-2], *(name for name, _ in plain)]:
            assert marked.get(name) == compiled.get(name) == plain.get(name), (head, name)
        assert list(compiled) == list(plain)


@pytest.mark.parametrize(
    "head", [b"\nhost:a\n\n", b"\nx\xff:\xfe \r a\nhost:\nHOST: b\n\n", b"\n\n", b"\nx y:\xc3\xa4\x00\n\n"]
)
def test_fields_of_no_ordinary_head_are_found_alike(head):
    from rover_plugin_http1 import _head_fields

    plain, compiled = head_fields.HeadFields(head), _head_fields.HeadFields(head)
    for name in ("host", "x", "x y", "b"):
        assert compiled.get(name) == plain.get(name)
    assert list(compiled) == list(plain)


def test_trace_parents_are_read_alike():
    from rover.http import _traceparent

    rng = random.Random(7)
    usual = f"00-{'0123456789abcdef' * 2}-{'00f067aa0ba902b7'}-01"
    no_trace, no_span = f"00-{'0' * 32}{usual[35:]}", f"{usual[:36]}{'0' * 16}-01"
    values = [
        usual,
        no_trace,
        no_span,
        f"{usual}-more",
        f"01{usual[2:]}-more",
        f" {usual}\t",
        f"ff{usual[2:]}",
    ]
    accepted = 0
    for number in range(20_000):
        value = list(values[number % len(values)])
        for _ in range(rng.randrange(3)):
            value[rng.randrange(len(value))] = rng.choice("09afgAF-\xe9\u0660\ud800 \n")
        text = "".join(value)
        expected = traceparent.traceparent(text)
        assert _traceparent.traceparent(text) == expected, text
        accepted += expected is not None
    assert 3_000 < accepted < 12_000


FIELDS = (
    (":method", "POST"),
    (":path", "/a.Service/Call?b=c"),
    (":status", "200"),
    ("content-type", "application/grpc"),
    ("cookie", "a=b"),
    ("cookie", "c=d\nexpect: x"),
    ("x-long", "v" * 1_500),
    ("x-e", "\xe9\u20ac"),
    ("te", "trailers"),
    ("", ""),
)


def decoded(state, block, limit):
    """What a block says, or why it says nothing."""
    try:
        return state.fields(b"-" + block + b"-", 1, 1 + len(block), limit)
    except Undecodable as fault:
        return f"{fault.reason}: {fault.found}"


@pytest.mark.parametrize("seed", range(3))
def test_header_blocks_say_the_same_or_fail_alike(seed):
    from rover_plugin_http2 import _header_blocks

    rng = random.Random(seed)
    failed = 0
    for _ in range(400):
        plain, compiled = header_blocks.HeaderBlocks(), _header_blocks.HeaderBlocks()
        encoder = hpack.Encoder()
        for _ in range(rng.randrange(1, 12)):
            if rng.random() < 0.2:
                encoder.header_table_size = rng.choice([0, 100, 4096, 9000, 100_000])
            sent = [(*rng.choice(FIELDS), rng.random() < 0.2) for _ in range(rng.randrange(12))]
            sent += [(f"x-{rng.randrange(90)}", f"{rng.getrandbits(60):x}") for _ in range(rng.randrange(9))]
            block = encoder.encode(sent, huffman=rng.random() < 0.7)
            if rng.random() < 0.3 and block:
                block = mutated(rng, block)
            elif rng.random() < 0.1:
                block = rng.randbytes(rng.randrange(30))
            limit = rng.choice([None, 4096, 9000])
            expected = decoded(plain, block, limit)
            assert decoded(compiled, block, limit) == expected, block
            if isinstance(expected, str):
                failed += 1
                break
            assert compiled.memory == plain.memory
    assert 100 < failed < 400


def test_huffman_codes_say_the_same_or_fail_alike():
    from rover_plugin_http2 import _header_blocks

    rng = random.Random(9)
    encode = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode
    failed = 0
    for size in range(4_000):
        coded = rng.choice(
            [
                rng.randbytes(rng.randrange(6)),
                encode(rng.randbytes(rng.randrange(12))),
                encode(bytes(rng.choices(b"0aAz~{}|\\<\xff", k=size // 50)))
                + rng.choice([b"", b"\xff", b"\x00"]),
                b"\xff" * (size % 6) + rng.choice([b"", b"\xfc", b"\xf8", b"\xfe", b"\xff\xff\xff\xfb"]),
            ]
        )[:120]
        block = b"\0\1x" + bytes([0x80 | len(coded)]) + coded
        expected = decoded(header_blocks.HeaderBlocks(), block, None)
        assert decoded(_header_blocks.HeaderBlocks(), block, None) == expected, coded
        failed += isinstance(expected, str)
    assert 1_000 < failed < 3_500


def test_packed_fields_are_found_alike():
    from rover_plugin_http2 import _fields

    rng = random.Random(7)
    names = [":method", ":path", "cookie", "x-long", "x-e", "te", "nosuch", "", "a\nb", "x"]
    odd = [b"a\nb\0c", b"\0", b"x\0\n", b"x-e\0\xff\xfe", b"cookie\0", b":late\0x", b"te\0\0\0", b"x\xff\0y"]
    odd += [
        b":status\0" + value
        for value in (b"200", b"099", b"", b"20", b"2000", b"2a0", b"\xd9\xa1\xd9\xa2\xd9\xa3")
    ]
    for _ in range(5_000):
        lines = [
            f"{name}\0{value}".encode() for name, value in rng.sample(FIELDS, rng.randrange(len(FIELDS)))
        ]
        lines += rng.sample(odd, rng.choice([0, 0, 1, 3]))
        rng.shuffle(lines)
        for part in fields.pack_apart(lines):
            plain, compiled = fields.packed_headers(part), _fields.packed_headers(part)
            assert fields.status_of(part) == _fields.status_of(part)
            assert list(compiled) == list(plain)
            for name in names:
                value = fields.value_of(part, name)
                assert value == _fields.value_of(part, name) == plain.get(name) == compiled.get(name)


CONNECTION = Connection(
    id=0x1F,
    local=Address(host="::1", port=80),
    remote=Address(host="10.0.0.2", port=40000),
    role=Role.SERVER,
    process=Process(pid=42, name='a"b'),
    opened=0,
    epoch=1_700_000_000_000_000_000,
)
DETAIL = Detail(
    connection=0x1F,
    sequence=1,
    start=100,
    end=110,
    position=0,
    size=5,
    pid=42,
    fd=3,
    syscall=9,
    direction=0,
    error=0,
)
TEXTS = [
    "",
    "a",
    'q"\\/',
    "".join(map(chr, range(0x20))),
    "\x7f\x80\x9f\xa0é€\u061c\u200e\u2028\u202e\u2066\u206a\U0001f600",
    "\ud800",
    "a\0b",
]
VALUES = [
    0,
    -1,
    1 << 31,
    (1 << 63) - 1,
    -(1 << 63),
    1 << 63,
    1 << 64,
    True,
    False,
    1.5,
    None,
    *TEXTS,
    (),
    ("a", "é\u2028"),
    ("\ud800",),
    (1,),
    ["a"],
]


def test_lines_are_the_same_bytes():
    from rover_plugin_sink_log import _line

    rng = random.Random(8)
    connections = [
        CONNECTION,
        CONNECTION.replace(proxied=Address(host="192.0.2.1", port=5)),
        Connection(id=2**64 - 1, local=None, remote=None, role=None, process=None, opened=0, epoch=0),
        Connection(
            id=1,
            local=Address(host="1.2.3.4", port=1),
            remote=Address(host="1.2.3.5", port=2),
            role=None,
            process=Process(pid=0, name=""),
            opened=0,
            epoch=5,
            tls=True,
        ),
        CONNECTION.replace(
            process=Process(pid=1, name="b", attributes={"pod": "a\u2028", "url.path": 7, "tls": 0, "": True})
        ),
        CONNECTION.replace(process=Process(pid=1, name="c", attributes={"pod": "\ud800", "n": 1 << 61})),
    ]
    described = [{}, {"pod": "a"}, {"pod": "b", "url.path": 7}, {"tls": 0}]
    others = [
        CONNECTION.replace(
            id=rng.getrandbits(64),
            local=Address(host=rng.choice(["1.2.3.4", *TEXTS]), port=rng.choice([0, 65535, *VALUES])),
            role=rng.choice([*Role, *Role, None]),
            process=rng.choice([None, *([process] * 3)]),
            tls=rng.choice([False, False, False, True, None, 0]),
        )
        for process in (
            Process(pid=pid, name=name, attributes=attributes)
            for pid in (0, 1, 2**31, True)
            for name in ("nginx", *TEXTS)
            for attributes in described
        )
    ]
    keys = [
        "http.request.method",
        "url.path",
        "a",
        "é",
        'q"',
        "tls",
        "timestamp",
        "rover.outcome",
        *TEXTS,
    ]
    for syscalls in (True, False):
        plain, compiled = line.Lines(syscalls), _line.Lines(syscalls)
        for _ in range(3_000):
            details = tuple(
                DETAIL.replace(
                    syscall=rng.choice([0, 1, 8, 22, 77]),
                    error=rng.choice([0, 0, 104]),
                    fd=rng.choice([-1, 7]),
                    start=rng.choice([0, 10**18, -5]),
                    size=rng.choice([0, (1 << 62) - 1]),
                )
                for _ in range(rng.randrange(3))
            )
            log = AccessLog(
                connection=rng.choice(rng.choice([connections, others])),
                start=rng.choice([0, 5, 10**9 - 1, 10**18]),
                end=rng.choice([0, 7, 10**19]),
                protocol=rng.choice(["", "http", 'p"']),
                version=rng.choice(["", "1.1"]),
                attributes={rng.choice(keys): rng.choice(VALUES) for _ in range(rng.randrange(4))},
                details=details,
                outcome=rng.choice(list(Outcome)),
            )
            assert compiled.line(log) == plain.line(log)
            assert compiled.line(log) == plain.line(log)


class Told:
    """A handler that keeps what it is told."""

    def __init__(self):
        self.records = []

    def data(self, detail, payload):
        self.records.append((detail, payload))

    def __getattr__(self, name):
        return self.records.append


def test_kernel_records_are_read_alike():
    from rover_source_ebpf import _record

    rng = random.Random(9)
    plain, compiled = (
        record.RecordDecoder(lambda pid, port: None),
        _record.RecordDecoder(lambda pid, port: None),
    )
    first, second = Told(), Told()
    memory = bytearray()
    records = []
    for _ in range(3_000):
        body = rng.randbytes(rng.randrange(0, 60))
        captured = rng.choice([len(body), len(body), 0, len(body) + 1, 1 << 31])
        fields = [rng.choice([0, 1, 2**61, 2**62, 2**63, 2**64 - 1][: rng.choice([2, 6])]) for _ in range(5)]
        made = record.HEADER.pack(
            rng.choice([1, 2, 3, 3, 3, 3, 3, 4, 9]),
            rng.randrange(8),
            captured,
            *fields,
            rng.choice([len(body), 0, 2**32 - 1]),
            42,
            -1,
            9,
            rng.choice([0, 1, 1, 2]),
            0,
        )
        if made[0] == 2:
            ends = (rng.choice([7, 1 << 62]), rng.randbytes(16), bytes(10) + b"\xff\xff\1\2\3\4", 5, 6)
            body = record.ENDS.pack(*ends, rng.randrange(4)) + body
        made = (made + body)[: rng.choice([1000, 1000, 1000, 63, 0])]
        records.append((len(memory), len(made)))
        memory += made
    plain.deliver_all(first, bytes(memory), records)
    compiled.deliver_all(second, bytes(memory), records)
    assert second.records == first.records
    assert [type(detail) for detail in second.records] == [type(detail) for detail in first.records]
    assert compiled.malformed == plain.malformed > 0


def test_a_compiled_hook_is_one_that_pluggy_would_not_take():
    manager = PluginManager()
    manager.load_entry_points()
    (http1,) = [plugin for plugin in manager.plugins if plugin.name == "http1"]
    assert type(handle_http_data).__name__ == "cython_function_or_method"
    assert "handle_http_data" in http1.hooks
    assert not http1.failures


def test_a_package_installs_without_a_compiler(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(
        TESTS.parent / "plugins/sink_log", copy, ignore=shutil.ignore_patterns("build", "*.so", "*.egg-info")
    )
    installed = tmp_path / "installed"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"),
            *("--no-build-isolation", "--no-deps", "-t", installed, copy),
        ],
        env=os.environ | {"CC": "/bin/false"},
        check=True,
        timeout=100,
    )
    assert (installed / "rover_plugin_sink_log/line.py").exists()
    assert not list(installed.rglob("*.so"))
