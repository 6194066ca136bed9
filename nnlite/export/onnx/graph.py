"""Graph: nodes and constants of an ONNX model while it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...layout import Shape
from .packages import onnx

OPSETS = (
    13,
    17,
)  # the first scales by channel; beyond the last, ReduceMean is another
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


class Value(NamedTuple):
    """What a node makes: its name, and how its samples correspond to ours.

    Images are (C, H, W) there and (H, W, C) here; `shape` is ours. Of flat samples column j there
    is number order[j] here; None: they are in our order.
    """

    name: str
    shape: Shape
    order: np.ndarray | None = None


@dataclass
class Graph:
    """Nodes in order, and constants by name; constants are float32 unless they are whole."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def constant(self, name: str, array: np.ndarray) -> str:
        """Keep an array under `name`; returns the name."""
        array = np.ascontiguousarray(array)
        self.constants[name] = array if array.dtype.kind in "iu" else array.astype(np.float32)
        return name

    def node(self, op: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node called `name`/`op`; returns its output, which is called so, too."""
        called = f"{name}/{op}"
        made = onnx("writing ONNX").helper.make_node(op, inputs, [called], called, **attributes)
        self.nodes.append(made)
        return called

    def activation(self, kind: str, slope: float, name: str, value: Value) -> Value:
        """f(value); the identity needs no node."""
        if kind == "identity":
            return value
        if kind == "leaky_relu":
            return value._replace(name=self.node("LeakyRelu", name, [value.name], alpha=slope))
        return value._replace(name=self.node(_ACTIVATIONS[kind], name, [value.name]))

    def in_our_order(self, name: str, value: Value) -> Value:
        """Flat samples with their columns in our order."""
        if value.order is None:
            return value
        columns = self.constant(f"{name}/columns", np.argsort(value.order))
        return Value(self.node("Gather", name, [value.name, columns], axis=1), value.shape)
