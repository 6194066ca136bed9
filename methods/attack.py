"""PGD: the steepest small change of inputs that makes a network, or an ensemble, fail.

    x^0 = x + U(-eps, eps);   x^{k+1} = clip( x^k + alpha sign(d L / d x) )

(Madry et al. 2018, arXiv 1706.06083), clip: into the L-infinity ball of eps around x and into the
range of pixels. L is -log of the true class's probability; of an ensemble, of its mean probability.
FGSM (Goodfellow et al. 2015) is the case of one step of alpha = eps from x itself.

Two things keep an attack from looking weaker than it is. A sure network's gradient, p - e_y, is
lost in float32 (1 - p is 0); only its sign matters, so each sample's is divided by its 1 - p_y,
in logarithms, and never vanishes. And what is handed back is the worst of all points visited, of
all restarts: more steps of the same size, or more restarts, cannot weaken it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..kernels.errors import NonFiniteError, SettingError
from ..nnlite import Network
from ..nnlite.checks import settle
from ..nnlite.init import generator
from ..nnlite.settings import ANY, NOT_NEGATIVE, POSITIVE, flag, real, whole
from .ensemble import Ensemble, check_finite, log_softmax
from .evaluate import check_classifies, labels

Level = float | Sequence[float] | np.ndarray  # of all channels, or one a channel
_SURELY_WRONG = 1e6  # no -log p of a float32 softmax comes near it


class Attacked(NamedTuple):
    """The inputs an attack found, the loss there, and whether the target still has them right."""

    x: np.ndarray  # (N, *input_shape)
    loss: np.ndarray  # (N,) -log of the true class's (mean) probability
    right: np.ndarray  # (N,) bool


class _Look(NamedTuple):
    """What one forward pass of all members says of a batch."""

    loss: np.ndarray  # (N,)
    right: np.ndarray  # (N,)
    cotangents: np.ndarray  # (V, N, K), each sample's multiplied by some positive number


def _look(outputs: np.ndarray, y: np.ndarray) -> _Look:
    """Loss, answers and the ascent direction at the logits (V, N, K), for true classes y (N,).

    With p_v the members' softmaxes, the gradient of -log mean_v p_v[y] by member v's logits is
    proportional to p_v[y] (1 - p_v[y]) (q_v - e_y), q_v: the softmax over the other classes alone.
    """
    true = np.eye(outputs.shape[-1], dtype=bool)[y]
    logs = log_softmax(outputs)
    of_true = np.where(true, logs, 0).sum(axis=-1)  # (V, N)
    top = of_true.max(axis=0)
    loss = math.log(len(logs)) - top - np.log(np.exp(of_true - top).sum(axis=0))
    right = np.exp(logs).mean(axis=0).argmax(axis=-1) == y
    others = np.where(true, -np.inf, logs)
    peak = others.max(axis=-1, keepdims=True)
    shares = np.exp(others - peak)
    total = shares.sum(axis=-1, keepdims=True)
    weight = of_true + (peak + np.log(total))[..., 0]
    weight = np.exp(weight - weight.max(axis=0))[..., None]
    return _Look(loss, right, (weight * (shares / total - true)).astype(outputs.dtype))


def ascent(nets: Sequence[Network], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """d/dx of -log mean_v p_v(y | x), each sample's times some positive number: like x.

    For what knows signs or angles only; it does not vanish where a network is sure. Mode "eval".
    Raises SettingError for a network without a softmax or with one class, NonFiniteError for
    one that has diverged.
    """
    _check(nets, "an attack's gradient")
    return _climb(nets, x, y)[1]


def _check(nets: Sequence[Network], what: str) -> None:
    for net in nets:
        check_classifies(net, what)
    if nets[0].num_outputs == 1:
        raise SettingError("an attack looks for a wrong class, and this network has only one class")


def _climb(
    nets: Sequence[Network], x: np.ndarray, y: np.ndarray, back: bool = True, step: int = 0
) -> tuple[_Look, Any]:
    """`_look` at x (n, ...) and, with `back`, the ascent direction there.

    Raises NonFiniteError for a member whose outputs are none, naming it and the `step`.
    """
    passes = [net.trace(x) for net in nets]
    device = nets[0].device
    outputs = np.stack([device.get(saved.outputs) for saved in passes])  # a few numbers a sample
    for number, scores in enumerate(outputs):
        check_finite(scores, f"attacked network {number} of {len(nets)}, at step {step}")
    look, total = _look(outputs, y), None
    if back:
        for net, saved, cotangent in zip(nets, passes, look.cotangents, strict=True):
            dx = net.pull_input(saved, cotangent)
            total = dx.copy() if total is None else total + dx
    return look, total


@dataclass(frozen=True)
class PGD:
    """An L-infinity attack and its settings; `run` carries it out.

    epsilon: the ball's radius, in units of pixels from lo to hi. alpha: a step; None: 2.5 epsilon /
    steps (Madry). restarts: random starts, of which each sample keeps the worst; with random_start
    False the only start is x itself. mean, deviation: how inputs were made of pixels,
    (pixel - mean) / deviation, numbers or one a channel; ball and range are the pixels'.

    Raises SettingError for settings that make no attack.
    """

    epsilon: float = 8 / 255
    alpha: float | None = None
    steps: int = 20
    restarts: int = 1
    random_start: bool = True
    mean: Level = 0.0
    deviation: Level = 1.0
    lo: float = 0.0
    hi: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        settle(
            self,
            epsilon=real("PGD.epsilon", self.epsilon, NOT_NEGATIVE),
            alpha=None if self.alpha is None else real("PGD.alpha", self.alpha, POSITIVE),
            steps=whole("PGD.steps", self.steps),
            restarts=whole("PGD.restarts", self.restarts),
            random_start=flag("PGD.random_start", self.random_start),
            lo=real("PGD.lo", self.lo),
            hi=real("PGD.hi", self.hi),
            seed=whole("PGD.seed", self.seed, ANY),
        )
        if self.restarts > 1 and not self.random_start:
            raise SettingError(f"PGD: {self.restarts} restarts need random_start, or are all one")
        if not self.lo < self.hi:
            raise SettingError(f"PGD got pixels from lo={self.lo} to hi={self.hi}; lo is below hi")
        if np.min(self.deviation) <= 0 or not np.isfinite(self.deviation).all():
            raise SettingError(f"PGD got deviation={self.deviation}; each must be above 0")
        if not np.isfinite(self.mean).all():
            raise SettingError(f"PGD got mean={self.mean}; each must be finite")

    @property
    def step(self) -> float:
        """The length of a step, in pixels."""
        return 2.5 * self.epsilon / self.steps if self.alpha is None else self.alpha

    def run(self, target: Network | Ensemble, x: np.ndarray, y: np.ndarray) -> Attacked:
        """Attack `target` at x (N, *input_shape) with true classes y (N,).

        x lies on the host, and what is found as well; samples that need each other (batch
        statistics) are attacked together. Raises NonFiniteError for a target that has diverged or
        inputs that are not finite; SettingError for a network without a softmax, for inputs outside
        the range of pixels, or of a channel number that mean and deviation do not fit; the
        network's errors for x and y that it cannot take.
        """
        ensemble = target if isinstance(target, Ensemble) else Ensemble([target])
        _check(ensemble.nets, "what an attack raises, -log p of the true class,")
        y = labels(ensemble.nets[0], len(x), y)
        box = self._box(x)
        worst = Attacked(x.copy(), np.full(len(x), -np.inf), np.ones(len(x), bool))
        for restart in range(self.restarts):
            start = self._start(x, restart, box)
            for rows in ensemble.parts(len(x)):
                part = Attacked(*(array[rows] for array in worst))
                self._descend(ensemble.nets, start[rows], y[rows], box.at(rows), part)
        return worst

    def _level(self, level: Level, x: np.ndarray) -> np.ndarray:
        values = np.asarray(level, np.float64)
        if values.shape not in ((), x.shape[-1:]):
            raise SettingError(
                f"PGD got mean={self.mean}, deviation={self.deviation} for inputs {x.shape[1:]}: "
                "give a number, or one a channel"
            )
        return values

    def _box(self, x: np.ndarray) -> _Box:
        """Where each input may go, in the network's own units."""
        mean, deviation = self._level(self.mean, x), self._level(self.deviation, x)
        low, high = ((edge - mean) / deviation for edge in (self.lo, self.hi))
        slack = 1e-5 * (high - low)
        if not np.isfinite(x).all():
            raise NonFiniteError("PGD got inputs with NaN or infinity: they lie in no ball")
        if (x < low - slack).any() or (x > high + slack).any():
            raise SettingError(
                f"PGD got inputs from {x.min():.4g} to {x.max():.4g}, outside the range of pixels "
                f"({self.lo} to {self.hi}): say how they were normalised, mean and deviation"
            )
        radius = self.epsilon / deviation
        low, high = np.maximum(x - radius, low), np.minimum(x + radius, high)
        return _Box(low.astype(x.dtype), high.astype(x.dtype),
                    (self.step / deviation).astype(x.dtype))  # fmt: skip

    def _start(self, x: np.ndarray, restart: int, box: _Box) -> np.ndarray:
        if not self.random_start:
            return x
        rng = generator(self.seed, 0x96D, restart)
        radius = self.epsilon / self._level(self.deviation, x)
        noise = rng.uniform(-1, 1, x.shape) * radius
        return np.clip((x + noise).astype(x.dtype), box.low, box.high)

    def _descend(self, nets, x, y, box: _Box, worst: Attacked) -> None:
        """Walk from x (n, ...) and keep the worst point of each sample in `worst`, in place."""
        device = nets[0].device
        for number in range(self.steps + 1):
            look, dx = _climb(nets, x, y, number < self.steps, number)
            before = worst.loss + _SURELY_WRONG * ~worst.right
            better = look.loss + _SURELY_WRONG * ~look.right > before
            for kept, found in zip(worst, (x, look.loss, look.right), strict=True):
                kept[better] = found[better]
            if dx is not None:
                x = np.clip(x + box.step * np.sign(device.get(dx)), box.low, box.high)


class _Box(NamedTuple):
    """Bounds (N, ...) of inputs and the step, () or (C,), in the network's units."""

    low: np.ndarray
    high: np.ndarray
    step: np.ndarray

    def at(self, rows: slice) -> _Box:
        return _Box(self.low[rows], self.high[rows], self.step)


def fgsm(epsilon: float = 8 / 255, **settings: Any) -> PGD:
    """The fast gradient sign method: PGD of one step of epsilon from x itself."""
    return replace(PGD(epsilon, steps=1, random_start=False, **settings), alpha=epsilon or None)
