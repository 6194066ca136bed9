"""The problem's convolutional network as torch modules, made from weightspace's list of layers.

A convolution's weight (O, R, S, C) becomes torch's (O, C, R, S), a view of the same memory where
the layout is channels_last; images (N, H, W, C) become (N, C, H, W) likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from ..torch_twin import chain
from .kinds import ConvNet
from .problem import Operation, Problem, Variants

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def layouts(build: Callable[..., Operation], how: str = "", **settings: Any) -> Variants:
    """A variant a memory format, which goes to `build` as `layout`: sizes decide which is faster.

    how: what else the label says; settings: what else `build` is given.
    """
    return {
        ", ".join(part for part in (how, label) if part): partial(build, layout=layout, **settings)
        for label, layout in LAYOUTS.items()
    }


def network(problem: Problem, layout: torch.memory_format, inplace: bool) -> nn.Sequential:
    """The modules in mode "eval"; theta and running statistics are still to be put in."""
    kind = problem.network
    assert isinstance(kind, ConvNet)
    # Any: torch's releases disagree on whether `to` is typed to take a memory format
    net: Any = chain(kind.template.layers, kind.template.input_shape, inplace)
    return net.to(memory_format=layout).eval()


def statistics(net: nn.Module) -> list[torch.Tensor]:
    """The running means and variances, in the order of the problem's state."""
    return [buffer for buffer in net.buffers() if buffer.ndim]  # a scalar counts the batches


def restore_statistics(net: nn.Module, problem: Problem) -> None:
    """Copy the problem's state (S,) into the running statistics, in place."""
    state, at = problem.arrays.get("state"), 0
    for buffer in statistics(net):
        assert state is not None
        buffer.copy_(torch.tensor(state[at : at + buffer.numel()]))
        at += buffer.numel()
