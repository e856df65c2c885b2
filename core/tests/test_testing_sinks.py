"""check_sink finds the common faults of sinks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import rover.cli
from rover import SinkSpec
from rover.testing import LawError, access_logs, check_sink

TEMPLATE = Path(rover.cli.__file__).parent / "templates/sink/src/rover_plugin_example/__init__.py"


def spec_of(old: str = "", new: str = "") -> SinkSpec:
    """The sink that `rover plugins new` writes, with its source changed."""
    source = TEMPLATE.read_text()
    assert old in source
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("changed", None))
    exec(source.replace(old, new) if old else source, module.__dict__)
    (spec,) = module.__dict__["register_sinks"]()
    assert isinstance(spec, SinkSpec)
    return spec


def test_a_sink_that_keeps_them(tmp_path):
    sink = check_sink(spec_of(), {"path": str(tmp_path / "out")})
    assert sink.counters()["lines"] == len((tmp_path / "out").read_text().splitlines()) > 100


def test_the_logs_that_are_made_up_are_of_each_kind_once():
    logs = access_logs()
    assert len(
        {
            (log.protocol, log.outcome, log.connection.id, log.connection.role, len(log.attributes))
            for log in logs
        }
    ) == len(logs)
    assert access_logs() == logs


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'process.name if process is not None else ""',
            "process.name",
            "no failure: .*prepare: AttributeError",
        ),
        ("return 0", "return 'none'", "no failure: .*close: TypeError"),
        ('return {"lines": self._lines}', "return self._lines", "no failure: .*counters: TypeError"),
        ("self._file.close()\n        self._open()", "raise OSError", "no failure: .*reopen: OSError"),
        ("self._lines += len(lines)", "raise KeyError", "no failure: .*write: KeyError"),
        ("return 0", "return 3", "what comes in is logged or lost: .* lost {'unwritten': 3}"),
    ],
)
def test_a_fault_is_told(old, new, message, tmp_path):
    with pytest.raises(LawError, match=message):
        check_sink(spec_of(old, new), {"path": str(tmp_path / "out")})
