"""What a server says of a failure; whatever else is in its place says nothing."""

from __future__ import annotations

import base64

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from hypothesis import given
from hypothesis import strategies as st

from rover.sending.rpc_status import MAX_DETAILS, RETRY_INFO, of_message, of_trailer


def _classes() -> tuple[type, type]:
    """google.rpc.Status and google.rpc.RetryInfo, from their published definitions."""
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, duration_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="status.proto",
        package="google.rpc",
        syntax="proto3",
        dependency=["google/protobuf/any.proto", "google/protobuf/duration.proto"],
    )
    status = file.message_type.add(name="Status")
    status.field.add(name="code", number=1, type=5, label=1)
    status.field.add(name="message", number=2, type=9, label=1)
    status.field.add(name="details", number=3, type=11, label=3, type_name=".google.protobuf.Any")
    info = file.message_type.add(name="RetryInfo")
    info.field.add(name="retry_delay", number=1, type=11, label=1, type_name=".google.protobuf.Duration")
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles(["status.proto"], pool)
    return classes["google.rpc.Status"], classes["google.rpc.RetryInfo"]


STATUS, INFO = _classes()


def retry_delay(text: str) -> float | None:
    return of_trailer(text).retry_delay


def trailer(*, seconds: int = 0, nanos: int = 0, kind: bytes = RETRY_INFO, padded: bool = False) -> str:
    status = STATUS(code=14, message="later")
    status.details.add(type_url="type.googleapis.com/google.rpc.DebugInfo", value=b"\x0a\x01x")
    info = INFO()
    info.retry_delay.seconds, info.retry_delay.nanos = seconds, nanos
    status.details.add(type_url=kind.decode(), value=info.SerializeToString())
    assert of_message(status.SerializeToString()).message == "later"
    encoded = base64.b64encode(status.SerializeToString()).decode()
    return encoded if padded else encoded.rstrip("=")


@given(
    seconds=st.integers(-(10**9), 10**9), nanos=st.integers(-999_999_999, 999_999_999), padded=st.booleans()
)
def test_the_delay_is_read(seconds: int, nanos: int, padded: bool) -> None:
    read = retry_delay(trailer(seconds=seconds, nanos=nanos, padded=padded))
    assert read == pytest.approx(max(0.0, seconds + nanos / 1e9))


@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()))
def test_anything_else_asks_for_nothing_or_for_a_time(text: str) -> None:
    read = retry_delay(text)
    assert read is None or read >= 0


@given(cut=st.integers(0, 100), flip=st.integers(0, 1000))
def test_a_damaged_one_does_no_harm(cut: int, flip: int) -> None:
    data = bytearray(base64.b64decode(trailer(seconds=5, padded=True)))
    data[flip % len(data)] ^= 1 + flip % 255
    read = retry_delay(base64.b64encode(bytes(data[: max(0, len(data) - cut)])).decode())
    assert read is None or read >= 0


def test_no_retry_info_asks_for_nothing() -> None:
    assert retry_delay("") is None
    assert retry_delay(trailer(seconds=5, kind=b"type.googleapis.com/google.rpc.Other")) is None
    assert retry_delay(trailer(seconds=5) + "A" * MAX_DETAILS) is None
