"""What a host may lack, what a user is told of it, and what `rover doctor` says before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rover.errors import RoverError
from rover.source import Check, Selection
from rover_source_ebpf import checks, host, kernel, machine
from rover_source_ebpf.bcc_module import find_bcc
from rover_source_ebpf.btf import Btf
from rover_source_ebpf.loader import captured_stderr, useful_line
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


# -- bcc ------------------------------------------------------------------------------------------

FIND = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from rover.errors import RoverError
from rover_source_ebpf.bcc_module import find_bcc
try:
    module = find_bcc([Path(place) for place in {places!r}])
    print("found", module.__version__, module.BPF, sorted(n for n in sys.modules if n.startswith("bcc")))
    print("added", [p for p in {places!r} if p in sys.path])
except RoverError as error:
    print("error", error)
"""


def find(path: list[Path], places: list[Path]) -> list[str]:
    """`find_bcc` in an interpreter of its own."""
    code = FIND.format(path=[str(p) for p in path], places=[str(p) for p in places])
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A directory with something like a distribution's bcc, and another package beside it."""
    package = tmp_path / "dist-packages/bcc"
    package.mkdir(parents=True)
    imports = "from .table import Table as BPF\nfrom .version import __version__\n"
    (package / "__init__.py").write_text(imports)
    (package / "table.py").write_text("class Table: pass\n")
    (package / "version.py").write_text("__version__ = '0.26.0'\n")
    (package.parent / "requests.py").write_text("raise RuntimeError('not asked for')\n")
    return package.parent


@pytest.fixture
def unrelated(tmp_path: Path) -> Path:
    """PyPI's package of that name."""
    package = tmp_path / "site-packages/bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VERSION = 1\n")
    return package.parent


def test_it_is_loaded_alone_from_outside_the_environment(real: Path) -> None:
    found, added = find([], [real.parent / "nowhere", real])
    assert found == "found 0.26.0 <class 'bcc.table.Table'> ['bcc', 'bcc.table', 'bcc.version']"
    assert added == "added []"


def test_one_that_the_environment_has_is_taken(real: Path) -> None:
    found, _ = find([real], [])
    assert found.startswith("found 0.26.0")


def test_the_unrelated_package_is_passed_over(unrelated: Path, real: Path) -> None:
    found, _ = find([unrelated], [real])
    assert found.startswith("found 0.26.0")


def test_only_the_unrelated_package(unrelated: Path) -> None:
    (said,) = find([unrelated], [])
    assert "PyPI's unrelated package" in said
    assert str(unrelated) in said
    assert "apt-get install python3-bpfcc" in said


def test_none_at_all(tmp_path: Path) -> None:
    (said,) = find([], [tmp_path])
    assert said.startswith("error the BPF Compiler Collection for Python is missing;")
    assert "apt-get install python3-bpfcc" in said


def test_one_whose_library_is_missing(real: Path) -> None:
    (real / "bcc/table.py").write_text("import ctypes\nctypes.CDLL('libbcc-that-is-not-there.so.0')\n")
    for path, places in (([], [real]), ([real], [])):
        (said,) = find(path, places)
        assert said.startswith("error bcc cannot be loaded")
        assert "libbcc-that-is-not-there" in said


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
    assert check.mend


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

    def has_tracepoint(self, name: str) -> bool:
        return name != self._lacks


@pytest.mark.parametrize(
    "lacks", ["task_struct.files", "sock.sk_socket", "pt_regs.orig_ax", "tcp_destroy_sock"]
)
def test_a_kernel_that_lacks_something_names_it(lacks: str) -> None:
    with pytest.raises(RoverError, match=lacks) as caught:
        kernel.Kernel(Partial(lacks))  # type: ignore[arg-type]
    one_line(caught.value)


@pytest.mark.parametrize("lacks", ["file.f_count", "tcp_send_reset"])
def test_a_kernel_may_lack_what_is_optional(lacks: str) -> None:
    found = kernel.Kernel(Partial(lacks))  # type: ignore[arg-type]
    assert "OFF_FILE_COUNT" not in found.macros or lacks != "file.f_count"
    assert lacks not in found.tracepoints()
    assert found.tracepoints("more")[:6] == [*kernel.TRACEPOINTS, "more"]


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
    assert bool(check.mend) != ok


def test_every_failing_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> object:
        raise RoverError("the BPF Compiler Collection for Python is missing")

    monkeypatch.setattr(checks, "find_bcc", missing)
    monkeypatch.setattr(host, "effective_capabilities", lambda: 0)
    found = {check.subject: check for check in checks.check()}
    assert set(found) == {"kernel", "processor", "lockdown", "privileges", "bcc", "kernel types"}
    assert not found["bcc"].ok
    assert not found["privileges"].ok
    for check in found.values():
        assert isinstance(check, Check)
        assert check.ok or check.mend


@pytest.mark.parametrize(
    ("text", "number"), [("0", 1), ("0-1", 2), ("0-127", 128), ("0,2-3", 4), ("x", None)]
)
def test_processors(text: str, number: int | None, tmp_path: Path) -> None:
    path = tmp_path / "possible"
    path.write_text(text + "\n")
    assert host.possible_cpus(path) >= 1
    if number is not None:
        assert host.possible_cpus(path) == number


# -- what bcc prints --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        ("", ""),
        (
            "maps.c:3:1: warning: x\nsyscalls.c:9:5: error: use of undeclared identifier 'y'\n  y\n"
            "1 error generated.\n",
            "syscalls.c:9:5: error: use of undeclared identifier 'y'",
        ),
        (
            "bpf: Failed to load program: Permission denied\n0: R1=ctx()\n; x @ y.c:1\n1: (61) r1 = 0\n"
            "R9 invalid mem access 'scalar'\nprocessed 130 insns (limit 1000000) max_states_per_insn 0\n\n",
            "R9 invalid mem access 'scalar'",
        ),
    ],
    ids=["nothing", "compiler", "verifier"],
)
def test_the_useful_line(printed: str, line: str) -> None:
    assert useful_line(printed) == line


def test_stderr_is_captured_and_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    with captured_stderr() as output:
        os.write(2, b"from C++\n")
        assert output() == "from C++\n"
        os.write(2, b"after\n")
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "after\nlater\n"


def test_the_epoch_is_the_zero_of_the_clock() -> None:
    import time

    assert abs(time.time_ns() - (epoch() + time.monotonic_ns())) < 50_000_000


# -- the real thing ---------------------------------------------------------------------------------


@pytest.mark.live
def test_this_host_can(live: None) -> None:
    assert all(check.ok for check in checks.check() if check.required)
    assert find_bcc() is find_bcc()


@pytest.mark.live
def test_what_the_kernel_refuses_is_one_line(live: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map larger than any memory; a program that does not compile; one that reads outside its stack."""
    for settings, macros, said in (
        ({"max_connections": 1 << 31}, {}, "map"),
        ({}, {"PAYLOAD_LIMIT": "nonsense"}, "nonsense"),
        ({}, {"ARGUMENT4": 60}, "stack"),
    ):
        source = EbpfSource(DEFAULTS | settings, Selection())
        given = source._macros()
        monkeypatch.setattr(source, "_macros", lambda given=given, macros=macros: given | macros)
        with pytest.raises(RoverError, match="the kernel side could not be set up") as caught:
            source.start()
        assert said in one_line(caught.value)
        source.close()
