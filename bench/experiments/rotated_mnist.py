"""Rotated MNIST: ten angles from 0 to 162 degrees, one shared head (Lopez-Paz & Ranzato 2017)."""

from .permuted_mnist import METHODS
from .preset import Preset

PRESET = Preset(
    name="rotated-mnist",
    summary="ten rotations from 0 to 162 degrees, one shared head (Lopez-Paz & Ranzato 2017)",
    stream="rotated",
    scenario="domain",
    init="glorot_uniform",
    steps=320,
    eval_every=80,
    methods=METHODS,
)
