"""torch.compile of the loss (or the forward pass), with the fused optimizer."""

from __future__ import annotations

import shutil

import torch

from . import torch_net
from .problem import NotRunError, Operation, Problem, Variants

settings = torch_net.settings


def _check() -> None:
    """torch.compile writes C++ for the CPU: without a compiler it cannot work."""
    if not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        raise NotRunError("torch.compile needs a C++ compiler, and there is none here")


def _train_adam(problem: Problem) -> Operation:
    _check()
    return torch_net.train(problem, torch_net.adam(fused=True), torch.compile)


def _train_sgd(problem: Problem) -> Operation:
    _check()
    return torch_net.train(problem, torch_net.sgd(fused=True), torch.compile)


def _train_momentum(problem: Problem) -> Operation:
    _check()
    return torch_net.train(problem, torch_net.momentum(fused=True), torch.compile)


def _forward(problem: Problem) -> Operation:
    _check()
    net, x = torch.compile(torch_net.network(problem)), torch_net.tensor(problem, "x")

    def call() -> torch.Tensor:
        with torch.no_grad():
            return net(x)

    return torch_net.stateless(call, "logits", lambda out: out.numpy())


CONVOLUTIONS = "a single convolution is the same library call, compiled or not"
OPERATIONS: dict[str, Variants] = {
    "train-step-adam": {"fused optimizer": _train_adam},
    "train-step-sgd": {"fused optimizer": _train_sgd},
    "forward-1": {"no_grad": _forward},
    "forward-32": {"no_grad": _forward},
    "forward-256": {"no_grad": _forward},
}
NETWORKS: dict[str, Variants] = {
    "train-step-sgd": {"fused optimizer": _train_momentum},
    **{name: OPERATIONS[name] for name in ("forward-1", "forward-32", "forward-256")},
}
