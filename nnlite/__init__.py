"""nnlite: networks as stateless layers over one flat real vector theta."""

from . import init, losses, models, optim
from .check_layer import check_layer
from .checkpoint import load_arrays, save_arrays
from .layers import (
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
    Layer,
    Linear,
    MaxPool2d,
    Residual,
    Rotation,
    Sequential,
)
from .layout import Layout
from .net import Network, Saved
from .sparse import SparseNetwork

__all__ = [
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
    "Layout",
    "Linear",
    "MaxPool2d",
    "Network",
    "Residual",
    "Rotation",
    "Saved",
    "Sequential",
    "SparseNetwork",
    "check_layer",
    "init",
    "load_arrays",
    "losses",
    "models",
    "optim",
    "save_arrays",
]
