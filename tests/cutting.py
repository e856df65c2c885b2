"""Records of the kernel as if each call had moved its bytes in several, and not all had been captured."""

from __future__ import annotations

import random
from collections import defaultdict

from rover_source_ebpf.record import HEADER, KIND_DATA

PIECES = 4


def cut(rng: random.Random, records: list[bytes]) -> list[bytes]:
    """The same connections: sequence numbers go up by as many calls as there are now."""
    cut_up: list[bytes] = []
    more: dict[int, int] = defaultdict(int)  # by connection: calls that were not there before
    for record in records:
        kind, flags, captured, connection, sequence, *times, position, size, pid, fd, call, way, error = (
            HEADER.unpack_from(record)
        )
        payload = record[HEADER.size :]
        ends = [len(payload)]
        if kind == KIND_DATA:
            ends = sorted({*rng.sample(range(1, size + 1), min(size, rng.randrange(PIECES))), size})
        start = 0
        for end in ends:
            piece = payload[start:end]
            moved = len(piece) if kind == KIND_DATA else size
            if kind == KIND_DATA:
                captured = rng.choice([moved, moved, moved, moved, rng.randint(0, moved)])
            fields = (
                kind,
                flags,
                captured,
                connection,
                sequence + more[connection],
                *times,
                position + start,
            )
            header = HEADER.pack(*fields, moved, pid, fd, call, way, error)
            cut_up.append(header + (piece[:captured] if kind == KIND_DATA else piece))
            more[connection] += end != ends[-1]
            start = end
    return cut_up
