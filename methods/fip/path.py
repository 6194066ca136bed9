"""Functionally invariant paths: walks in weight space along which the outputs change little.

    u_t = -length x / |x|,   (g_t + mu I) x = v_t,   v_t = grad L + anchor * g-residual

L is a second objective (another task, sparsity). With none (L = 0, Eq. 3) every direction in which
the outputs stay is as good as any other, and the paper does not say which to take. Three `wander`:

| wander   | the step                                                           | the path |
|----------|--------------------------------------------------------------------|----------|
| "onward" | v_t the last step's direction, the first at random                 | a ray    |
| "afresh" | v_t = z_t at random: x keeps mu / (lambda + mu) of it in each      | bends    |
|          | eigenvector of g, so what is left lies where g is lowest           |          |
| "ball"   | u = length z_t / |z_t|, anywhere on the ball; then on it down to   | bends    |
|          | the start's outputs, u <- length (u + d) / |u + d|, d as below     |          |

Directions drawn apart are at right angles among so many weights: S steps lead sqrt(S) far, not S.

Eq. 4 has no memory: small changes add up. Two things pull back to the outputs f_0 of the start: the
anchor, as part of v, and after each step one damped Gauss-Newton step,

    theta += (g + nu I)^-1 J' M (f_0 - f) / N
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ...kernels.errors import DivergedError, NonFiniteError, SettingError, check_name
from ...nnlite import Network
from ..linear import eigenvectors, product
from ..settings import POSITIVE, real, whole
from ..vectors import inner, norm, scaled
from .metric import Metric, Space
from .solve import HOWS, How, conjugate_gradients, random_direction, sampled, solve

# gradient(net) -> (P,), that of the second objective at net.theta
Gradient = Callable[[Network], np.ndarray]
# inputs(step) -> (N, ...), those of a step, from 1: no fixed few are held while the rest drift
Inputs = Callable[[int], np.ndarray]
Lengths = Callable[[int], float]  # lengths(step) -> how long that step is; 0: there is none
Wander = Literal["onward", "afresh", "ball"]  # where to go where nothing pulls
WANDERS = ("onward", "afresh", "ball")


@dataclass(frozen=True)
class Step:
    """What one step did. length: |u|. output: sqrt(u' g u), how far it moved the outputs.

    solves: iterations of the solver. moved: |theta - theta_0| after it. back: length of the way
    back that followed.
    """

    length: float
    output: float
    solves: int
    moved: float
    back: float = 0.0

    @property
    def velocity(self) -> float:
        """Output moved for each unit of weights moved: the root of the Rayleigh quotient."""
        return self.output / self.length if self.length else 0.0


@dataclass(frozen=True)
class Path:
    """A walk: weights (S, P) at `at` (S,), the numbers of the steps after which they were taken."""

    weights: np.ndarray
    at: np.ndarray
    steps: tuple[Step, ...]

    @property
    def output_length(self) -> float:
        """sum sqrt(u' g u): the path's length in the metric."""
        return sum(step.output for step in self.steps)

    @property
    def weight_length(self) -> float:
        """Its length in weights: sum |u|, and of the ways back."""
        return sum(step.length + step.back for step in self.steps)

    def principal(self, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
        """(coordinates (S, count), shares (count,)): weights on their principal components.

        shares: of the whole variance. Raises SettingError for more components than weights - 1.
        """
        return principal(self.weights, count)


def principal(weights: np.ndarray, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of S weights (S, P), through their (S, S) inner products."""
    if not 0 < count < len(weights):
        raise SettingError(
            f"{len(weights)} weights have {len(weights) - 1} components, not {count}"
        )
    centred = weights.astype(np.float64) - weights.mean(axis=0, dtype=np.float64)
    values, vectors = eigenvectors(product(centred, centred.T))
    values = np.maximum(values[::-1], 0)
    coordinates = vectors[:, ::-1][:, :count] * np.sqrt(values[:count])
    signs = np.sign(coordinates[-1]) + (coordinates[-1] == 0)  # the end has positive coordinates
    return coordinates * signs, values[:count] / max(values.sum(), np.finfo(np.float64).tiny)


def path(
    net: Network,
    x: np.ndarray | Inputs,
    gradient: Gradient | None = None,
    *,
    steps: int = 100,
    length: float | Lengths = 0.01,
    wander: Wander = "onward",
    rounds: int = 2,
    mu: float = 1e-3,
    how: How = "cg",
    anchor: float = 0.0,
    nu: float | None = None,
    space: Space = "softmax-fisher",
    active: np.ndarray | None = None,
    keep_every: int = 1,
    iterations: int = 20,
    beta: float = 1.0,
    seed: int = 0,
    watch: Callable[[int, Network], None] | None = None,
) -> Path:
    """Walk `net` (its theta moves) so that outputs on x (N, ...), or on x(step), change little.

    gradient: of what is to fall; None walks anywhere (L = 0), as `wander` says; rounds: of a ball's
    descent. length: of a step, or of each (0: it ends there). mu, how, iterations: of the solver
    (`solve`); "sampled" takes `beta` and no mu. anchor: weight of the pull back to the first
    outputs. nu: damping of the way back after each step, by `iterations` of conjugate gradients;
    None: no way back. keep_every: steps between the weights that are kept (the first and the last
    always are). watch(step, net) is called after each step.

    Raises SettingError or UnknownNameError for settings outside this, DivergedError naming the step
    where it leads to NaN or infinity; theta is then that of the step before.
    """
    check_name("solver", how, HOWS)
    for name, count in (("steps", steps), ("keep_every", keep_every), ("rounds", rounds)):
        whole(f"path's {name}", count)
    if not callable(length):
        real("path's length", length, POSITIVE)
    fixed = None if callable(x) else Metric(net, x, space, active)
    walk = _Directions(net, gradient, mu, how, anchor, nu, iterations, beta, seed, wander, rounds)
    get, start = net.device.get, net.theta.copy()
    kept, at, taken = [get(start).copy()], [0], []
    for number in range(1, steps + 1):
        metric = Metric(net, x(number), space, active) if callable(x) else fixed
        assert metric is not None
        size = length(number) if callable(length) else length
        step = walk.step(net, metric, number, size, start) if size else None
        if step is None:
            break  # it is done, or nothing pulls any more
        taken.append(step)
        if number % keep_every == 0 or number == steps:
            kept.append(get(net.theta).copy())
            at.append(number)
        if watch is not None:
            watch(number, net)
    if at[-1] != len(taken):  # it ended early, between two that are kept
        kept.append(get(net.theta).copy())
        at.append(len(taken))
    return Path(np.stack(kept), np.array(at), tuple(taken))


class _Directions:
    """The choice of directions, and what it remembers from one to the next."""

    def __init__(
        self, net: Network, gradient: Gradient | None, mu: float, how: How, anchor: float,
        nu: float | None, iterations: int, beta: float, seed: int, wander: Wander, rounds: int,
    ) -> None:  # fmt: skip
        check_name("wander", wander, WANDERS)
        if wander == "ball" and (gradient is not None or nu is None):
            raise SettingError(
                "wander='ball' goes down to the first outputs by steps that nu damps, and along no "
                f"gradient: give nu above 0 (now {nu}) and gradient=None"
            )
        self.gradient, self.mu = gradient, mu
        self.how: How = how
        self.anchor, self.nu, self.iterations = anchor, nu, iterations
        self.beta, self.seed = beta, seed
        self.wander, self.rounds = wander, rounds
        self.start = net.like() if anchor or nu is not None else None
        self.before: np.ndarray | None = None  # the last solution

    def step(
        self, net: Network, metric: Metric, number: int, length: float, start: np.ndarray
    ) -> Step | None:
        """Move `net` one step; None where nothing pulls. Raises DivergedError, moving nothing."""
        on_ball = self.wander == "ball"
        if on_ball:
            u, solves = self.lowest_on_ball(net, metric, number, length)
        else:
            found, solves = self.direction(net, metric, number, length)
            if found is None:
                return None
            u = found
        output = metric.length(u)
        if not np.isfinite(output):
            raise DivergedError(
                f"step {number} of the path would move the outputs by {output}: take shorter steps "
                f"(now {length}), or a larger mu (now {self.mu})"
            )
        net.theta += u
        metric.move()
        back = 0.0
        if self.nu is not None and not on_ball:
            way = self.way_back(metric)
            net.theta += way
            metric.move()
            back = norm(net, way)
        return Step(length, output, solves, norm(net, net.theta - start), back)

    def lowest_on_ball(
        self, net: Network, metric: Metric, number: int, length: float
    ) -> tuple[np.ndarray, int]:
        """(u (P,), rounds): drawn on the ball's surface, then down it to the start's outputs."""
        here = net.theta.copy()
        u = random_direction(net, length, self.seed, number)
        for _ in range(self.rounds):
            net.theta[:] = here + u
            metric.move()
            u += self.way_back(metric)
            u *= net.dtype.type(length / norm(net, u))
        net.theta[:] = here
        metric.move()
        return u, self.rounds

    def direction(
        self, net: Network, metric: Metric, number: int, length: float
    ) -> tuple[np.ndarray | None, int]:
        """(u (P,) of that length, iterations); None where v is 0."""
        v = self._pulled(net, metric, number)
        if self.how == "sampled":
            return sampled(metric, v, self.beta, length, seed=self.seed, number=number), 0
        more: dict[str, Any] = {}
        if self.how == "cg":
            guess = None if self.gradient is None else self.before
            more = {"iterations": self.iterations, "start": guess}
        found = solve(metric, v, self.mu, self.how, **more)
        self.before = found.x
        x, _ = scaled(net, found.x)
        size = norm(net, x)
        if size == 0:
            return None, found.iterations
        return x * net.dtype.type(-length / size), found.iterations

    def way_back(self, metric: Metric) -> np.ndarray:
        """The damped Gauss-Newton step (P,) towards the outputs of the start."""
        assert self.nu is not None
        pull = metric.pull(-self._away(metric))
        return conjugate_gradients(metric, pull, self.nu, iterations=self.iterations).x

    def _away(self, metric: Metric) -> np.ndarray:
        """How far the outputs (N, K) are from those of the start."""
        assert self.start is not None
        return metric.outputs() - self.start.forward(metric.x)

    def _pulled(self, net: Network, metric: Metric, number: int) -> np.ndarray:
        """v (P,): what the step would go down, were there no metric."""
        if self.gradient is not None:
            v = self.gradient(net)
        elif self.before is None or self.wander == "afresh":
            afresh = self.wander == "afresh"
            v = -random_direction(net, 1.0, self.seed, number if afresh else 0)
        else:  # go on; scaled so that mu keeps its meaning
            x, _ = scaled(net, self.before)
            v = x / net.dtype.type(norm(net, x))
        if self.anchor:
            v = v + metric.pull(self._away(metric)) * net.dtype.type(self.anchor)
        return v


def refine(
    net: Network,
    x: np.ndarray,
    weights: np.ndarray,
    *,
    rounds: int = 10,
    mu: float = 1e-3,
    iterations: int = 20,
    space: Space = "logits",
) -> np.ndarray:
    """A path's weights (S, P), ends fixed, relaxed towards a geodesic of g + mu I.

    A geodesic has w'' = -Gamma(w', w'), Gamma(u, u) = (g + mu I)^-1 J' M d^2 f[u, u] / N, the
    second derivative by one second-order forward pass. Each round sets every inner point to
    (w_before + w_after + Gamma(d, d)) / 2, d = (w_after - w_before) / 2, where that lowers
    `energy`, halving the move where it does not. `net` is left as it was.
    """
    here = net.theta.copy()
    metric = Metric(net, x, space)
    weights = weights.copy()
    lowest = energy(net, x, weights, mu, space)
    if not np.isfinite(lowest):
        raise NonFiniteError(f"the path's energy is {lowest}: no other can be lower")
    for _ in range(rounds):
        proposed = weights.copy()
        for i in range(1, len(weights) - 1):
            before, after = weights[i - 1], weights[i + 1]
            net.theta[:] = net.device.put(weights[i])
            metric.move()
            d = net.device.put((after - before) / 2)
            bent = metric.pull(metric.acceleration(d))
            gamma = conjugate_gradients(metric, bent, mu, iterations=iterations).x
            proposed[i] = (before + after + net.device.get(gamma)) / 2
        share = 1.0
        while share > 1e-3:
            tried = weights + weights.dtype.type(share) * (proposed - weights)
            value = energy(net, x, tried, mu, space)
            if value < lowest:
                weights, lowest = tried, value
                break
            share /= 2
        else:
            break
    net.theta[:] = here
    return weights


def energy(
    net: Network, x: np.ndarray, weights: np.ndarray, mu: float, space: Space = "logits"
) -> float:
    """sum over steps d of d' g d + mu d' d, g at each step's middle: least on a geodesic."""
    here = net.theta.copy()
    metric = Metric(net, x, space)
    total = 0.0
    for a, b in pairwise(weights):
        net.theta[:] = net.device.put((a + b) / 2)
        metric.move()
        d = net.device.put(b - a)
        total += metric.squared_length(d) + mu * inner(net, d, d)
    net.theta[:] = here
    return total
