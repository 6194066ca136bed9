"""The truth of convolutional problems in float64.

A single convolution is written out with sliding windows. A network is weightspace's own on the
`reference` backend: plain NumPy, which its own tests hold against torch and central differences.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .kinds import ConvNet
from .problem import CHECK_STEPS, LR_MOMENTUM, MOMENTUM, Problem

Arrays = Mapping[str, np.ndarray]


def _windows(x: np.ndarray) -> np.ndarray:
    """What each position of x (N, H, H, C) sees, zeros outside: (N, H, H, C, 3, 3)."""
    return sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2))


def forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """y (N, H, H, O) of x (N, H, H, C) and w (O, 3, 3, C)."""
    return np.tensordot(_windows(x), w, axes=((3, 4, 5), (3, 1, 2)))


def input_grad(dy: np.ndarray, w: np.ndarray) -> np.ndarray:
    """dx (N, H, H, C): dy convolved with the turned filters, outputs for inputs."""
    return forward(dy, w[:, ::-1, ::-1].transpose(3, 1, 2, 0))


def weight_grad(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dw (O, 3, 3, C), summed over samples and positions."""
    return np.tensordot(dy, _windows(x), axes=((0, 1, 2), (0, 1, 2))).transpose(0, 2, 3, 1)


def convolution(operation: str, a: Arrays) -> dict[str, np.ndarray]:
    """The result of an operation on a single convolution; a has x, w and dy."""
    x, w, dy = a["x"], a["w"], a["dy"]
    match operation:
        case "conv-forward":
            return {"y": forward(x, w)}
        case "conv-forward-backward":
            return {"dx": input_grad(dy, w), "dw": weight_grad(x, dy)}
    fisher = np.zeros_like(w)
    for n in range(len(x)):
        fisher += weight_grad(x[n : n + 1], dy[n : n + 1]) ** 2
    return {"fisher": fisher}


def network(problem: Problem, kind: ConvNet, a: Arrays) -> dict[str, np.ndarray]:
    """The result of an operation on a convolutional network."""
    net = kind.build(a["theta"], a["state"], backend="reference", dtype="float64")
    x, y = a["x"], a["y"].astype(np.int64)
    match problem.operation:
        case "train-step-sgd":
            velocity = np.zeros_like(a["theta"])
            for _ in range(CHECK_STEPS):
                velocity = MOMENTUM * velocity + net.loss_and_grad(x, y, mode="train")[1]
                net.theta -= LR_MOMENTUM * velocity
            found = {"change": net.theta - a["theta"]}
            if len(net.state):
                found["state"] = np.concatenate(list(net.state.values()))
            return found
        case "jvp":
            return {"jvp": net.jvp(x, a["v"])}
        case "gram":
            saved = net.trace(x)
            return {"gram": net.pull(saved, net.push(saved, a["v"]))}
        case "fisher-empirical":
            saved = net.trace(x)
            shifted = np.exp(saved.outputs - saved.outputs.max(axis=1, keepdims=True))
            p = shifted / shifted.sum(axis=1, keepdims=True)
            fisher = np.zeros_like(a["theta"])
            net.accumulate(saved, p - np.eye(kind.outputs)[y], fisher, 2)
            return {"fisher": fisher / problem.batch}
    return {"logits": net.forward(x)}
