"""Layers: stateless, each a file with its verbs. `LAYERS` is what a checkpoint may name."""

from .activation import Activation, Flatten
from .base import Layer
from .linear import Linear

LAYERS: dict[str, type[Layer]] = {cls.__name__: cls for cls in (Activation, Flatten, Linear)}

__all__ = ["LAYERS", "Activation", "Flatten", "Layer", "Linear"]
