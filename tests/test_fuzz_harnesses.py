"""The fuzzer's harnesses run over what they begin with, and over some mutations of it, without a fuzzer."""

from __future__ import annotations

import importlib
import random
import re

import pytest

from fuzz import HARNESSES, laws
from fuzz.script import MARK, Step, cut, read, write

MUTATIONS = 40


def harness(name):
    return importlib.import_module(f"fuzz.{name}")


def mutated(data: bytes, words: tuple[bytes, ...], rng: random.Random) -> bytes:
    """A few bytes replaced, removed, doubled, or put in, as a fuzzer would."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[at] = rng.randrange(256)
            case 1:
                del changed[at : at + rng.randrange(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + rng.randrange(1, 30)]
            case _:
                changed[at:at] = rng.choice(words)
        changed = changed or bytearray(1)
    return bytes(changed)


@pytest.mark.parametrize("name", HARNESSES)
def test_seeds_and_mutations_pass(name):
    module = harness(name)
    seeds = module.seeds()
    for seed in [*seeds, b"", b"\0", b"\0\0"]:
        module.check(seed)
    rng = random.Random(name)
    for _ in range(MUTATIONS):
        module.check(mutated(rng.choice(seeds), (MARK, *module.WORDS), rng))


@pytest.mark.parametrize("name", HARNESSES)
def test_most_seeds_hold_exchanges(name):
    """What begins far from what is looked for gets nowhere."""
    found = [harness(name).check(seed) for seed in harness(name).seeds()]
    assert sum(map(bool, found)) > len(found) / 2, found


def test_a_script_is_read_as_it_was_written():
    steps = [(0, b"first"), (255, b""), (7, b"\xff")]
    assert read(write(b"ab", steps)) == (b"ab", [Step(*step) for step in steps])
    assert read(b"") == (b"\0\0", [])
    assert Step(0b1010_0110, b"").bits(1, 3) == 0b011


@pytest.mark.parametrize("seed", [0, 1, 255])
def test_pieces_are_the_whole(seed):
    data = bytes(range(200))
    pieces = list(cut(data, seed))
    assert b"".join(pieces) == data
    assert all(pieces)
    assert len(pieces) > 3
    assert list(cut(b"", seed)) == []


# -- the laws ------------------------------------------------------------------------------------

LINE = b"0123456789 HTTP/1.1 200 \r"
TWICE = re.compile(rb"[\n\t]{2}")
BACKTRACKS = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [^\r\n]*)?\r?\n")


def scans_once(data: bytes) -> int:
    return data.count(b"HTTP/1.1 200 ")


def begins_anew(data: bytes) -> object:
    return BACKTRACKS.search(data.replace(b"\r", b"") + b"\rX\n")


def rescans_for_each_piece(data: bytes) -> None:
    for end in range(0, len(data), 10):
        TWICE.search(data, 0, end)


def copies_for_each_piece(data: bytes) -> None:
    kept = b""
    for at in range(len(data)):
        kept += data[at : at + 1]
        sum(kept)


def takes_from_the_front(data: bytes) -> None:
    waiting = [data] * len(data) * 4
    while waiting:
        del waiting[0]


@pytest.mark.parametrize(
    "run", [begins_anew, rescans_for_each_piece, copies_for_each_piece, takes_from_the_front]
)
def test_what_is_quadratic_is_found(run):
    """Other load may hide it once, from a fuzzer that looks thousands of times."""
    assert is_found(run, LINE, 10, len(LINE))


def is_found(run, *grown) -> bool:
    return any(grows(run, *grown) for _ in range(5))


def grows(run, *grown) -> bool:
    try:
        laws.check_time(run, *grown)
    except AssertionError as found:
        return "ns each" in str(found)
    return False


@pytest.mark.parametrize(
    "run", [scans_once, lambda data: [bytes([byte]) for byte in data], lambda data: None]
)
def test_what_is_linear_passes(run):
    laws.check_time(run, LINE, 10, len(LINE))
    laws.check_time(run, LINE, 0, 1)


def test_what_is_large_is_found():
    with pytest.raises(AssertionError, match="in use"):
        laws.check_memory(lambda data: len([bytes(1000) for _ in data]), LINE, 0, 5)
    with pytest.raises(AssertionError, match="are kept"):
        laws.check_memory(lambda data: [(byte, [byte]) for byte in data], LINE, 0, 5)
    laws.check_memory(lambda data: data.split(b" "), LINE, 0, 5)


@pytest.mark.parametrize("name", HARNESSES)
def test_seeds_hold_the_laws_of_time_and_memory(name):
    """The fuzzer goes through many more."""
    module = harness(name)
    seeds = module.seeds()
    for seed in random.Random(name).sample(seeds, min(3, len(seeds))):
        laws.check(module.RUNS, seed, getattr(module, "weigh", len))


def test_what_held_the_agent_for_half_a_minute_is_among_the_seeds():
    unit = b"HTTP/1.1 200 "
    http1 = harness("http1")
    (seed,) = (seed for seed in http1.seeds() if 4 * unit + b"\rX\n" in seed)
    start = seed.index(4 * unit)
    for run in http1.RUNS:
        laws.check_time(run, seed, start, start + len(unit))
    assert is_found(BACKTRACKS.search, seed[: seed.index(b"\rX\n") + 3], start, start + len(unit))
