"""Compiles the C programs, in a process of its own (`libbcc.py`) that ends with it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rover.errors import RoverError
from rover.plugins.manager import first_line, printable
from rover_source_ebpf.image import File, Image, read_file, read_map, text, unlinked
from rover_source_ebpf.verdict import useful_line

logger = logging.getLogger("rover.ebpf")

FIX = "on Debian: apt-get install python3-bpfcc"
PROGRAM = Path(__file__).with_name("libbcc.py")
PATIENCE = 600.0
"""Seconds: it takes one on hardware, and forty where a processor is emulated."""


class Compiler:
    """One process of the compiler. It gets ready while the caller prepares the job; leaving the context
    ends it."""

    def __init__(self) -> None:
        """Starts it. Raises RoverError."""
        command = [sys.executable, "-I", "-S", str(PROGRAM), str(os.getpid())]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603
        except OSError as error:
            raise RoverError(f"the compiler cannot be started ({command[0]}): {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves no process and no pipe."""
        with self._process:  # closes the pipes, and waits
            self._process.kill()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def compile(self, source: str, flags: Sequence[str], headers: Path) -> Image:
        """The image of a C text. Raises RoverError with the first useful line of what the compiler says."""
        result, printed = self._ask({"text": source, "flags": list(flags), "headers": str(headers)})
        if "failed" in result:
            why = useful_line(printed) or printable(str(result["failed"]))
            raise RoverError(f"the kernel side could not be set up (compile): {why}")
        try:
            numbers = {fields[0]: place for place, fields in enumerate(result["maps"])}
            return Image(
                tuple(read_map(*fields[1:]) for fields in result["maps"]),
                tuple(
                    unlinked(text(name), bytes.fromhex(code), numbers) for name, code in result["functions"]
                ),
                files(result),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RoverError(f"the compiler's answer cannot be read: {first_line(error)}") from None

    def describe(self) -> Sequence[File]:
        """What it is made of. Raises RoverError when there is none."""
        return files(self._ask(None)[0])

    def _ask(self, job: object) -> tuple[dict[str, Any], str]:
        """Its answer, and what it printed. Raises RoverError."""
        try:
            answer, output = self._process.communicate(json.dumps(job).encode(), timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise RoverError(f"the compiler did not end within {PATIENCE:g} s") from None
        printed = output.decode(errors="replace")
        if printed.strip():
            logger.debug("compile:\n%s", printed)
        try:
            result = json.loads(answer)
            if not isinstance(result, dict):
                raise ValueError("no object")
        except ValueError:
            status = self._process.returncode
            how = f"was ended by signal {-status}" if status < 0 else f"ended with {status}"
            said = useful_line(printed)
            raise RoverError(f"the compiler {how}" + (f": {said}" if said else "")) from None
        if "missing" in result:
            missing = printable(str(result["missing"]))
            raise RoverError(f"the BPF Compiler Collection cannot be loaded: {missing}; {FIX}")
        return result, printed


def files(result: dict[str, Any]) -> tuple[File, ...]:
    """Those of the compiler. Raises RoverError."""
    try:
        return tuple(read_file(*fields) for fields in result["compiler"])
    except (KeyError, TypeError, ValueError) as error:
        raise RoverError(f"the compiler's answer cannot be read: {first_line(error)}") from None
