"""What the peers must answer: every operation in float64 NumPy, and how far off one is.

MLPs are written out here, what convolves in `truth_conv`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from . import products, superposed, truth_conv
from .kinds import ConvNet, Convolution, Mlp
from .problem import BETA1, BETA2, CHECK_STEPS, EPS, LAM, LR_ADAM, LR_SGD, Problem
from .products import Product
from .superposed import Superposed

# An activation, and its derivative as a function of its value.
_ACTIVATIONS: Mapping[str, tuple[Callable, Callable]] = {
    "relu": (lambda z: np.maximum(z, 0.0), lambda y: y > 0.0),
    "tanh": (np.tanh, lambda y: 1.0 - y * y),
}
Layers = list[tuple[np.ndarray, np.ndarray]]

# Largest relative error (2-norm, of each weight and bias apart) in float32. A training step is
# judged by the change of theta, which is so small beside theta that float32 keeps 3 to 4 digits of
# it; and after the first step units may come so near ReLU's kink that rounding decides (measured:
# a right peer is off by 1e-5 to 1e-4 without that, and by up to 7e-3 with it). Through BatchNorm
# in mode "train" it is 1e-5 of the whole and up to 8e-3 of a weak part, at the shifts that
# `ConvNet.draw` gives; Winograd's convolutions (1e-6) are no worse there than direct ones.
TOLERANCE = 1e-4
STEP_TOLERANCE = 2e-2
FLOAT64_TOLERANCE = 1e-12  # of products, the one thing that is asked for in float64
# Convolutional networks are drawn so that hardly a unit comes near its kink; a single one that does
# shows in the Fisher of a weak part (measured: 4e-4; without any, 4e-6). Logits have no such jumps.
KINK_TOLERANCE = 1e-3
# A part of theta that moves less than this share of the whole (root mean squares) is judged as if
# it moved that much: the bias of a convolution whose output is normalised does not move at all but
# for rounding, of which nobody can ask for digits (measured in fip-cnn: 2e-5 of the whole).
NEGLIGIBLE = 1e-2


def _trains(problem: Problem) -> bool:
    """Whether the operation moves theta."""
    return problem.operation.startswith("train") or problem.operation == "si-step"


def tolerance(problem: Problem) -> float:
    """The relative error up to which a peer's answer counts as right."""
    if _trains(problem):
        return STEP_TOLERANCE
    if isinstance(problem.network, Product) and problem.network.dtype == "float64":
        return FLOAT64_TOLERANCE
    jumps = isinstance(problem.network, ConvNet) and not problem.operation.startswith("forward")
    return KINK_TOLERANCE if jumps else TOLERANCE


