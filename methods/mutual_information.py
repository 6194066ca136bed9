"""Mutual information of units, from a 2-D histogram of their values, in nats.

A unit's bins, as in the code of Li et al. (2015): one for near-zeros, |v| < 1e-6 (a relu gives
many), and ten that hold equal shares of its other values. With p the joint histogram,

    I = sum p_ij ln(p_ij / (p_i p_j)) - (k_x - 1) (k_y - 1) / (2 n)

k the bins that are not empty, n the samples. The second term is Miller & Madow's correction of
the plug-in estimate, whose expectation for independent units it is; the authors' code takes
bins^2 / (2 n ln 2), which mixes bits with nats.
"""

from __future__ import annotations

import numpy as np

from ..kernels.errors import DtypeError, NonFiniteError, SettingError, ShapeError

QUANTILES = 10
BINS = QUANTILES + 1
NEAR_ZERO = 1e-6
_BLOCK = 64  # units a side whose one-hot columns are multiplied at a time
_EXACT = 2**24  # whole numbers that float32 holds


def codes(values: np.ndarray) -> np.ndarray:
    """The bin 0..10 of each of values (n, U), bin 0 for near-zeros: uint8 (n, U).

    Raises ShapeError for what is no matrix of samples, NonFiniteError for NaN or infinity.
    """
    if values.ndim != 2 or not values.size:
        raise ShapeError(f"bins of values {values.shape}: give (n, U), n samples of U units")
    if not np.isfinite(values).all():
        raise NonFiniteError(f"bins of values {values.shape}: they hold NaN or infinity")
    found = np.zeros(values.shape, np.uint8)
    shares = np.arange(1, QUANTILES) / QUANTILES
    for unit, column in enumerate(values.T):
        rest = np.abs(column) >= NEAR_ZERO
        if rest.any():
            inner = np.quantile(column[rest], shares)
            found[rest, unit] = 1 + np.searchsorted(inner, column[rest], side="right")
    return found


def entropies(binned: np.ndarray) -> np.ndarray:
    """The plug-in entropy (U,) of each column of `codes`."""
    p = _counts(binned) / len(binned)
    return -_p_log_p(p).sum(axis=1)


def mutual_information(a: np.ndarray, b: np.ndarray, corrected: bool = True) -> np.ndarray:
    """I (U, V) of the units with codes a (n, U) and b (n, V), by matrix products of 0s and 1s.

    corrected: by Miller & Madow's term; a pair with none in common may then fall below 0. Raises
    ShapeError for different numbers of samples, SettingError for 2^24 of them or more, which the
    products could not count, DtypeError for what is not the uint8 of `codes`.
    """
    if a.dtype != np.uint8 or b.dtype != np.uint8:
        raise DtypeError(f"mutual information of {a.dtype} and {b.dtype}: give what `codes` gives")
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or not len(a):
        raise ShapeError(f"codes {a.shape} and {b.shape}: give (n, U) and (n, V), the same samples")
    if len(a) >= _EXACT:
        raise SettingError(f"{len(a)} samples: counts are exact below {_EXACT}; take fewer")
    found = np.empty((a.shape[1], b.shape[1]))
    right = [(lo, _one_hot(b[:, lo : lo + _BLOCK])) for lo in range(0, b.shape[1], _BLOCK)]
    for row in range(0, a.shape[1], _BLOCK):
        left = _one_hot(a[:, row : row + _BLOCK])
        for column, other in right:
            joint = (left.T @ other).reshape(-1, BINS, other.shape[1] // BINS, BINS)
            found[row : row + len(joint), column : column + joint.shape[2]] = -_p_log_p(
                joint / np.float64(len(a))
            ).sum(axis=(1, 3))
    plain = entropies(a)[:, None] + entropies(b) - found
    if not corrected:
        return plain
    kx, ky = ((_counts(binned) > 0).sum(axis=1) - 1 for binned in (a, b))
    return plain - np.outer(kx, ky) / (2 * len(a))


def _one_hot(binned: np.ndarray) -> np.ndarray:
    """(n, units x BINS) of 0s and 1s."""
    return (binned[:, :, None] == np.arange(BINS, dtype=np.uint8)).reshape(len(binned), -1).astype(
        np.float32
    )  # fmt: skip


def _counts(binned: np.ndarray) -> np.ndarray:
    """(U, BINS): how often each bin of each unit occurs."""
    return np.array([np.bincount(column, minlength=BINS) for column in binned.T])


def _p_log_p(p: np.ndarray) -> np.ndarray:
    """p ln p, 0 at 0."""
    return p * np.log(np.where(p > 0, p, 1))
