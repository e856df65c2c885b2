"""Captures yield the same records whether what reads them is compiled or not."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rover_source_pcap import pcap_records

pytestmark = pytest.mark.compiled
TESTS = Path(__file__).parent

LINKS = {1: b"\2" * 12, 113: b"\0" * 14, 276: b"", 101: None}
"""What lies before the EtherType, by link type."""

RUN = """
import contextlib, sys
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "plain":
    import plain
    plain.install()
from rover.errors import RoverError
from rover.contracts.source import Selection
from rover_source_pcap import source, tcp
assert tcp.__file__.endswith(".py") == (sys.argv[2] == "plain"), tcp.__file__
assert source.Frames.__module__.endswith("._frames") == (sys.argv[2] != "plain")

class Told:
    def __getattr__(self, name):
        return lambda *record: print(name, *(repr(one) for one in record))

capture = source.PcapSource(sys.argv[3], Selection())
capture.start()
try:
    while capture.poll(Told(), 1.0):
        print(capture.now())
except RoverError as error:
    print(str(error))
print(dict(capture.counters()), capture.now())
"""


def records(form: str, capture: Path) -> bytes:
    command = [sys.executable, "-c", RUN, str(TESTS), form, str(capture)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout


def frame(link_type: int, six: bool, ports: tuple[int, int], seq: int, ack: int, flags: int, data: bytes):
    """One packet with all its headers."""
    options = bytes(12) if seq & 1 else b""
    words = (20 + len(options)) // 4 << 4
    segment = struct.pack(">HHIIBBHHH", *ports, seq, ack, words, flags, 1000, 0, 0) + options + data
    kind = 0x86DD if six else 0x0800
    backwards = ports[0] < ports[1]
    if six:
        ends = (bytes(15) + b"\1", bytes(15) + b"\2")[:: -1 if backwards else 1]
        header = struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) + b"".join(ends)
    else:
        ends = (b"\x0a\0\0\1", b"\x0a\0\0\2")[:: -1 if backwards else 1]
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0x4000, 64, 6, 0) + b"".join(ends)
    before = LINKS[link_type]
    if before is None:
        return header + segment
    if link_type == 276:
        return struct.pack(">H", kind) + bytes(18) + header + segment
    return before + struct.pack(">H", kind) + header + segment


def conversations(rng: random.Random, link_type: int) -> list[bytes]:
    """Packets of a few connections, interleaved, some lost, repeated, swapped or damaged."""
    packets = []
    sent: dict[tuple[int, int], int] = {}
    for _ in range(1_500):
        client = 40_000 + rng.randrange(12)
        ports = rng.choice([(client, 80), (80, client)])
        six = client % 3 == 0
        seq = sent.get(ports, rng.choice([0, 1000, 2**32 - 50]))
        ack = sent.get(ports[::-1], 0)
        flags = rng.choices([0x10, 0x18, 0x02, 0x12, 0x11, 0x04], [60, 30, 2, 1, 3, 1])[0]
        data = rng.randbytes(rng.choice([0, 0, 1, 40, 300]))
        packets.append(frame(link_type, six, ports, seq, ack, flags, data))
        sent[ports] = (seq + len(data) + (flags & 3 != 0)) % 2**32
    for _ in range(150):
        at = rng.randrange(len(packets) - 1)
        match rng.randrange(5):
            case 0:
                del packets[at]
            case 1:
                packets.insert(at, packets[at])
            case 2:
                packets[at], packets[at + 1] = packets[at + 1], packets[at]
            case 3:
                packets[at] = packets[at][: rng.randrange(len(packets[at]) + 1)]
            case _:
                damaged = bytearray(packets[at])
                for _ in range(rng.randrange(1, 4)):
                    if damaged:
                        damaged[rng.randrange(min(len(damaged), 90))] = rng.choice(
                            b"\0\1\4\6\x45\x46\x60\xff"
                        )
                packets[at] = bytes(damaged)
    return packets


@pytest.mark.parametrize("link_type", LINKS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_records_for_the_same_packets(tmp_path, link_type, seed):
    rng = random.Random(seed)
    capture = tmp_path / "capture.pcap"
    with capture.open("wb") as file:
        order = rng.choice("<>")
        file.write(struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type))
        for number, packet in enumerate(conversations(rng, link_type)):
            length = len(packet) + rng.choice([0, 0, 0, 0, 7])
            absurd = rng.choices([0, 1_000, 2**32 - 1], [98, 1, 1])[0]
            time = absurd or 1_700_000_000 + number // 10
            file.write(struct.pack(order + "IIII", time, number, len(packet), length) + packet)
    compiled = records("compiled", capture)
    assert b"'absurd_time'" in compiled
    assert compiled.count(b"\ndata ") > 300
    assert compiled == records("plain", capture)


def test_packets_are_found_alike():
    from rover_source_pcap import _pcap_records

    rng = random.Random(3)
    found = 0
    for _ in range(3_000):
        order = rng.choice("<>")
        data = bytearray(rng.randrange(3))
        offset = len(data)
        for _ in range(rng.randrange(5)):
            body = rng.randbytes(rng.randrange(30))
            captured = rng.choice([len(body)] * 8 + [len(body) + 1, 262_144, 262_145, 2**32 - 1])
            times = rng.choice([(0, 0), (1, 2), (2**32 - 1, 2**32 - 1)])
            data += struct.pack(order + "IIII", *times, captured, rng.choice([captured, 0, 2**32 - 1])) + body
        del data[max(offset, len(data) - rng.choice([0, 0, 0, 1, 17])) :]
        arguments = (bytes(data), offset, order, rng.choice([1, 1000]), 1)
        expected = pcap_records.whole_records(*arguments)
        assert _pcap_records.whole_records(*arguments) == expected
        found += len(expected[0])
    assert found > 2_000
