"""GEM and A-GEM: the step may not raise the loss on what is remembered, to first order.

GEM (Lopez-Paz & Ranzato 2017, eq. 8 to 11) asks it of each task. With g the batch's gradient and
g_k that of the mean loss over task k's memory, g is kept where <g, g_k> >= 0 for all k. Else

    z = argmin 1/2 ||z - g||^2  s.t. <z, g_k> >= 0
      = g + sum_k v_k g_k,  v = argmin 1/2 v' G G' v + (G g)' v  s.t. v >= 0,  rows of G: g_k

A-GEM (Chaudhry et al. 2019, eq. 11) asks it of one gradient r, of the mean loss over a batch drawn
from the whole memory: z = g - (<g, r> / <r, r>) r where <g, r> < 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..kernels.errors import ShapeError
from ..kernels.host_blas import one_blas_thread
from ..nnlite import Network
from ..nnlite.optim import Optimizer
from ..nnlite.workspace import Mode
from .linear import least_squares
from .rehearsal import Rehearsal
from .settings import COUNT, NOT_NEGATIVE, limited
from .vectors import exponents, inner_products, times_power


@dataclass
class _Projection(Rehearsal):
    """Gradients of the memory beside that of the batch, in mode "eval" unless told otherwise.

    The constraints are about the network that will be tested, and asking for them should change
    nothing. (The authors' code runs its memories in train mode.)
    """

    mode: Mode = "eval"

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self._room: np.ndarray | None = None

    def _vectors(self, net: Network, count: int) -> np.ndarray:
        """Room for `count` gradients, (count, P): the same as long as their number is."""
        room = self._room
        if room is None or len(room) != count:
            room = self._room = net.device.empty((count, net.num_parameters), net.dtype)
        return room


@dataclass
class GEM(_Projection):
    """GEM: each task's memory puts one half-space to the gradient. See the module's text.

    As in the authors' code, `ridge` is added to the diagonal of G G', and v >= `margin` (their
    memory strength) in place of v >= 0: a step that would hurt is turned further, towards lower
    losses on old tasks. ridge=0, margin=0 is the projection as printed.
    """

    name = "gem"
    convention = "gradient projected to <z, g_k> >= 0 for every old task, v >= margin"
    limits = limited(margin=NOT_NEGATIVE, ridge=NOT_NEGATIVE)
    margin: float = 0.5
    ridge: float = 1e-3

    def _rows(self, kept: Sequence[int], batch: int) -> Sequence[int]:
        return kept

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        memory = self.memory
        if not memory.tasks:
            return
        rows = self._vectors(net, memory.tasks + 1)
        for k, row in enumerate(rows[:-1]):
            memory.loss_gradient(net, memory.of_task(k), row, mode=self.mode)
        rows[-1][...] = grad
        e = exponents(net, rows)
        rows = times_power(rows, -e)
        products = inner_products(net, rows, rows)
        if (products[-1, :-1] >= 0).all() or not np.isfinite(products).all():
            return  # where they are not finite training has diverged, as `fit` is about to say
        # z / 2^e_g = g' + sum_k w_k g_k' of the scaled rows g', with w_k = v_k 2^(e_k - e_g)
        margin, ridge = np.ldexp(self.margin, e[:-1] - e[-1]), np.ldexp(self.ridge, -2 * e[:-1])
        weights = project(products[:-1, :-1], products[-1, :-1], margin, ridge)
        for weight, row in zip(np.ldexp(weights, e[-1]), rows[:-1], strict=True):
            grad += net.dtype.type(weight) * row


@dataclass
class AGEM(_Projection):
    """A-GEM: one half-space, of the mean over `batch` samples of all old tasks. See the module."""

    name = "agem"
    convention = "gradient projected to <z, r> >= 0, r over a batch from the memory of all tasks"
    limits = limited(batch=COUNT)
    batch: int = 256

    def _rows(self, kept: Sequence[int], batch: int) -> Sequence[int]:
        return (min(self.batch, sum(kept)),)

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        if not self.memory.tasks:
            return
        rows = self._vectors(net, 2)
        self.memory.loss_gradient(net, self._draw(self.batch), rows[0], mode=self.mode)
        rows[1][...] = grad
        e = exponents(net, rows)
        rows = times_power(rows, -e)
        products = inner_products(net, rows, rows)
        if products[1, 0] < 0:  # r's own scale is not needed: it cancels
            part = np.ldexp(products[1, 0] / products[0, 0], e[1])
            grad -= net.dtype.type(part) * rows[0]


@one_blas_thread
def project(
    gram: np.ndarray,
    inner: np.ndarray,
    margin: float | np.ndarray = 0.0,
    ridge: float | np.ndarray = 0.0,
) -> np.ndarray:
    """GEM's v (V,) = argmin 1/2 v' (gram + ridge I) v + inner' v, v >= margin, float64.

    gram (V, V) = G G', inner (V,) = G g; margin and ridge may be one a task. With u = v - margin
    >= 0 this is a non-negative least squares problem in normal equations, solved exactly by Lawson
    & Hanson's active set.

    Raises ShapeError for arrays that do not fit each other.
    """
    if gram.shape != (len(inner), len(inner)):
        raise ShapeError(f"GEM's dual got a gram of {gram.shape} and {len(inner)} inner products")
    p = (gram + gram.T) / 2 + np.diag(np.broadcast_to(ridge, inner.shape))
    q = inner + (p * margin).sum(axis=1)
    scale = _scale(np.diag(p))
    return margin + scale * _least(p * scale * scale[:, None], q * scale)


def _scale(diagonal: np.ndarray) -> np.ndarray:
    """Powers of two (V,) that bring a diagonal (V,) near 1, where it spans more than 2^40."""
    used = diagonal[diagonal > 0]
    if not used.size or used.max() < 2.0**40 * used.min():
        return np.ones_like(diagonal)
    return np.ldexp(1.0, -(np.frexp(np.where(diagonal > 0, diagonal, 1.0))[1] // 2))


def _least(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """u (V,) = argmin 1/2 u' p u + q' u  s.t. u >= 0, for p (V, V) positive semi-definite."""
    u, free = np.zeros_like(q), np.zeros(len(q), bool)
    small = 1e-12 * np.abs(q).max(initial=0)
    for _ in range(10 * len(q)):  # it ends long before; rounding must not make it go round
        descent = np.where(free, -np.inf, -((p * u).sum(axis=1) + q))
        best = int(descent.argmax())
        if descent[best] <= small:
            break
        free[best] = True
        while True:
            s = np.zeros_like(u)
            s[free] = least_squares(p[np.ix_(free, free)], -q[free])
            outside = free & (s <= 0)
            if not outside.any():
                break
            # towards s as far as the first of them allows, and that one is held at 0
            part = np.full_like(u, np.inf)
            part[outside] = u[outside] / (u[outside] - s[outside])
            u += part.min() * (s - u)
            free[part.argmin()] = False
            u[~free] = 0
        u = s
    return u
