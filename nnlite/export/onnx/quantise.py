"""8 bits in ONNX: QuantizeLinear and DequantizeLinear around the float operators (QDQ).

Weights are int8, symmetric, a scale a filter or unit; what is read by an operator that counts is
uint8, with the scale and zero point of its range over the calibration's samples. Biases are int32
at the product of both scales. Every rectifier stays where it is, so that one which was silent in
calibration goes on rectifying.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ....kernels.errors import SettingError, ShapeError
from ...net import Network
from ..axes import channels_first
from ..fold import fold
from .graph import Graph
from .packages import onnx, onnxruntime
from .write import INPUT, build, model, write_model

_WEIGHED = ("Conv", "Gemm")
_READERS = (*_WEIGHED, "Add", "MaxPool", "AveragePool", "GlobalAveragePool")
_TOP, _BOTTOM = 255, 127  # of uint8, and of symmetric int8
_BATCH = 256  # samples whose values are looked at at once


def write_int8(
    net: Network, path: str | os.PathLike[str], samples: np.ndarray, opset: int = 17
) -> None:
    """Write `net` to `path` as ONNX in 8 bits, whole or not at all.

    samples (N, *input_shape): inputs as they will come, by which ranges are chosen. Layers
    are folded first. Input, output and errors are those of `write_onnx`; ShapeError for samples
    that are not the network's, SettingError for such that are not finite.
    """
    samples = np.asarray(samples)
    if samples.shape[1:] != tuple(net.input_shape) or not len(samples):
        raise ShapeError(
            f"samples to calibrate by have shape {samples.shape}; give (N, *{net.input_shape}), at "
            "least one"
        )
    if not np.isfinite(samples).all():
        raise SettingError("samples to calibrate by hold NaN or infinity; leave them out")
    graph = build(fold(net))
    ranges = _ranges(net, graph, samples)
    write_model(net, _quantised(graph, ranges), path, opset)


def _read(graph: Graph) -> list[str]:
    """The values that are kept in 8 bits: what `_READERS` read and no constant is."""
    found = [name for node in graph.nodes if node.op_type in _READERS for name in node.input]
    return list(dict.fromkeys(name for name in found if name not in graph.constants))


def _ranges(net: Network, graph: Graph, samples: np.ndarray) -> dict[str, tuple[float, float]]:
    """Least and largest of each value over the samples, 0 among them."""
    names = _read(graph)
    made = tuple(name for name in names if name != INPUT)
    session = onnxruntime("calibrating").InferenceSession(
        model(net, graph, outputs=made).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for start in range(0, len(samples), _BATCH):
        x = channels_first(samples[start : start + _BATCH].astype(np.float32))
        values = dict(zip(made, session.run(list(made), {INPUT: x}), strict=True)) if made else {}
        for name, array in {INPUT: x, **values}.items():
            if name in ranges:
                low, high = ranges[name]
                ranges[name] = min(low, float(array.min())), max(high, float(array.max()))
    return ranges


def _scale(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of uint8 for a range with 0 in it; of an empty one, 1/255 and 0."""
    scale = np.float32((high - low) / _TOP or 1 / _TOP)
    if not scale > 0:  # a range of subnormals
        scale = np.float32(1 / _TOP)
    return scale, np.uint8(min(_TOP, max(0, round(-low / float(scale)))))


def _quantised(graph: Graph, ranges: dict[str, tuple[float, float]]) -> Graph:
    """The graph with what is read in 8 bits, and weights and biases as whole numbers."""
    made = Graph()
    scales = {name: _scale(*span) for name, span in ranges.items()}
    rounded: dict[str, str] = {}
    for node in graph.nodes:
        inputs = list(node.input)
        if node.op_type in _READERS:
            for place, name in enumerate(inputs):
                if name in scales:
                    if name not in rounded:
                        rounded[name] = _round(made, name, *scales[name])
                    inputs[place] = rounded[name]
        if node.op_type in _WEIGHED:
            first = float(scales[node.input[0]][0])
            inputs[1:] = _weights(made, graph, inputs[1:], first)
        for name in inputs:
            if name in graph.constants:
                made.constants[name] = graph.constants[name]
        made.nodes.append(_with_inputs(node, inputs))
    return made


def _with_inputs(node: Any, inputs: list[str]) -> Any:
    copy = onnx("writing ONNX").NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(inputs)
    return copy


def _round(made: Graph, name: str, scale: np.float32, zero: np.uint8) -> str:
    """A value through 8 bits and back."""
    told = [
        made.constant(f"{name}/scale", np.asarray(scale)),
        made.constant(f"{name}/zero", np.asarray(zero)),
    ]
    whole = made.node("QuantizeLinear", name, [name, *told])
    return made.node("DequantizeLinear", name, [whole, *told])


def _weights(made: Graph, graph: Graph, names: list[str], first: float) -> list[str]:
    """Weight (and bias) of a node as whole numbers and what takes them back; first: x's scale."""
    weight = graph.constants[names[0]].astype(np.float64)
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scales = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(_BOTTOM)
    along = scales.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    whole = np.clip(np.rint(weight / along), -_BOTTOM, _BOTTOM).astype(np.int8)
    found = [_back(made, names[0], whole, scales)]
    if len(names) > 1:
        both = (first * scales.astype(np.float64)).astype(np.float32)
        limits = np.iinfo(np.int32)
        bias = np.rint(graph.constants[names[1]] / both.astype(np.float64))
        bias = np.clip(bias, limits.min, limits.max).astype(np.int32)
        found.append(_back(made, names[1], bias, both))
    return found


def _back(made: Graph, name: str, whole: np.ndarray, scales: np.ndarray) -> str:
    told = [
        made.constant(name, whole),
        made.constant(f"{name}/scale", scales),
        made.constant(f"{name}/zero", np.zeros(len(scales), whole.dtype)),
    ]
    return made.node("DequantizeLinear", name, told, axis=0)
