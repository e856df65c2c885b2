"""What the running kernel looks like: offsets for the C programs, and its tracepoints, out of BTF."""

from __future__ import annotations

import contextlib
import platform

from rover.errors import RoverError
from rover_source_ebpf.btf import Btf, BtfError
from rover_source_ebpf.image import FIRST_FUNCTION
from rover_source_ebpf.machine import register_macros, this_machine
from rover_source_ebpf.misses import COPIES, preempted

FIELDS: dict[str, tuple[str, str]] = {
    "TASK_FILES": ("task_struct", "files"),
    "TASK_LEADER": ("task_struct", "group_leader"),
    "TASK_PARENT": ("task_struct", "real_parent"),
    "TASK_TGID": ("task_struct", "tgid"),
    "TASK_COMM": ("task_struct", "comm"),
    "TASK_SIGNAL": ("task_struct", "signal"),
    "TASK_PID": ("task_struct", "thread_pid"),
    "SIGNAL_LIVE": ("signal_struct", "live"),
    "PID_LEVEL": ("pid", "level"),
    "PID_NUMBERS": ("pid", "numbers"),
    "UPID_NR": ("upid", "nr"),
    "FILES_FDT": ("files_struct", "fdt"),
    "FDT_FD": ("fdtable", "fd"),
    "FDT_MAX": ("fdtable", "max_fds"),
    "FILE_INODE": ("file", "f_inode"),
    "FILE_PRIVATE": ("file", "private_data"),
    "INODE_MODE": ("inode", "i_mode"),
    "INODE_INO": ("inode", "i_ino"),
    "INODE_SB": ("inode", "i_sb"),
    "SB_DEV": ("super_block", "s_dev"),
    "BINPRM_FILE": ("linux_binprm", "file"),
    "SOCKET_SK": ("socket", "sk"),
    "SK_FAMILY": ("sock", "__sk_common.skc_family"),
    "SK_STATE": ("sock", "__sk_common.skc_state"),
    "SK_SPORT": ("inet_sock", "inet_sport"),
    "SK_DPORT": ("sock", "__sk_common.skc_dport"),
    "SK_LADDR": ("sock", "__sk_common.skc_rcv_saddr"),
    "SK_DADDR": ("sock", "__sk_common.skc_daddr"),
    "SK_PROTOCOL": ("sock", "sk_protocol"),
    "SK_TYPE": ("sock", "sk_type"),
    "SK_SOCKET": ("sock", "sk_socket"),
    "SK_OWNED": ("sock", "sk_lock.owned"),
}
OPTIONAL_FIELDS: dict[str, tuple[str, str]] = {
    "SK_V6_LADDR": ("sock", "__sk_common.skc_v6_rcv_saddr"),  # CONFIG_IPV6
    "SK_V6_DADDR": ("sock", "__sk_common.skc_v6_daddr"),
    "FILE_COUNT": ("file", "f_count"),  # up to Linux 6.12
    "SK_LINGERTIME": ("sock", "sk_lingertime"),  # what is done before it is released: with FILE_COUNT
}
COUNTING_FIELDS: dict[str, tuple[str, str]] = {
    "ICSK_ULP_OPS": ("inet_connection_sock", "icsk_ulp_ops"),
    "SK_FLAGS": ("sock", "__sk_common.skc_flags"),
    "TCP_COPIED_SEQ": ("tcp_sock", "copied_seq"),
    "TCP_RCV_NXT": ("tcp_sock", "rcv_nxt"),
    "TCP_WRITE_SEQ": ("tcp_sock", "write_seq"),
    "TCP_BYTES_RECEIVED": ("tcp_sock", "bytes_received"),
    "TCP_BYTES_ACKED": ("tcp_sock", "bytes_acked"),
}
"""How many bytes a process moved, by the kernel's own count: all of them, or bytes that no watched call
moved stay unnoticed."""

SESSION = "bpf_session_is_return"
"""The kernel's function that tells a program whether the function that it probes has ended (Linux 6.13)."""
CAST = "bpf_rdonly_cast"
"""The kernel's function that lets a program load from an address as if a struct were there (Linux 6.2)."""
INTEGER = "timespec64"
"""A struct that begins with an integer of 8 bytes, of which 1, 2 and 4 may be loaded, too."""

