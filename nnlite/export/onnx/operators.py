"""What each operator of ONNX is here: a rule takes a node and adds layers to a chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ....kernels.errors import WeightspaceError
from ...layers import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Residual,
)
from ...layers.shapes import sides
from ...layout import Shape
from ..axes import channels_last, columns_first
from .file import Node, refused
from .graph import Value

Arrays = dict[str, np.ndarray]
_PLACES = 2  # axes of a picture


@dataclass
class Chain:
    """Layers so far with their arrays, and the value they end in."""

    value: Value
    constants: Arrays
    layers: list[Layer] = field(default_factory=list)
    arrays: list[Arrays] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, node: Node, layer: Layer, arrays: Arrays, order: Any = None) -> None:
        """A layer that is what `node` is. Raises CheckpointError where it does not fit."""
        try:
            shape = layer.output_shape(self.value.shape)
            expected = layer.parameters(self.value.shape)
        except WeightspaceError as wrong:
            raise refused(node, f"does not fit what it is given: {wrong}") from None
        for name, wanted in expected.items():
            if arrays[name].shape != wanted:
                raise refused(node, f"has {name} {arrays[name].shape}; {wanted} fits its input")
        self.layers.append(layer)
        self.arrays.append(arrays)
        self.value = Value(node.outputs[0], shape, order)

    def passed(self, node: Node) -> None:
        """A node that hands its input through."""
        self.value = self.value._replace(name=node.outputs[0])

    def constant(self, node: Node, place: int) -> np.ndarray:
        """Input number `place` of a node, which must be a constant."""
        name = node.inputs[place] if place < len(node.inputs) else ""
        if name not in self.constants:
            raise refused(node, f"needs a constant as its input {place}, it has '{name}'")
        return self.constants[name]

    def has(self, node: Node, place: int) -> bool:
        """Whether a node has an input number `place`."""
        return place < len(node.inputs) and bool(node.inputs[place])


def _made(node: Node, cls: type[Layer], **settings: Any) -> Layer:
    """A layer. Raises CheckpointError for settings it cannot have."""
    for name in set(settings) - {one.name for one in fields(cls)}:  # type: ignore[arg-type]
        raise refused(node, f"needs {name}, which a {cls.__name__} has not")
    try:
        return cls(**settings)
    except WeightspaceError as wrong:
        raise refused(node, f"cannot be had: {wrong}") from None


def _attribute(
    node: Node, name: str, usual: Any, of: type | tuple[type, ...] = (int, float)
) -> Any:
    found = node.attributes.get(name, usual)
    if not isinstance(found, of):
        raise refused(node, f"has {name}={found!r:.40}")
    return found


def _only(node: Node, **usual: Any) -> None:
    """Raise CheckpointError for a setting that is not as usual."""
    for name, value in usual.items():
        if node.attributes.get(name, value) != value:
            raise refused(node, f"has {name}={node.attributes[name]!r:.40}; only {value!r} is read")


# ---- dense layers ------------------------------------------------------------------------------


def _dense(chain: Chain, node: Node, weight: np.ndarray, bias: np.ndarray | None) -> None:
    """weight (O, I) with its columns in the file's order."""
    order = chain.value.order
    if order is not None:
        if weight.shape[1] != len(order):
            raise refused(node, f"has weights {weight.shape} for {len(order)} inputs")
        turned = np.empty_like(weight)
        turned[:, order] = weight
        weight = turned
    arrays = {"weight": weight} | ({} if bias is None else {"bias": bias})
    layer = _made(node, Linear, units=len(weight), bias=bias is not None)
    chain.add(node, layer, arrays)


def _matrix(chain: Chain, node: Node) -> np.ndarray:
    weight = chain.constant(node, 1)
    if weight.ndim != 2 or len(chain.value.shape) != 1:
        raise refused(node, f"multiplies samples {chain.value.shape} by {weight.shape}; flat ones "
                      "by a matrix are read")  # fmt: skip
    return weight


def _gemm(chain: Chain, node: Node) -> None:
    _only(node, transA=0)
    weight = _matrix(chain, node)
    weight = weight if _attribute(node, "transB", 0) else weight.T
    weight = weight * weight.dtype.type(_attribute(node, "alpha", 1.0))
    bias = None
    if chain.has(node, 2):
        bias = chain.constant(node, 2) * weight.dtype.type(_attribute(node, "beta", 1.0))
        bias = _row(node, bias, len(weight))
    _dense(chain, node, weight, bias)


