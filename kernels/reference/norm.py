"""Batch normalisation of each channel: y = f(gamma xhat + shift), xhat = (x - mean) inverse.

x (N, T, C): T positions a sample (1 for flat samples). mean (C,) and inverse (C,) = 1 / sqrt(var +
eps) come from the batch itself (`batch` true: Ioffe & Szegedy 2015, training) or from running
statistics, which then are constants. Without an affine part gamma, shift and all that belongs to
them are None. `sums` is scratch (64, 2, C).
"""

from __future__ import annotations

import numpy as np

from .activations import activation_backward, activation_forward


def norm_statistics(x, sums, mean, var):
    """The mean and the (biased) variance of each channel over all samples and positions."""
    x.mean(axis=(0, 1), out=mean)
    np.mean((x - mean) ** 2, axis=(0, 1), out=var)


def norm_moments(var, mean, eps, momentum, count, running_mean, running_var, inverse):
    """inverse = 1 / sqrt(var + eps); the running statistics move towards mean and var (C,):

        running_mean = (1 - momentum) running_mean + momentum mean
        running_var  = (1 - momentum) running_var  + momentum count / (count - 1) var

    count >= 2: rows that mean and the biased var were made of, for the running variance is the
    unbiased one. running_mean and running_var are None where none are kept. The order of rounding
    is the one written here.
    """
    np.add(var, eps, out=inverse)
    np.sqrt(inverse, out=inverse)
    np.reciprocal(inverse, out=inverse)
    if running_mean is not None:
        running_mean *= 1 - momentum
        running_mean += momentum * mean
        running_var *= 1 - momentum
        running_var += (momentum * count / (count - 1)) * var


def norm_forward(x, mean, inverse, gamma, shift, act, slope, y):
    """y = f(gamma (x - mean) inverse + shift)."""
    z = (x - mean) * inverse
    if gamma is not None:
        z = gamma * z + shift
    activation_forward(act, slope, z, y)


def _through_statistics(t, xhat, inverse):
    """The derivative of xhat by x along t, statistics moving too; it is its own transpose."""
    return inverse * (t - t.mean(axis=(0, 1)) - xhat * (t * xhat).mean(axis=(0, 1)))


def norm_backward(
    x, mean, inverse, gamma, y, dy, act, slope, batch, beta, sums, dgamma, dshift, dx
):
    """dgamma = beta dgamma + sum dz xhat, dshift = beta dshift + sum dz with dz = f'(y) dy, and

        dx = gamma inverse dz                                               constant statistics
        dx = gamma inverse (dz - mean dz - xhat mean(dz xhat))              the batch's own

    dgamma and dshift may be None. V stacked cotangents dy (V N, T, C) are possible with
    constant statistics and without dgamma.
    """
    dz = np.empty_like(dy)
    activation_backward(act, slope, y, dy, dz)
    xhat = (x - mean) * inverse
    if dgamma is not None:
        dgamma[...] = (dz * xhat).sum(axis=(0, 1)) + (beta * dgamma if beta else 0)
        dshift[...] = dz.sum(axis=(0, 1)) + (beta * dshift if beta else 0)
    scaled = dz if gamma is None else dz * gamma
    dx[...] = _through_statistics(scaled, xhat, inverse) if batch else scaled * inverse


def norm_tangent(x, mean, inverse, gamma, y, tx, tgamma, tshift, act, slope, batch, sums, ty):
    """ty = f'(y) (gamma txhat + tgamma xhat + tshift), txhat as dx above without gamma.

    tx is None when the input does not move, tgamma and tshift when the parameters do not.
    """
    tz = np.zeros_like(y)
    xhat = (x - mean) * inverse
    if tx is not None:
        moved = _through_statistics(tx, xhat, inverse) if batch else tx * inverse
        tz += moved if gamma is None else gamma * moved
    if tgamma is not None:
        tz += tgamma * xhat + tshift
    activation_backward(act, slope, y, tz, ty)


def norm_sample_grads(x, mean, inverse, dz, dgamma, dshift):
    """Each sample's own gradient for constant statistics: dgamma[n], dshift[n] (C,)."""
    dgamma[...] = (dz * (x - mean) * inverse).sum(axis=1)
    dshift[...] = dz.sum(axis=1)


def norm_accumulate(x, mean, inverse, dz, power, sums, dgamma, dshift):
    """dgamma, dshift += sum over v, n of |the gradient of sample n|**power; dz (V, N, T, C).

    Constant statistics: with the batch's own, one sample's gradient depends on the others.
    """
    xhat = (x - mean) * inverse
    dgamma += (np.abs((dz * xhat).sum(axis=2)) ** power).sum(axis=(0, 1))
    dshift += (np.abs(dz.sum(axis=2)) ** power).sum(axis=(0, 1))


def norm_signal(x, mean, inverse, gamma, y, sums, dgamma, dshift):
    """Total absolute signal (SIG): dgamma += |gamma| sum |xhat|, dshift += sum |y|.

    The scale is a connection from xhat, the shift a bias; sums over samples and positions.
    """
    dgamma += np.abs(gamma) * np.abs((x - mean) * inverse).sum(axis=(0, 1))
    dshift += np.abs(y).sum(axis=(0, 1))
