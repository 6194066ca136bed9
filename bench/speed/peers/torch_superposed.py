"""A superposed MLP in torch, as its equations are written: contexts by `*`, four real products."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from . import torch_net
from .problem import CHECK_STEPS, Operation, Problem, Variants
from .superposed import Superposed


def _binary(parameters: list[torch.Tensor], contexts: list[torch.Tensor], x: torch.Tensor):
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for index, ((weight, bias), c) in enumerate(zip(layers, contexts, strict=True)):
        x = functional.linear(x * c, weight, bias)
        if index < len(layers) - 1:
            x = functional.relu(x)
    return x


def _complex(parameters: list[torch.Tensor], contexts: list[torch.Tensor], x: torch.Tensor):
    re, im = x, torch.zeros_like(x)
    for index, (weight, c) in enumerate(zip(parameters, contexts, strict=True)):
        re, im = re * c[0] - im * c[1], re * c[1] + im * c[0]
        w_re, w_im = weight[:, 0], weight[:, 1]
        real = functional.linear(re, w_re) - functional.linear(im, w_im)
        if index == len(parameters) - 1:
            return real
        im = functional.relu(functional.linear(re, w_im) + functional.linear(im, w_re))
        re = functional.relu(real)
    return re


def _train(problem: Problem, make: torch_net.OptimizerMaker) -> Operation:
    kind, a = problem.network, problem.arrays
    assert isinstance(kind, Superposed)
    parameters = [torch.nn.Parameter(part) for part in torch_net.parts(problem, "theta")]
    place = parameters[0].device
    contexts = [torch.from_numpy(c.copy()).to(place) for c in kind.split_contexts(a["contexts"])]
    x, y = torch_net.tensor(problem, "x"), torch_net.tensor(problem, "y")
    forward: Callable = _complex if kind.planes == 2 else _binary
    optimizer = make(parameters)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(forward(parameters, contexts, x), y).backward()
        optimizer.step()

    @torch.no_grad()
    def reset() -> None:
        nonlocal optimizer
        for parameter, start in zip(parameters, torch_net.parts(problem, "theta"), strict=True):
            parameter.copy_(start)
        optimizer = make(parameters)

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        return {"change": torch_net.flat(parameters) - a["theta"]}

    return Operation(call, result, reset)


EAGER: dict[str, Variants] = {
    "train-step-adam": {
        "fused": lambda problem: _train(problem, torch_net.adam(fused=True)),
        "foreach": lambda problem: _train(problem, torch_net.adam(foreach=True)),
    },
}