def forward(
    layers: Layers, x: np.ndarray, act: str = "relu"
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits (N, K), and the input of each layer."""
    inputs, (activate, _) = [], _ACTIVATIONS[act]
    for index, (weight, bias) in enumerate(layers):
        inputs.append(x)
        x = x @ weight.T + bias
        if index < len(layers) - 1:
            x = activate(x)
    return x, inputs


def cotangents(
    layers: Layers, inputs: list[np.ndarray], du: np.ndarray, act: str = "relu"
) -> list[np.ndarray]:
    """The cotangent (N, out) of each layer's pre-activation, from `du` (N, K) of the logits."""
    found, (_, derivative) = [du], _ACTIVATIONS[act]
    for (weight, _), x in zip(layers[:0:-1], inputs[:0:-1], strict=True):
        found.insert(0, (found[0] @ weight) * derivative(x))
    return found


def pull(
    layers: Layers,
    x: np.ndarray,
    du: np.ndarray,
    power: Callable = lambda a: a,
    act: str = "relu",
) -> np.ndarray:
    """sum_n power(gradient of sample n), flat (P,); a layer's is an outer product, so `power`
    (identity, square, absolute value) may act on its two factors."""
    _, inputs = forward(layers, x, act)
    parts = []
    for dy, a in zip(cotangents(layers, inputs, du, act), inputs, strict=True):
        parts += [(power(dy).T @ power(a)).ravel(), power(dy).sum(axis=0)]
    return np.concatenate(parts)


def push(layers: Layers, tangents: Layers, x: np.ndarray) -> np.ndarray:
    """The tangent (N, K) of the logits along a direction in theta."""
    tx = np.zeros_like(x)
    for index, ((weight, bias), (tw, tb)) in enumerate(zip(layers, tangents, strict=True)):
        tx = tx @ weight.T + x @ tw.T + tb
        x = x @ weight.T + bias
        if index < len(layers) - 1:
            tx = tx * (x > 0.0)
            x = np.maximum(x, 0.0)
    return tx


def softmax(logits: np.ndarray) -> np.ndarray:
    """p (N, K)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _loss_cotangent(net: Mlp, outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The cotangent (N, K) of each sample's loss at the outputs."""
    if net.loss == "squared_error":
        return outputs - y
    return softmax(outputs) - np.eye(net.outputs)[y.astype(int)]


def _train(problem: Problem, net: Mlp, a: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    theta = a["theta"].copy()
    m, v, path = (np.zeros_like(theta) for _ in range(3))
    for step in range(1, CHECK_STEPS + 1):
        layers = net.split(theta)
        du = _loss_cotangent(net, forward(layers, a["x"], net.activation)[0], a["y"])
        plain = grad = pull(layers, a["x"], du / problem.batch, act=net.activation)
        if problem.operation == "si-step":
            grad = plain + LAM * a["omega"] * (theta - a["anchor"])
        if problem.operation == "train-step-sgd":
            d = -LR_SGD * grad
        else:
            m = BETA1 * m + (1 - BETA1) * grad
            v = BETA2 * v + (1 - BETA2) * grad**2
            d = -LR_ADAM * (m / (1 - BETA1**step)) / (np.sqrt(v / (1 - BETA2**step)) + EPS)
        path -= plain * d
        theta += d
    found = {"change": theta - a["theta"]}
    return found | ({"path": path} if problem.operation == "si-step" else {})


def answer(problem: Problem) -> dict[str, np.ndarray]:
    """The operation's result in float64, named as each peer must name it."""
    a = {name: value.astype(np.float64) for name, value in problem.arrays.items()}
    match problem.network:
        case Superposed():
            return superposed.train(problem, a)
        case Convolution():
            return truth_conv.convolution(problem.operation, a)
        case ConvNet() as net:
            return truth_conv.network(problem, net, a)
        case Product():
            return products.answer(problem.operation, a)
        case Mlp() as mlp:
            return _mlp(problem, mlp, a)
    raise TypeError(f"no truth for {problem.network!r}")


def _mlp(problem: Problem, net: Mlp, a: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if _trains(problem):
        return _train(problem, net, a)
    layers, x = net.split(a["theta"]), a["x"]
    match problem.operation:
        case "vjp":
            found = {"vjp": pull(layers, x, a["u"])}
        case "jvp":
            found = {"jvp": push(layers, net.split(a["v"]), x)}
        case "gram":
            found = {"gram": pull(layers, x, push(layers, net.split(a["v"]), x))}
        case "mas":
            du = 2.0 * forward(layers, x)[0]
            found = {"mas": pull(layers, x, du, np.abs) / problem.batch}
        case "fisher-empirical" | "fisher-true":
            found = {"fisher": _fisher(problem, layers, x, a["y"].astype(int))}
        case _:
            found = {"logits": forward(layers, x, net.activation)[0]}
    return found


def _fisher(problem: Problem, layers: Layers, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    hot, p = np.eye(problem.network.outputs), softmax(forward(layers, x)[0])
    if problem.operation == "fisher-empirical":
        return pull(layers, x, p - hot[y], np.square) / problem.batch
    total = np.zeros(problem.num_parameters)
    for c in range(problem.network.outputs):
        total += pull(layers, x, np.sqrt(p[:, [c]]) * (hot[c] - p), np.square)
    return total / problem.batch


def _rms(array: np.ndarray) -> float:
    return float(np.linalg.norm(array)) / array.size**0.5


def error_of(
    problem: Problem, got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> float:
    """The largest relative error of all results; infinity for one that is missing,
    misshapen or not finite.

    A vector of length P is judged weight by weight and bias by bias, so that a small wrong part
    does not hide behind a large right one (but see `NEGLIGIBLE`).
    """
    worst = 0.0
    for name, right in expected.items():
        value = np.asarray(got.get(name, np.nan), dtype=np.float64)
        if value.shape != right.shape or not np.isfinite(value).all():
            return float("inf")
        pairs = [(value, right)]
        if right.shape == (problem.num_parameters,):
            views = problem.network.views
            pairs = list(zip(views(value), views(right), strict=True))
        least = NEGLIGIBLE * _rms(right) if name == "change" else 0.0
        for mine, true in pairs:
            scale = max(float(np.linalg.norm(true)), least * true.size**0.5)
            off = float(np.linalg.norm(mine - true))
            worst = max(worst, off / scale if scale > 0 else off)
    return worst


def largest_error(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> float:
    """The largest error of any one number, in root mean squares of its array; of results that
    `error_of` found to be finite and of the right shapes."""
    found = (
        float(np.abs(got[name] - right).max()) / _rms(right)
        for name, right in expected.items()
        if right.any()
    )
    return max(found, default=0.0)
