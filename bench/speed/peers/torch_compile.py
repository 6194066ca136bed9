"""torch.compile of the loss (or the forward pass), with the fused optimizer; on a GPU also with
CUDA graphs (mode "reduce-overhead")."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from . import torch_net
from .kinds import Regression
from .problem import NotRunError, Operation, Problem, Variants

settings, wait = torch_net.settings, torch_net.wait


Maker = Callable[..., torch_net.OptimizerMaker]


def _check() -> None:
    """torch.compile writes C++ for the CPU, and for its launches on a GPU: it needs a compiler."""
    if not any(shutil.which(name) for name in ("g++", "c++", "clang++")):
        raise NotRunError("torch.compile needs a C++ compiler, and there is none here")


def _train(problem: Problem, make: Maker, mode: str | None = None) -> Operation:
    _check()
    return torch_net.train(problem, make(fused=True), partial(torch.compile, mode=mode))


def _forward(problem: Problem, mode: str | None = None) -> Operation:
    _check()
    net, x = torch.compile(torch_net.network(problem), mode=mode), torch_net.tensor(problem, "x")

    def call() -> torch.Tensor:
        with torch.no_grad():
            return net(x)

    return torch_net.stateless(call, "logits", torch_net.to_numpy)


def _ways(build: Callable[..., Operation], how: str, **settings: Any) -> Variants:
    """The variants of an operation: as torch compiles it, and on a GPU as CUDA graphs, too."""
    ways: dict[str, Callable[[Problem], Operation]] = {how: partial(build, **settings)}
    if torch_net.ON_GPU:
        ways[f"{how}, reduce-overhead"] = partial(build, mode="reduce-overhead", **settings)
    return ways


CONVOLUTIONS = "a single convolution is the same library call, compiled or not"
_FORWARD = _ways(_forward, "no_grad")
OPERATIONS: dict[str, Variants] = {
    "train-step-adam": _ways(_train, "fused optimizer", make=torch_net.adam),
    "train-step-sgd": _ways(_train, "fused optimizer", make=torch_net.sgd),
    "forward-1": _FORWARD,
    "forward-32": _FORWARD,
    "forward-256": _FORWARD,
}
REGRESSIONS = {name: OPERATIONS[name] for name in Regression.operations if name in OPERATIONS}
NETWORKS: dict[str, Variants] = {
    "train-step-sgd": _ways(_train, "fused optimizer", make=torch_net.momentum),
    **{name: OPERATIONS[name] for name in ("forward-1", "forward-32", "forward-256")},
}
