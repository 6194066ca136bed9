"""nnlite: networks as stateless layers over one flat real vector theta."""

from . import init, losses, models, optim
from .checkpoint import load_arrays, save_arrays
from .layers import Activation, Flatten, Layer, Linear
from .layout import Layout
from .net import Network, Saved

__all__ = [
    "Activation",
    "Flatten",
    "Layer",
    "Layout",
    "Linear",
    "Network",
    "Saved",
    "init",
    "load_arrays",
    "losses",
    "models",
    "optim",
    "save_arrays",
]
