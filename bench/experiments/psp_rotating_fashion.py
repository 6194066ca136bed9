"""Superposition on clothes that never stop turning (Cheung et al. 2019, Fig. 5): one task.

As `psp_rotating_mnist`, on Fashion-MNIST; standardised with MNIST's constants, as the authors do.
"""

from dataclasses import replace

from . import psp_rotating_mnist

PRESET = replace(
    psp_rotating_mnist.PRESET,
    name="psp-rotating-fashion",
    summary="clothes that turn at every step, superposed under contexts (Cheung et al. 2019)",
    data="fashion-mnist",
)
