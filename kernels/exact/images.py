"""The residual sum. Meaning: `kernels.reference.images`."""

from __future__ import annotations

from .activations import apply, pull


def residual_forward(x, r, act, slope, y):
    """y = f(x + r)."""
    y[...] = apply(act, slope, x + r)


def residual_tangent(y, tx, tr, act, slope, ty):
    """ty = f'(y) (tx + tr)."""
    ty[...] = pull(act, slope, y, tx + tr)
