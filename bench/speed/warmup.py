"""Compile ahead: every kernel variant that a first training step would otherwise wait for."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.console import Console

from ...methods import importance
from ...nnlite import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    models,
)
from ...nnlite.optim import SGD, Adadelta, Adam, Optimizer, RMSprop, Streams
from ...nnlite.step import TrainingStep


def _steps(net: Network, optimizer: Optimizer) -> None:
    """One step for each combination of streams that the methods use."""
    vector = np.ones(net.num_parameters, net.dtype)
    state = optimizer.state(net.num_parameters, net.dtype)
    for streams in (
        Streams(),
        Streams(omega=vector, anchor=vector, lam=1.0),
        Streams(path=vector.copy()),
        Streams(omega=vector, anchor=vector, lam=1.0, path=vector.copy()),
        Streams(gain=vector),
    ):
        optimizer.step(net.ops, net.theta.copy(), vector, state, 1, streams)


def _fit(net: Network, x: np.ndarray, y: np.ndarray) -> None:
    """Steps as `fit` takes them, many in a call, and answers."""
    adam = Adam()
    step = TrainingStep(net, adam, adam.state(net.num_parameters, net.dtype))
    step.queue_many(x, y, np.arange(len(x)), np.array([len(x)]), 1)
    step.read()
    net.forward(x)
    net.losses(x, y)


def jobs(dtype: str = "float32") -> dict[str, Callable[[], object]]:
    """What there is to compile, by name; each job runs the real thing once on a tiny network."""
    net = models.mlp((5, 4, 3), dtype=dtype)
    x, y = np.ones((2, 5), dtype), np.array([0, 1])
    v = np.ones(net.num_parameters, dtype)
    return {
        "forward, loss and gradient": lambda: net.loss_and_grad(x, y),
        "training steps, answers": lambda: _fit(net, x, y),
        "tangent (JVP)": lambda: net.jvp(x, v),
        "tangent of inputs": lambda: net.push(net.trace(x), tx=x),
        "input gradient": lambda: net.input_grad(x, y),
        "per-sample gradients": lambda: net.sample_grads(x, y),
        "Fisher, three kinds": lambda: [
            importance.fisher(net, x, y, kind) for kind in ("true", "sampled", "empirical")
        ],
        "MAS": lambda: importance.mas(net, x),
        "SIG": lambda: importance.sig(net, x),
        "Adam": lambda: _steps(net, Adam()),
        "SGD": lambda: _steps(net, SGD()),
        "SGD with momentum": lambda: _steps(net, SGD(momentum=0.9)),
        "RMSprop": lambda: _steps(net, RMSprop()),
        "Adadelta": lambda: _steps(net, Adadelta()),
        "separate penalties": lambda: net.ops.penalty_gradient(v, v, v, 1.0, v.copy()),
    }


def image_jobs(dtype: str = "float32") -> dict[str, Callable[[], object]]:
    """The same for networks on images."""
    layers = [
        Conv2d(8, 3, 1, 1),
        BatchNorm2d(activation="relu"),
        Residual((Conv2d(8, 3, 2, 1, "relu"),), (Conv2d(8, 1, 2),)),
        MaxPool2d(2),
        Dropout(0.2),
        GlobalAvgPool(),
        Linear(3),
    ]
    net = Network(layers, (8, 8, 3), dtype=dtype)
    x, y = np.ones((4, 8, 8, 3), dtype), np.array([0, 1, 2, 0])
    v = np.ones(net.num_parameters, dtype)
    return {
        "convolutions: training step": lambda: net.loss_and_grad(x, y, mode="train"),
        "convolutions: steps, answers": lambda: _fit(net, x, y),
        "convolutions: tangent": lambda: net.jvp(x, v),
        "convolutions: Fisher, MAS": lambda: [
            importance.fisher(net, x, y, "empirical"),
            importance.mas(net, x),
        ],
        "convolutions: SIG": lambda: importance.sig(net, x),
        "convolutions: per sample": lambda: net.sample_grads(x, y),
    }


def warmup(console: Console, dtype: str = "float32") -> float:
    """Compile everything into the cache on disk, and say where it is; returns the seconds."""
    from ...kernels.cpu.cache import folders

    begun = time.perf_counter()
    for name, job in {**jobs(dtype), **image_jobs(dtype)}.items():
        started = time.perf_counter()
        job()
        console.print(f"  {name:<30} {time.perf_counter() - started:6.2f} s", highlight=False)
    kept = folders()[1] or "memory alone: there is no folder that can be written"
    console.print(f"kept in {kept}", highlight=False, soft_wrap=True)
    return time.perf_counter() - begun
