"""Reads the constants of a TensorFlow GraphDef as data. No TensorFlow, and nothing is run.

The few messages that matter are declared here; protobuf skips all other fields.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from numpy.typing import NDArray

FLOAT = 1  # DT_FLOAT
INT64, INT32, STRING, BYTES, MESSAGE = 3, 5, 9, 12, 11  # FieldDescriptorProto.Type
FIELDS: dict[str, tuple[tuple[str, int, int, bool, str], ...]] = {
    "Dim": (("size", 1, INT64, False, ""),),
    "Shape": (("dim", 2, MESSAGE, True, "Dim"),),
    "Tensor": (
        ("dtype", 1, INT32, False, ""),
        ("shape", 2, MESSAGE, False, "Shape"),
        ("content", 4, BYTES, False, ""),
        ("float_val", 5, 2, True, ""),
    ),
    "Attr": (("tensor", 8, MESSAGE, False, "Tensor"),),
    "Entry": (("key", 1, STRING, False, ""), ("value", 2, MESSAGE, False, "Attr")),
    "Node": (
        ("name", 1, STRING, False, ""),
        ("op", 2, STRING, False, ""),
        ("attr", 5, MESSAGE, True, "Entry"),
    ),
    "Graph": (("node", 1, MESSAGE, True, "Node"),),
}
"""Message -> (field, number, type, repeated, message type), as graph.proto and its like say."""


def graph_class() -> Any:
    """The protobuf class of a GraphDef that knows only `FIELDS`."""
    file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="graph", syntax="proto3")
    for name, fields in FIELDS.items():
        declared = file.message_type.add(name=name)
        for field, number, kind, repeated, of in fields:
            declared.field.add(
                name=field,
                number=number,
                type=kind,
                label=3 if repeated else 1,
                type_name=f".graph.{of}" if of else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("graph.Graph"))


def read_constants(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Name -> value of every float constant of a GraphDef.

    Raises:
        ValueError: if `content` is no GraphDef.
    """
    graph = graph_class()()
    try:
        graph.ParseFromString(content)
    except message.DecodeError as problem:
        raise ValueError(f"no TensorFlow graph ({problem})") from problem
    found = {}
    for node in graph.node:
        if node.op == "Const":
            tensor = next((e.value.tensor for e in node.attr if e.key == "value"), None)
            if tensor is not None and tensor.dtype == FLOAT:
                found[node.name] = _value(tensor)
    return found


def _value(tensor: Any) -> NDArray[np.float32]:
    """A constant's array; a single `float_val` stands for all elements."""
    shape = [dim.size for dim in tensor.shape.dim]
    if tensor.content:
        return np.frombuffer(tensor.content, "<f4").reshape(shape).copy()
    return np.broadcast_to(np.array(tensor.float_val, "<f4"), shape or (1,)).copy()
