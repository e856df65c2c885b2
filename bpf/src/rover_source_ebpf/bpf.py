"""The system call bpf(2): maps and programs by their descriptors, without a library in between.

Layouts and numbers are those of include/uapi/linux/bpf.h, union bpf_attr and enum bpf_cmd. Keys, values
and instructions are bytes as the kernel has them. Descriptors are closed on exec.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import struct
import sys
from collections.abc import Iterator, Sequence

NUMBERS = {"x86_64": 321, "aarch64": 280}
"""Of the call: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h."""

MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY = range(5)
PROG_LOAD, OBJ_GET_INFO_BY_FD, RAW_TRACEPOINT_OPEN, LINK_CREATE = 5, 15, 17, 28

PROG_TYPE_KPROBE, PROG_TYPE_RAW_TRACEPOINT = 2, 17
PERF_EVENT, TRACE_UPROBE_MULTI, TRACE_UPROBE_SESSION = 41, 48, 57
"""Attach types: of a link to one event; of programs that many places of a file share (Linux 6.6); of one that
runs when a function begins and when it ends (Linux 6.13)."""
UPROBE_MULTI_RETURN = 1
"""Flag of such a link: the places are functions, and the program runs when they have returned."""
NOEXIST, EXIST = 1, 2
"""Flags of an update: only a new key, only one that is there."""

CREATE = struct.Struct("=IIIIIII16s")
"""map_type, key_size, value_size, max_entries, map_flags, inner_map_fd, numa_node, map_name"""
LOAD = struct.Struct("=IIQQIIQII16sII")
"""prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name,
prog_ifindex, expected_attach_type"""
MULTI = struct.Struct("=IIIIQQQQIII4x")
"""prog_fd, target_fd, attach_type, flags; then of uprobe_multi: path, offsets, ref_ctr_offsets, cookies, cnt,
flags, pid"""
EVENT = struct.Struct("=IIIIQ")
"""prog_fd, target_fd, attach_type, flags; then of perf_event: bpf_cookie"""
OPEN = struct.Struct("=QI4x")
"""name, prog_fd"""
INFO = struct.Struct("=IIQ")
"""bpf_fd, info_len, info"""
PROGRAM_INFO = 216
"""Bytes of struct bpf_prog_info up to and with recursion_misses, which is the last of them (Linux 5.12)."""
INSTRUCTION = 8
"""Bytes of one."""
NAME = 15
"""Bytes that the kernel keeps of a name, BPF_OBJ_NAME_LEN less the final zero."""
LICENSE = b"GPL"
"""Some helpers are for programs under this license only."""

TRIES = 10
"""A signal to this process may interrupt the verifier (EAGAIN); libbpf tries five times."""
LOG_SIZES = (1 << 20, (1 << 24) - 1, 1 << 28)
"""Bytes of room for the verifier's account, tried in turn. It has a line per instruction that was looked at,
hundreds of thousands of them. Only what is written takes memory. The second is the most that kernels before
Linux 5.16 take."""
LOG_END = 1 << 20
"""Bytes of its end that are kept: what is wrong is told last."""
CLOSING, LAST = "processed ", 1000
"""What the account ends with, and the characters it does so within (print_verification_stats)."""

NUMBER = NUMBERS.get(os.uname().machine, -1)
"""Elsewhere there is no such call (ENOSYS)."""

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t)


class _Element(ctypes.Structure):
    _fields_ = (
        ("map_fd", ctypes.c_uint32),
        ("key", ctypes.c_char_p),
        ("value", ctypes.c_char_p),
        ("flags", ctypes.c_uint64),
    )


class VerifierError(OSError):
    """The kernel did not take a program."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(number, os.strerror(number))
        self.log = log
        """The end of the verifier's account; empty when the program did not come that far."""


def _call(command: int, attributes: object, size: int) -> int:
    """Raises OSError."""
    result: int = _syscall(NUMBER, command, attributes, size)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def create_map(name: str, kind: int, key_size: int, value_size: int, entries: int, flags: int) -> int:
    """A new map's descriptor. Raises OSError."""
    called = name.encode()[:NAME]
    attributes = CREATE.pack(kind, key_size, value_size, entries, flags, 0, 0, called)
    return _call(MAP_CREATE, attributes, len(attributes))


def load(name: str, instructions: bytes, kind: int = PROG_TYPE_RAW_TRACEPOINT, attach: int = 0) -> int:
    """A program's descriptor, once the verifier has agreed. Raises VerifierError, with what that says."""
    try:
        return _load(name, instructions, kind, attach, None)
    except OSError as error:
        refusal = error
    # Again, for its words: to write them down takes several times as long as to verify.
    log = ""
    for size in LOG_SIZES:
        with mmap.mmap(-1, size) as room:
            try:
                return _load(name, instructions, kind, attach, room)
            except OSError as error:
                found = _end_of(room)
                if log and not found:
                    break  # more room than this kernel gives
                log = found
                if error.errno != errno.ENOSPC:
                    refusal = error
                # Without room for all of it, the kernel keeps the end since Linux 6.4, the beginning before.
                if error.errno != errno.ENOSPC or CLOSING in log[-LAST:]:
                    break
    raise VerifierError(refusal.errno or errno.EINVAL, log) from None


