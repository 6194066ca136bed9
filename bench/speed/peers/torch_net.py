"""What the torch peers share: the network, its flat vectors, and one training step.

All of it lies where `place` says. On a GPU torch only queues its work, and may round products to
TF32 where weightspace may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ....kernels.errors import DeviceError
from .. import torch_twin
from . import place, torch_images
from .kinds import Mlp
from .problem import (
    BETA1,
    BETA2,
    CHECK_STEPS,
    EPS,
    LR_ADAM,
    LR_MOMENTUM,
    LR_SGD,
    MOMENTUM,
    Operation,
    Problem,
)

OptimizerMaker = Callable[[list[nn.Parameter]], torch.optim.Optimizer]

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}

ON_GPU = place.torch_device() == "cuda"
if ON_GPU:
    if not torch.cuda.is_available():
        raise DeviceError(f"torch {torch.__version__} finds no GPU, or was built without CUDA")
    torch.backends.cuda.matmul.allow_tf32 = place.tf32()
    torch.backends.cudnn.allow_tf32 = place.tf32()


def settings() -> dict[str, Any]:
    """How torch runs here."""
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    if ON_GPU:
        found |= {
            "device": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "tf32": place.tf32(),
        }
    return found


def wait() -> None:
    """Until all queued work is done."""
    if ON_GPU:
        torch.cuda.synchronize()


def network(
    problem: Problem, layout: torch.memory_format = torch.channels_last, inplace: bool = False
) -> nn.Sequential:
    """The network in mode "eval", holding a copy of the problem's theta.

    An MLP is Linear, ReLU or tanh, Linear, ...; layout and inplace (of its ReLUs) are those of a
    convolutional network.
    """
    if isinstance(problem.network, Mlp):
        modules: list[nn.Module] = []
        for i, o in problem.network.layers():
            modules += [nn.Linear(i, o), _ACTIVATIONS[problem.network.activation]()]
        net = nn.Sequential(*modules[:-1]).eval()
    else:
        net = torch_images.network(problem, layout, inplace)
    net = net.to(place.torch_device())
    restore(net, problem)
    return net


def loss_of(problem: Problem) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The mean loss of outputs (N, K) and y, as a function."""
    if isinstance(problem.network, Mlp) and problem.network.loss == "squared_error":
        half = problem.network.outputs / 2  # mse_loss is a mean over the outputs, too
        return lambda outputs, y: half * functional.mse_loss(outputs, y)
    return functional.cross_entropy


def tensor(
    problem: Problem, name: str, layout: torch.memory_format = torch.channels_last
) -> torch.Tensor:
    """One of the problem's arrays, copied; images (N, H, W, C) as (N, C, H, W)."""
    return torch_twin.to_torch(problem.arrays[name], layout).to(place.torch_device())


def parts(problem: Problem, name: str) -> list[torch.Tensor]:
    """An array of length P as one tensor a parameter, in the order of `net.parameters()`."""
    views = problem.network.views(problem.arrays[name])
    return [torch_twin.to_torch(part).to(place.torch_device()) for part in views]


def flat(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """Tensors in the order of `net.parameters()` as one vector (P,)."""
    return to_numpy(torch.cat([torch_twin.turned_back(part).reshape(-1) for part in tensors]))


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's numbers, axes as they are."""
    return tensor.detach().cpu().numpy()


def adam(**how: bool) -> OptimizerMaker:
    """Makes Adam, in the given implementation (fused=True, foreach=True)."""
    return lambda p: torch.optim.Adam(p, lr=LR_ADAM, betas=(BETA1, BETA2), eps=EPS, **how)


def sgd(**how: bool) -> OptimizerMaker:
    """Makes plain SGD, in the given implementation."""
    return lambda p: torch.optim.SGD(p, lr=LR_SGD, **how)


def momentum(**how: bool) -> OptimizerMaker:
    """Makes SGD with momentum, in the given implementation."""
    return lambda p: torch.optim.SGD(p, lr=LR_MOMENTUM, momentum=MOMENTUM, **how)


def train(
    problem: Problem,
    make: OptimizerMaker,
    wrap: Callable[[Callable], Callable] = lambda f: f,
    layout: torch.memory_format = torch.channels_last,
) -> Operation:
    """Forward, mean loss, backward and one optimizer step; `wrap` may compile the loss."""
    net = network(problem, layout, inplace=True).train()
    x, y = tensor(problem, "x", layout), tensor(problem, "y")
    parameters = list(net.parameters())
    loss_of_outputs = loss_of(problem)
    loss = wrap(lambda a, b: loss_of_outputs(net(a), b))
    optimizer = make(parameters)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(x, y).backward()
        optimizer.step()

    def reset() -> None:
        nonlocal optimizer
        restore(net, problem)
        optimizer = make(parameters)

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        return trained(net, parameters, problem)

    return Operation(call, result, reset)


def trained(
    net: nn.Module, parameters: list[nn.Parameter], problem: Problem
) -> dict[str, np.ndarray]:
    """What a training step is judged by: the change of theta, and running statistics if any."""
    found = {"change": flat(parameters) - problem.arrays["theta"]}
    kept = torch_images.statistics(net)
    return {**found, "state": flat(kept)} if kept else found


def restore(net: nn.Module, problem: Problem) -> None:
    """Copy the problem's theta, and running statistics if there are any, into the network."""
    with torch.no_grad():
        for parameter, start in zip(net.parameters(), parts(problem, "theta"), strict=True):
            parameter.copy_(start)
        torch_images.restore_statistics(net, problem)


def stateless(
    call: Callable[[], Any], name: str, to_numpy: Callable[[Any], np.ndarray]
) -> Operation:
    """An operation that changes nothing: its result is that of one call."""
    return Operation(call, lambda: {name: to_numpy(call())})
