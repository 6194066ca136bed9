"""BackPACK: second-order quantities beside a torch backward pass, by hooks."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch
from backpack import backpack, extend
from backpack.extensions import BatchGrad, DiagGGNExact, SumGradSquared
from torch import nn

from ..torch_twin import to_ours
from . import torch_net
from .problem import Operation, Problem, Variants, decline_large
from .torch_images import layouts

Tensors = list[torch.Tensor]


def settings() -> dict[str, Any]:
    """How torch runs here, and BackPACK's version."""
    return {**torch_net.settings(), "backpack": metadata.version("backpack-for-pytorch")}


wait = torch_net.wait


def _extended(
    problem: Problem,
    extension: type,
    attribute: str,
    layout: torch.memory_format = torch.channels_last,
) -> Callable[[], Tensors]:
    """Backward of the summed cross-entropy with `extension`, which leaves its result on every
    parameter as `attribute`."""
    net = extend(torch_net.network(problem, layout))
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))
    x, y = torch_net.tensor(problem, "x", layout), torch_net.tensor(problem, "y")

    def call() -> Tensors:
        net.zero_grad(set_to_none=True)
        with backpack(extension()):
            loss(net(x), y).backward()
        return [getattr(p, attribute) / problem.batch for p in net.parameters()]

    return call


def _empirical(problem: Problem, layout: torch.memory_format = torch.channels_last) -> Operation:
    call = _extended(problem, SumGradSquared, "sum_grad_squared", layout)
    return torch_net.stateless(call, "fisher", torch_net.flat)


def _convolution(problem: Problem, layout: torch.memory_format) -> Operation:
    decline_large(problem)
    channels, filters = problem.network.shapes()[0][3], problem.network.outputs
    net = extend(nn.Conv2d(channels, filters, 3, padding=1, bias=False))
    x, w, dy = (torch_net.tensor(problem, name, layout) for name in ("x", "w", "dy"))
    net.weight.data = w

    def call() -> torch.Tensor:
        net.zero_grad(set_to_none=True)
        with backpack(SumGradSquared()):
            net(x).backward(dy)
        return net.weight.sum_grad_squared

    return torch_net.stateless(call, "fisher", to_ours)


def _true(problem: Problem) -> Operation:
    call = _extended(problem, DiagGGNExact, "diag_ggn_exact")
    return torch_net.stateless(call, "fisher", torch_net.flat)


def _mas(problem: Problem) -> Operation:
    decline_large(problem)
    net, x = extend(torch_net.network(problem)), torch_net.tensor(problem, "x")

    def call() -> Tensors:
        net.zero_grad(set_to_none=True)
        with backpack(BatchGrad()):
            net(x).square().sum().backward()
        return [p.grad_batch.abs().mean(dim=0) for p in net.parameters()]

    return torch_net.stateless(call, "mas", torch_net.flat)


OPERATIONS: dict[str, Variants] = {
    "fisher-empirical": {"SumGradSquared": _empirical},
    "fisher-true": {"DiagGGNExact": _true},
    "mas": {"BatchGrad": _mas},
}
CONVOLUTIONS: dict[str, Variants] = {"conv-fisher": layouts(_convolution, "SumGradSquared")}
# First-order extensions look at each layer with parameters alone, so a residual sum is no
# obstacle (the second-order ones would need BackPACK's own modules for it).
NETWORKS: dict[str, Variants] = {"fisher-empirical": layouts(_empirical, "SumGradSquared")}
