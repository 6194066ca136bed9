"""Replay: the memory's regions, and the program by which some of it joins a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....kernels.errors import SettingError
from ...net import Network
from ...program.program import Program
from ...program.verbs import Twin
from .learning import Learning


def joined(net: Network, share: float) -> Program:
    """grad += share times the gradient of the loss of one sample x, y, over its own classes.

    One at a time, since each sample's softmax runs over the classes that were in play when it was
    remembered. Raises SettingError for losses that weigh samples.
    """
    twin = Twin(net, 1)
    saved, judged = twin.net._loss_of(twin.inputs, twin.labels, twin.mask, "train")
    if judged.total is not None:
        raise SettingError("replay in C takes a loss without ignored labels and class weights")
    twin.net.ops.scale(judged.cotangent, share, judged.cotangent)
    views = twin.net._split(twin.vector("grad"))
    twin.net._backward(saved, judged.cotangent, views, 1.0, want_dx=False)
    return twin.tape.program("joined", 1, net.ops.NAME, str(net.dtype))


def remembered(add: Callable[..., Any], learning: Learning, width: int, classes: int) -> None:
    """Let an arena (its `add`) have a memory of samples of `width` numbers, and room to draw."""
    kind = "float" if learning.latents is None else "uint8_t"
    add("memory x", kind, learning.memories * width, "what is remembered", True)
    add("memory y", "int32_t", learning.memories, "its labels", True)
    add("memory active", "uint8_t", learning.memories * classes, "the classes then in play", True)
    if learning.latents is not None:
        add("drawn", "float", width, "one of it, as floats")
