"""Layers: stateless, each a file with its verbs. `LAYERS` is what a checkpoint may name."""

from .activation import Activation, Flatten
from .base import Layer
from .complex_conv import ComplexConv2d, ComplexFlatten
from .composite import Residual, Sequential
from .context import ComplexLinear, Context, ContextConv2d, ContextLinear, Rotation
from .conv import Conv2d
from .dropout import Dropout
from .linear import Linear
from .norm import BatchNorm2d
from .pool import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool, MaxPool2d

LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (
        Activation,
        AdaptiveAvgPool2d,
        AvgPool2d,
        BatchNorm2d,
        ComplexConv2d,
        ComplexFlatten,
        ComplexLinear,
        Context,
        ContextConv2d,
        ContextLinear,
        Conv2d,
        Dropout,
        Flatten,
        GlobalAvgPool,
        Linear,
        MaxPool2d,
        Residual,
        Rotation,
        Sequential,
    )
}

__all__ = [
    "LAYERS",
    "Activation",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "ComplexConv2d",
    "ComplexFlatten",
    "ComplexLinear",
    "Context",
    "ContextConv2d",
    "ContextLinear",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Residual",
    "Rotation",
    "Sequential",
]
