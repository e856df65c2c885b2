"""What is written; and the laws, which hold for every sink."""

import json

import pytest

from rover import RoverError
from rover.testing import access_logs, check_sink
from rover_plugin_example import line, register_sinks

(EXAMPLE,) = register_sinks()


def test_the_sink_keeps_the_laws(tmp_path):
    sink = check_sink(EXAMPLE, {"path": str(tmp_path / "out")})
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == sink.counters()["lines"]


@pytest.mark.parametrize("log", access_logs())
def test_a_log_is_a_line_of_six_values(log):
    (written,) = line(log).splitlines()
    seconds, _, _, protocol, outcome, attributes = written.split("\t")
    assert float(seconds) > 1e9
    assert (protocol, outcome) == (log.protocol, log.outcome.value)
    assert json.loads(attributes) == log.attributes


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(RoverError, match="cannot open"):
        EXAMPLE.make({"path": str(tmp_path)})
