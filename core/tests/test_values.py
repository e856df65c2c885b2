"""What every public value keeps: frozen, made with keywords, compared by its fields, growing."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from pathlib import Path

import pytest

import rover.abi
from rover import (
    AccessLog,
    Address,
    Closed,
    Connection,
    Detail,
    Exchange,
    Loss,
    Opened,
    Outcome,
    Plaintext,
    Process,
    ProtocolBreak,
    Role,
)
from rover.http import Headers, HttpExchange, HttpRequest, HttpResponse, HttpStream, TraceContext
from rover.values.access_log import new_log
from rover.values.connection import new_connection
from rover.values.http import new_exchange, new_request, new_response, new_stream
from rover.values.records import new_detail, new_plaintext
from rover.values.value import Value, fields

HERE, THERE = Address(host="10.0.0.1", port=80), Address(host="::1", port=40_000)
DETAIL = Detail(
    connection=2**64 - 1,
    sequence=3,
    start=-5,
    end=2**62 - 1,
    position=7,
    size=11,
    pid=42,
    fd=-1,
    syscall=8,
    direction=1,
    error=104,
)
PLAINTEXT = Plaintext(
    connection=2**64 - 1,
    sequence=3,
    start=-5,
    end=2**62 - 1,
    position=7,
    size=11,
    ciphertext=-1,
    pid=42,
    direction=1,
    ciphertext_start=2**62 - 1,
)
CONNECTION = Connection(
    id=7, local=HERE, remote=THERE, role=Role.SERVER, process=Process(pid=42, name="s"), opened=5, epoch=9
)
REQUEST = HttpRequest(
    method="GET",
    target="/",
    version="1.1",
    headers=Headers([("host", "a")]),
    start=1,
    end=2,
    header_size=18,
    body_size=None,
)
RESPONSE = HttpResponse(
    status=200, version="1.1", headers=Headers(), start=3, end=4, header_size=19, body_size=0
)
VALUES = [
    HERE,
    Process(pid=1, name="init"),
    DETAIL,
    PLAINTEXT,
    Opened(connection=1, time=2, local=HERE, remote=THERE, role=None, pid=3, late=False, detail=DETAIL),
    Closed(connection=1, time=2, reset=True, detail=None),
    Loss(records=3, cause="ring_full"),
    CONNECTION,
    ProtocolBreak(reason="gap"),
    Exchange(owner=1, start=2, end=3, name="lines", attributes={"a": 1}),
    REQUEST,
    RESPONSE,
    HttpExchange(owner=1, request=REQUEST, response=None),
    HttpStream(owner=1, request=REQUEST, response=RESPONSE),
    AccessLog(connection=CONNECTION, start=1, end=2, attributes={"a": True}, details=(DETAIL,)),
    TraceContext(provider="w3c", trace_id="1", span_id="2"),
]
each_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


def test_every_value_is_here():
    assert {type(value) for value in VALUES} == set(Value.__subclasses__())


@each_value
def test_a_value_is_frozen(value):
    for name in type(value).__slots__:
        with pytest.raises(AttributeError):
            setattr(value, name, getattr(value, name))
        with pytest.raises(AttributeError):
            delattr(value, name)
    with pytest.raises(AttributeError):
        value.anything = 1


@each_value
def test_a_value_is_made_with_keywords_alone(value):
    with pytest.raises(TypeError):
        type(value)(*fields(value).values())
    with pytest.raises(TypeError):
        iter(value)
    with pytest.raises(TypeError):
        value.replace(unheard_of=1)
    assert not hasattr(value, "__len__")


@each_value
def test_a_value_is_what_its_fields_are(value):
    same = type(value)(**fields(value))
    assert same == value
    assert value != 1
    assert value != fields(value)
    assert value.replace() == value
    assert copy.copy(value) == pickle.loads(pickle.dumps(value)) == value
    assert repr(same) == repr(value)
    assert repr(value).startswith(f"{type(value).__name__}(")
    if type(value) not in (Exchange, AccessLog, Connection, Process):  # they hold attributes, a dict
        assert hash(same) == hash(value)
        assert len({value, same}) == 1


def test_one_field_makes_a_difference():
    for name in type(DETAIL).__slots__:
        other = DETAIL.replace(**{name: getattr(DETAIL, name) - 1})
        assert other != DETAIL
        assert [field for field in fields(DETAIL) if getattr(other, field) != getattr(DETAIL, field)] == [
            name
        ]


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (new_detail, DETAIL),
        (new_plaintext, PLAINTEXT),
        (new_connection, CONNECTION),
        (new_request, REQUEST),
        (new_response, RESPONSE),
        (new_exchange, VALUES[12]),
        (new_stream, VALUES[13]),
        (new_log, VALUES[14]),
    ],
)
def test_what_compiled_packages_call_makes_the_same(make, value):
    assert make(**fields(value)) == value


def test_an_access_log_says_how_it_ended():
    assert VALUES[14].outcome is Outcome.COMPLETE


def test_the_number_of_the_layouts_is_one():
    declared = Path(inspect.getfile(rover.abi)).with_name("_abi.pxd").read_text()
    assert re.findall(r"NUMBER = (\d+)", declared) == [str(rover.abi.ABI)]
