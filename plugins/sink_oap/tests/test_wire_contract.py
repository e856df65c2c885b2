"""The compiled protocol against a table of the contract, kept apart from the .proto file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import (  # type: ignore[import-untyped]
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover_plugin_sink_oap.messages import CLASSES, PACKAGE

CONTRACT = Path(__file__).with_name("wire_contract.txt")
Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    name: getattr(Field, f"TYPE_{name.upper()}")
    for name in ("string", "bool", "int32", "int64", "uint32", "uint64")
}
BOUNDS = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint64": (0, (1 << 64) - 1),
}
FIELD = re.compile(r"(\w+) (\d+) (repeated |oneof )?(?:(\w+)|\((.*)\))")


def read_contract() -> dict[str, list[tuple[str, int, str, str, dict[str, int]]]]:
    """{message: [(field, number, "repeated" or "oneof" or "", type, enumeration)]}"""
    contract = {}
    for line in CONTRACT.read_text().splitlines():
        if line.startswith("#"):
            continue
        message, _, fields = line.partition(":")
        rows = []
        for field in filter(None, (part.strip() for part in fields.split(";"))):
            match = FIELD.fullmatch(field)
            assert match, field
            words = (match[5] or "").split()
            values = {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}
            rows.append((match[1], int(match[2]), (match[3] or "").strip(), match[4] or "enum", values))
        contract[message] = rows
    return contract


def build_classes() -> dict[str, Any]:
    """Message classes made of the table alone."""
    file = descriptor_pb2.FileDescriptorProto(name="contract.proto", package="skywalking.v3", syntax="proto3")
    for message, rows in read_contract().items():
        made = file.message_type.add(name=message)
        if any(kind == "oneof" for _, _, kind, _, _ in rows):
            made.oneof_decl.add(name="choice")
        for name, number, kind, type_name, values in rows:
            field = made.field.add(name=name, number=number)
            field.label = Field.LABEL_REPEATED if kind == "repeated" else Field.LABEL_OPTIONAL
            if kind == "oneof":
                field.oneof_index = 0
            if type_name in SCALARS:
                field.type = SCALARS[type_name]
            elif values:
                field.type = Field.TYPE_ENUM
                field.type_name = f".{PACKAGE}{message}.{name}_values"
                enumeration = made.enum_type.add(name=f"{name}_values")
                for value, value_number in values.items():
                    enumeration.value.add(name=value, number=value_number)
            else:
                field.type = Field.TYPE_MESSAGE
                field.type_name = f".{PACKAGE}{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made_classes = message_factory.GetMessageClassesForFiles(["contract.proto"], pool)
    return {name.removeprefix(PACKAGE): each for name, each in made_classes.items()}


CONTRACT_CLASSES = build_classes()


def is_repeated(field: Any) -> bool:
    value = getattr(field.containing_type._concrete_class(), field.name)
    return hasattr(value, "append") or hasattr(value, "add")


def shape(descriptor: Any) -> dict[str, tuple[Any, ...]]:
    """All of a message that is visible on the wire or in JSON."""
    return {
        field.name: (
            field.number,
            field.type,
            is_repeated(field),
            field.containing_oneof is not None,
            field.json_name if "_" not in field.name else "",
            field.message_type.name if field.message_type else None,
            {value.name: value.number for value in field.enum_type.values} if field.enum_type else None,
        )
        for field in descriptor.fields
    }


def test_the_same_messages_as_the_contract() -> None:
    assert set(CLASSES) == set(CONTRACT_CLASSES)


@pytest.mark.parametrize("message", sorted(read_contract()))
def test_fields_numbers_and_types_are_the_contracts(message: str) -> None:
    assert shape(CLASSES[message].DESCRIPTOR) == shape(CONTRACT_CLASSES[message].DESCRIPTOR)


def messages(descriptor: Any) -> st.SearchStrategy[dict[str, Any]]:
    """JSON-like contents of a message, every field set now and then."""
    choices: dict[str, st.SearchStrategy[Any]] = {}
    for field in descriptor.fields:
        if field.message_type is not None:
            value: st.SearchStrategy[Any] = messages(field.message_type)
        elif field.enum_type is not None:
            value = st.sampled_from([each.name for each in field.enum_type.values])
        elif field.type == Field.TYPE_STRING:
            value = st.text("a\0é\u4e2d\U0001f600", max_size=4)
        elif field.type == Field.TYPE_BOOL:
            value = st.booleans()
        else:
            name = next(name for name, number in SCALARS.items() if number == field.type)
            value = st.integers(*BOUNDS[name])
        if is_repeated(field):
            value = st.lists(value, max_size=2)
        choices[field.name] = value
    oneof = [name for name in choices if descriptor.fields_by_name[name].containing_oneof]
    if oneof:
        return st.one_of(st.just({}), *(st.fixed_dictionaries({name: choices[name]}) for name in oneof))
    return st.fixed_dictionaries({}, optional=choices)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(contents=messages(CLASSES["EBPFAccessLogMessage"].DESCRIPTOR))
def test_what_one_writes_the_other_reads(contents: dict[str, Any]) -> None:
    theirs_class = CONTRACT_CLASSES["EBPFAccessLogMessage"]
    ours = json_format.ParseDict(contents, CLASSES["EBPFAccessLogMessage"]())
    theirs = theirs_class.FromString(ours.SerializeToString())
    as_dict = {"preserving_proto_field_name": True}
    assert json_format.MessageToDict(theirs, **as_dict) == json_format.MessageToDict(ours, **as_dict)
    back = CLASSES["EBPFAccessLogMessage"].FromString(theirs.SerializeToString())
    assert back == ours
