"""Manipulated MNIST: the eight sets of Campbell et al. (2018), in their naive sequence's order."""

from .permuted_mnist import METHODS
from .preset import Preset

PRESET = Preset(
    name="manipulated-mnist",
    summary="inverted, flipped, rotated, cut and checkered digits (Campbell et al. 2018)",
    stream="manipulated",
    scenario="domain",
    init="glorot_uniform",
    steps=320,
    eval_every=80,
    methods=METHODS,
)
