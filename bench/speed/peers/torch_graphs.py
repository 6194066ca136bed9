"""torch on a GPU, its launches captured once as a CUDA graph and replayed: for small networks the
launches are what takes the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from . import torch_net
from .problem import CHECK_STEPS, Operation, Problem

_WARM_UP = 3  # calls before a capture, on a stream of their own, as torch asks for


def _captured(work: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
    """The graph of one call of `work`, and what that returned: every replay writes there again."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        returned = work()
    return graph, returned


def train(
    problem: Problem,
    make: torch_net.OptimizerMaker,
    layout: torch.memory_format = torch.channels_last,
) -> Operation:
    """As `torch_net.train`, the whole step a graph."""
    net = torch_net.network(problem, layout, inplace=True).train()
    x, y = torch_net.tensor(problem, "x", layout), torch_net.tensor(problem, "y")
    parameters = list(net.parameters())
    optimizer, loss = make(parameters), torch_net.loss_of(problem)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(net(x), y).backward()
        optimizer.step()

    graph, _ = _captured(step)

    def reset() -> None:
        torch_net.restore(net, problem)
        for state in optimizer.state.values():  # the graph knows these tensors: zeros go into them
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            graph.replay()
        return torch_net.trained(net, parameters, problem)

    return Operation(graph.replay, result, reset)


def forward(problem: Problem, layout: torch.memory_format = torch.channels_last) -> Operation:
    """Logits (N, K)."""
    net = torch_net.network(problem, layout, inplace=True)
    x = torch_net.tensor(problem, "x", layout)
    with torch.inference_mode():
        graph, logits = _captured(lambda: net(x))

    def call() -> torch.Tensor:
        graph.replay()
        return logits

    return torch_net.stateless(call, "logits", torch_net.to_numpy)
