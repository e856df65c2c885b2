"""What a host may lack, what a user is told of it, and what `rover doctor` says before."""

from __future__ import annotations

import collections
import contextlib
from pathlib import Path

import pytest

from rover.contracts.source import Check, Selection
from rover.errors import RoverError
from rover_source_ebpf import checks, host, kernel, machine
from rover_source_ebpf.btf import Btf
from rover_source_ebpf.image import FIRST_FUNCTION
from rover_source_ebpf.misses import COPIES
from rover_source_ebpf.settings import SETTINGS
from rover_source_ebpf.source import EbpfSource, epoch

DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


def one_line(error: BaseException) -> str:
    said = str(error)
    assert said
    assert "\n" not in said
    return said


# -- privileges -----------------------------------------------------------------------------------

BPF, PERFMON, ADMIN = 1 << 39, 1 << 38, 1 << 21


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        (0, ["CAP_BPF", "CAP_PERFMON"]),
        (BPF, ["CAP_PERFMON"]),
        (PERFMON, ["CAP_BPF"]),
        (BPF | PERFMON, []),
        (ADMIN, []),
        ((1 << 41) - 1, []),
        (0x3FFFFFFFF & ~ADMIN, ["CAP_BPF", "CAP_PERFMON"]),
    ],
)
def test_capabilities_count_not_the_user(effective: int, missing: list[str]) -> None:
    assert host.missing_capabilities(effective) == missing


def test_an_unprivileged_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "effective_capabilities", lambda: 0)
    source = EbpfSource(DEFAULTS, Selection())
    with pytest.raises(RoverError) as caught:
        source.start()
    assert "CAP_BPF and CAP_PERFMON" in one_line(caught.value)
    assert "root" in str(caught.value)
    source.close()
    check = checks.privileges()
    assert not check.ok
    assert "CAP_BPF" in check.finding


def test_the_capabilities_of_this_process_are_read(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000000c000000000\nCapBnd:\t0\n")
    assert host.effective_capabilities(status) == BPF | PERFMON


# -- the kernel -------------------------------------------------------------------------------------


def test_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "machine", lambda: "riscv64")
    with pytest.raises(RoverError, match="x86_64, aarch64; this machine is riscv64"):
        machine.this_machine()


def test_a_kernel_without_btf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = tmp_path / "vmlinux"
    monkeypatch.setattr(Btf.of_kernel.__func__, "__defaults__", (missing,))
    with pytest.raises(RoverError) as caught:
        kernel.Kernel.running()
    assert "CONFIG_DEBUG_INFO_BTF" in one_line(caught.value)
    missing.write_bytes(b"not BTF at all, but long enough to hold a header")
    with pytest.raises(RoverError, match="the kernel's BTF cannot be read"):
        kernel.Kernel.running()
    check = checks.types()
    assert not check.ok
    assert check.fix


class Partial:
    """A kernel that lacks one thing."""

    def __init__(self, lacks: str) -> None:
        self._lacks = lacks

    def offset(self, struct: str, path: str) -> int:
        from rover_source_ebpf.btf import BtfError

        if f"{struct}.{path}" == self._lacks:
            raise BtfError(f"no field {self._lacks} in this kernel")
        return 8

    def size(self, struct: str) -> int:
        return 16

    def struct(self, name: str) -> int:
        return 7

    def function(self, name: str) -> int:
        from rover_source_ebpf.btf import BtfError

        if name == self._lacks:
            raise BtfError(f"no function {name} in this kernel")
        return 70_000

    def has_tracepoint(self, name: str) -> bool:
        return name != self._lacks


@pytest.mark.parametrize(
    "lacks", ["task_struct.files", "sock.sk_socket", "pt_regs.orig_ax", "tcp_destroy_sock"]
)
def test_a_kernel_that_lacks_something_names_it(lacks: str) -> None:
    with pytest.raises(RoverError, match=lacks) as caught:
        kernel.Kernel(Partial(lacks), "6.12.0")  # type: ignore[arg-type]
    one_line(caught.value)


