"""A network as an ONNX model, in mode "eval", with the contexts that it has now folded in.

The file takes images as ONNX's users have them, (N, C, H, W); `net` takes (N, H, W, C). A dense
layer behind a Flatten has its columns in the file's order, so nothing is turned around in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from ....kernels.errors import SettingError
from ... import layers as ours
from ...checkpoint import describe_network, digest, named_parameters
from ...files import write_whole
from ...layers import Layer
from ...layers.shapes import sides
from ...layout import Shape
from ...net import Network
from ..axes import channels_first, columns_first
from ..fold import fold as folded
from .graph import OPSETS, Graph, Value
from .packages import onnx
from .weights import Arrays, below, complex_dense, complex_filters, kernel

INPUT, OUTPUT = "x", "y"
_LARGEST = 2**31 - 1  # bytes of a protobuf message
_IR = 8


def write_onnx(
    net: Network, path: str | os.PathLike[str], opset: int = 17, fold: bool = False
) -> None:
    """Write `net` to `path` as ONNX, whole or not at all.

    Input "x": (N, C, H, W) float32 where samples are images (H, W, C), else (N, I). Output "y":
    (N, K), as `net.forward` gives it in mode "eval". Weights are rounded to float32. fold:
    as `nnlite.export.fold` does first. Raises MissingExtraError without the package onnx,
    SettingError for an opset outside 13 to 17, for a layer that has no ONNX, or for a network of
    2 GiB or more; ModeError where statistics of the batch are to be folded.
    """
    write_model(net, build(folded(net) if fold else net), path, opset)


def write_model(net: Network, graph: Graph, path: str | os.PathLike[str], opset: int) -> None:
    """Write a graph of `net`, as `write_onnx` does."""
    size = sum(array.nbytes for array in graph.constants.values())
    if size >= _LARGEST:
        raise SettingError(f"a model file holds less than 2 GiB; these weights are {size:,} bytes")
    write_whole(path, model(net, graph, opset).SerializeToString())


def build(net: Network) -> Graph:
    """The nodes and constants of `net`, from INPUT to OUTPUT. Raises as `write_onnx`."""
    if not isinstance(net, Network):
        raise SettingError(f"ONNX is written of a Network, not of a {type(net).__name__}")
    graph = Graph()
    get = net.device.get
    arrays = dict(net.layout.views(get(net.theta)))
    arrays |= {name: get(array) for name, array in net.state.items()}
    end = _chain(graph, net.layers, "", arrays, Value(INPUT, net.input_shape))
    end = graph.in_our_order("end", end)
    helper = onnx("writing ONNX").helper
    graph.nodes.append(helper.make_node("Identity", [end.name], [OUTPUT], "end/Identity"))
    return graph


def model(net: Network, graph: Graph, opset: int = 17, outputs: tuple[str, ...] = ()) -> Any:
    """A ModelProto of a graph of `net`; outputs: values to give beside OUTPUT."""
    if isinstance(opset, bool) or opset not in range(OPSETS[0], OPSETS[1] + 1):
        raise SettingError(f"opset {opset!r}: this writes opsets {OPSETS[0]} to {OPSETS[1]}")
    package = onnx("writing ONNX")
    helper, kind = package.helper, package.TensorProto.FLOAT
    shape = net.input_shape
    given = [shape[2], shape[0], shape[1]] if len(shape) == 3 else list(shape)
    told = [helper.make_tensor_value_info(OUTPUT, kind, ["N", net.num_outputs])]
    told += [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    made = helper.make_graph(
        graph.nodes, "weightspace", [helper.make_tensor_value_info(INPUT, kind, ["N", *given])],
        told, [package.numpy_helper.from_array(a, n) for n, a in graph.constants.items()],
    )  # fmt: skip
    about = describe_network(net)
    found = helper.make_model(
        made, producer_name="weightspace", producer_version=_version(), ir_version=_IR,
        opset_imports=[helper.make_opsetid("", int(opset))],
    )  # fmt: skip
    helper.set_model_props(found, {
        "weightspace.sha256": digest(named_parameters(net), about),
        "weightspace.network": json.dumps(about, sort_keys=True),
        "weightspace.input": "NCHW" if len(shape) == 3 else "flat",
    })  # fmt: skip
    return found


def _version() -> str:
    try:
        return metadata.version("weightspace")
    except metadata.PackageNotFoundError:  # run from its folders
        return ""


def _chain(
    graph: Graph, layers: tuple[Layer, ...], path: str, arrays: Arrays, value: Value
) -> Value:  # fmt: skip
    """Layers one after another, called `path` and their numbers; arrays by name below that."""
    for number, layer in enumerate(layers):
        own = below(arrays, str(number))
        value = _layer(graph, layer, f"{path}{number}", own, value)
    return value


def _layer(  # noqa: PLR0911, PLR0912  (a table of layers)
    graph: Graph, layer: Any, name: str, own: Arrays, value: Value
) -> Value:  # fmt: skip
    """One layer, with the activation it ends in."""
    shape = layer.output_shape(value.shape)
    match layer:
        case ours.Dropout():
            return value
        case ours.Sequential():
            return _chain(graph, layer.layers, f"{name}.", own, value)
        case ours.Residual():
            made = _residual(graph, layer, name, own, value)
        case ours.ComplexConv2d():
            made = _conv(graph, layer, name, complex_filters(layer, own), None, value)
        case ours.Conv2d():
            made = _conv(graph, layer, name, kernel(own), own.get("bias"), value)
        case ours.ComplexLinear():
            made = _dense(graph, name, complex_dense(layer, own, value.shape), None, value)
        case ours.Linear():
            made = _dense(graph, name, kernel(own), own.get("bias"), value)
        case ours.Rotation():
            made = _dense(graph, name, own["context"], None, value)
        case ours.BatchNorm2d():
            made = _norm(graph, layer, name, own, value)
        case ours.Context():
            made = _context(graph, name, own["context"], value)
        case ours.Flatten() | ours.ComplexFlatten():
            return _flatten(graph, name, value, isinstance(layer, ours.ComplexFlatten), shape)
        case ours.Activation():
            return graph.activation(layer.name, layer.slope, name, value)
        case ours.MaxPool2d() | ours.AvgPool2d():
            return Value(_pool(graph, layer, name, value, shape), shape)
        case ours.AdaptiveAvgPool2d():
            return _adaptive(graph, name, value, shape)
        case ours.GlobalAvgPool():
            mean = graph.node("GlobalAveragePool", name, [value.name])
            return Value(graph.node("Flatten", name, [mean], axis=1), shape)
        case _:
            raise SettingError(
                f"layer {name} is a {type(layer).__name__}, which has no ONNX here: write its case "
                "in nnlite/export/onnx/write.py, or leave it out"
            )
    made = made._replace(shape=shape)
    return graph.activation(getattr(layer, "activation", "identity"),
                            getattr(layer, "slope", 0.0), name, made)  # fmt: skip


def _residual(
    graph: Graph, layer: ours.Residual, name: str, own: Arrays, value: Value
) -> Value:  # fmt: skip
    body = _chain(graph, layer.body, f"{name}.body.", below(own, "body"), value)
    shortcut = _chain(graph, layer.shortcut, f"{name}.shortcut.", below(own, "shortcut"), value)
    if body.order is not shortcut.order:  # columns are added one to one
        body = graph.in_our_order(f"{name}.body", body)
        shortcut = graph.in_our_order(f"{name}.shortcut", shortcut)
    return body._replace(name=graph.node("Add", name, [body.name, shortcut.name]))


def _conv(
    graph: Graph, layer: ours.Conv2d, name: str, w: np.ndarray, b: np.ndarray | None, value: Value
) -> Value:
    """w (O, R, S, C / groups) as ONNX has it, (O, C / groups, R, S)."""
    (top, bottom), (left, right) = sides(layer.padding)  # type: ignore[arg-type]
    inputs = [value.name, graph.constant(f"{name}.weight", channels_first(w))]
    inputs += [] if b is None else [graph.constant(f"{name}.bias", b)]
    return Value(graph.node(
        "Conv", name, inputs, kernel_shape=list(w.shape[1:3]), strides=list(layer.stride),  # type: ignore[arg-type]
        pads=[top, left, bottom, right], dilations=list(layer.dilation), group=layer.groups,  # type: ignore[arg-type]
    ), value.shape)  # fmt: skip


def _dense(
    graph: Graph, name: str, w: np.ndarray, b: np.ndarray | None, value: Value
) -> Value:  # fmt: skip
    """w (O, I), columns in our order."""
    columns = w if value.order is None else w[:, value.order]
    inputs = [value.name, graph.constant(f"{name}.weight", columns)]
    inputs += [] if b is None else [graph.constant(f"{name}.bias", b)]
    return Value(graph.node("Gemm", name, inputs, transB=1), value.shape)


def _norm(graph: Graph, layer: ours.BatchNorm2d, name: str, own: Arrays, value: Value) -> Value:
    channels = value.shape[-1]
    plain = {"weight": np.ones(channels), "bias": np.zeros(channels)}
    ordered = {
        key: array if value.order is None else array[value.order]
        for key, array in {**plain, **own}.items()
    }
    if layer.statistics == "batch":
        return _batch_norm(graph, layer, name, ordered, value)
    inputs = [graph.constant(f"{name}.{key}", ordered[key]) for key in
              ("weight", "bias", "mean", "var")]  # fmt: skip
    made = graph.node("BatchNormalization", name, [value.name, *inputs], epsilon=layer.eps,
                      momentum=1 - layer.momentum)  # fmt: skip
    return value._replace(name=made)


def _batch_norm(
    graph: Graph, layer: ours.BatchNorm2d, name: str, own: Mapping[str, np.ndarray], value: Value
) -> Value:
    """(x - mean) / sqrt(var + eps) of this batch's own statistics, step by step."""
    images = len(value.shape) == 3
    axes = [0, 2, 3] if images else [0]
    by_channel = (1, -1, 1, 1) if images else (1, -1)

    def told(key: str, array: Any) -> str:
        return graph.constant(f"{name}.{key}", np.asarray(array, np.float32))

    def mean(at: str, of: str) -> str:
        return graph.node("ReduceMean", f"{name}/{at}", [of], axes=axes, keepdims=1)

    centred = graph.node("Sub", name, [value.name, mean("mean", value.name)])
    var = mean("var", graph.node("Mul", f"{name}/square", [centred, centred]))
    moved = graph.node("Add", f"{name}/eps", [var, told("eps", layer.eps)])
    made = graph.node("Div", name, [centred, graph.node("Sqrt", name, [moved])])
    if layer.affine:
        made = graph.node("Mul", name, [made, told("weight", own["weight"].reshape(by_channel))])
        made = graph.node("Add", name, [made, told("bias", own["bias"].reshape(by_channel))])
    return value._replace(name=made)


