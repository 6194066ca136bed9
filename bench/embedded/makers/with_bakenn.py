"""bakenn: int8, by calibration. Bytes are made of a sample before the call that is counted, and
numbers of its ten bytes after."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bakenn
import numpy as np
from interface import write_interface


def dense(layers: list[dict[str, Any]], arrays: Any) -> Any:
    """A dense network, as bakenn takes it without torch."""
    return bakenn.FloatMLP(
        tuple(
            bakenn.FloatLinear(
                arrays[layer["weight"]], arrays[layer["bias"]], layer["activation"] == "relu",
                f"layer{number}",
            )
            for number, layer in enumerate(layers)
        ),
        "peer",
    )  # fmt: skip


def convolutional(described: dict[str, Any], arrays: Any) -> Any:
    """A torch module."""
    try:
        import torch
    except ImportError:
        sys.exit(
            "bakenn reads convolutions from torch (below 2.11), which is not installed with it"
        )
    made: list[Any] = []
    maps: tuple[int, ...] | None = None
    one: Any
    for layer in described["layers"]:
        if layer["kind"] == "conv":
            weight = arrays[layer["weight"]].transpose(0, 3, 1, 2)
            one = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:],
                                  tuple(layer["stride"]), tuple(layer["padding"]))  # fmt: skip
        elif layer["kind"] == "max_pool":
            made.append(torch.nn.MaxPool2d(tuple(layer["size"]), tuple(layer["stride"])))
            maps = (*layer["output"][:2], layer["output"][2])
            continue
        elif layer["kind"] == "flatten":
            made.append(torch.nn.Flatten())
            continue
        else:
            weight = arrays[layer["weight"]]
            if maps is not None:
                weight = weight.reshape(-1, *maps).transpose(0, 3, 1, 2).reshape(len(weight), -1)
                maps = None
            one = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            one.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
            one.bias.copy_(torch.from_numpy(arrays[layer["bias"]]))
        made.append(one)
        if layer["activation"] == "relu":
            made.append(torch.nn.ReLU())
    return torch.nn.Sequential(*made).eval()


def main(folder: Path) -> None:
    described = json.loads((folder / "net.json").read_text())
    arrays = np.load(folder / "net.npz")
    images = arrays["calibration"]
    if all(layer["kind"] == "linear" for layer in described["layers"]):
        graph = bakenn.quantize_ptq(dense(described["layers"], arrays), images)
        made = bakenn.compile(graph, folder / "peer", model_name="peer")
    else:
        module = convolutional(described, arrays)
        import torch

        rows, columns, channels = described["input"]
        shaped = images.reshape(-1, 1, rows, columns, channels).transpose(0, 1, 4, 2, 3)
        samples = [torch.from_numpy(np.ascontiguousarray(each)) for each in shaped]
        made = bakenn.compile_torch_ptq(module, samples[0], samples, folder / "peer", name="peer")
    parts = ("peer_weights.c", "peer_kernels.c", "peer.c")
    include = "".join(f'#include "peer/bknn_{part}"\n' for part in parts)
    state = "static int8_t bytes_in[NET_INPUTS], bytes_out[NET_OUTPUTS];\n"
    prepare = (
        "    int i, q;\n    for (i = 0; i < NET_INPUTS; ++i) {\n"
        "        q = (int)(x[i] / BKNN_PEER_INPUT_SCALE + 0.5f) + BKNN_PEER_INPUT_ZERO_POINT;\n"
        "        bytes_in[i] = (int8_t)(q > 127 ? 127 : q);\n    }\n"
    )  # images are not negative
    call = (
        "    int i;\n    (void)x;\n    bknn_peer_infer((uint8_t *)arena, bytes_in, bytes_out);\n"
        "    for (i = 0; i < NET_OUTPUTS; ++i) {\n"
        "        y[i] = BKNN_PEER_OUTPUT_SCALE *\n"
        "               (float)(bytes_out[i] - BKNN_PEER_OUTPUT_ZERO_POINT);\n    }\n"
    )
    write_interface(
        folder, include + state, call, made.artifacts.memory_report.arena_bytes, prepare
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