@pytest.mark.parametrize("lacks", ["file.f_count", "tcp_send_reset"])
def test_a_kernel_may_lack_what_is_optional(lacks: str) -> None:
    found = kernel.Kernel(Partial(lacks), "6.12.0")  # type: ignore[arg-type]
    assert "OFF_FILE_COUNT" not in found.macros or lacks != "file.f_count"
    assert lacks not in found.tracepoints()
    assert found.tracepoints("more")[:6] == [*kernel.TRACEPOINTS, "more"]


def test_fields_are_loaded_where_the_kernel_has_a_function_for_it() -> None:
    """Linux 6.2; before, they are read by a helper."""
    loading = kernel.Kernel(Partial(""), "6.12.0")  # type: ignore[arg-type]
    reading = kernel.Kernel(Partial(kernel.CAST), "6.1.0")  # type: ignore[arg-type]
    cast = {"RDONLY_CAST": FIRST_FUNCTION + 70_000, "AN_INTEGER": 7}
    assert loading.macros == reading.macros | cast


def test_the_tracepoints_of_sockets_are_other_ones() -> None:
    found = kernel.Kernel(Partial("tcp_sendmsg_locked"), "6.12.0").tracepoints("more", sockets=True)  # type: ignore[arg-type]
    assert found == [*kernel.SOCKET_TRACEPOINTS, "more", *kernel.OPTIONAL_TRACEPOINTS]


@pytest.mark.parametrize(
    ("lacks", "release", "said"),
    [
        ("sock_recv_length", "6.1.0", "no tracepoint sock_recv_length"),
        (kernel.CAST, "6.1.0", "does not tell"),
        ("tcp_sock.copied_seq", "6.12.0", "does not tell"),
        ("", "7.0.0", "skips programs"),
    ],
)
def test_a_kernel_that_cannot_tell_by_sockets(lacks: str, release: str, said: str) -> None:
    with pytest.raises(RoverError, match=said) as caught:
        kernel.Kernel(Partial(lacks), release).tracepoints(sockets=True)  # type: ignore[arg-type]
    assert "set source.ebpf.tracepoints to calls" in one_line(caught.value)


def test_copies_are_for_kernels_that_skip_programs() -> None:
    """Each after the one it stands in for; exits before entries still."""
    usual = kernel.Kernel(Partial(""), "6.19.0")  # type: ignore[arg-type]
    skipping = kernel.Kernel(Partial(""), "7.0.0")  # type: ignore[arg-type]
    assert usual.macros["COPIES"] == 1
    assert not [name for name in usual.tracepoints("more") if "__" in name]
    names = skipping.tracepoints("more")
    assert skipping.macros["COPIES"] == COPIES
    assert names[: 2 * COPIES] == [
        *("sys_exit", *(f"sys_exit__{number}" for number in range(1, COPIES))),
        *("sys_enter", *(f"sys_enter__{number}" for number in range(1, COPIES))),
    ]
    assert names[2 * COPIES :: 2] == [
        name for name in usual.tracepoints("more") if not name.startswith("sys_")
    ]
    assert names[2 * COPIES + 1 :: 2] == [f"{name}__1" for name in names[2 * COPIES :: 2]]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("none [integrity] confidentiality\n", "integrity"),
        ("[none] integrity confidentiality\n", "none"),
        ("none integrity [confidentiality]\n", "confidentiality"),
        ("", "none"),
    ],
)
def test_lockdown(text: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lockdown"
    path.write_text(text)
    assert host.lockdown(path) == mode
    assert host.lockdown(tmp_path / "absent") == "none"
    monkeypatch.setattr(host, "lockdown", lambda: mode)
    assert checks.lockdown().ok == (mode != "confidentiality")


@pytest.mark.parametrize(
    ("release", "ok"),
    [("6.18.44", True), ("5.12.0-rc1", True), ("5.11.22", False), ("4.19.0-27-amd64", False), ("odd", True)],
)
def test_kernel_versions(release: str, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.platform, "release", lambda: release)
    check = checks.kernel()
    assert check.ok == ok
    assert bool(check.fix) != ok


def test_no_warning_where_programs_are_not_preempted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.platform, "release", lambda: "6.12.117+deb13-amd64")
    assert "preemption" not in {check.subject for check in checks.check()}


