"""A path to a sparse network along which the network's answers stay (Raghavan & Thomson, 2022).

    u  = grad over a batch of sum BD(softmax f(w), softmax f(w0)) + pull (w - P_p(w))
    w <- w - lr u / ||u||          (the authors' step), or Adam on u

P_p is the magnitude projection, made anew at every step, w0 the dense network, frozen. What is
reported is the projection. No label is read unless `labels` says so.

Three things are added to the authors' step, each a setting; at very high sparsity all three are
needed (docs/fip-sparsify.md): the answers that must stay can be those of the projection, since that
is what is reported (at="projection"); p grows along the path; and on its last stretch the zeros are
fixed, so only survivors move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from ...kernels.compiling import clock
from ...kernels.errors import DivergedError, SettingError, ShapeError
from ...nnlite import Network
from ...nnlite.optim import Adam, Optimizer, Streams
from ...nnlite.workspace import Mode
from ..batches import Batches
from ..evaluate import outputs
from ..fit import Augment
from ..importance import label_cotangent, probabilities
from ..pruning import Magnitude, check_sparsity, slower
from ..settings import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, check_settings, limited, whole
from ..vectors import norm, scaled
from .distance import bhattacharyya

At = Literal["projection", "weights"]
COLDEST = 0.01  # the last stretch ends at this share of the learning rate
_KEY = 0x5FA  # the path's batches have random streams of their own


@dataclass(frozen=True)
class SparsePath:
    """How the path is walked.

    at: whose answers are kept, those of the "projection" P_p(w) or of the dense "weights" w; the
    gradient moves w either way. optimizer: what steps along u; None is the authors' normalised
    step, of length `length`. pull: lambda1 above. growth: the share of the steps over which p grows
    to its end, p (1 - (1 - t)^3); 0 begins there. settle: the share of the last steps with the
    zeros fixed, on which the rate falls along half a cosine; 0 leaves it out. labels: this share of
    the distance is replaced by the cross-entropy with the task's labels. mode: in which batch norms
    run; "train" lets their running statistics follow the path. rule: what P_p looks at. augment:
    changes each batch, and the dense network is asked about what it became.

    Raises SettingError or UnknownNameError for settings outside what they may be.
    """

    limits = limited(
        steps=COUNT, batch_size=COUNT, length=POSITIVE, pull=NOT_NEGATIVE, growth=SHARE,
        settle=SHARE, labels=SHARE,
    )  # fmt: skip
    steps: int = 6000
    batch_size: int = 200
    at: At = "projection"
    optimizer: Optimizer | None = field(default_factory=Adam)
    length: float = 0.01
    pull: float = 0.1
    growth: float = 0.5
    settle: float = 0.4
    labels: float = 0.0
    mode: Mode = "eval"
    rule: Magnitude = field(default_factory=Magnitude)
    augment: Augment | None = None

    def __post_init__(self) -> None:
        check_settings(self, "SparsePath")
        if self.growth + self.settle > 1:
            raise SettingError(
                f"SparsePath got growth={self.growth}, settle={self.settle}: shares of the steps, "
                "no more than 1 together"
            )


def authors_path(**changes: Any) -> SparsePath:
    """The path as the authors' code walks it: their step, the final p from the start."""
    theirs: dict[str, Any] = {"at": "weights", "optimizer": None, "growth": 0.0, "settle": 0.0}
    return SparsePath(**{**theirs, **changes})


class Point(NamedTuple):
    """Where the path is after `step` steps.

    sparsity: p by now. distance: ||w - P_p(w)||. apart: the mean distance of the batch's answers
    from the dense network's. watched: what the caller's `watch` found on the projection, or None.
    """

    step: int
    sparsity: float
    distance: float
    apart: float
    watched: float | None


class SparseResult(NamedTuple):
    """The sparse network, a new one, with its mask (P,), the path's record and its seconds."""

    net: Network
    mask: np.ndarray
    record: list[Point]
    seconds: float


