"""Boots Debian's kernels in qemu and tries rover there: `make test-kernels ARGS="7.3 --parts curls,load"`.

Nothing outside its folder (--cache) is touched, and the checkout is only read. The machines are emulated, so
that it runs where there is no KVM; a start of the agent then lasts half a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from kernels import debian
from kernels.guest import MARK

CHECKOUT = Path(__file__).parent.parent.parent
PARTS = ("doctor", "curls", "tls", "load", "tests")
TESTS = (
    *sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob("bpf/tests/test_*_live.py")),
    "tests/live/test_nginx_witness.py",
)
"""The live tests of bpf/, and of HTTP/1 the one that has nginx's own log as witness."""
TOOLS = ("busybox", "cpio", "debootstrap", "depmod", "mkfs.ext4", "qemu-system-x86_64", "xz")


def command_line(words: list[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="make test-kernels", description="Tries rover on Debian's kernels.")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"of {', '.join(debian.SUITES)}; all")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}; all")
    parser.add_argument("--tests", default=",".join(TESTS), help="files for pytest, by commas")
    parser.add_argument(
        "--cache", type=Path, default=home / "rover-kernels", help="folder for kernels and images"
    )
    parser.add_argument("--seconds", type=float, default=3600, help="that one machine may run")
    parser.add_argument(
        "--accel", default="tcg,thread=multi,tb-size=512", help="of qemu; kvm where there is one"
    )
    parser.add_argument("--cpu", default="max", help="of qemu")
    parser.add_argument("--cpus", type=int, default=2, help="processors of each machine")
    parser.add_argument("--append", action="append", default=[], help="for the kernel's command line")
    parser.add_argument("--console", action="store_true", help="show the machine's console, too")
    arguments = parser.parse_args(words)
    arguments.kernels = arguments.kernels or list(debian.SUITES)
    for name, known in ((name, debian.SUITES) for name in arguments.kernels):
        if name not in known:
            parser.error(f"no kernel {name}; there are {', '.join(known)}")
    for name in arguments.parts.split(","):
        if name not in PARTS:
            parser.error(f"no part {name}; there are {', '.join(PARTS)}")
    return arguments


def boot(kernel: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What one machine told; its whole console is in a log beside the images."""
    cache: Path = arguments.cache
    folder = debian.kernel_folder(cache, kernel)
    initrd = cache / f"{kernel}.initrd"
    debian.run("bash", Path(__file__).parent / "initrd.sh", debian.modules_of(folder), initrd)
    kernel_line = [
        # The check of the timer counts ticks, and panics where the emulation is kept waiting meanwhile.
        *("quiet", "console=ttyS0", "panic=-1", "mitigations=off", "no_timer_check", *arguments.append),
        *(f"rover.checkout={CHECKOUT}", f"rover.parts={arguments.parts}", f"rover.tests={arguments.tests}"),
    ]
    drives = [
        f"file={cache / image},format=raw,if=virtio,snapshot=on" for image in ("root.img", "checkout.img")
    ]
    command = [
        *("qemu-system-x86_64", "-machine", "pc", "-accel", arguments.accel, "-cpu", arguments.cpu),
        *(
            "-smp",
            str(arguments.cpus),
            "-m",
            "4096",
            *(word for drive in drives for word in ("-drive", drive)),
        ),
        *("-kernel", str(debian.image_of(folder)), "-initrd", str(initrd), "-append", " ".join(kernel_line)),
        *("-nic", "none", "-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none"),
    ]
    results = []
    with (cache / f"{kernel}.log").open("w") as log:
        machine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        limit = threading.Timer(arguments.seconds, machine.kill)
        limit.start()
        try:
            for line in machine.stdout or ():
                print(line, end="", flush=True, file=log)
                if arguments.console:
                    print(line, end="", flush=True)
                if line.startswith(MARK):
                    results.append(json.loads(line[len(MARK) :]))
        finally:
            limit.cancel()
            machine.kill()
            machine.wait()
    return results


def row(kernel: str, result: dict[str, Any]) -> str:
    """A line of the table."""
    skipped = ", ".join(f"{name} {number}" for name, number in result.get("skipped", {}).items())
    more = [f"started in {result['started']} s"] if "started" in result else []
    more += [f"the kernel skipped {skipped}"] if skipped else []
    passed = "pass" if result["passed"] else "FAIL"
    return f"| {kernel:5} | {result['part']:7} | {passed} | {'; '.join([result['said'], *more]) or 'ok'} |"


def main() -> int:
    arguments = command_line(sys.argv[1:])
    failed = False
    try:
        debian.check_tools(TOOLS)
        arguments.cache.mkdir(parents=True, exist_ok=True)
        debian.root_image(arguments.cache)
        debian.checkout_image(arguments.cache, CHECKOUT)
        print("| kernel | part | | |\n| --- | --- | --- | --- |", flush=True)
        for kernel in arguments.kernels:
            began, results = time.monotonic(), boot(kernel, arguments)
            told = {result["part"] for result in results}
            silent = [part for part in ("boot", *arguments.parts.split(",")) if part not in told]
            results += [
                {"part": part, "passed": False, "said": f"nothing: see {kernel}.log"} for part in silent
            ]
            failed |= not all(result["passed"] for result in results)
            print("\n".join(row(kernel, result) for result in results), flush=True)
            print(f"| {kernel:5} | | | {time.monotonic() - began:.0f} s |", flush=True)
    except debian.MissingError as error:
        print(f"test-kernels: {error}", file=sys.stderr)
        return 1
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
