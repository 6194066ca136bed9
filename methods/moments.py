"""Moments: count, mean and co-moments of rows, added up piece by piece, each row seen once.

    mean = 1/n sum x_i        comoment = sum (x_i - mean)(x_i - mean)'

Two pieces make one by the pairwise update of Chan, Golub & LeVeque (1979), d = mean_b - mean_a:

    n = n_a + n_b    mean = mean_a + d n_b / n    comoment = C_a + C_b + d d' n_a n_b / n

so that batches, or shards on different machines, give what all rows at once give, to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels import Backend, get_backend
from ..kernels.errors import NonFiniteError, ShapeError
from .correlation import CONSTANT


@dataclass(frozen=True)
class Moments:
    """count of rows, their mean (U,) and comoment (U, U): plain float64 arrays on the host."""

    count: int
    mean: np.ndarray
    comoment: np.ndarray

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.comoment.shape != 2 * self.mean.shape:
            raise ShapeError(
                f"moments of a mean {self.mean.shape} and co-moments {self.comoment.shape}; "
                "give (U,) and (U, U)"
            )

    @classmethod
    def nothing(cls, units: int) -> Moments:
        """Of no rows at all: merging it changes nothing."""
        return cls(0, np.zeros(units), np.zeros((units, units)))

    @classmethod
    def of(cls, rows: np.ndarray, ops: Backend | None = None) -> Moments:
        """Of rows (N, U), where `ops` computes (a backend; "reference" unless told otherwise).

        The rows may lie on its device. The sums run in an order that does not depend on the number
        of threads. Raises ShapeError for what is no matrix of at least one row, NonFiniteError
        for NaN or infinity, which would count as columns that do not vary.
        """
        if rows.ndim != 2 or not len(rows):
            raise ShapeError(f"moments of {rows.shape}: give rows (N, U), at least one")
        ops = ops or get_backend("reference")
        x = ops.device.put(rows).astype(np.float64)
        mean = x.mean(axis=0)
        here = ops.device.get(mean)
        if not np.isfinite(here).all():
            raise NonFiniteError(f"moments of rows {rows.shape}: they hold NaN or infinity")
        columns = ops.device.put((x - mean).T)
        comoment = ops.device.empty((len(columns), len(columns)), np.float64)
        ops.matmul_nt(columns, columns, comoment)
        return cls(len(rows), here, ops.device.get(comoment))

    def merge(self, other: Moments) -> Moments:
        """Of the rows of both. Raises ShapeError for another number of columns."""
        if self.mean.shape != other.mean.shape:
            raise ShapeError(
                f"moments of {len(self.mean)} and of {len(other.mean)} columns do not add up"
            )
        count = self.count + other.count
        if not count:
            return self
        moved = other.mean - self.mean
        both = np.outer(moved, moved) * (self.count * (other.count / count))
        return Moments(
            count,
            self.mean + moved * (other.count / count),
            self.comoment + other.comoment + both,
        )

    def select(self, columns: np.ndarray | slice) -> Moments:
        """Of some of the columns."""
        return Moments(self.count, self.mean[columns], self.comoment[columns][:, columns])

    @property
    def std(self) -> np.ndarray:
        """The standard deviation (U,), over N as the co-moments are; 0 for a constant column."""
        deviation = np.sqrt(np.diag(self.comoment) / max(self.count, 1))
        return np.where(deviation > CONSTANT * np.abs(self.mean), deviation, 0.0)

    @property
    def alive(self) -> np.ndarray:
        """Whether a column varies at all, (U,) bool: a dead unit has no correlation with any."""
        return self.std > 0

    def correlation(self) -> np.ndarray:
        """Pearson's correlations (U, U); 0 in the rows and columns of what does not vary."""
        scale = np.where(self.alive, self.std, np.inf) * np.sqrt(max(self.count, 1))
        found = self.comoment / scale / scale[:, None]
        np.fill_diagonal(found, self.alive.astype(np.float64))  # not 0.9999...
        return np.clip(found, -1.0, 1.0)