def sparsify(
    net: Network,
    x: np.ndarray,
    sparsity: float,
    settings: SparsePath | None = None,
    *,
    y: np.ndarray | None = None,
    active: np.ndarray | None = None,
    seed: int = 0,
    look: int = 500,
    watch: Callable[[Network], float] | None = None,
    keep: Callable[[int, np.ndarray], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> SparseResult:
    """Walk from `net` (left as it is) to a network with the share `sparsity` of zeros.

    x (N, *input_shape): the inputs on which answers are kept; y (N,): their labels, for
    `settings.labels` alone. look: the path is recorded every so many steps; there `watch` is shown
    the projection, `keep` the number of steps and w (P,), and `advance` the number of steps.
    The same seed gives the same bits.

    Raises SettingError for a sparsity outside [0, 1) or labels without y, ShapeError for x and y
    that differ in number, DivergedError naming the step.
    """
    settings = settings or SparsePath()
    check_sparsity(sparsity)
    if settings.labels and y is None:
        raise SettingError("labels are asked for: give y (N,), or labels=0")
    if y is not None and len(y) != len(x):
        raise ShapeError(f"{len(x)} inputs and {len(y)} labels; give the same number of both")
    whole("look", look)
    begun = clock()
    walk = _Walk(net, x, y, sparsity, settings, active, seed)
    record = []
    for step in range(settings.steps):
        apart = walk.step(step)
        if (step + 1) % look == 0 or step + 1 == settings.steps:
            record.append(walk.point(step + 1, apart, watch))
            if keep is not None:
                keep(step + 1, walk.w)
            if advance is not None:
                advance(step + 1)
    return SparseResult(walk.projected(), walk.mask, record, clock() - begun)


class _Walk:
    """A path under way: w (P,) moves, `net` is where answers and gradients come from."""

    def __init__(self, net, x, y, sparsity, settings, active, seed) -> None:
        self.frozen, self.net = net.like(), net.like()
        self.sparsity, self.settings, self.active, self.seed = sparsity, settings, active, seed
        self.y = None if y is None else net.device.put(y)
        places = np.arange(len(x))
        self.batches = Batches(net.ops, [(x, places)], settings.batch_size, seed, _KEY)
        self.known = None if settings.augment else self._answers(x)
        self.w, self.grad = net.theta.copy(), np.empty_like(net.theta)
        self.mask = settings.rule.mask(net, 0.0)
        self.settles_at = settings.steps - round(settings.settle * settings.steps)
        self._fresh()

    def _answers(self, x: np.ndarray) -> np.ndarray:
        """The dense network's probabilities (N, K)."""
        device, size = self.net.device, self.settings.batch_size
        known = device.empty((len(x), self.net.num_outputs), self.net.dtype)
        for part, scores in outputs(self.frozen, x, size):
            known[part] = probabilities(self.frozen, scores, self.active)
        return known

    def _fresh(self) -> None:
        """Moments begin anew."""
        optimizer, net = self.settings.optimizer, self.net
        if optimizer is not None:
            self.moments = optimizer.state(net.num_parameters, net.dtype, net.device)

    def share(self, step: int) -> float:
        """p at a step."""
        grows = self.settings.growth * self.settings.steps
        left = max(1 - step / grows, 0.0) if grows else 0.0
        return self.sparsity * (1 - left**3)

    def step(self, step: int) -> np.ndarray:
        """One step from w; returns the batch's mean distance, which lies on the device."""
        settled = step >= self.settles_at
        if not settled:
            self.mask = self.settings.rule.mask(self.net, self.share(step), self.w)
        elif step == self.settles_at:
            self.mask = self.settings.rule.mask(self.net, self.sparsity, self.w)
            self.w *= self.mask
            self._fresh()
        on_mask = self.settings.at == "projection" or settled
        self.net.theta[...] = self.w * self.mask if on_mask else self.w
        apart = self._gradient(step)
        if settled:
            self._move(step - self.settles_at + 1, self._rate(step), Streams(gain=self.mask))
        else:
            self.grad += self.net.dtype.type(self.settings.pull) * (self.w - self.w * self.mask)
            self._move(step + 1, 1.0, Streams())
        return apart

    def _rate(self, step: int) -> float:
        """The factor of the learning rate on the last stretch: half a cosine, 1 to COLDEST."""
        t = (step - self.settles_at) / (self.settings.steps - self.settles_at)
        return COLDEST + (1 - COLDEST) * 0.5 * (1 + math.cos(math.pi * t))

    def _gradient(self, step: int) -> np.ndarray:
        """grad = the pulled back sum of the batch's distances (and labels' share)."""
        settings, net = self.settings, self.net
        x, places = self.batches[step]
        if settings.augment is not None:
            x = settings.augment(x, (self.seed, _KEY, step))
        known = self._answers(x) if self.known is None else self.known[places]
        saved = net.trace(x, settings.mode)
        values, cotangent = bhattacharyya(net, saved.outputs, known, self.active)
        if settings.labels:
            cotangent *= net.dtype.type(1 - settings.labels)
            assert self.y is not None  # sparsify() has seen to it
            named = label_cotangent(net, saved.outputs, self.y[places], self.active)
            cotangent += net.dtype.type(settings.labels) * named
        net.pull(saved, cotangent, self.grad)
        return values.mean()

    def _move(self, count: int, factor: float, streams: Streams) -> None:
        """One step against `grad`; count numbers those since moments were fresh."""
        optimizer, net = self.settings.optimizer, self.net
        if optimizer is not None:
            rated = slower(optimizer, factor)
            rated.step(net.ops, self.w, self.grad, self.moments, count, streams)
            return
        if streams.gain is not None:
            self.grad *= streams.gain
        grad, _ = scaled(net, self.grad)
        size = net.dtype.type(norm(net, grad) or 1)
        self.w -= net.dtype.type(self.settings.length * factor) * grad / size

    def projected(self) -> Network:
        """The network at P_p(w), p the final one; `mask` is its mask from then on."""
        if self.settles_at == self.settings.steps:
            self.mask = self.settings.rule.mask(self.net, self.sparsity, self.w)
        self.net.theta[...] = self.w * self.mask
        return self.net

    def point(self, step: int, apart: np.ndarray, watch) -> Point:
        """The record of where the path is, seen at the final p. Raises DivergedError."""
        found = float(apart)
        if not math.isfinite(found):
            raise DivergedError(
                f"the answers' distance became {found} by step {step}; take a lower learning rate"
            )
        kept = self.mask
        self.net.theta[...] = self.w * self.settings.rule.mask(self.net, self.sparsity, self.w)
        away = norm(self.net, self.w - self.net.theta)
        seen = None if watch is None else float(watch(self.net))
        self.mask = kept
        now = self.sparsity if step > self.settles_at else self.share(step - 1)
        return Point(step, now, away, found, seen)
