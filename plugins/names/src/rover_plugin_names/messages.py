"""The messages of protos/cri.proto as classes.

They live in a descriptor pool of their own, so that another library of the process which brings the same
interface along is in nobody's way.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

PACKAGE = "runtime.v1."


def _load() -> dict[str, Any]:
    compiled = resources.files(__package__) / "protos" / "cri.binpb"
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    except FileNotFoundError:
        raise ImportError("cri.proto is not compiled: install the package, pip does it") from None
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name for file in files], pool)
    return {name.removeprefix(PACKAGE): made for name, made in classes.items()}


CLASSES = _load()
"""Every message class by its name."""
