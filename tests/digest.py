"""What a process computes, as one line of JSON: a digest of each answer's bits, by name.

Tests run it as a program, to change what a process is started with (a CPU's name, threads, another
library's settings); `python digest.py THREADS...` asks once with each number of threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from weightspace.methods import importance
from weightspace.nnlite import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    models,
    optim,
)

CLASSES = 3


def rows(dtype: str = "float32") -> Network:
    """A multi-layer network whose sizes fit no tile and no vector."""
    return models.mlp((37, 65, 17, CLASSES), "tanh", dtype=dtype, seed=1)


def wide(dtype: str = "float32") -> Network:
    """The network of the README, which is worth several threads' while."""
    return models.mlp((784, 300, 100, 10), dtype=dtype, seed=3)


def images(dtype: str = "float32") -> Network:
    """Winograd's way and the direct one, strides, norms, both poolings, a shortcut."""
    block = Residual((Conv2d(8, 3, 1, 1, bias=False), BatchNorm2d()))
    layers = [
        Conv2d(8, 3, 1, 1), BatchNorm2d(activation="relu"), block, MaxPool2d(2),
        Conv2d(5, 3, 2, 1, activation="leaky_relu"), AvgPool2d(2), Flatten(), Linear(CLASSES),
    ]  # fmt: skip
    return Network(layers, (9, 8, 8), dtype=dtype, seed=2)


def samples(net: Network, n: int, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """n samples and their labels; running statistics of the network are no longer 0 and 1."""
    rng = np.random.default_rng(seed)
    for name, value in net.state.items():
        drawn = rng.uniform(0.5, 2, value.shape) if "var" in name else rng.normal(size=value.shape)
        value[...] = drawn
    x = rng.normal(size=(n, *net.input_shape)).astype(net.dtype)
    return x, rng.integers(0, net.num_outputs, n)


def direction(net: Network) -> np.ndarray:
    """A tangent of theta."""
    return np.random.default_rng(5).normal(size=net.num_parameters).astype(net.dtype)


def step(net: Network, x: np.ndarray, y: np.ndarray, count: int = 1) -> list[np.ndarray]:
    """Adam's steps in mode "train", from wherever the network is: losses, and what has moved."""
    adam = optim.Adam(1e-2)
    state = adam.state(net.num_parameters, net.dtype, net.device)
    losses = []
    for number in range(1, count + 1):
        loss, grad = net.loss_and_grad(x, y, mode="train")
        losses.append(loss)
        adam.step(net.ops, net.theta, grad, state, number)
    return [np.array(losses), net.theta, *net.state.values(), *state.values()]


def spoiled(x: np.ndarray) -> np.ndarray:
    """x with a NaN, an infinity and a hot number among its samples: what few lines of code see."""
    found = x.reshape(len(x), -1).copy()
    found[1, found.shape[1] // 2], found[2, 3], found[3, 5] = np.nan, -np.inf, 1e6
    return found.reshape(x.shape)


def _plain_nan(y: np.ndarray) -> np.ndarray:
    """y with one NaN for all, whose bits are promised by nobody."""
    return np.where(np.isnan(y), y.dtype.type(np.nan), y)


def answers(net: Network, n: int) -> dict[str, Callable[[], list[np.ndarray]]]:
    """What may be asked of a network, in this order: before it learns, while it does, and after."""
    x, y = samples(net, n)
    return {
        "outputs": lambda: [net.forward(x)],
        "outputs of spoiled inputs": lambda: [_plain_nan(net.forward(spoiled(x)))],
        "losses": lambda: [net.losses(x, y)],
        "tangents": lambda: [net.jvp(x, direction(net))],
        "gradient": lambda: [net.loss_and_grad(x, y, mode="eval")[1]],
        "fisher": lambda: [importance.fisher(net, x, y, "empirical")],
        "mas": lambda: [importance.mas(net, x)],
        "sig": lambda: [importance.sig(net, x)],
        "three steps": lambda: step(net, x, y, 3),
        "outputs after them": lambda: [net.forward(x)],
    }


def digests() -> dict[str, str]:
    """Name -> digest. What would take long to compile again for each CPU is left out."""
    asked = [
        ("rows", rows(), 70, ()), ("wide", wide(), 64, ()), ("images", images(), 9, ("sig",)),
        ("rows, float64", rows("float64"), 33, ("tangents", "fisher", "mas", "sig")),
    ]  # fmt: skip
    return {
        f"{which}: {name}": _digest(found())
        for which, net, n, left_out in asked
        for name, found in answers(net, n).items()
        if name not in left_out
    }


def _digest(arrays: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def ask(*arguments: str, **variables: str) -> list[dict[str, str]]:
    """`digests` of a process of its own, started so; a variable that is "" is not there."""
    environment: dict[str, Any] = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, Path(__file__), *arguments],
        env={name: value for name, value in environment.items() if value != ""},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    """Print digests, once or with each number of threads that is named."""
    if not sys.argv[1:]:
        print(json.dumps(digests()))
        return
    import numba

    for threads in sys.argv[1:]:
        numba.set_num_threads(int(threads))
        print(json.dumps(digests()))


if __name__ == "__main__":
    main()