def _load(name: str, instructions: bytes, kind: int, attach: int, log: mmap.mmap | None) -> int:
    code, license_ = ctypes.c_char_p(instructions), ctypes.c_char_p(LICENSE)
    room = ctypes.c_char.from_buffer(log) if log is not None else None
    attributes = LOAD.pack(
        kind,
        len(instructions) // INSTRUCTION,
        ctypes.cast(code, ctypes.c_void_p).value or 0,
        ctypes.cast(license_, ctypes.c_void_p).value or 0,
        1 if log is not None else 0,
        len(log) if log is not None else 0,
        ctypes.addressof(room) if room is not None else 0,
        0,
        0,
        name.encode()[:NAME],
        0,
        attach,
    )
    try:
        for _ in range(TRIES - 1):
            with contextlib.suppress(BlockingIOError):  # EAGAIN
                return _call(PROG_LOAD, attributes, len(attributes))
        return _call(PROG_LOAD, attributes, len(attributes))
    finally:
        del room  # else the log could not be unmapped while the exception is known


def _end_of(log: mmap.mmap) -> str:
    """Of the text up to the first zero."""
    length = log.find(b"\0")
    length = len(log) if length < 0 else length
    return log[max(0, length - LOG_END) : length].decode(errors="replace")


def open_raw_tracepoint(name: str, program: int) -> int:
    """Attaches a program until the returned descriptor and all copies of it are closed. Raises OSError."""
    text = ctypes.c_char_p(name.encode())
    attributes = OPEN.pack(ctypes.cast(text, ctypes.c_void_p).value or 0, program)
    return _call(RAW_TRACEPOINT_OPEN, attributes, len(attributes))


def link_uprobes(
    program: int,
    path: str,
    places: Sequence[tuple[int, int]],
    *,
    on_return: bool = False,
    attach: int = TRACE_UPROBE_MULTI,
    pid: int = 0,
) -> int:
    """Attaches a program to places of a file, each (offset, cookie), until the returned descriptor and all
    copies of it are closed. `attach`: the type that the program was loaded with. `pid`: the only process that
    has it there; 0 for all. Raises OSError: EINVAL also where the kernel has no such links, ENOENT for the
    file, ESRCH for the process."""
    offsets, cookies = (ctypes.c_uint64 * len(places))(), (ctypes.c_uint64 * len(places))()
    for number, (offset, cookie) in enumerate(places):
        offsets[number], cookies[number] = offset, cookie
    text = ctypes.c_char_p(os.fsencode(path))
    attributes = MULTI.pack(
        program,
        0,
        attach,
        0,
        ctypes.cast(text, ctypes.c_void_p).value or 0,
        ctypes.addressof(offsets),
        0,
        ctypes.addressof(cookies),
        len(places),
        UPROBE_MULTI_RETURN if on_return else 0,
        pid,
    )
    return _call(LINK_CREATE, attributes, len(attributes))


def link_event(program: int, event: int, cookie: int) -> int:
    """Attaches a program to a perf event until the returned descriptor and all copies of it are closed (Linux
    5.15). Raises OSError."""
    attributes = EVENT.pack(program, event, PERF_EVENT, 0, cookie)
    return _call(LINK_CREATE, attributes, len(attributes))


def recursion_misses(program: int) -> int:
    """Runs of a program that the kernel skipped since it was loaded. Raises OSError."""
    info = ctypes.create_string_buffer(PROGRAM_INFO)
    attributes = INFO.pack(program, PROGRAM_INFO, ctypes.addressof(info))
    _call(OBJ_GET_INFO_BY_FD, attributes, len(attributes))
    return int.from_bytes(info.raw[-8:], sys.byteorder)


def _element(command: int, descriptor: int, key: bytes | None, value: object, flags: int = 0) -> None:
    element = _Element(descriptor, key, value, flags)
    _call(command, ctypes.byref(element), ctypes.sizeof(element))


def lookup(descriptor: int, key: bytes, size: int) -> bytes | None:
    """The `size` bytes of a key's value (for a map by processor, of all of them); None without such a key."""
    value = ctypes.create_string_buffer(size)
    try:
        _element(MAP_LOOKUP_ELEM, descriptor, key, ctypes.addressof(value))
    except OSError:
        return None
    return value.raw


def update(descriptor: int, key: bytes, value: bytes, flags: int = 0) -> None:
    """Sets a value. Raises OSError: EEXIST and ENOENT where NOEXIST and EXIST say so."""
    _element(MAP_UPDATE_ELEM, descriptor, key, value, flags)


def delete(descriptor: int, key: bytes) -> None:
    """Removes a key. Raises OSError, ENOENT when it is not there."""
    _element(MAP_DELETE_ELEM, descriptor, key, None)


def keys(descriptor: int, size: int) -> Iterator[bytes]:
    """The keys of a map, of `size` bytes; one that changes meanwhile may yield some twice or not at all."""
    following = ctypes.create_string_buffer(size)
    key: bytes | None = None
    while True:
        try:
            _element(MAP_GET_NEXT_KEY, descriptor, key, ctypes.addressof(following))
        except OSError:
            return
        key = following.raw
        yield key