def test_every_failing_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> object:
        raise RoverError("the BPF Compiler Collection cannot be loaded")

    monkeypatch.setattr(checks, "Compiler", missing)
    monkeypatch.setattr(host, "effective_capabilities", lambda: 0)
    monkeypatch.setattr(checks.platform, "release", lambda: "7.3.4+deb13-amd64")
    found = {check.subject: check for check in checks.check()}
    subjects = {"kernel", "processor", "lockdown", "privileges", "bcc", "kernel types"}
    assert set(found) >= subjects | {"preemption"}
    assert not found["preemption"].required
    assert not found["bcc"].ok
    assert not found["privileges"].ok
    for check in found.values():
        assert isinstance(check, Check)
        assert check.ok or check.fix or not check.tried


def test_programs_are_not_tried_without_privileges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "effective_capabilities", lambda: BPF)
    (check,) = checks.rehearse(DEFAULTS, Selection())
    assert not check.tried
    assert "CAP_PERFMON" in check.finding


@pytest.mark.parametrize(
    ("text", "number"), [("0", 1), ("0-1", 2), ("0-127", 128), ("0,2-3", 4), ("x", None)]
)
def test_processors(text: str, number: int | None, tmp_path: Path) -> None:
    path = tmp_path / "possible"
    path.write_text(text + "\n")
    assert host.possible_cpus(path) >= 1
    if number is not None:
        assert host.possible_cpus(path) == number


def test_the_epoch_is_the_zero_of_the_clock() -> None:
    import time

    found = epoch()
    before = time.monotonic_ns()
    wall = time.time_ns()
    after = time.monotonic_ns()  # much later where something else ran meanwhile
    assert wall - after - 50_000_000 < found < wall - before + 50_000_000


# -- the real thing ---------------------------------------------------------------------------------


@pytest.mark.live
def test_this_host_can(live: None) -> None:
    assert all(check.ok for check in checks.check() if check.required)


@pytest.mark.live
def test_what_the_kernel_refuses_is_one_line(live: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map larger than any memory; a program that does not compile; one that reads outside a struct."""
    for settings, macros, said in (
        ({"max_connections": 1 << 31}, {}, "map"),
        ({}, {"PAYLOAD_LIMIT": "nonsense"}, "nonsense"),
        ({}, {"OFF_FDT_MAX": 1 << 20}, "access beyond struct fdtable"),
    ):
        source = EbpfSource(DEFAULTS | settings, Selection())
        given = source._macros()
        monkeypatch.setattr(source, "_macros", lambda given=given, macros=macros: given | macros)
        with pytest.raises(RoverError, match="the kernel side could not be set up") as caught:
            source.start()
        assert said in one_line(caught.value)
        source.close()


@pytest.mark.live
def test_the_doctor_gives_the_programs_to_the_kernel(live: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = checks.rehearse(DEFAULTS, Selection(ports=(80,)))
    assert check.ok, check.finding
    assert check.tried
    before = descriptors()
    given = EbpfSource._macros
    monkeypatch.setattr(EbpfSource, "_macros", lambda self: given(self) | {"OFF_FDT_MAX": 1 << 20})
    (check,) = checks.rehearse(DEFAULTS, Selection())
    assert not check.ok
    assert "access beyond struct fdtable" in check.finding
    assert "the verifier's last lines: " in check.finding
    assert " / " in check.finding
    assert check.fix
    assert not descriptors() - before, "nothing is left open"


def descriptors() -> collections.Counter[str]:
    """What this process holds of the kernel side, and of pipes. Garbage of earlier tests may still go."""
    found: collections.Counter[str] = collections.Counter()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            name = entry.readlink().name.partition(":[")[0]
            if name.startswith(("anon_inode:", "pipe")):
                found[name] += 1
    return found
