"""The network of a folder as `net.onnx`, in NCHW, as makers that read ONNX want it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write(folder: Path) -> Path:
    """Write net.onnx (opset 13, batch 1) and return its path."""
    described = json.loads((folder / "net.json").read_text())
    arrays = np.load(folder / "net.npz")
    rows, columns, channels = described["input"]
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    shape, flow = [1, channels, rows, columns], "x"
    flat = not any(layer["kind"] == "flatten" for layer in described["layers"])
    if flat:
        shape = [1, rows * columns * channels]

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(kind: str, names: list[str], **settings: Any) -> str:
        made = f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, names, [made], **settings))
        return made

    maps: tuple[int, ...] | None = None  # (h, w, c) of what was flattened
    size = (rows, columns, channels)
    for layer in described["layers"]:
        if layer["kind"] == "conv":
            weight, bias = arrays[layer["weight"]], arrays[layer["bias"]]
            names = [flow, constant(layer["weight"], weight.transpose(0, 3, 1, 2))]
            flow = node("Conv", [*names, constant(layer["bias"], bias)],
                        pads=layer["padding"] * 2, strides=layer["stride"])  # fmt: skip
            size = (*layer["output"][:2], len(weight))
        elif layer["kind"] == "max_pool":
            flow = node("MaxPool", [flow], kernel_shape=layer["size"], strides=layer["stride"])
            size = (*layer["output"][:2], size[2])
        elif layer["kind"] == "flatten":
            flow, maps = node("Flatten", [flow]), size
        else:
            weight = arrays[layer["weight"]]
            if maps is not None:  # its columns are in the order of rows, columns, channels
                h, w, c = maps
                weight = weight.reshape(-1, h, w, c).transpose(0, 3, 1, 2).reshape(len(weight), -1)
                maps = None
            names = [flow, constant(layer["weight"], weight)]
            flow = node("Gemm", [*names, constant(layer["bias"], arrays[layer["bias"]])], transB=1)
        if layer.get("activation") == "relu":
            flow = node("Relu", [flow])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(flow, TensorProto.FLOAT, [1, described["outputs"]])
    graph = helper.make_graph(nodes, "net", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path = folder / "net.onnx"
    onnx.save(model, str(path))
    return path


if __name__ == "__main__":
    write(Path(sys.argv[1]))
