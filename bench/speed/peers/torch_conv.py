"""torch on single convolutions: eager, with both memory formats to choose from, and torch.func."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import func
from torch.nn import functional

from ..torch_twin import to_ours, to_torch
from . import place
from .problem import Operation, Problem, Variants, decline_large
from .torch_images import layouts


class _Tensors:
    """The problem's x (N, C, H, H), w (O, C, 3, 3) and dy (N, O, H, H)."""

    def __init__(self, problem: Problem, layout: torch.memory_format) -> None:
        a = problem.arrays
        tensors = (to_torch(a[name], layout) for name in ("x", "w", "dy"))
        self.x, self.w, self.dy = (one.to(place.torch_device()) for one in tensors)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return to_ours(tensor)


def _forward(problem: Problem, layout: torch.memory_format) -> Operation:
    at = _Tensors(problem, layout)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return functional.conv2d(at.x, at.w, padding=1)

    return Operation(call, lambda: {"y": _numpy(call())})


def _forward_backward(problem: Problem, layout: torch.memory_format) -> Operation:
    at = _Tensors(problem, layout)
    at.x.requires_grad_()
    at.w.requires_grad_()

    def call() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(functional.conv2d(at.x, at.w, padding=1), (at.x, at.w), at.dy)

    def result() -> dict[str, np.ndarray]:
        dx, dw = call()
        return {"dx": _numpy(dx), "dw": _numpy(dw)}

    return Operation(call, result)


def _unfolded(problem: Problem) -> Operation:
    """Each sample's gradient as a product dy_n cols_n^T, as written by hand: (N, O, 9 C) in all."""
    decline_large(problem)
    at = _Tensors(problem, torch.contiguous_format)
    dy = at.dy.flatten(2)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            columns = functional.unfold(at.x, 3, padding=1)
            grads = torch.bmm(dy, columns.transpose(1, 2))
            return grads.square_().sum(dim=0).view(at.w.shape)

    return Operation(call, lambda: {"fisher": _numpy(call())})


def _per_sample(problem: Problem, chunk: int | None, layout: torch.memory_format) -> Operation:
    """vmap(grad); with a chunk, only so many gradients of samples are in memory at a time."""
    decline_large(problem)
    at = _Tensors(problem, layout)

    def pulled(w: torch.Tensor, x: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
        return (functional.conv2d(x[None], w, padding=1)[0] * dy).sum()

    grads = func.vmap(func.grad(pulled), in_dims=(None, 0, 0))

    size = chunk or problem.batch

    def call() -> torch.Tensor:
        total = torch.zeros_like(at.w)
        for x, dy in zip(at.x.split(size), at.dy.split(size), strict=True):
            total += grads(at.w, x, dy).square_().sum(dim=0)
        return total

    return Operation(call, lambda: {"fisher": _numpy(call())})


EAGER: dict[str, Variants] = {
    # the better layout for these: contiguous took 1.1 to 2.4 times as long on all five sizes
    "conv-forward": {"channels_last": partial(_forward, layout=torch.channels_last)},
    "conv-forward-backward": {
        "channels_last": partial(_forward_backward, layout=torch.channels_last)
    },
    "conv-fisher": {"unfold, bmm": _unfolded},
}
FUNC: dict[str, Variants] = {
    "conv-fisher": {
        **layouts(_per_sample, "vmap(grad), all at once", chunk=None),
        **layouts(_per_sample, "vmap(grad), 16 samples at a time", chunk=16),
    },
}
