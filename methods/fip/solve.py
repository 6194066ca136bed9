"""Directions of functionally invariant paths: the best step for little change of the outputs.

Eq. 4 of Raghavan & Thomson, min u' g u + beta u' v with |u| = length, has for every mu > 0 the
exact solution u = -length x / |x| of x = (g + mu I)^-1 v, for some beta. So mu is the dial: large,
u is the plain gradient's direction; small, what of it leaves the outputs alone. Four ways:

| how        | cost                                     | gives                                 |
|------------|------------------------------------------|---------------------------------------|
| "cg"       | a metric product an iteration            | x, to a tolerance                     |
| "woodbury" | a Gram matrix of N K rows, one solve     | x, exactly: few samples               |
| "dense"    | P products                               | x, exactly: tests                     |
| "sampled"  | a JVP a candidate                        | the best of random u: the paper's way |
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from ...kernels.errors import NonFiniteError, SettingError, check_name
from ...nnlite.init import generator
from .. import linear
from ..settings import whole
from ..vectors import inner, norm, scaled, times_power
from .metric import Metric

How = Literal["cg", "woodbury", "dense", "sampled"]
HOWS = ("cg", "woodbury", "dense", "sampled")
_KEY = 0xF1B


class Solution(NamedTuple):
    """x (P,) with (g + mu I) x = v, up to `residual` = |v - (g + mu I) x| / |v|."""

    x: np.ndarray
    iterations: int
    residual: float


def conjugate_gradients(
    metric: Metric,
    v: np.ndarray,
    mu: float,
    tolerance: float = 1e-3,
    iterations: int = 50,
    start: np.ndarray | None = None,
) -> Solution:
    """Solve (g + mu I) x = v (Hestenes & Stiefel 1952), a metric product an iteration.

    It ends at |residual| <= tolerance |v| or after so many iterations; without rounding rank(g) + 1
    would do. start: a guess (the step before). Raises SettingError unless mu > 0.
    """
    _check_mu(mu)
    dot = partial(inner, metric.net)
    v, scale = scaled(metric.net, v)  # the system is linear: so is x
    size = np.sqrt(dot(v, v))
    if size == 0:
        return Solution(np.zeros_like(v), 0, 0.0)
    if not np.isfinite(size):
        return Solution(v.copy(), 0, float("nan"))  # not 0, which would say that nothing pulls
    shift = v.dtype.type(mu)
    x = np.zeros_like(v) if start is None else times_power(start, -scale).copy()
    r = v.copy() if start is None else v - metric.product(x) - shift * x
    d, squared = r.copy(), dot(r, r)
    done = 0
    while done < iterations and np.sqrt(squared) > tolerance * size:
        moved = metric.product(d)
        moved += shift * d
        step = v.dtype.type(squared / dot(d, moved))
        x += step * d
        r -= step * moved
        before, squared = squared, dot(r, r)
        d *= v.dtype.type(squared / before)
        d += r
        done += 1
    return Solution(times_power(x, scale), done, float(np.sqrt(squared) / size))


def woodbury(metric: Metric, v: np.ndarray, mu: float) -> Solution:
    """x = (v - B' (B B' + mu I)^-1 B v) / mu, with the Gram matrix B B' (N K rows) in float64."""
    _check_mu(mu)
    device = metric.net.device
    gram = device.get(metric.gram()).astype(np.float64)
    gram[np.diag_indices_from(gram)] += mu
    inside = linear.solve(gram, device.get(metric.half(v)).astype(np.float64))
    x = (v - metric.half_transposed(device.put(inside))) / v.dtype.type(mu)
    return Solution(x, 1, _residual(metric, v, mu, x))


def dense(metric: Metric, v: np.ndarray, mu: float) -> Solution:
    """x by solving the (P, P) system, for tests."""
    _check_mu(mu)
    device = metric.net.device
    matrix = device.get(metric.dense()).astype(np.float64)
    matrix[np.diag_indices_from(matrix)] += mu
    x = device.put(linear.solve(matrix, device.get(v).astype(np.float64)).astype(v.dtype))
    return Solution(x, 1, _residual(metric, v, mu, x))


def _residual(metric: Metric, v: np.ndarray, mu: float, x: np.ndarray) -> float:
    r = v - metric.product(x) - v.dtype.type(mu) * x
    size = norm(metric.net, v)
    return norm(metric.net, r) / size if size else 0.0


def sampled(
    metric: Metric,
    v: np.ndarray,
    beta: float,
    length: float,
    candidates: int = 64,
    seed: int = 0,
    number: int = 0,
) -> np.ndarray:
    """The u (P,) of |u| = length with the smallest u' g u + beta u' v among random ones.

    The paper's stochastic sampler on the epsilon-ball. Among P weights a random direction has next
    to nothing of v in it, which is why the solvers above exist. number: of the step, for the draws.
    """
    whole("sampled's candidates", candidates)
    best, lowest = v, np.inf
    for candidate in range(candidates):
        u = random_direction(metric.net, length, seed, number * candidates + candidate)
        value = metric.squared_length(u) + beta * inner(metric.net, u, v)
        if not np.isfinite(value):
            raise NonFiniteError(
                f"candidate {candidate} moves the outputs by {value}: none is best"
            )
        if value < lowest:
            best, lowest = u, value
    return best


def random_direction(net: Any, length: float, seed: int, number: int) -> np.ndarray:
    """Direction `number` (P,) of that length, uniform over the sphere, by Philox(seed)."""
    u = generator(seed, _KEY, number).normal(size=net.num_parameters)
    size = np.sqrt((u * u).sum())  # not by a BLAS, whose threads would change bits
    return net.device.put((u * (length / size)).astype(net.dtype))


def solve(metric: Metric, v: np.ndarray, mu: float, how: How = "cg", **settings: Any) -> Solution:
    """(g + mu I)^-1 v by name: "cg", "woodbury" or "dense". Raises UnknownNameError."""
    solvers = {"cg": conjugate_gradients, "woodbury": woodbury, "dense": dense}
    check_name("solver", how, solvers)
    return solvers[how](metric, v, mu, **settings)


def _check_mu(mu: float) -> None:
    if not mu > 0:
        raise SettingError(f"mu={mu}: the system g + mu I needs mu above 0")
