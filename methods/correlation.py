"""Correlation of importances, layer by layer (Kutalev 2022), and the method that measures them.

Five importances of the same network after the same tasks: FIS (empirical Fisher), MAS, SI, SIG and
MAS^2. The paper leaves open which correlation it means, whether biases count, and whether the
importances are running sums; here both correlations are given, a layer is its weight matrix, and
the sums are what its penalty would use ("calculated and accumulated").
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np

from ..kernels.errors import MissingExtraError, ShapeError
from ..nnlite import Network
from ..nnlite.layout import Layout
from ..nnlite.optim import Optimizer, Streams
from .base import TaskEnd
from .importance import fisher, mas, sig
from .mas import MAS
from .penalty import choose_samples
from .settings import POSITIVE, limited
from .si import consolidate
from .vectors import near_one

IMPORTANCES = ("FIS", "MAS", "SI", "SIG", "MAS^2")
PAIRS = tuple(combinations(IMPORTANCES, 2))
KINDS = ("pearson", "spearman")
# a deviation so far below the mean (as a share of it) is rounding: the values are constant
CONSTANT = 1e-12


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two vectors (n,), in float64; NaN when either is constant.

    Raises ShapeError for vectors of different lengths, or without values.
    """
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ShapeError(
            f"correlation of shapes {a.shape} and {b.shape}; give two equal vectors of some values"
        )
    u, v = near_one(centred(a)), near_one(centred(b))
    # sums in NumPy's own order: that of a BLAS would depend on its threads
    norm = np.sqrt((u * u).sum() * (v * v).sum())
    return float((u * v).sum() / norm) if norm > 0 else float("nan")


def centred(rows: np.ndarray) -> np.ndarray:
    """rows (..., n) less the mean of each, in float64: exactly 0 for a constant row."""
    mean = rows.mean(axis=-1, keepdims=True, dtype=np.float64)
    found = rows - mean
    spread = np.abs(found).max(axis=-1, keepdims=True)
    found[np.broadcast_to(spread <= CONSTANT * np.abs(mean), found.shape)] = 0
    return found


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two vectors (n,): Pearson's of their ranks, ties averaged."""
    try:
        from scipy.stats import rankdata  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scipy", "demo", "Spearman's correlation") from None
    return pearson(rankdata(a), rankdata(b))


def weight_layers(layout: Layout) -> list[str]:
    """The names of the weight matrices, first layer to last."""
    return [name for name in layout if name.endswith(".weight")]


def correlate(importances: dict[str, np.ndarray], layout: Layout) -> np.ndarray:
    """(kinds, pairs, layers): each pair's correlations, in the order of KINDS, PAIRS and layers."""
    layers = weight_layers(layout)
    table = np.empty((len(KINDS), len(PAIRS), len(layers)))
    for column, name in enumerate(layers):
        flat = {key: layout.view(value, name).ravel() for key, value in importances.items()}
        for row, (a, b) in enumerate(PAIRS):
            table[0, row, column] = pearson(flat[a], flat[b])
            table[1, row, column] = spearman(flat[a], flat[b])
    return table


@dataclass
class ImportanceProbe(MAS):
    """MAS that also measures every other importance after each task, on the same samples.

    SI is measured as Kutalev's code does: the path integral of the regularised gradient,
    omega / (moved^2 + xi), never clamped. `tables` (T, kinds, pairs, layers) holds `correlate` of
    the sums over tasks, after each task.
    """

    name: ClassVar[str] = "importance-probe"
    on_host: ClassVar[frozenset[str]] = frozenset({"tables"})
    limits = limited(xi=POSITIVE)
    xi: float = 0.1

    def start(self, net: Network, optimizer: Optimizer) -> None:
        super().start(net, optimizer)
        self.arrays["path"] = np.zeros_like(net.theta)
        self.arrays["start"] = net.theta.copy()

    def streams(self) -> Streams:
        return Streams(path=self.arrays["path"])

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        if "omega" in self.arrays:  # folded in beforehand, so the path integral sees it
            net.ops.penalty_gradient(
                net.theta, self.arrays["omega"], self.arrays["anchor"], self._strength, grad
            )

    def adjusts(self) -> bool:
        return "omega" in self.arrays

    def end_task(self, net: Network, end: TaskEnd) -> None:
        x, y = choose_samples(end, self.samples, self.which)
        moved = net.theta - self.arrays["start"]
        new = {
            "FIS": fisher(net, x, y, "empirical"),
            "MAS": mas(net, x, self.output),
            "SI": consolidate(self.arrays["path"], moved, None, self.xi, "none"),
            "SIG": sig(net, x),
        }
        sums = {key: value + self.arrays.get(f"sum.{key}", 0) for key, value in new.items()}
        self.arrays |= {f"sum.{key}": value for key, value in sums.items()}
        found = {key: net.device.get(value) for key, value in sums.items()}
        found["MAS^2"] = near_one(found["MAS"]) ** 2  # a correlation has no scale
        table = correlate(found, net.layout)[None]
        self.arrays["tables"] = (
            np.concatenate([self.arrays["tables"], table]) if "tables" in self.arrays else table
        )
        self.remember(net.theta, new["MAS"])
        self.arrays["start"] = net.theta.copy()
        self.arrays["path"][:] = 0

    @property
    def tables(self) -> np.ndarray:
        """(T, kinds, pairs, layers): the correlations after each task."""
        return self.arrays["tables"]