TRACEPOINTS = ("sys_exit", "sys_enter", "tcp_destroy_sock", "sched_process_exec", "sched_process_exit")
"""What the programs `on_...` are attached to. Exits first: a call seen entering is seen leaving."""
SOCKET_TRACEPOINTS = (
    "tcp_destroy_sock",
    "inet_sock_set_state",
    "tcp_rcv_space_adjust",
    "sock_recv_length",
    "sock_send_length",
    "sched_process_exec",
    "sched_process_exit",
)
"""The same, for the way that leaves all other system calls alone (c/sockets.c)."""
BUSIEST_TRACEPOINTS = ("sys_exit", "sys_enter")
"""Where a program that is preempted keeps many others from running."""
OPTIONAL_SOCKET_TRACEPOINTS = ("tcp_sendmsg_locked",)
"""Without it a write is told of as if it began when it ended (Linux 6.16)."""
OPTIONAL_TRACEPOINTS = ("tcp_receive_reset", "tcp_send_reset", "task_rename")
"""Without them a reset looks like a close, and a process keeps the name it was first seen with."""


class Kernel:
    """The running kernel, or another one by its BTF."""

    def __init__(self, btf: Btf, release: str) -> None:
        """`release`: uname -r. Raises RoverError naming what the programs need and this kernel has not."""
        self._btf = btf
        machine = this_machine()
        try:
            self.macros = register_macros(machine, btf) | {"SIZE_UPID": btf.size("upid")}
            """By name: where the C programs find each field."""
            for name, (struct, path) in FIELDS.items():
                self.macros[f"OFF_{name}"] = btf.offset(struct, path)
        except BtfError as error:
            raise RoverError(f"{error}: rover does not know its layout; please report it") from None
        for name, (struct, path) in OPTIONAL_FIELDS.items():
            try:
                self.macros[f"OFF_{name}"] = btf.offset(struct, path)
            except BtfError:
                continue
        self._copies = COPIES if preempted(release) else 1
        self.macros["COPIES"] = self._copies
        with contextlib.suppress(BtfError):
            counting = {f"OFF_{name}": btf.offset(*field) for name, field in COUNTING_FIELDS.items()}
            self.macros |= counting
        with contextlib.suppress(BtfError):
            self.macros |= {
                "RDONLY_CAST": FIRST_FUNCTION + btf.function(CAST),
                "AN_INTEGER": btf.struct(INTEGER),
            }
        with contextlib.suppress(BtfError):
            self.macros["SESSION_IS_RETURN"] = FIRST_FUNCTION + btf.function(SESSION)
        for name in TRACEPOINTS:
            if not btf.has_tracepoint(name):
                raise RoverError(f"this kernel has no tracepoint {name} (CONFIG_TRACEPOINTS)")

    @classmethod
    def running(cls) -> Kernel:
        """Raises RoverError, also when the kernel does not describe itself."""
        try:
            return cls(Btf.of_kernel(), platform.release())
        except OSError as error:
            raise RoverError(
                f"this kernel does not describe its types ({error.filename}: {error.strerror}); "
                "it needs CONFIG_DEBUG_INFO_BTF, which distributions' kernels since 2021 have"
            ) from None
        except BtfError as error:
            raise RoverError(f"the kernel's BTF cannot be read: {error}") from None

    def tracepoints(self, *more: str, sockets: bool = False) -> list[str]:
        """What to attach, in this order: required ones, `more`, and the optional ones that are there.
        `sockets`: those of sockets, not of all calls. Raises RoverError where this kernel cannot have that.

        A name with `__` and a number is a further copy of a program (c/copies.c).
        """
        required = self._of_sockets() if sockets else TRACEPOINTS
        wanted = (*(OPTIONAL_SOCKET_TRACEPOINTS if sockets else ()), *OPTIONAL_TRACEPOINTS)
        optional = [name for name in wanted if self._btf.has_tracepoint(name)]
        return [copy for name in (*required, *more, *optional) for copy in self._copies_of(name)]

    def _of_sockets(self) -> tuple[str, ...]:
        instead = "; set source.ebpf.tracepoints to calls"
        for name in SOCKET_TRACEPOINTS:
            if not self._btf.has_tracepoint(name):
                raise RoverError(f"this kernel has no tracepoint {name} (Linux 6.3){instead}")
        if self._copies > 1:
            raise RoverError(f"this kernel skips programs, which only those of calls make up for{instead}")
        if "OFF_TCP_BYTES_ACKED" not in self.macros or "RDONLY_CAST" not in self.macros:
            raise RoverError(f"this kernel does not tell what those of sockets need{instead}")
        return SOCKET_TRACEPOINTS

    def _copies_of(self, name: str) -> list[str]:
        copies = self._copies if name in BUSIEST_TRACEPOINTS else min(self._copies, 2)
        return [name, *(f"{name}__{number}" for number in range(1, copies))]
