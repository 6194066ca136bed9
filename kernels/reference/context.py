"""Parameter superposition's arithmetic (Cheung et al. 2019): contexts, and complex numbers.

A layer that holds many models multiplies its input by the context of the one that is asked:
y = W (c * x). A complex number is kept as planes: x (N, 2, I) has the real parts of a sample, then
the imaginary ones; (N, 1, I) is a real input. Complex weights are (O, 2, I) likewise.

`complex_expand` writes c x so that a complex product becomes a real one of twice the size:

    z[n, 0] = (Re cx, -Im cx),  z[n, 1] = (Im cx, Re cx)
    Re W cx = (Re W, Im W) . z[n, 0],  Im W cx = (Re W, Im W) . z[n, 1]

so that every verb of a dense layer, over 2 N rows of 2 I features, is that of the complex one: four
real products, and no kernel of its own. Per-sample quantities sum a sample's two rows before the
power is taken, which is what a convolution does with two positions.
"""

from __future__ import annotations

import numpy as np


def context_multiply(x, c, y):
    """y (N, I) = x (N, I) c (I,): each feature by its context; y may be x. Its own transpose."""
    np.multiply(x, c, out=y)


def context_gradient(x, dy, beta, dc):
    """dc (I,) = beta dc + sum_n x dy: the gradient of a context that is learned."""
    dc[...] = (x * dy).sum(axis=0) + (beta * dc if beta else 0)


def _complex(x):
    return x[:, 0] + 1j * x[:, 1] if x.shape[1] == 2 else x[:, 0] + 0j


def complex_expand(x, c, z):
    """z = c x laid out for products, as above; with z (N, 1, 2 I) only what the real part needs.

    x (N, 2, I), or (N, 1, I) for a real input; c (2, I), its real and imaginary parts, or None.
    """
    turned = _complex(x)
    if c is not None:
        turned = turned * (c[0] + 1j * c[1])
    z[:, 0] = np.concatenate([turned.real, -turned.imag], axis=1)
    if z.shape[1] == 2:
        z[:, 1] = np.concatenate([turned.imag, turned.real], axis=1)


def complex_contract(dz, c, dx):
    """The transpose of `complex_expand`: dx (N, 2, I) or, of a real input, (N, 1, I); overwritten.

    As everywhere, the cotangent of a complex number is that of its two real parts, so a context
    comes back conjugate: dx = conj(c) (what dz says of c x).
    """
    features = dx.shape[2]
    found = dz[:, 0, :features] - 1j * dz[:, 0, features:]
    if dz.shape[1] == 2:
        found = found + dz[:, 1, features:] + 1j * dz[:, 1, :features]
    if c is not None:
        found = found * (c[0] - 1j * c[1])
    dx[:, 0] = found.real
    if dx.shape[1] == 2:
        dx[:, 1] = found.imag
