"""What connections cost in memory: idle ones, unfinished ones, many short ones."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from pathlib import Path

from bench.decode import batches, pipeline_to
from bench.traffic import Kernel, http1
from rover import Direction, Syscall
from rover_source_ebpf.source import RecordDecoder

IDLE, HALF, SHORT = 10_000, 1_000, 100_000
PIECE = 5_000


def resident() -> int:
    """KiB of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def rows(say: Callable[[str], None]) -> None:
    """Idle connections have spoken once: one that never did is not known of."""
    rng = random.Random(11)
    pipeline, outlet = pipeline_to("/dev/null")
    decoder = RecordDecoder(lambda pid, port: None)
    kernel = Kernel()

    def deliver() -> None:
        for memory, places in batches(kernel.records):
            decoder.deliver_all(pipeline, memory, places)
        kernel.records.clear()

    def settle() -> int:
        while outlet.waiting:
            outlet.wake()
            time.sleep(0.01)
        gc.collect()
        return resident()

    def exchange(identity: int) -> None:
        messages = http1(rng)
        kernel.data(identity, Syscall.RECVFROM, Direction.INGRESS, messages.request)
        kernel.data(identity, Syscall.WRITEV, Direction.EGRESS, messages.response)

    def short(number: int) -> None:
        for _ in range(number // PIECE):
            for _ in range(PIECE):
                identity = kernel.open()
                exchange(identity)
                kernel.close(identity)
            deliver()

    short(2 * PIECE)  # what any run comes to
    start = settle()
    idle = []
    for number in range(IDLE):
        idle.append(kernel.open())
        exchange(idle[-1])
        if number % 500 == 499:
            deliver()
    say(f"  {f'{IDLE:,} idle connections':44} {(settle() - start) / 1024:7.1f} MB above start")
    for identity in idle[:HALF]:
        request = http1(rng).request
        kernel.data(identity, Syscall.RECVFROM, Direction.INGRESS, request[: len(request) // 2])
    deliver()
    say(f"  {f'{HALF:,} of them with half a request':44} {(settle() - start) / 1024:7.1f} MB above start")
    for identity in idle:
        kernel.close(identity)
    deliver()
    say(f"  {'all of them closed':44} {(settle() - start) / 1024:7.1f} MB above start")
    idle.clear()
    short(SHORT)
    say(f"  {f'{SHORT:,} short connections later':44} {(settle() - start) / 1024:7.1f} MB above start")
    outlet.stop(time.monotonic() + 60)
