"""The source as the core sees it: settings, selection, damage, standard input, counters, the end."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rover_source_pcap
from rover import RoverError, Selection, UsageError
from rover.contracts.source import Source, SourceSpec
from rover.plugins.manager import PluginManager
from rover_source_pcap.capture_file import is_ours
from rover_source_pcap.source import PcapSource, make


def spec() -> SourceSpec:
    manager = PluginManager()
    manager.register(rover_source_pcap, "pcap")
    assert not list(manager.failures())
    (found,) = manager.collect("register_sources", SourceSpec)
    return found


def test_registers_a_source_for_files() -> None:
    found = spec()
    assert (found.name, found.live) == ("pcap", False)
    assert [(setting.name, setting.default) for setting in found.settings] == [("path", "-")]
    assert found.opens is not None
    assert found.opens(b"\xd4\xc3\xb2\xa1")
    assert not found.opens(b"GET / HTTP/1.1\r\n")


def test_makes_a_source(tmp_path: Path, build: Any) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(build.pcap([]))
    source: Source = spec().make({"path": str(path)}, Selection())
    source.start()
    assert source.epoch == 0
    assert source.is_open(1)
    source.set_upload(1, 0)
    source.close()


@pytest.mark.parametrize(
    "selection", [Selection(pids=(1,)), Selection(comms=("x",)), Selection(cgroups=("/",))]
)
def test_a_capture_tells_no_processes(selection: Selection) -> None:
    with pytest.raises(UsageError, match="select by port"):
        make({"path": "capture.pcap"}, selection)


def test_selection_by_port(talk: Any, build: Any, replay: Any) -> None:
    packets = [packet for port in (80, 81, 82) for packet in talk(ports=(40000, port)).client(b"x").packets]
    packets += talk(ports=(81, 50000)).client(b"y").packets
    recorded = replay(build.pcap(packets), Selection(ports=(81, 82)))
    assert sorted(opened.remote.port for opened in recorded.opens) == [81, 81, 82]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_every_format_is_the_same_to_the_core(
    talk: Any, build: Any, replay: Any, kind: str, pack: Any
) -> None:
    packets = talk().open().client(b"request").server(b"response").close().packets
    capture = build.pcap(packets)
    first = 1_700_000_000_000_000
    if kind == "pcapng":
        blocks = [build.enhanced(packet, ticks=first + n * 1000) for n, packet in enumerate(packets)]
        capture = build.section() + build.interface() + b"".join(blocks)
    recorded = replay(pack(capture))
    assert recorded.error == ""
    assert recorded.egress.data == b"request"
    assert recorded.everything() == replay(build.pcap(packets)).everything()


def test_the_clock_is_the_capture_s(talk: Any, build: Any, tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap"
    path.write_bytes(build.pcap(talk().open().packets))
    source = PcapSource(str(path), Selection())
    source.start()
    source.poll(None, 0)  # type: ignore[arg-type]  # nothing carries anything
    assert source.now() == 1_700_000_000_002_000_000
    source.close()


def test_figures(talk: Any, build: Any, replay: Any) -> None:
    packets = [*talk().open().client(b"x").packets, build.ethernet(bytes(60), kind=0x0806)]
    assert replay(build.pcap(packets)).counters == {"packets": 5, "not_ip": 1}


# -- what cannot be read -------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    source = PcapSource(str(tmp_path / "none.pcap"), Selection())
    with pytest.raises(RoverError, match=r"cannot read .*none\.pcap: No such file or directory"):
        source.start()
    source.close()


def test_a_directory(tmp_path: Path) -> None:
    source = PcapSource(str(tmp_path), Selection())
    with pytest.raises(RoverError, match=r"cannot read .*: Is a directory"):
        source.start()
    source.close()


@pytest.mark.parametrize(
    "content",
    [b"\xd4\xc3\xb2", b"GET / HTTP/1.1\r\n\r\n", gzip.compress(b"text"), b"\x1f\x8b\x08", b"\x1f\x8bxx"],
)
def test_what_is_no_capture(replay: Any, content: bytes) -> None:
    recorded = replay(content)
    assert "is not a capture" in recorded.error
    assert "\n" not in recorded.error


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x28\xb5\x2f\xfd\x04\0\x49", "is compressed with Zstandard: unpack it first (zstd -d)"),
        (lzma.compress(b"x"), "is compressed with xz: unpack it first (xz -d)"),
        (bz2.compress(b"x"), "is compressed with bzip2: unpack it first (bzip2 -d)"),
        (b"\x04\x22\x4d\x18\x64\x40", "is compressed with LZ4: unpack it first (lz4 -d)"),
        (b"PK\x03\x04\x14\0", "is a ZIP archive: unpack it first (unzip)"),
        (bytes(257) + b"ustar\0", "is a tar archive: unpack it first (tar -x)"),
        (gzip.compress(bytes(257) + b"ustar\0"), "is a tar archive: unpack it first (tar -x)"),
        (
            b"snoop\0\0\0\0\0\0\2\0\0\0\4",
            "is a capture of the format snoop, which is not read: convert it first",
        ),
        (b"GMBU\0\2\1\0", "is a capture of the format Microsoft Network Monitor 2, which is not read"),
        (b'\n{ "log": {"version": "1.2"', "is an HTTP archive (HAR): there are no packets in it"),
    ],
)
def test_a_file_that_is_something_else_is_named(replay: Any, content: bytes, said: str) -> None:
    recorded = replay(content)
    assert f"capture {said}" in recorded.error
    assert is_ours(content) == bool(content), "so that the source is asked"


def test_a_link_type_nobody_knows_here(replay: Any, build: Any) -> None:
    recorded = replay(build.pcap([bytes(60)], link_type=147))
    assert "link type 147 (USER0) is not known here" in recorded.error
    assert recorded.counters == {"packets": 1, "unknown_link_type": 1}


def test_one_interface_nobody_knows_here_among_others(
    replay: Any, build: Any, talk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (packet,) = talk().client(b"x").packets
    capture = build.section() + build.interface(link_type=147) + build.interface()
    recorded = replay(capture + build.enhanced(packet) + build.enhanced(packet, interface=1))
    assert recorded.error == ""
    assert recorded.egress.data == b"x"
    assert recorded.counters["unknown_link_type"] == 1
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said.endswith("1 of 2 packets were not read: link type 147 (USER0)")


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_capture_cut_off_anywhere_delivers_what_precedes(
    talk: Any, build: Any, replay: Any, pack: Any
) -> None:
    conversation = talk().open()
    for n in range(6):
        conversation.client(b"request%d" % n).server(b"response%d" % n)
    capture = pack(build.pcap(conversation.packets))
    whole = replay(capture)
    lengths = set()
    for size in range(60, len(capture)):
        recorded = replay(capture[:size])
        delivered = len(recorded.details)
        lengths.add(delivered)
        assert recorded.details == whole.details[:delivered]
        if recorded.error:
            # Of a packed file that short nothing may come out: not even what it is.
            assert "damaged at byte" in recorded.error or not delivered
            assert "\n" not in recorded.error
        else:
            assert pack is bytes, "a packed file that is cut off never looks whole"
    assert max(lengths) >= 11
    assert len(lengths) > 3


def test_damage_names_the_file_the_place_and_what(replay: Any, build: Any, talk: Any) -> None:
    good = build.pcap(talk().open().client(b"request").packets)
    recorded = replay(good + b"\0" * 8 + b"\xff" * 8)
    assert recorded.egress.data == b"request"
    assert recorded.order[-1] == "closed"
    assert recorded.error.endswith(f"is damaged at byte {len(good)}: a packet of 4294967295 bytes")


@pytest.mark.parametrize(
    "magic", [b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08\0"]
)
@settings(max_examples=100)
@given(noise=st.binary(max_size=300))
def test_noise_ends_cleanly_or_with_one_line(replay: Any, magic: bytes, noise: bytes) -> None:
    recorded = replay(magic + noise)
    assert "\n" not in recorded.error


@settings(max_examples=150)
@given(data=st.data())
def test_flipped_bytes_end_cleanly_or_with_one_line(replay: Any, build: Any, talk: Any, data: Any) -> None:
    capture = bytearray(
        build.pcap(talk().open().client(b"request").client(b"more").server(b"response").close().packets)
    )
    for index in data.draw(st.lists(st.integers(4, len(capture) - 1), max_size=8)):
        capture[index] = data.draw(st.integers(0, 255))
    recorded = replay(bytes(capture))
    assert "\n" not in recorded.error


# -- standard input and pipes --------------------------------------------------------------------


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe as standard input; its writing end."""
    reading, writing = os.pipe()
    with open(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
        monkeypatch.undo()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_whose_beginning_was_looked_at(talk: Any, build: Any, piped: int, pack: Any) -> None:
    """`rover replay -` peeks to find the source; those bytes then lie in Python's buffer."""
    conversation = talk().open().client(b"request").server(b"x" * 1000)
    capture = pack(build.pcap([*conversation.packets, *[build.ethernet(bytes(1000))] * 200]))
    writer = threading.Thread(target=write_all, args=(piped, capture))
    writer.start()
    assert sys.stdin.buffer.peek(512)[:2] == capture[:2]  # type: ignore[union-attr]
    sizes = replay_stdin()
    writer.join()
    assert sizes == [7, 1000]
    assert not sys.stdin.closed, "what we did not open we do not close"


def write_all(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb") as pipe:
        pipe.write(content)


def replay_stdin() -> list[int]:
    sizes: list[int] = []

    class Handler:
        def opened(self, opened: Any) -> None: ...

        def data(self, detail: Any, payload: bytes) -> None:
            sizes.append(detail.size)

        def closed(self, closed: Any) -> None: ...

    source = PcapSource("-", Selection())
    source.start()
    while source.poll(Handler(), 0.1):  # type: ignore[arg-type]
        pass
    source.close()
    return sizes


def test_a_pipe_delivers_what_has_come_and_does_not_wait_for_more(talk: Any, build: Any, piped: int) -> None:
    """As from `tcpdump -U -w -`: each packet when it is there."""
    capture = build.pcap(talk().client(b"one").client(b"two").packets)
    middle = capture.index(b"one") + 3
    os.write(piped, capture[:middle])
    sizes: list[int] = []

    class Handler:
        def opened(self, opened: Any) -> None: ...

        def data(self, detail: Any, payload: bytes) -> None:
            sizes.append(detail.position)

        def closed(self, closed: Any) -> None: ...

    handler: Any = Handler()
    source = PcapSource("-", Selection())
    source.start()
    assert source.poll(handler, 0)
    assert sizes == [0]
    assert source.poll(handler, 0), "nothing there is not the end"
    os.write(piped, capture[middle:-1])
    assert source.poll(handler, 0)
    assert sizes == [0]
    os.write(piped, capture[-1:])
    assert source.poll(handler, 0)
    assert sizes == [0, 3]
    os.close(piped)
    assert not source.poll(handler, 0)
    source.close()


def test_stopped_it_delivers_what_waits(talk: Any, build: Any, tmp_path: Path) -> None:
    conversation = talk().open()
    conversation.segment("client", b"behind a hole", seq=1005)
    path = tmp_path / "capture.pcap"
    path.write_bytes(build.pcap(conversation.packets))
    seen: list[Any] = []

    class Handler:
        def opened(self, opened: Any) -> None:
            seen.append("opened")

        def data(self, detail: Any, payload: bytes) -> None:
            seen.append(payload)

        def closed(self, closed: Any) -> None:
            seen.append("closed")

    handler: Any = Handler()
    source = PcapSource(str(path), Selection())
    source.start()
    assert source.poll(handler, 0)
    assert seen == []
    source.stop(handler)
    assert seen == ["opened", b"behind a hole", "closed"]
    assert not source.poll(handler, 0)
    source.stop(handler)
    source.close()
    assert len(seen) == 3