def _row(node: Node, bias: np.ndarray, units: int) -> np.ndarray:
    """A bias for each unit out of what is added to all samples alike."""
    if bias.size not in (1, units) or max(bias.shape, default=1) != bias.size:
        raise refused(node, f"adds an array {bias.shape} to {units} outputs")
    return np.broadcast_to(bias.reshape(-1), (units,)).copy()


def _matmul(chain: Chain, node: Node) -> None:
    if chain.value.name != node.inputs[0]:
        raise refused(node, "has its constant on the left; it is read on the right")
    _dense(chain, node, _matrix(chain, node).T, None)


def _add_constant(chain: Chain, node: Node) -> None:
    """The bias of the dense layer or convolution before it."""
    (given,) = (chain.constants[name] for name in node.inputs if name in chain.constants)
    last = chain.layers[-1] if chain.layers else None
    if not isinstance(last, Linear | Conv2d) or last.activation != "identity" or last.bias:
        raise refused(node, "adds a constant to what is no product without a bias")
    if isinstance(last, Conv2d):
        if given.shape[-2:] != (1, 1):
            raise refused(node, f"adds {given.shape} to images; one number a channel is read")
        given = given.reshape(given.shape[:-2])
    chain.arrays[-1]["bias"] = _row(node, given, len(chain.arrays[-1]["weight"]))
    chain.layers[-1] = replace(last, bias=True)
    chain.passed(node)


# ---- images ------------------------------------------------------------------------------------


def _window(chain: Chain, node: Node, size: tuple[int, ...]) -> dict[str, Any]:
    """size, stride, padding of a node on images, and dilation where it is not 1."""
    if len(chain.value.shape) != 3 or len(size) != _PLACES:
        raise refused(node, f"has windows {size} on samples {chain.value.shape}; only images are "
                      "read, (C, H, W)")  # fmt: skip
    stride = _attribute(node, "strides", (1, 1), tuple)
    dilation = _attribute(node, "dilations", (1, 1), tuple)
    pads = _attribute(node, "pads", (0, 0, 0, 0), tuple)
    if (len(stride), len(dilation), len(pads)) != (2, 2, 4) or min(*stride, *dilation, *size) < 1:
        raise refused(node, f"has strides {stride}, dilations {dilation} and pads {pads}")
    spread = [(taps - 1) * apart + 1 for taps, apart in zip(size, dilation, strict=True)]
    padding = _sides(chain, node, spread, stride, pads)
    if padding[0][0] == padding[0][1] and padding[1][0] == padding[1][1]:
        padding = (padding[0][0], padding[1][0])
    found = {"size": tuple(size), "stride": stride, "padding": padding}
    return found if dilation == (1, 1) else found | {"dilation": dilation}


