"""The optimizer step, fused: gradient, penalty, moments, step and path integral in one pass.

Every `*_update` does, for vectors of length P:

    g     = grad + lam omega (theta - anchor)   gradient of (lam / 2) sum omega (theta - anchor)^2
    d     = the optimizer's step for g, times gain if given
    theta = theta + d
    path  = path - grad d                       Synaptic Intelligence: the unregularised gradient

omega, anchor, path and gain are each an array (P,) or None (omega and anchor together); a stream
that is None costs nothing. `step` counts from 1.
"""

from __future__ import annotations

import numpy as np


def _penalised(theta, grad, omega, anchor, lam):
    if omega is None:
        return grad
    return grad + theta.dtype.type(lam) * omega * (theta - anchor)


def _apply(theta, grad, d, path, gain):
    if gain is not None:
        d = d * gain
    if path is not None:
        path -= grad * d
    theta += d


def sgd_update(theta, grad, lr, omega, anchor, lam, path, gain):
    """d = -lr g."""
    g = _penalised(theta, grad, omega, anchor, lam)
    _apply(theta, grad, -theta.dtype.type(lr) * g, path, gain)


def momentum_update(theta, grad, velocity, lr, momentum, omega, anchor, lam, path, gain):
    """velocity = momentum velocity + g; d = -lr velocity (heavy ball, as torch writes it)."""
    g = _penalised(theta, grad, omega, anchor, lam)
    velocity *= theta.dtype.type(momentum)
    velocity += g
    _apply(theta, grad, -theta.dtype.type(lr) * velocity, path, gain)


def adam_update(theta, grad, m, v, lr, beta1, beta2, eps, step, omega, anchor, lam, path, gain):
    """Adam (Kingma & Ba 2015), bias-corrected: d = -lr m^ / (sqrt(v^) + eps).

    m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
    m^ = m / (1 - beta1^step);  v^ = v / (1 - beta2^step).
    """
    real = theta.dtype.type
    g = _penalised(theta, grad, omega, anchor, lam)
    m *= real(beta1)
    m += real(1 - beta1) * g
    v *= real(beta2)
    v += real(1 - beta2) * g * g
    size = real(lr / (1 - beta1**step))
    root = real(1 / np.sqrt(1 - beta2**step))
    _apply(theta, grad, -size * m / (np.sqrt(v) * root + real(eps)), path, gain)


def rmsprop_update(theta, grad, square, lr, alpha, eps, omega, anchor, lam, path, gain):
    """square = alpha square + (1 - alpha) g^2; d = -lr g / (sqrt(square) + eps) (as torch)."""
    real = theta.dtype.type
    g = _penalised(theta, grad, omega, anchor, lam)
    square *= real(alpha)
    square += real(1 - alpha) * g * g
    _apply(theta, grad, -real(lr) * g / (np.sqrt(square) + real(eps)), path, gain)


def adadelta_update(theta, grad, square, moved, lr, rho, eps, omega, anchor, lam, path, gain):
    """Adadelta (Zeiler 2012), d = -lr u, where u has the unit of theta whatever that of g.

    square = rho square + (1 - rho) g^2;  u = g sqrt(moved + eps) / sqrt(square + eps);
    moved = rho moved + (1 - rho) u^2. `moved` is of u: neither lr nor gain is in it (as Keras).
    """
    real = theta.dtype.type
    g = _penalised(theta, grad, omega, anchor, lam)
    square *= real(rho)
    square += real(1 - rho) * g * g
    u = g * np.sqrt(moved + real(eps)) / np.sqrt(square + real(eps))
    moved *= real(rho)
    moved += real(1 - rho) * u * u
    _apply(theta, grad, -real(lr) * u, path, gain)


def penalty_gradient(theta, omega, anchor, lam, grad):
    """grad += lam omega (theta - anchor): one more quadratic penalty, added to a gradient."""
    grad += theta.dtype.type(lam) * omega * (theta - anchor)
