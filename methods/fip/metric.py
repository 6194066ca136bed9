"""Metric: how far the outputs on some inputs move when the weights do (Raghavan & Thomson, Eq. 2).

    g = 1/N sum_n J_n^T M_n J_n        J_n (K, P) the outputs' Jacobian at sample n

| space            | M_n, at the logits         | what v' g v measures                             |
|------------------|----------------------------|--------------------------------------------------|
| "softmax-fisher" | diag p - p p^T             | 2 KL of the predictions, 8 Bhattacharyya: Fisher |
| "logits"         | I                          | squared change of the logits                     |
| "softmax"        | (diag p - p p^T)^2         | squared change of the probabilities              |

g is (P, P) and never formed: g v is one JVP, M in output space, and one VJP over one kept pass.
With few samples there is the Gram matrix B B^T instead, B = M^(1/2) J / sqrt(N), of size N K: its
eigenvalues other than 0 are those of g, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ...kernels.errors import SettingError, ShapeError, check_name
from ...nnlite import Network, Saved
from ..evaluate import check_classifies
from ..importance import fisher_rows, probabilities
from ..lanczos import lanczos
from ..linear import eigenvalues
from ..settings import ANY, whole
from ..vectors import inner, scaled

Space = Literal["softmax-fisher", "logits", "softmax"]
SPACES = ("softmax-fisher", "logits", "softmax")
ROOM = 1 << 30  # bytes that a pass may hold; more samples are taken in several passes
EXACT = 3000  # rows of the Gram matrix up to which a whole spectrum comes from it


class Metric:
    """The metric g of a network's outputs on the inputs x (N, *input_shape), at its weights now.

    space: as above. active (K,) bool: the classes that count, None for all; or (N, K), each
    sample's own. Passes are in mode "eval": the statistics of BatchNorm2d are constants, or those
    of all of x together where the layer says so.

    The metric keeps a network of its own, so `net` may go on; `move` follows it. own=False asks
    `net` itself, for who needs no more than an answer or two before it moves.
    Raises UnknownNameError for another space, SettingError for batch statistics over so many
    samples that they do not fit one pass.
    """

    def __init__(
        self,
        net: Network,
        x: np.ndarray,
        space: Space = "softmax-fisher",
        active: np.ndarray | None = None,
        room: int = ROOM,
        own: bool = True,
    ) -> None:
        check_name("space", space, SPACES)
        if len(x) == 0:
            raise ShapeError("a metric needs at least one sample; it got none")
        if space != "logits":
            check_classifies(net, f"a metric in space '{space}' (there is 'logits', too)")
        self.source, self.space = net, space
        self.net = net.like() if own else net
        self.x = self.net.device.put(x)
        self._masks = _groups(net, active, len(x))
        self._room = room
        batch = self.net.batch_within(room)
        self._parts = [slice(lo, lo + batch) for lo in range(0, len(x), batch)]
        if len(self._parts) > 1 and self.net.chain.couples("eval"):
            raise SettingError(
                f"{len(x)} samples do not fit one pass of {room / 2**20:.0f} MiB, and batch "
                "statistics need them together: give fewer samples, or a larger room"
            )
        self._kept: tuple[Saved, Any] | None = None  # the pass of a single part

    @property
    def n(self) -> int:
        """The number of samples N."""
        return len(self.x)

    @property
    def rows(self) -> int:
        """N K: the rows of B, and of the Gram matrix."""
        return self.n * self.net.num_outputs

    def move(self) -> None:
        """Follow the network to its weights and statistics of now."""
        self.net.theta[:] = self.source.theta
        self.net.state.restore(self.source.state)
        self._kept = None

    # ---- passes ------------------------------------------------------------------------------

    def _passes(self) -> Iterator[tuple[slice, Saved, Any]]:
        """(rows, their pass, `_place` of it), one part after another."""
        for part in self._parts:
            if self._kept is None or len(self._parts) > 1:
                saved = self.net.trace(self.x[part])
                self._kept = saved, self._place(saved.outputs, part)
            yield part, *self._kept

    def _place(self, logits: np.ndarray, part: slice) -> np.ndarray:
        """softmax (n, K) of the rows `part`, each over its own classes; of "logits", those as 1."""
        made = np.empty_like(logits)
        for rows, mask in self._masks:
            lo, hi = (min(max(end - part.start, 0), len(logits)) for end in (rows.start, rows.stop))
            if lo < hi and self.space == "logits":
                made[lo:hi] = mask
            elif lo < hi:
                made[lo:hi] = probabilities(self.net, logits[lo:hi], mask)
        return made

    def _middle(self, p: Any, u: np.ndarray) -> np.ndarray:
        """M u, row by row (N, K)."""
        if self.space == "logits":
            return u * p
        made = np.empty_like(u)
        self.net.ops.softmax_backward(p, u, made)
        if self.space == "softmax":
            self.net.ops.softmax_backward(p, made.copy(), made)
        return made

    def _factor(self, p: Any, logits: np.ndarray) -> np.ndarray:
        """L (K, N, K) with sum_c L[c]^T L[c] = M."""
        classes = logits.shape[1]
        made = self.net.device.empty((classes, *logits.shape), logits.dtype)
        if self.space == "softmax-fisher":
            self.net.ops.softmax_fisher_factor(p, made)
            return made
        for c in range(classes):
            one = self.net.device.zeros(logits.shape, logits.dtype)
            one[:, c] = 1
            if self.space == "logits":
                made[c] = one * p
            else:
                self.net.ops.softmax_backward(p, one, made[c])
        return made

    def _factors(self, p: Any, logits: np.ndarray) -> Iterator[np.ndarray]:
        """The rows of `_factor`, as many at a time as there is room for."""
        if self.space == "softmax-fisher":
            yield from fisher_rows(self.net, p, self.net.plan(len(p)), self._room)
        else:
            yield self._factor(p, logits)

    # ---- products ----------------------------------------------------------------------------

    def product(self, v: np.ndarray) -> np.ndarray:
        """g v (P,)."""
        out = self.net.device.zeros((self.net.num_parameters,), self.net.dtype)
        scale = self.net.dtype.type(1 / self.n)
        for _, saved, p in self._passes():
            moved = self._middle(p, self.net.push(saved, v))
            self.net.pull(saved, moved * scale, out, beta=1.0)
        return out

    def products(self, v: np.ndarray) -> np.ndarray:
        """g v for each row of v (V, P) at once, (V, P): wide products in dense layers."""
        out = self.net.device.zeros(v.shape, self.net.dtype)
        scale = self.net.dtype.type(1 / self.n)
        for _, saved, p in self._passes():
            moved = self.net.push_many(saved, v)
            moved = np.stack([self._middle(p, one) for one in moved]) * scale
            out += self.net.pull_many(saved, moved)
        return out

    def pull(self, u: np.ndarray) -> np.ndarray:
        """1/N sum_n J_n^T M_n u_n (P,), for u (N, K): outputs that should move by u."""
        out = self.net.device.zeros((self.net.num_parameters,), self.net.dtype)
        scale = self.net.dtype.type(1 / self.n)
        for part, saved, p in self._passes():
            self.net.pull(saved, self._middle(p, u[part]) * scale, out, beta=1.0)
        return out

    def squared_length(self, v: np.ndarray) -> float:
        """v' g v, by forward passes alone."""
        v, e = scaled(self.net, v)
        total = 0.0
        for _, saved, p in self._passes():
            u = self.net.push(saved, v)
            total += float((u * self._middle(p, u)).sum(dtype=np.float64))
        return float(np.ldexp(max(total, 0.0) / self.n, 2 * e))

    def length(self, v: np.ndarray) -> float:
        """sqrt(v' g v): how far the outputs move along v."""
        v, e = scaled(self.net, v)
        return float(np.ldexp(np.sqrt(self.squared_length(v)), e))

    def rayleigh(self, v: np.ndarray) -> float:
        """v' g v / v' v: squared output velocity for each unit of squared weight speed."""
        v, _ = scaled(self.net, v)
        return self.squared_length(v) / max(inner(self.net, v, v), np.finfo(np.float64).tiny)

    def outputs(self) -> np.ndarray:
        """The logits (N, K) at these weights."""
        return np.concatenate([saved.outputs.copy() for _, saved, _ in self._passes()])

    def acceleration(self, v: np.ndarray) -> np.ndarray:
        """d^2 f[v, v] (N, K): the logits' second derivative along v."""
        return np.concatenate([self.net.second(saved, v) for _, saved, _ in self._passes()])

    def diagonal(self) -> np.ndarray:
        """g's diagonal (P,), by sums of squares: no matrix is formed. The trace is its sum."""
        total = self.net.device.zeros((self.net.num_parameters,), self.net.dtype)
        for _, saved, p in self._passes():
            for part in self._factors(p, saved.outputs):
                self.net.accumulate(saved, part, total, 2)
        total /= self.net.dtype.type(self.n)
        return total

    # ---- B and its Gram matrix -----------------------------------------------------------------

    def _whole(self) -> tuple[Saved, Any]:
        if len(self._parts) > 1:
            raise SettingError(
                f"the Gram matrix needs all {self.n} samples in one pass; give a larger room"
            )
        (_, saved, p), = self._passes()  # fmt: skip
        return saved, p

    def gram(self) -> np.ndarray:
        """B B^T (K N, K N), row (c, n); built layer by layer, no J is formed."""
        saved, p = self._whole()
        made = self.net.gram(saved, self._factor(p, saved.outputs))
        made *= self.net.dtype.type(1 / self.n)
        return made

    def half(self, v: np.ndarray) -> np.ndarray:
        """B v (K N,): v' g v is its squared length."""
        saved, p = self._whole()
        moved = (self._factor(p, saved.outputs) * self.net.push(saved, v)).sum(axis=2)
        return moved.reshape(-1) * self.net.dtype.type(self.n**-0.5)

    def half_transposed(self, a: np.ndarray) -> np.ndarray:
        """B^T a (P,), a (K N,)."""
        saved, p = self._whole()
        factor = self._factor(p, saved.outputs)
        weights = a.astype(self.net.dtype).reshape(factor.shape[:2])
        cotangent = (factor * weights[:, :, None]).sum(axis=0)
        return self.net.pull(saved, cotangent * self.net.dtype.type(self.n**-0.5))

    def dense(self) -> np.ndarray:
        """g as a matrix (P, P), a product for each weight: for tests of small networks."""
        size = self.net.num_parameters
        return np.stack([self.product(row) for row in np.eye(size, dtype=self.net.dtype)])

    # ---- spectrum ----------------------------------------------------------------------------

    def spectrum(self, count: int | None = None) -> np.ndarray:
        """Eigenvalues of g, largest first, in float64.

        The `count` largest, or None: all that can differ from 0, from the Gram matrix where it has
        at most EXACT rows, or from g itself where that has; else by Lanczos on products (64 unless
        told). Raises SettingError for a count below 1, or one that is neither.
        """
        size = self.net.num_parameters
        count = None if count is None else whole("spectrum's count", count, ANY)
        if count is not None and not 1 <= count <= min(self.rows, size):
            raise SettingError(
                f"spectrum got count={count}; of {self.rows} rows and {size} weights 1 to "
                f"{min(self.rows, size)} eigenvalues can differ from 0, None is all of them"
            )
        if self.rows <= EXACT:
            values = eigenvalues(self.net.device.get(self.gram()).astype(np.float64))[::-1]
        elif size <= EXACT:
            values = eigenvalues(self.net.device.get(self.dense()).astype(np.float64))[::-1]
        else:
            values = self._largest(count or 64)
        return np.maximum(values[:count], 0)

    def _largest(self, count: int) -> np.ndarray:
        """The `count` largest eigenvalues, by Lanczos; all orthogonal to those before."""
        get, put = self.net.device.get, self.net.device.put

        def product(v: np.ndarray) -> np.ndarray:
            return get(self.product(put(v.astype(self.net.dtype)))).astype(np.float64)

        tolerance = max(1e-12, 16 * float(np.finfo(self.net.dtype).eps))
        return lanczos(product, self.net.num_parameters, count, tolerance)


def _groups(net: Network, active: np.ndarray | None, n: int) -> list[tuple[slice, np.ndarray]]:
    """Neighbouring samples with the same classes: (rows, mask (K,) on the device)."""
    if active is None or active.ndim == 1:
        return [(slice(0, n), net.mask(active))]
    if active.shape != (n, net.num_outputs):
        raise ShapeError(
            f"active has shape {active.shape}; give ({net.num_outputs},), or a row for each of the "
            f"{n} samples"
        )
    cuts = [0, *(np.flatnonzero((active[1:] != active[:-1]).any(axis=1)) + 1).tolist(), n]
    return [(slice(lo, hi), net.mask(active[lo])) for lo, hi in pairwise(cuts)]


def effective_rank(values: np.ndarray) -> float:
    """exp of the entropy of values / sum: how many directions matter (Roy & Vetterli 2007)."""
    weights = values[values > 0] / values.sum()
    return float(np.exp(-(weights * np.log(weights)).sum()))