def _sides(
    chain: Chain, node: Node, spread: list[int], stride: tuple[int, ...], pads: tuple[int, ...]
) -> Any:
    """((top, bottom), (left, right)), from pads or from auto_pad."""
    how = node.attributes.get("auto_pad", b"NOTSET")
    if how == b"NOTSET":
        top, left, bottom, right = pads
        return (top, bottom), (left, right)
    if how == b"VALID":
        return (0, 0), (0, 0)
    if how not in (b"SAME_UPPER", b"SAME_LOWER"):
        raise refused(node, f"has auto_pad={how!r:.40}")
    found = []
    for long, width, step in zip(chain.value.shape[:2], spread, stride, strict=True):
        total = max((-(-long // step) - 1) * step + width - long, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if how == b"SAME_UPPER" else (more, less))
    return tuple(found)


def _conv(chain: Chain, node: Node) -> None:
    weight = chain.constant(node, 1)
    if weight.ndim != 4:
        raise refused(node, f"has weights {weight.shape}; only convolutions of images are read")
    size = weight.shape[2:]
    if _attribute(node, "kernel_shape", size, tuple) != size:
        raise refused(node, f"has kernel_shape {node.attributes['kernel_shape']} and weights "
                      f"{weight.shape}")  # fmt: skip
    settings = _window(chain, node, size)
    groups = _attribute(node, "group", 1)
    settings |= {} if groups == 1 else {"groups": groups}
    arrays = {"weight": channels_last(weight)}
    if chain.has(node, 2):
        arrays["bias"] = chain.constant(node, 2)
    layer = _made(node, Conv2d, filters=len(weight), bias="bias" in arrays, **settings)
    chain.add(node, layer, arrays)


def _pool(chain: Chain, node: Node) -> None:
    """MaxPool and AveragePool."""
    mean = node.op == "AveragePool"
    settings = _window(chain, node, _attribute(node, "kernel_shape", (), tuple))
    if _attribute(node, "ceil_mode", 0):
        settings["ceil_mode"] = True
    if mean and settings["padding"] == (0, 0):
        del settings["padding"]
    elif mean and not _attribute(node, "count_include_pad", 0):
        settings["count_padding"] = False
    _only(node, storage_order=0)
    if len([name for name in node.outputs if name]) != 1:
        raise refused(node, "gives the places of its values, too; they are not read")
    layer = _made(node, AvgPool2d if mean else MaxPool2d, **settings)
    before = chain.value.shape
    chain.add(node, layer, {})
    if "ceil_mode" in settings:
        _check_ceil(node, layer, before, chain.value.shape)


def _check_ceil(node: Node, layer: Any, before: Shape, after: Shape) -> None:
    """Refuse windows that begin beyond the image, of which some count one more and some do not."""
    for long, many, taps, step, around in zip(
        before[:2], after[:2], layer.size, layer.stride, sides(layer.padding), strict=True
    ):
        if -(-(long + sum(around) - taps) // step) + 1 != many:
            raise refused(node, "has a last window that begins beyond the image (ceil_mode)")


def _global_mean(chain: Chain, node: Node) -> None:
    chain.add(node, _made(node, AdaptiveAvgPool2d, rows=1, columns=1), {})


def _reduce_mean(chain: Chain, node: Node) -> None:
    """The mean over a whole image."""
    axes = node.attributes.get("axes")
    if chain.has(node, 1):
        axes = tuple(int(axis) for axis in chain.constant(node, 1).reshape(-1))
    if len(chain.value.shape) != 3 or {axis % 4 for axis in axes or ()} != {2, 3}:
        raise refused(node, f"takes the mean over axes {axes}; over the two of images it is read")
    _global_mean(chain, node)
    if not _attribute(node, "keepdims", 1):
        _flat(chain, node)


# ---- the rest ----------------------------------------------------------------------------------


def _norm(chain: Chain, node: Node) -> None:
    _only(node, training_mode=0, spatial=1, is_test=1)
    if any(node.outputs[1:]):
        raise refused(node, "gives statistics, too, as in training: export the model for inference")
    arrays = {
        name: chain.constant(node, place)
        for place, name in enumerate(("weight", "bias", "mean", "var"), 1)
    }
    channels = chain.value.shape[-1]
    if any(array.shape != (channels,) for array in arrays.values()):
        raise refused(node, f"has statistics that are not ({channels},), as its input's channels")
    order = chain.value.order
    if order is not None:
        place = np.argsort(order)
        arrays = {name: array[place] for name, array in arrays.items()}
    if not (arrays["var"] >= 0).all():
        raise refused(node, "has a variance below 0")
    momentum, eps = _attribute(node, "momentum", 0.9), _attribute(node, "epsilon", 1e-5)
    moved = round(1 - momentum, 6)  # a float32 there
    momentum = moved if 0 < moved <= 1 else 0.1
    chain.add(node, _made(node, BatchNorm2d, momentum=momentum, eps=_short(eps)), arrays, order)


def _short(number: float) -> float:
    """The shortest decimal number that is the same float32: what its writer wrote."""
    return float(str(np.float32(number)))


_NAMES = {"Relu": "relu", "LeakyRelu": "leaky_relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}


def _activation(chain: Chain, node: Node) -> None:
    """In the layer before it, where that ends in none."""
    given: dict[str, Any] = {}
    if node.op == "LeakyRelu":
        given["slope"] = _short(_attribute(node, "alpha", 0.01))
    last = chain.layers[-1] if chain.layers else None
    if isinstance(last, Linear | Conv2d | BatchNorm2d | Residual) and last.activation == "identity":
        try:
            chain.layers[-1] = replace(last, activation=_NAMES[node.op], **given)
        except WeightspaceError as wrong:
            raise refused(node, f"cannot be had: {wrong}") from None
        chain.passed(node)
        return
    chain.add(node, _made(node, Activation, name=_NAMES[node.op], **given), {}, chain.value.order)


def _flat(chain: Chain, node: Node) -> None:
    """(C, H, W) in a row there, (H, W, C) here; a mean over the whole image is flat as it is."""
    if len(chain.value.shape) == 1:
        chain.passed(node)
        return
    last = chain.layers[-1] if chain.layers else None
    if isinstance(last, AdaptiveAvgPool2d) and (last.rows, last.columns) == (1, 1):
        chain.layers[-1] = GlobalAvgPool()
        chain.value = Value(node.outputs[0], chain.value.shape[2:])
        return
    chain.add(node, Flatten(), {}, columns_first(chain.value.shape))


def _flatten(chain: Chain, node: Node) -> None:
    axes = len(chain.value.shape) + 1
    if _attribute(node, "axis", 1) not in (1, 1 - axes):
        raise refused(node, f"flattens from axis {node.attributes['axis']}; from 1 it is read")
    _flat(chain, node)


def _reshape(chain: Chain, node: Node) -> None:
    """To flat samples, or to the shape there is."""
    shape, count = chain.value.shape, math.prod(chain.value.shape)
    target = [int(length) for length in chain.constant(node, 1).reshape(-1)]
    theirs = [shape[2], *shape[:2]] if len(shape) == 3 else list(shape)
    rest = [theirs[at] if length == 0 and at < len(theirs) else length
            for at, length in enumerate(target[1:])]  # fmt: skip
    if rest.count(-1) == 1 and target[0] != -1:
        known = -math.prod(rest)
        rest = [count // known if length == -1 and known > 0 else length for length in rest]
    if rest == [count]:
        _flat(chain, node)
    elif rest == theirs:
        chain.passed(node)
    else:
        raise refused(node, f"turns samples {tuple(theirs)} into {tuple(target[1:])}; only to flat "
                      "ones is read")  # fmt: skip


def _same(chain: Chain, node: Node) -> None:
    chain.passed(node)


def _dropout(chain: Chain, node: Node) -> None:
    _only(node, is_test=1)
    if chain.has(node, 2) and bool(chain.constant(node, 2).any()):
        raise refused(node, "drops units at every answer: export the model for inference (eval())")
    rate = _attribute(node, "ratio", 0.5)
    if chain.has(node, 1):
        rate = float(chain.constant(node, 1).reshape(-1)[0])
    chain.add(node, _made(node, Dropout, rate=_short(rate)), {}, chain.value.order)


def _softmax(chain: Chain, node: Node) -> None:
    """Left out at the end: networks here end in logits."""
    if len(chain.value.shape) != 1 or _attribute(node, "axis", -1) not in (1, -1):
        raise refused(node, "is not over the classes of flat outputs")
    chain.notes.append(
        f"{node.op} '{node.name}' at the end is left out: a network's outputs are logits, and its "
        "loss takes the softmax"
    )
    chain.passed(node)


RULES: dict[str, Callable[[Chain, Node], None]] = {
    "AveragePool": _pool,
    "BatchNormalization": _norm,
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "Identity": _same,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    **dict.fromkeys(_NAMES, _activation),
}
ENDS = {"Softmax": _softmax, "LogSoftmax": _softmax}
SUM = "Add"


def take(chain: Chain, node: Node, last: bool) -> None:
    """Add what `node` is to the chain; last: nothing comes after it.

    node is of `RULES` or `ENDS`, or adds a constant. Raises CheckpointError.
    """
    made = [name for name in node.inputs if name and name not in chain.constants]
    if len(made) > 1:
        raise refused(node, f"reads {', '.join(made)}; of its inputs all but one must be constants")
    if node.op == SUM:
        _add_constant(chain, node)
    elif node.op in ENDS:
        if not last:
            raise refused(node, "is not at the end; only there it is read")
        ENDS[node.op](chain, node)
    else:
        RULES[node.op](chain, node)
