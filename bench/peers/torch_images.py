"""The problem's convolutional network as torch modules, made from weightspace's list of layers.

A convolution's weight (O, R, S, C) becomes torch's (O, C, R, S), a view of the same memory where
the layout is channels_last; images (N, H, W, C) become (N, C, H, W) likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ...nnlite import layers as ours
from .networks import ConvNet
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


def turned(array: np.ndarray, layout: torch.memory_format = torch.channels_last) -> torch.Tensor:
    """A copy of an array whose last of four axes is the channel, as torch has it: second."""
    tensor = torch.tensor(array)
    if tensor.ndim == 4:
        tensor = tensor.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    return tensor


def turned_back(tensor: torch.Tensor) -> torch.Tensor:
    """The reverse of `turned`."""
    tensor = tensor.detach()
    return tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor


class _Flatten(nn.Module):
    """Flat samples in the order (H, W, C), which is free where channels come last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class _GlobalMean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


class _Residual(nn.Module):
    """relu(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, inplace: bool) -> None:
        super().__init__()
        self.body, self.shortcut, self.relu = body, shortcut, nn.ReLU(inplace)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.body(x) + self.shortcut(x))


def _modules(layer: Any, shape: tuple[int, ...], inplace: bool) -> Iterator[nn.Module]:
    """What stands for one of our layers; shape (H, W, C) or (I,) of the samples it is given."""
    match layer:
        case ours.Conv2d():
            yield nn.Conv2d(
                shape[-1], layer.filters, layer.size, layer.stride, layer.padding, bias=layer.bias
            )
        case ours.BatchNorm2d():
            yield nn.BatchNorm2d(shape[-1], layer.eps, layer.momentum)
        case ours.Linear():
            yield nn.Linear(shape[-1], layer.units)
        case ours.MaxPool2d():
            yield nn.MaxPool2d(layer.size, layer.stride, layer.padding)
        case ours.Flatten():
            yield _Flatten()
        case ours.GlobalAvgPool():
            yield _GlobalMean()
        case ours.Dropout(rate=0.0):
            return
        case ours.Residual(activation="relu"):
            body, shortcut = (_chain(path, shape, inplace) for path in (layer.body, layer.shortcut))
            yield _Residual(body, shortcut, inplace)
            return
        case _:
            raise TypeError(f"no torch module for {layer}")
    match getattr(layer, "activation", "identity"):
        case "relu":
            yield nn.ReLU(inplace)
        case "identity":
            pass
        case other:
            raise TypeError(f"no torch module for {other} in {layer}")


def _chain(layers: Sequence[Any], shape: tuple[int, ...], inplace: bool) -> nn.Sequential:
    modules: list[nn.Module] = []
    for layer in layers:
        modules += _modules(layer, shape, inplace)
        shape = layer.output_shape(shape)
    return nn.Sequential(*modules)


def network(problem: Problem, layout: torch.memory_format, inplace: bool) -> nn.Sequential:
    """The modules in mode "eval"; theta and running statistics are still to be put in."""
    kind = problem.network
    assert isinstance(kind, ConvNet)
    # Any: torch's releases disagree on whether `to` is typed to take a memory format
    net: Any = _chain(kind.template.layers, kind.template.input_shape, inplace)
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
