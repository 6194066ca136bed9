"""The optimizers' fused steps. Meaning: `kernels.reference.update`.

Numbers are worked out in float64 and rounded to the dtype once: 1 - beta, lr / (1 - beta^t). A
power is made by squaring, which is products alone: the C library's differs from one to the next.
"""

from __future__ import annotations

import numpy as np

from .fused import fma


def _penalised(theta, grad, omega, anchor, lam):
    if omega is None:
        return grad
    return fma(theta.dtype.type(lam) * omega, theta - anchor, grad)


def _apply(theta, grad, d, path, gain):
    if gain is not None:
        d = d * gain
    if path is not None:
        path[...] = fma(-grad, d, path)
    theta += d


def sgd_update(theta, grad, lr, omega, anchor, lam, path, gain):
    """d = -lr g."""
    g = _penalised(theta, grad, omega, anchor, lam)
    _apply(theta, grad, -theta.dtype.type(lr) * g, path, gain)


def momentum_update(theta, grad, velocity, lr, momentum, omega, anchor, lam, path, gain):
    """velocity = fma(momentum, velocity, g); d = -lr velocity."""
    g = _penalised(theta, grad, omega, anchor, lam)
    velocity[...] = fma(momentum, velocity, g)
    _apply(theta, grad, -theta.dtype.type(lr) * velocity, path, gain)


def _power(base, times):
    """base^times by squaring, the lowest bit of `times` first."""
    result = 1.0
    while times:
        if times & 1:
            result *= base
        base *= base
        times >>= 1
    return result


def adam_update(theta, grad, m, v, lr, beta1, beta2, eps, step, omega, anchor, lam, path, gain):
    """m = fma(beta1, m, (1 - beta1) g);  v = fma(beta2, v, ((1 - beta2) g) g);

    d = (-size m) / fma(sqrt v, root, eps), size = lr / (1 - beta1^t), root = 1 / sqrt(1 - beta2^t).
    """
    real = theta.dtype.type
    size = real(lr / (1 - _power(beta1, step)))
    root = real(1 / np.sqrt(1 - _power(beta2, step)))
    g = _penalised(theta, grad, omega, anchor, lam)
    m[...] = fma(beta1, m, real(1 - beta1) * g)
    v[...] = fma(beta2, v, real(1 - beta2) * g * g)
    below = fma(np.sqrt(v), root, np.full_like(v, eps))
    _apply(theta, grad, -size * m / below, path, gain)


def rmsprop_update(theta, grad, square, lr, alpha, eps, omega, anchor, lam, path, gain):
    """square = fma(alpha, square, ((1 - alpha) g) g); d = (-lr g) / (sqrt square + eps)."""
    real = theta.dtype.type
    g = _penalised(theta, grad, omega, anchor, lam)
    square[...] = fma(alpha, square, real(1 - alpha) * g * g)
    _apply(theta, grad, -real(lr) * g / (np.sqrt(square) + real(eps)), path, gain)


def adadelta_update(theta, grad, square, moved, lr, rho, eps, omega, anchor, lam, path, gain):
    """square = fma(rho, square, ((1 - rho) g) g); u = (g sqrt(moved + eps)) / sqrt(square + eps);

    moved = fma(rho, moved, ((1 - rho) u) u); d = -lr u.
    """
    real = theta.dtype.type
    g = _penalised(theta, grad, omega, anchor, lam)
    square[...] = fma(rho, square, real(1 - rho) * g * g)
    u = g * np.sqrt(moved + real(eps)) / np.sqrt(square + real(eps))
    moved[...] = fma(rho, moved, real(1 - rho) * u * u)
    _apply(theta, grad, -real(lr) * u, path, gain)


def penalty_gradient(theta, omega, anchor, lam, grad):
    """grad = fma(lam omega, theta - anchor, grad)."""
    grad[...] = _penalised(theta, grad, omega, anchor, lam)
