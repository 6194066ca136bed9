"""What is in an ONNX file: nodes, constants and the input, looked at before anything is made.

A file comes from anywhere, so each size is compared with what is there before it is used, weights
outside the file are read only from a plain file beside it, and nothing is unpickled or run.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ....kernels.errors import CheckpointError
from .packages import onnx

OPSETS = (7, 26)  # whose operators mean what `operators` takes them to mean
_TYPES = {1: "float32", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}  # of TensorProto
_FIELDS = {1: "float_data", 6: "int32_data", 7: "int64_data", 11: "double_data"}
_KINDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints"}  # of AttributeProto
_OWN = ("", "ai.onnx")


class Node(NamedTuple):
    """A node; name: its own, or its first output's."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """A model file: nodes in order, constants by name, and the one input and output.

    shape: of one sample as the file has it, (C, H, W) or (I,).
    """

    nodes: list[Node]
    constants: dict[str, np.ndarray]
    input: str
    shape: tuple[int, ...]
    output: str
    opset: int


def refused(node: Node, why: str) -> CheckpointError:
    """The error for a node that cannot be taken."""
    return CheckpointError(f"node '{node.name}' ({node.op}) {why}")


def read_contents(path: str | os.PathLike[str]) -> Contents:
    """What is in the file. Raises CheckpointError, MissingExtraError without the package onnx."""
    package = onnx("reading ONNX")
    source = Path(path)
    try:
        data = source.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"there is no model at {path}") from None
    except OSError as wrong:
        raise CheckpointError(f"{path} cannot be read ({wrong})") from None
    model = package.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as wrong:  # whatever protobuf's implementation raises
        raise CheckpointError(
            f"{path} is not an ONNX file, or is cut short ({type(wrong).__name__})"
        ) from None
    if not model.HasField("graph") or not model.graph.node:
        raise CheckpointError(f"{path} is not an ONNX file, or has no node")
    graph = model.graph
    opset = _opset(model)
    if graph.sparse_initializer:
        raise CheckpointError(f"{path} has sparse initialisers, which are not read: make them full")
    constants = {_text(one.name): _tensor(one, source) for one in graph.initializer}
    nodes = []
    for number, one in enumerate(graph.node):
        node = _node(one, number, source)
        if node.op == "Constant":
            constants[_one(node.outputs, node)] = _constant(node)
        elif node.op == "Identity" and node.inputs and node.inputs[0] in constants:
            constants[_one(node.outputs, node)] = constants[node.inputs[0]]  # equal ones, kept once
        else:
            nodes.append(node)
    given = [value for value in graph.input if value.name not in constants]
    if len(given) != 1 or len(graph.output) != 1:
        raise CheckpointError(
            f"{path} has {len(given)} inputs and {len(graph.output)} outputs; a network has one of "
            "each"
        )
    shape = _sample(given[0])
    ends = _text(given[0].name), _text(graph.output[0].name)
    return Contents(nodes, constants, ends[0], shape, ends[1], opset)


def _text(given: str | bytes) -> str:
    """A name. protobuf hands on bytes where it is no text."""
    if isinstance(given, bytes):
        raise CheckpointError(f"the name {given!r:.80} is no text: the file is damaged")
    return given


def _opset(model: Any) -> int:
    versions = [one.version for one in model.opset_import if one.domain in _OWN]
    if len(versions) != 1 or not OPSETS[0] <= versions[0] <= OPSETS[1]:
        raise CheckpointError(
            f"the model is of opset {versions or 'none'}; this reads {OPSETS[0]} to {OPSETS[1]}: "
            "export it again with another opset"
        )
    return versions[0]


def _one(names: Iterable[str], node: Node) -> str:
    found = [name for name in names if name]
    if len(found) != 1:
        raise refused(node, f"has {len(found)} outputs; it should have one")
    return found[0]


def _node(one: Any, number: int, source: Path) -> Node:
    outputs = tuple(map(_text, one.output))
    name = one.name or next((each for each in outputs if each), f"number {number}")
    node = Node(_text(one.op_type), _text(name), tuple(map(_text, one.input)), outputs, {})
    if one.domain not in _OWN:
        raise refused(node, f"is of the domain '{one.domain}', which is not ONNX's own")
    for each in one.attribute:
        if each.type not in _KINDS or each.ref_attr_name:
            raise refused(node, f"has a setting '{each.name}' of a kind that is not read")
        value = getattr(each, _KINDS[each.type])
        if each.type == 4:
            value = _tensor(value, source)
        elif each.type in (6, 7):
            value = tuple(value)
        node.attributes[_text(each.name)] = value
    return node


def _constant(node: Node) -> np.ndarray:
    """The array of a Constant node."""
    for name, kind in (("value", None), ("value_float", np.float32), ("value_floats", np.float32),
                       ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        if name in node.attributes:
            return np.asarray(node.attributes[name], kind)
    raise refused(node, "holds no numbers")


def _tensor(one: Any, source: Path) -> np.ndarray:
    """The array of a TensorProto; its sizes are compared with what is there."""
    kind = _TYPES.get(one.data_type)
    if kind is None:
        raise CheckpointError(
            f"constant '{one.name}' is of ONNX's type number {one.data_type}; this reads "
            f"{', '.join(_TYPES.values())}"
        )
    shape, dtype = tuple(one.dims), np.dtype(kind).newbyteorder("<")
    if any(length < 0 for length in shape):
        raise CheckpointError(f"constant '{one.name}' has shape {shape}")
    count = math.prod(shape)
    if one.data_location == 1:
        data = _outside(one, count * dtype.itemsize, source)
    elif one.HasField("raw_data"):
        data = one.raw_data
    elif one.data_type in _FIELDS:
        data = np.array(getattr(one, _FIELDS[one.data_type]), dtype).tobytes()
    else:  # float16 as whole numbers
        data = np.array(one.int32_data, "<u2").tobytes()
    if len(data) != count * dtype.itemsize:
        raise CheckpointError(
            f"constant '{one.name}' of shape {shape} should have {count * dtype.itemsize:,} bytes, "
            f"it has {len(data):,}: the file is damaged"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(kind)


def _outside(one: Any, size: int, source: Path) -> bytes:
    """A constant's bytes from the file beside the model that it names."""
    about = {_text(each.key): _text(each.value) for each in one.external_data}
    location = about.get("location", "")
    # a plain name, whatever the system's way to write paths
    if not location or location in (".", "..") or set(location) & set("/\\:\0"):
        raise CheckpointError(
            f"constant '{one.name}' lies in '{location:.80}'; only files in the model's own folder "
            "are read: put it there"
        )
    place = source.parent / location
    if place.is_symlink() or not place.is_file():
        raise CheckpointError(
            f"constant '{one.name}' lies in '{location}', which is no plain file beside {source}: "
            "keep both together"
        )
    try:
        start, length = int(about.get("offset", 0)), int(about.get("length", size))
    except ValueError:
        raise CheckpointError(f"constant '{one.name}' does not say where it lies") from None
    if length != size or start < 0 or start + length > place.stat().st_size:
        raise CheckpointError(
            f"constant '{one.name}' should be {size:,} bytes; '{location}' has {length:,} of them "
            f"at {start:,}, and is {place.stat().st_size:,} long: one of the two files is damaged"
        )
    with open(place, "rb") as file:
        file.seek(start)
        return file.read(length)


def _sample(value: Any) -> tuple[int, ...]:
    """The shape of one sample of the input."""
    kind = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    if kind.elem_type not in (1, 10, 11) or len(dims) not in (2, 4):
        raise CheckpointError(
            f"the input '{value.name}' is of type {kind.elem_type} and has {len(dims)} axes; it "
            "should be floats, (N, C, H, W) or (N, I)"
        )
    sample = tuple(dims[1:])
    if any(length is None or length < 1 for length in sample):
        raise CheckpointError(
            f"the input '{value.name}' has shape {tuple(dims)}; all but the first must be numbers: "
            "export the model with a fixed size"
        )
    return sample  # type: ignore[return-value]
