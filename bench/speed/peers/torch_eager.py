"""torch, eager: the way most code is written, with the faster of its optimizer implementations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from . import place, torch_graphs, torch_net
from .kinds import Regression
from .problem import CHECK_STEPS, LAM, MANY, Operation, Problem, Variants, repeated
from .products import offered, views
from .torch_conv import EAGER as CONVOLUTIONS
from .torch_images import layouts
from .torch_superposed import EAGER as SUPERPOSED

foreach: Any = torch  # whose functions over lists have no public names

__all__ = [
    "CONVOLUTIONS",
    "NETWORKS",
    "OPERATIONS",
    "PRODUCTS",
    "REGRESSIONS",
    "SUPERPOSED",
    "settings",
    "wait",
]

settings, wait = torch_net.settings, torch_net.wait


def _train(make: Callable[..., torch_net.OptimizerMaker], **graph: bool) -> Variants:
    """graph: what else the optimizer must be told to be captured in a CUDA graph."""
    ways: dict[str, Callable[[Problem], Operation]] = {
        "fused": lambda problem: torch_net.train(problem, make(fused=True)),
        "foreach": lambda problem: torch_net.train(problem, make(foreach=True)),
    }
    if torch_net.ON_GPU:
        ways["CUDA graph"] = lambda problem: torch_graphs.train(problem, make(fused=True, **graph))
    return ways


def _train_images(problem: Problem, layout: torch.memory_format) -> Operation:
    return torch_net.train(problem, torch_net.momentum(fused=True), layout=layout)


def _train_captured(problem: Problem, layout: torch.memory_format) -> Operation:
    return torch_graphs.train(problem, torch_net.momentum(fused=True), layout=layout)


def _forward(problem: Problem, layout: torch.memory_format = torch.channels_last) -> Operation:
    net = torch_net.network(problem, layout, inplace=True)
    x = torch_net.tensor(problem, "x", layout)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return net(x)

    return torch_net.stateless(call, "logits", torch_net.to_numpy)


def _vjp(problem: Problem) -> Operation:
    net, x, u = (
        torch_net.network(problem),
        torch_net.tensor(problem, "x"),
        torch_net.tensor(problem, "u"),
    )
    parameters = list(net.parameters())

    def call() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(net(x), parameters, u)

    return torch_net.stateless(call, "vjp", torch_net.flat)


def _si_step(problem: Problem) -> Operation:
    """Adam with penalty and path integral in separate multi-tensor passes, as SI is written."""
    net = torch_net.network(problem)
    x, y = torch_net.tensor(problem, "x"), torch_net.tensor(problem, "y")
    omega, anchor = torch_net.parts(problem, "omega"), torch_net.parts(problem, "anchor")
    parameters = list(net.parameters())
    tensors: list[torch.Tensor] = [*parameters]
    path = [torch.zeros_like(p) for p in parameters]
    scaled = [LAM * part for part in omega]
    make = torch_net.adam(fused=True)
    optimizer = make(parameters)

    @torch.no_grad()
    def penalised_step() -> None:
        grads = [p.grad for p in parameters if p.grad is not None]
        before = [p.clone() for p in parameters]
        offset = list(foreach._foreach_sub(tensors, anchor))
        foreach._foreach_mul_(offset, scaled)
        total = foreach._foreach_add(grads, offset)
        for parameter, grad in zip(parameters, total, strict=True):
            parameter.grad = grad
        optimizer.step()
        foreach._foreach_addcmul_(path, grads, list(foreach._foreach_sub(before, tensors)))

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(net(x), y).backward()
        penalised_step()

    def reset() -> None:
        nonlocal optimizer
        torch_net.restore(net, problem)
        foreach._foreach_zero_(path)
        optimizer = make(parameters)

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        change = torch_net.flat(parameters) - problem.arrays["theta"]
        return {"change": change, "path": torch_net.flat(path)}

    return Operation(call, result, reset)


def _multiply(operation: str, *arrays: np.ndarray) -> Callable[[], torch.Tensor]:
    a, b, out = (torch.from_numpy(one).to(place.torch_device()) for one in arrays)
    left, right = views(operation, a, b)
    return lambda: torch.mm(left, right, out=out)


_FORWARD: Variants = {"inference_mode": _forward}
_IMAGES_FORWARD, _IMAGES_TRAIN = layouts(_forward), layouts(_train_images)
if torch_net.ON_GPU:
    _FORWARD = {**_FORWARD, "CUDA graph": torch_graphs.forward}
    _IMAGES_FORWARD = {**_IMAGES_FORWARD, **layouts(torch_graphs.forward, "CUDA graph")}
    _IMAGES_TRAIN = {**_IMAGES_TRAIN, **layouts(_train_captured, "CUDA graph")}

OPERATIONS: dict[str, Variants] = {
    "train-step-adam": _train(torch_net.adam, capturable=True),
    "train-step-sgd": _train(torch_net.sgd),
    "train-100-adam": {
        "fused, a loop": lambda problem: repeated(
            torch_net.train(problem, torch_net.adam(fused=True)), MANY
        )
    },
    "forward-1": _FORWARD,
    "forward-32": _FORWARD,
    "forward-256": _FORWARD,
    "vjp": {"autograd.grad": _vjp},
    "si-step": {"fused Adam, foreach penalty": _si_step},
}
NETWORKS: dict[str, Variants] = {
    "train-step-sgd": _IMAGES_TRAIN,
    "forward-1": _IMAGES_FORWARD,
    "forward-32": _IMAGES_FORWARD,
    "forward-256": _IMAGES_FORWARD,
}
REGRESSIONS = {name: OPERATIONS[name] for name in Regression.operations}
PRODUCTS = offered("mm", _multiply, torch_net.to_numpy)
