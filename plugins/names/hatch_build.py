"""Compiles protos/cri.proto while a wheel, or an editable one, is built.

The result is a descriptor set, not Python code: generated code refuses to run with a protobuf
older than the compiler it came from, a descriptor set works with every one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTOS = "src/rover_plugin_names/protos"


class CompileProtos(BuildHookInterface):  # type: ignore[type-arg]
    """Writes cri.binpb beside its source, where an editable install finds it too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Called before the files of the wheel are collected."""
        from grpc_tools import protoc

        protos = Path(self.root, PROTOS)
        compiled = protos / "cri.binpb"
        arguments = [
            "protoc",
            f"--proto_path={protos}",
            f"--descriptor_set_out={compiled}",
            "cri.proto",
        ]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"protoc could not compile {protos / 'cri.proto'}")
        build_data["artifacts"].append(f"{PROTOS}/cri.binpb")
