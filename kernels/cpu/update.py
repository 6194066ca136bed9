"""The fused optimizer step on the CPU: each stream of length P crosses memory once.

Meaning and arguments: `kernels.reference.update`. A stream that is None is compiled away: Numba
specialises on its absence.

A `prange` hands out blocks, and a block is worked off in chunks that stay in the L1 cache: the
penalised gradient goes into a chunk of scratch, the optimizer's rule makes the step of it in
another, and `_apply` adds the step to the streams. LLVM vectorises short loops over few arrays:
- written inside the `prange`, the loop's index is unsigned and nothing is vectorised (Adam on
  266,610 parameters: 244 us so, 30 us as a function over slices);
- one loop over seven arrays needs more overlap checks than LLVM will emit, and it gives up (Adam
  with penalty and path integral on 269,322 parameters, one thread: 3,320 us so, 124 us in chunks).
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numba.np.numpy_support import carray

from .fused import fma
from .scratch import stack_of
from .tiles import BLOCK, inner, parallel, part, pieces, serial

CHUNK = 1024
stack = stack_of(2 * CHUNK)  # the penalised gradient and the step of a chunk


@inner
def _penalised(theta, grad, omega, anchor, lam, g):
    """grad + lam omega (theta - anchor), worked out in the scratch g; grad itself if no omega."""
    if omega is None:
        return grad
    else:
        for i in range(g.size):
            g[i] = fma(lam * omega[i], theta[i] - anchor[i], grad[i])
        return g


@serial
def _apply(theta, grad, d, path, gain):
    """theta += gain d, path -= grad gain d; d is overwritten."""
    if gain is not None:
        for i in range(d.size):
            d[i] *= gain[i]
    if path is not None:
        for i in range(d.size):
            path[i] = fma(-grad[i], d[i], path[i])
    for i in range(d.size):
        theta[i] += d[i]


@inner
def _sgd(g, lr, d):
    for i in range(d.size):
        d[i] = -lr * g[i]


@parallel
def sgd_update(theta, grad, lr, omega, anchor, lam, path, gain):
    lr, lam = theta.dtype.type(lr), theta.dtype.type(lam)
    for b in prange(pieces(theta.size, BLOCK)):
        scratch = carray(stack(theta), (2, CHUNK))
        for lo in range(b * BLOCK, min((b + 1) * BLOCK, theta.size), CHUNK):
            hi = min(lo + CHUNK, theta.size)
            t, raw, g, d = theta[lo:hi], grad[lo:hi], scratch[0, : hi - lo], scratch[1, : hi - lo]
            g = _penalised(t, raw, part(omega, lo, hi), part(anchor, lo, hi), lam, g)
            _sgd(g, lr, d)
            _apply(t, raw, d, part(path, lo, hi), part(gain, lo, hi))


@inner
def _momentum(g, velocity, lr, momentum, d):
    for i in range(d.size):
        velocity[i] = fma(momentum, velocity[i], g[i])
        d[i] = -lr * velocity[i]


@parallel
def momentum_update(theta, grad, velocity, lr, momentum, omega, anchor, lam, path, gain):
    real = theta.dtype.type
    lr, lam, momentum = real(lr), real(lam), real(momentum)
    for b in prange(pieces(theta.size, BLOCK)):
        scratch = carray(stack(theta), (2, CHUNK))
        for lo in range(b * BLOCK, min((b + 1) * BLOCK, theta.size), CHUNK):
            hi = min(lo + CHUNK, theta.size)
            t, raw, g, d = theta[lo:hi], grad[lo:hi], scratch[0, : hi - lo], scratch[1, : hi - lo]
            g = _penalised(t, raw, part(omega, lo, hi), part(anchor, lo, hi), lam, g)
            _momentum(g, velocity[lo:hi], lr, momentum, d)
            _apply(t, raw, d, part(path, lo, hi), part(gain, lo, hi))


@serial
def _adam(g, m, v, keep1, keep2, take1, take2, size, root, eps, d):
    for i in range(d.size):
        m[i] = fma(keep1, m[i], take1 * g[i])
        v[i] = fma(keep2, v[i], take2 * g[i] * g[i])
        d[i] = -size * m[i] / fma(np.sqrt(v[i]), root, eps)


@inner
def _power(base, times):
    """base^times by squaring, the lowest bit of `times` first: products alone, so the bits of it
    are everywhere the same, which those of the C library's pow are not."""
    result = 1.0
    while times > 0:
        if times & 1:
            result *= base
        base *= base
        times >>= 1
    return result


