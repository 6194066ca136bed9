"""Replay: the memory's regions, and the program by which some of it joins a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...net import Network
from ...program.program import Program
from ...program.verbs import Twin
from .learning import Learning


def joined(net: Network, batch: int, share: float) -> Program:
    """grad = (1 - share) grad + share times the gradient of the mean loss over x, y of a memory."""
    twin = Twin(net, batch)
    saved, judged = twin.net._loss_of(twin.inputs, twin.labels, twin.mask, "train")
    cotangent = judged.cotangent
    if judged.total is None:
        twin.net.ops.scale(cotangent, share / batch, cotangent)
    else:
        twin.net.ops.divide(cotangent, judged.total, cotangent)
        twin.net.ops.scale(cotangent, share, cotangent)
    views = twin.net._split(twin.vector("grad"))
    twin.net._backward(saved, cotangent, views, 1.0 - share, want_dx=False)
    return twin.tape.program("joined", batch, net.ops.NAME, str(net.dtype))


def remembered(add: Callable[..., Any], learning: Learning, width: int) -> None:
    """Let an arena (its `add`) have a memory of samples of `width` numbers, and room to draw."""
    kind = "float" if learning.latents is None else "uint8_t"
    add("memory x", kind, learning.memories * width, "what is remembered", True)
    add("memory y", "int32_t", learning.memories, "its labels", True)
    add("drawn x", "float", learning.joining * width, "what of it joins a batch")
    add("drawn y", "int32_t", learning.joining)