def _context(graph: Graph, name: str, context: np.ndarray, value: Value) -> Value:
    if context.ndim == 3:
        context = context.transpose(2, 0, 1)
    elif value.order is not None:
        context = context[value.order]
    factor = graph.constant(f"{name}.context", context[None])
    return value._replace(name=graph.node("Mul", name, [value.name, factor]))


def _flatten(graph: Graph, name: str, value: Value, planes: bool, shape: Shape) -> Value:
    """Flat samples; of complex ones both planes in a row, as all that follows takes them."""
    flat = Value(graph.node("Flatten", name, [value.name], axis=1), shape, value.order)
    if not planes:
        return flat._replace(order=columns_first(value.shape)) if len(value.shape) == 3 else flat
    if len(value.shape) == 1:  # pooled: plane by plane already
        return flat
    height, width, channels = value.shape
    one = columns_first((height, width, channels // 2))
    half = height * width * channels // 2
    return flat if one is None else flat._replace(order=np.concatenate([one, one + half]))


def _pool(graph: Graph, layer: Any, name: str, value: Value, shape: Shape) -> str:
    """A pool by explicit pads: the last window reaches as far as it has to."""
    around, mean = sides(layer.padding), isinstance(layer, ours.AvgPool2d)
    ends = [
        (many - 1) * step + taps - long - before
        for many, step, taps, long, (before, _) in zip(
            shape[:2], layer.stride, layer.size, value.shape[:2], around, strict=True
        )
    ]
    over = any(end > after for end, (_, after) in zip(ends, around, strict=True))
    if mean and layer.count_padding and over:
        axes = zip(shape[:2], layer.stride, layer.size, value.shape[:2], around, strict=True)
        return _means(graph, name, value.name, *(_counted(*axis) for axis in axes))
    pads = [side[0] for side in around]
    pads += [max(end, after) for end, (_, after) in zip(ends, around, strict=True)]
    given: dict[str, Any] = {
        "kernel_shape": list(layer.size), "strides": list(layer.stride), "pads": pads,
    }  # fmt: skip
    if not mean:
        return graph.node("MaxPool", name, [value.name], **given)
    counts = int(layer.count_padding)
    return graph.node("AveragePool", name, [value.name], count_include_pad=counts, **given)


def _counted(many: int, step: int, taps: int, long: int, around: tuple[int, int]) -> np.ndarray:
    """Means along one axis (many, long) of windows whose zeros count, but for what hangs over."""
    rows = np.zeros((many, long))
    for number, row in enumerate(rows):
        first = number * step - around[0]
        last = min(first + taps, long + around[1])
        row[max(first, 0) : min(last, long)] = 1 / (last - first)
    return rows


def _adaptive(graph: Graph, name: str, value: Value, shape: Shape) -> Value:
    """About equal parts: windows where they are equal, else a mean along each axis in turn."""
    inside, parts = value.shape[:2], shape[:2]
    if parts == (1, 1):
        return Value(graph.node("GlobalAveragePool", name, [value.name]), shape)
    if all(long % many == 0 for long, many in zip(inside, parts, strict=True)):
        size = [long // many for long, many in zip(inside, parts, strict=True)]
        made = graph.node("AveragePool", name, [value.name], kernel_shape=size, strides=size,
                          pads=[0, 0, 0, 0])  # fmt: skip
        return Value(made, shape)
    means = (_parts(many, long) for many, long in zip(parts, inside, strict=True))
    return Value(_means(graph, name, value.name, *means), shape)


def _parts(many: int, long: int) -> np.ndarray:
    rows = np.zeros((many, long))
    for number, row in enumerate(rows):
        first, last = number * long // many, -((number + 1) * -long // many)
        row[first:last] = 1 / (last - first)
    return rows


def _means(graph: Graph, name: str, of: str, rows: np.ndarray, columns: np.ndarray) -> str:
    """rows (h, H) x columns^T (W, w), channel by channel."""
    above = graph.constant(f"{name}.rows", rows)
    beside = graph.constant(f"{name}.columns", columns.T)
    half = graph.node("MatMul", f"{name}/rows", [above, of])
    return graph.node("MatMul", f"{name}/columns", [half, beside])