@parallel
def adam_update(theta, grad, m, v, lr, beta1, beta2, eps, step, omega, anchor, lam, path, gain):
    real = theta.dtype.type
    size = real(lr / (1 - _power(beta1, step)))
    root = real(1 / np.sqrt(1 - _power(beta2, step)))
    keep1, keep2, take1, take2 = real(beta1), real(beta2), real(1 - beta1), real(1 - beta2)
    eps, lam = real(eps), real(lam)
    for b in prange(pieces(theta.size, BLOCK)):
        scratch = carray(stack(theta), (2, CHUNK))
        for lo in range(b * BLOCK, min((b + 1) * BLOCK, theta.size), CHUNK):
            hi = min(lo + CHUNK, theta.size)
            t, raw, g, d = theta[lo:hi], grad[lo:hi], scratch[0, : hi - lo], scratch[1, : hi - lo]
            g = _penalised(t, raw, part(omega, lo, hi), part(anchor, lo, hi), lam, g)
            _adam(g, m[lo:hi], v[lo:hi], keep1, keep2, take1, take2, size, root, eps, d)
            _apply(t, raw, d, part(path, lo, hi), part(gain, lo, hi))


@inner
def _rmsprop(g, square, keep, take, lr, eps, d):
    for i in range(d.size):
        square[i] = fma(keep, square[i], take * g[i] * g[i])
        d[i] = -lr * g[i] / (np.sqrt(square[i]) + eps)


@parallel
def rmsprop_update(theta, grad, square, lr, alpha, eps, omega, anchor, lam, path, gain):
    real = theta.dtype.type
    lr, lam, eps = real(lr), real(lam), real(eps)
    keep, take = real(alpha), real(1 - alpha)
    for b in prange(pieces(theta.size, BLOCK)):
        scratch = carray(stack(theta), (2, CHUNK))
        for lo in range(b * BLOCK, min((b + 1) * BLOCK, theta.size), CHUNK):
            hi = min(lo + CHUNK, theta.size)
            t, raw, g, d = theta[lo:hi], grad[lo:hi], scratch[0, : hi - lo], scratch[1, : hi - lo]
            g = _penalised(t, raw, part(omega, lo, hi), part(anchor, lo, hi), lam, g)
            _rmsprop(g, square[lo:hi], keep, take, lr, eps, d)
            _apply(t, raw, d, part(path, lo, hi), part(gain, lo, hi))


@inner
def _adadelta(g, square, moved, keep, take, lr, eps, d):
    for i in range(d.size):
        square[i] = fma(keep, square[i], take * g[i] * g[i])
        u = g[i] * np.sqrt(moved[i] + eps) / np.sqrt(square[i] + eps)
        moved[i] = fma(keep, moved[i], take * u * u)
        d[i] = -lr * u


@parallel
def adadelta_update(theta, grad, square, moved, lr, rho, eps, omega, anchor, lam, path, gain):
    real = theta.dtype.type
    lr, lam, eps = real(lr), real(lam), real(eps)
    keep, take = real(rho), real(1 - rho)
    for b in prange(pieces(theta.size, BLOCK)):
        scratch = carray(stack(theta), (2, CHUNK))
        for lo in range(b * BLOCK, min((b + 1) * BLOCK, theta.size), CHUNK):
            hi = min(lo + CHUNK, theta.size)
            t, raw, g, d = theta[lo:hi], grad[lo:hi], scratch[0, : hi - lo], scratch[1, : hi - lo]
            g = _penalised(t, raw, part(omega, lo, hi), part(anchor, lo, hi), lam, g)
            _adadelta(g, square[lo:hi], moved[lo:hi], keep, take, lr, eps, d)
            _apply(t, raw, d, part(path, lo, hi), part(gain, lo, hi))


@inner
def _add_penalty(theta, omega, anchor, lam, grad):
    for i in range(theta.size):
        grad[i] = fma(lam * omega[i], theta[i] - anchor[i], grad[i])


@parallel
def penalty_gradient(theta, omega, anchor, lam, grad):
    lam = theta.dtype.type(lam)
    for b in prange(pieces(theta.size, BLOCK)):
        lo, hi = b * BLOCK, (b + 1) * BLOCK
        _add_penalty(theta[lo:hi], omega[lo:hi], anchor[lo:hi], lam, grad[lo:hi])
