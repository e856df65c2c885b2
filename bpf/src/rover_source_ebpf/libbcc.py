"""The compiler, a program of its own: `compiler.py` starts this file, and it ends when it has compiled.

LLVM takes 150 MB that it never gives back; here they go with the process. It imports nothing of rover and
nothing of any environment, so that it is ready within moments.

It reads a job from standard input, {"text": C, "flags": [...], "headers": directory}, and writes one JSON
object to standard output: {"maps": [[descriptor, name, kind, key size, value size, entries, flags], ...],
"functions": [[name, instructions in hexadecimal], ...], "compiler": [[path, size, time], ...]}, or
{"missing": why} where there is no libbcc, or {"failed": why}. What the compiler prints goes to standard
error. Without a job ("null") it tells only of the compiler.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

LIBRARY = "libbcc.so.0"
PARTS = ("libbcc", "libLLVM", "libclang")
"""Files whose names begin so are the compiler's."""
PR_SET_PDEATHSIG = 1
"""include/uapi/linux/prctl.h"""
M_TRIM_THRESHOLD, M_TOP_PAD = -1, -2
"""mallopt(3)"""
TRIM_THRESHOLD, TOP_PAD = 1 << 30, 32 << 20


def die_with(parent: int) -> None:
    """The kernel kills this process when the one that started it ends, however that comes."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before
        os._exit(1)
    # Ctrl-C at a terminal means this process, too, and what it says then interests nobody.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def keep_memory() -> None:
    """Has malloc ask the kernel seldom and give nothing back: it takes a tenth less time."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_TOP_PAD, TOP_PAD)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)


def loaded() -> Any:
    """The library. Raises OSError."""
    lib = ctypes.CDLL(LIBRARY)
    module = ctypes.c_void_p
    lib.bpf_module_create_c_from_string.restype = module
    lib.bpf_module_create_c_from_string.argtypes = [
        ctypes.c_char_p,  # text
        ctypes.c_uint,  # flags for debugging
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int,  # arguments of the compiler, and how many
        ctypes.c_bool,  # may raise RLIMIT_MEMLOCK
        ctypes.c_char_p,  # device
    ]
    for name, restype, index in (
        ("bpf_num_functions", ctypes.c_size_t, False),
        ("bpf_function_name", ctypes.c_char_p, True),
        ("bpf_function_start_id", ctypes.c_void_p, True),
        ("bpf_function_size_id", ctypes.c_size_t, True),
        ("bpf_num_tables", ctypes.c_size_t, False),
        ("bpf_table_name", ctypes.c_char_p, True),
        ("bpf_table_fd_id", ctypes.c_int, True),
    ):
        function = getattr(lib, name)
        function.restype = restype
        function.argtypes = [module, ctypes.c_size_t] if index else [module]
    return lib


def compiled(lib: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Maps and functions of the job's text."""
    os.environ["BCC_KERNEL_SOURCE"] = job["headers"]
    flags = [flag.encode() for flag in job["flags"]]
    arguments = (ctypes.c_char_p * len(flags))(*flags)
    text = job["text"].encode()
    module = lib.bpf_module_create_c_from_string(text, 0, arguments, len(flags), True, None)
    if not module:
        return {"failed": "the compiler gave up"}
    maps = []
    for number in range(lib.bpf_num_tables(module)):
        descriptor = lib.bpf_table_fd_id(module, number)
        maps.append([descriptor, lib.bpf_table_name(module, number).decode(), *description(descriptor)])
    functions = []
    for number in range(lib.bpf_num_functions(module)):
        start, size = lib.bpf_function_start_id(module, number), lib.bpf_function_size_id(module, number)
        name = lib.bpf_function_name(module, number).decode()
        functions.append([name, ctypes.string_at(start, size).hex()])
    return {"maps": maps, "functions": functions}


def description(descriptor: int) -> list[int]:
    """Kind, sizes, entries, flags of a map, from the kernel (bpf_map_show_fdinfo, kernel/bpf/syscall.c)."""
    with open(f"/proc/self/fdinfo/{descriptor}") as lines:
        fields = dict(line.split(":", 1) for line in lines)
    wanted = ("map_type", "key_size", "value_size", "max_entries", "map_flags")
    return [int(fields[field], 0) for field in wanted]


def parts() -> list[list[object]]:
    """The compiler's files: path, size, time of change in ns."""
    found: dict[str, list[object]] = {}
    with open("/proc/self/maps") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(maxsplit=5)  # proc(5): the last one is a path
            path = fields[5] if len(fields) > 5 else ""
            if os.path.basename(path).startswith(PARTS) and path not in found:
                status = os.stat(path)
                found[path] = [path, status.st_size, status.st_mtime_ns]
    return list(found.values())


def main() -> None:
    """Its whole life."""
    die_with(int(sys.argv[1]))
    keep_memory()
    answer = os.dup(1)
    os.dup2(2, 1)  # the library prints where it likes
    result: dict[str, Any]
    try:
        lib = loaded()
    except (OSError, AttributeError) as error:  # there is none, or one without a function
        result = {"missing": str(error)}
    else:
        job = json.load(sys.stdin)  # after the library: whoever sends it still works on it meanwhile
        result = (compiled(lib, job) if job is not None else {}) | {"compiler": parts()}
    with os.fdopen(answer, "w") as stream:
        json.dump(result, stream)
    os._exit(0)  # LLVM's own end takes time, and serves nobody


if __name__ == "__main__":
    main()
