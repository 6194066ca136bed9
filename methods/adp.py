"""ADP: networks trained together so that they differ in what they hold for second best.

    L = sum_v CE(y, F_v)  -  alpha H(mean_v F_v)  -  beta log det( M M^T + 1e-6 I )

(Pang et al. 2019, arXiv 1901.08846, and their code): F_v (K,) are the members' softmaxes, H is
Shannon's entropy, and row v of M is F_v without the true class, at unit length, so that det is the
squared volume that the members' wrong answers span. M has rank K - 1 at most: with V >= K members
the volume is 0, and the 1e-6 in their code all that keeps the logarithm finite; what is left pushes
apart within the K - 1 dimensions there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..kernels.errors import DivergedError
from ..nnlite import Network
from ..nnlite.optim import Adam, Optimizer
from .batches import Batches
from .ensemble import Ensemble, log_softmax
from .evaluate import finite, labels
from .settings import NOT_NEGATIVE, check_settings, limited, whole
from .tasks import Arrays

_DET, _LOG = 1e-6, 1e-20  # the authors' offsets, of the determinant and of the entropy's logarithm
_TINY = 1e-150  # a length that is squared without becoming 0


@dataclass(frozen=True)
class ADP:
    """The regulariser's strengths; the defaults are the authors' commands'.

    alpha: of the entropy, beta: of the volume. Raises SettingError for negative ones.
    """

    limits = limited(alpha=NOT_NEGATIVE, beta=NOT_NEGATIVE)
    alpha: float = 2.0
    beta: float = 0.5

    def __post_init__(self) -> None:
        check_settings(self, "ADP")

    def loss_and_cotangents(
        self, outputs: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each sample's L (N,) and its cotangents (V, N, K) at the logits `outputs` (V, N, K).

        y (N,) int64: the true classes. In float64 throughout, on the host.
        """
        logits = outputs.astype(np.float64)
        logs = log_softmax(logits)
        p, true = np.exp(logs), np.eye(logits.shape[-1], dtype=bool)[y]
        entropy, by_mean = _entropy(p.mean(axis=0))
        volume, by_members = _log_volume(np.where(true, 0, p))
        loss = -np.where(true, logs, 0).sum(axis=(0, 2))
        loss -= self.alpha * entropy + self.beta * volume
        dp = -self.alpha * by_mean / len(p) - self.beta * np.where(true, 0, by_members)
        # p (dp - <p, dp>) is the softmax's pullback; the cross-entropy's has no division by p
        dz = p - true + p * (dp - (p * dp).sum(axis=-1, keepdims=True))
        return loss, dz


def _entropy(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H = -sum p log(p + 1e-20) of p (N, K), and its gradient by p."""
    logs = np.log(p + _LOG)
    return -(p * logs).sum(axis=-1), -logs - p / (p + _LOG)


def _log_volume(wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log det(S + 1e-6 I), S the Gram matrix of wrong (V, N, K) at unit length; its gradient.

    d log det S = tr(S^-1 dS), so by the unit rows U it is 2 S^-1 U, and by what they were made of
    that, less its part along U, divided by their length.
    """
    length = np.maximum(np.sqrt(np.square(wrong).sum(axis=-1, keepdims=True)), _TINY)
    unit = (wrong / length).transpose(1, 0, 2)  # (N, V, K)
    gram = unit @ unit.transpose(0, 2, 1) + _DET * np.eye(len(wrong))
    _, volume = np.linalg.slogdet(gram)
    by_unit = 2 * np.linalg.solve(gram, unit)
    across = by_unit - (by_unit * unit).sum(axis=-1, keepdims=True) * unit
    return volume, across.transpose(1, 0, 2) / length


def train_adp(
    nets: Sequence[Network],
    train: Arrays,
    steps: int,
    adp: ADP | None = None,
    optimizer: Optimizer | None = None,
    batch_size: int = 128,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> np.ndarray:
    """Train `nets` together in place on x (N, *input_shape), y (N,); each step's mean L (steps,).

    All members see the same batches, in mode "train". optimizer: Adam(1e-3) by default, moments a
    member. watch(step, loss) is told of every step.

    Raises SettingError for networks that make no ensemble, DivergedError where L is not finite.
    """
    members, adp, optimizer = Ensemble(nets).nets, adp or ADP(), optimizer or Adam()
    steps = whole("train_adp's steps", steps)
    device = members[0].device
    x, y = train
    pair = (x, labels(members[0], len(x), y))
    batches = Batches(members[0].ops, [pair], batch_size, seed, 0xAD)
    moments = [optimizer.state(net.num_parameters, net.dtype, device) for net in members]
    losses = np.empty(steps)
    for step in range(steps):
        x, y = batches[step]
        passes = [net.trace(x, "train") for net in members]
        outputs = np.stack([device.get(saved.outputs) for saved in passes])
        loss, cotangents = adp.loss_and_cotangents(outputs, device.get(y))
        losses[step] = loss.mean()
        if not math.isfinite(losses[step]):
            raise DivergedError(
                f"ADP's loss became {losses[step]} at step {step + 1}; lower the learning rate "
                f"(now {optimizer.lr})"
            )
        cotangents /= len(y)  # the one place where the mean is taken
        for net, saved, dz, own in zip(members, passes, cotangents, moments, strict=True):
            grad = net.pull(saved, device.put(dz.astype(net.dtype)))
            optimizer.step(net.ops, net.theta, grad, own, step + 1)
        if watch is not None:
            watch(step + 1, float(losses[step]))
    if not all(finite(net.theta) for net in members):  # a loss says nothing of its own step
        raise DivergedError(
            f"ADP's step {steps} led to weights of NaN or infinity; lower the learning rate (now "
            f"{optimizer.lr})"
        )
    return losses
