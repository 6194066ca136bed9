"""torch.func: jvp, vjp, and per-sample gradients by vmap(grad)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import func
from torch.nn import functional

from . import torch_net
from .problem import Operation, Problem, Variants, decline_large
from .torch_conv import FUNC as CONVOLUTIONS
from .torch_images import layouts

__all__ = ["CONVOLUTIONS", "NETWORKS", "OPERATIONS", "settings", "wait"]

settings, wait = torch_net.settings, torch_net.wait

Parameters = dict[str, torch.Tensor]


class _Functional:
    """The network as a function of its parameters, with the problem's arrays as tensors."""

    def __init__(self, problem: Problem, layout: torch.memory_format = torch.channels_last) -> None:
        self.problem, self.net = problem, torch_net.network(problem, layout)
        self.names = [name for name, _ in self.net.named_parameters()]
        self.theta = {name: p.detach() for name, p in self.net.named_parameters()}
        self.x, self.y = torch_net.tensor(problem, "x", layout), torch_net.tensor(problem, "y")
        parts = zip(self.theta.items(), torch_net.parts(problem, "v"), strict=True)
        self.v = {name: torch.empty_like(p).copy_(v) for (name, p), v in parts}
        self.classes = problem.network.outputs

    def logits(self, theta: Parameters, x: torch.Tensor) -> torch.Tensor:
        return func.functional_call(self.net, theta, (x,))

    def batch(self, theta: Parameters) -> torch.Tensor:
        return self.logits(theta, self.x)

    def cotangent(self) -> torch.Tensor:
        """The problem's u (N, K)."""
        return torch_net.tensor(self.problem, "u")

    def flat(self, theta: Parameters) -> np.ndarray:
        return torch_net.flat([theta[name] for name in self.names])


def _jvp(problem: Problem, layout: torch.memory_format = torch.channels_last) -> Operation:
    f = _Functional(problem, layout)

    def call() -> torch.Tensor:
        return func.jvp(f.batch, (f.theta,), (f.v,))[1]

    return torch_net.stateless(call, "jvp", torch_net.to_numpy)


def _vjp(problem: Problem) -> Operation:
    f = _Functional(problem)
    u = f.cotangent()

    def call() -> Parameters:
        return func.vjp(f.batch, f.theta)[1](u)[0]

    return torch_net.stateless(call, "vjp", f.flat)


def _gram(problem: Problem, layout: torch.memory_format = torch.channels_last) -> Operation:
    f = _Functional(problem, layout)

    def call() -> Parameters:
        pushed = func.jvp(f.batch, (f.theta,), (f.v,))[1]
        return func.vjp(f.batch, f.theta)[1](pushed)[0]

    return torch_net.stateless(call, "gram", f.flat)


def _sum_squares(grads: Parameters) -> Parameters:
    return {name: g.square().mean(dim=0) for name, g in grads.items()}


def _empirical(
    problem: Problem,
    chunk: int | None = None,
    layout: torch.memory_format = torch.channels_last,
) -> Operation:
    """chunk: of how many samples gradients are computed at a time; None is all."""
    decline_large(problem)
    f = _Functional(problem, layout)

    def loss(theta: Parameters, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(f.logits(theta, x[None]), y[None])

    per_sample: Callable = func.vmap(func.grad(loss), in_dims=(None, 0, 0), chunk_size=chunk)

    def call() -> Parameters:
        return _sum_squares(per_sample(f.theta, f.x, f.y))

    return torch_net.stateless(call, "fisher", f.flat)


def _true(problem: Problem) -> Operation:
    decline_large(problem)
    f = _Functional(problem)

    def log_p(theta: Parameters, x: torch.Tensor, c: torch.Tensor) -> tuple[Any, torch.Tensor]:
        value = functional.log_softmax(f.logits(theta, x[None]), dim=1)[0, c]
        return value, value.detach()

    per_sample: Callable = func.vmap(func.grad(log_p, has_aux=True), in_dims=(None, 0, None))

    def call() -> Parameters:
        total = {name: torch.zeros_like(p) for name, p in f.theta.items()}
        for c in torch.arange(f.classes, device=f.x.device):
            grads, values = per_sample(f.theta, f.x, c)
            weights = values.exp() / problem.batch
            for name, g in grads.items():
                total[name] += torch.tensordot(weights, g.square(), dims=1)
        return total

    return torch_net.stateless(call, "fisher", f.flat)


def _mas(problem: Problem) -> Operation:
    decline_large(problem)
    f = _Functional(problem)

    def norm(theta: Parameters, x: torch.Tensor) -> torch.Tensor:
        return f.logits(theta, x[None]).square().sum()

    per_sample: Callable = func.vmap(func.grad(norm), in_dims=(None, 0))

    def call() -> Parameters:
        grads = per_sample(f.theta, f.x)
        return {name: g.abs().mean(dim=0) for name, g in grads.items()}

    return torch_net.stateless(call, "mas", f.flat)


OPERATIONS: dict[str, Variants] = {
    "fisher-empirical": {"vmap(grad)": _empirical},
    "fisher-true": {"vmap(grad), class by class": _true},
    "mas": {"vmap(grad)": _mas},
    "jvp": {"jvp": _jvp},
    "vjp": {"vjp": _vjp},
    "gram": {"jvp, vjp": _gram},
}
NETWORKS: dict[str, Variants] = {
    "fisher-empirical": {
        **layouts(_empirical, "vmap(grad), all at once", chunk=None),
        **layouts(_empirical, "vmap(grad), 16 samples at a time", chunk=16),
    },
    "jvp": layouts(_jvp, "jvp"),
    "gram": layouts(_gram, "jvp, vjp"),
}
