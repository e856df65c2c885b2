"""The messages of protos/accesslog.proto as classes.

They live in a descriptor pool of their own, so that another library of the process which brings
the same protocol along (SkyWalking's own Python agent does) is in nobody's way.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

PACKAGE = "skywalking.v3."


def _load() -> dict[str, Any]:
    compiled = resources.files(__package__) / "protos" / "accesslog.binpb"
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    except FileNotFoundError:
        raise ImportError("accesslog.proto is not compiled: install the package, pip does it") from None
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name for file in files], pool)
    return {name.removeprefix(PACKAGE): made for name, made in classes.items()}


CLASSES = _load()
"""Every message class by its name."""

AccessLogConnection = CLASSES["AccessLogConnection"]
AccessLogKernelLog = CLASSES["AccessLogKernelLog"]
EBPFAccessLogDownstream = CLASSES["EBPFAccessLogDownstream"]
EBPFAccessLogMessage = CLASSES["EBPFAccessLogMessage"]
EBPFAccessLogNodeInfo = CLASSES["EBPFAccessLogNodeInfo"]


def numbers(message: str, field: str) -> dict[str, int]:
    """The numbers of an enumeration's values by name, as used by a field."""
    values = CLASSES[message].DESCRIPTOR.fields_by_name[field].enum_type.values
    return {value.name: value.number for value in values}
