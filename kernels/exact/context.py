"""Contexts that are learned, and complex numbers. Meaning: `kernels.reference.context`."""

from __future__ import annotations

import numpy as np

from .dense import scaled
from .fused import chain, fma


def context_gradient(x, dy, beta, dc):
    """dc: from beta dc, a chain over n of x_ni dy_ni."""
    dc[...] = chain(x, dy, scaled(beta, dc))


def complex_expand(x, c, z):
    """Re cx = fma(a, Re c, -(b Im c)) and Im cx = fma(a, Im c, b Re c) of x = a + b i."""
    features = x.shape[2]
    a = x[:, 0]
    b = x[:, 1] if x.shape[1] == 2 else np.zeros_like(a)
    if c is not None:
        a, b = fma(a, c[0], -(b * c[1])), fma(a, c[1], b * c[0])
    z[:, 0, :features], z[:, 0, features:] = a, -b
    if z.shape[1] == 2:
        z[:, 1, :features], z[:, 1, features:] = b, a


def complex_contract(dz, c, dx):
    """The transpose: conj(c) times what dz says of c x, both rounded as in `complex_expand`."""
    features = dx.shape[2]
    re, im = dz[:, 0, :features], -dz[:, 0, features:]
    if dz.shape[1] == 2:
        re, im = re + dz[:, 1, features:], im + dz[:, 1, :features]
    if c is not None:
        re, im = fma(re, c[0], im * c[1]), fma(im, c[0], -(re * c[1]))
    dx[:, 0] = re
    if dx.shape[1] == 2:
        dx[:, 1] = im
