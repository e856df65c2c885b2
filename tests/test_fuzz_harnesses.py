"""The fuzzer's harnesses run over what they begin with, and over some mutations of it, without a fuzzer."""

from __future__ import annotations

import importlib
import random

import pytest

from fuzz import HARNESSES
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
