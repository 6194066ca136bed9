"""Evaluation: a network's outputs over a data set, and the accuracy they come to.

One place decides how many samples share a pass. Where each stands alone (mode "eval", running
statistics) that is a matter of memory; where they do not (`BatchNorm2d(statistics="batch")`) a
sample's outputs are those among all the others, so all of them share one, or nothing is answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..kernels.errors import NonFiniteError, SettingError, ShapeError
from ..nnlite import Network
from ..nnlite.losses import CrossEntropy
from .settings import whole

ROOM = 1 << 29  # bytes that a pass may hold where samples stand alone
TOGETHER = 1 << 33  # and where they need each other


def parts(
    nets: Network | Sequence[Network], n: int, batch: int = 1000, room: int = ROOM
) -> list[slice]:
    """Samples 0..n-1, cut into those that share a pass in mode "eval" of each of `nets`.

    At most `batch`, fewer where their buffers would take more than `room` bytes. All of them where
    a network's samples do not stand alone; SettingError where they would take over 8 GiB, and for
    a batch that is no whole number of at least 1.
    """
    nets, batch = [nets] if isinstance(nets, Network) else nets, whole("batch", batch)
    if n and any(net.chain.couples("eval") for net in nets):
        needed = max(net.plan(n) for net in nets)
        if needed > TOGETHER:
            raise SettingError(
                f"BatchNorm2d(statistics='batch') answers {n} samples in one pass, since each "
                f"depends on all; that takes {needed / 2**30:.1f} GiB, more than "
                f"{TOGETHER / 2**30:.0f}: give fewer samples, or use statistics='running'"
            )
        return [slice(0, n)]
    size = min(batch, *(net.batch_within(room) for net in nets))
    return [slice(lo, min(lo + size, n)) for lo in range(0, n, size)]


def outputs(
    net: Network, x: np.ndarray, batch: int = 1000, room: int = ROOM
) -> Iterator[tuple[slice, np.ndarray]]:
    """The outputs (n, K) in mode "eval" of each of `parts` of x (N, *input_shape), with its slice.

    They lie on the device. Raises what `parts` and `Network.forward` raise.
    """
    for part in parts(net, len(x), batch, room):
        yield part, net.forward(x[part])


def check_classifies(net: Network, what: str) -> None:
    """Raise SettingError unless the outputs of `net` are scores of classes, as `what` needs."""
    if not isinstance(net.loss, CrossEntropy):
        raise SettingError(
            f"{what} takes outputs for scores of classes, logits of a softmax, which the loss "
            f"'cross_entropy' trains; this network's loss is '{net.loss_name}': compare its "
            "outputs with the targets instead"
        )


def accuracy(
    net: Network, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None, batch: int = 1000
) -> float:
    """The fraction of samples whose largest (active) output is the label's, of all whose label the
    network's loss does not ignore.

    x (N, *input_shape), y (N,); see `outputs` for batch. Raises SettingError for a network
    that is no classifier, NonFiniteError where an output is not finite (the largest of them says
    nothing), LabelError for a label that is not active, and what the network raises for x and y.
    """
    check_classifies(net, "accuracy")
    if not len(x):
        raise ShapeError("the accuracy on no samples is not defined; give at least one")
    y = net.device.put(labels(net, len(x), y, active, ignored=True))
    counted = int(counts(net, y).sum())
    if not counted:
        raise ShapeError(
            f"the accuracy on no samples is not defined: the loss ignores all {len(x)} labels"
        )
    right, ruined = 0, 0
    for part, scores in outputs(net, x, batch):
        ruined = ruined + (~np.isfinite(scores)).any(axis=1).sum()
        allowed = scores if active is None else np.where(net.mask(active), scores, -np.inf)
        right = right + ((allowed.argmax(axis=1) == y[part]) & counts(net, y[part])).sum()
    if int(ruined):
        raise NonFiniteError(
            f"the network's outputs are NaN or infinite for {int(ruined)} of {len(x)} samples, "
            "which have no largest one: it has diverged, or was given such weights or inputs"
        )
    return int(right) / counted


def counts(net: Network, y: np.ndarray) -> np.ndarray:
    """Whether the loss of `net` does not ignore each of targets y (n, ...): (n,) bool."""
    return net.loss.counts(y) if isinstance(net.loss, CrossEntropy) else np.ones(len(y), bool)


def labels(
    net: Network, n: int, y: Any, active: np.ndarray | None = None, ignored: bool = False
) -> np.ndarray:
    """`y` as labels (n,) int64 of the `active` (K,) classes; it may be whatever training takes.

    ignored: labels that the loss ignores will do, too. Raises the loss's errors, and those of an
    `active` that is no mask.
    """
    if active is not None:
        net.mask(active)
    loss = net.loss if ignored or not isinstance(net.loss, CrossEntropy) else CrossEntropy()
    return loss.targets(y, (n, net.num_outputs), net.dtype, active)


def finite(array: np.ndarray) -> bool:
    """Whether no value is NaN or infinite; waits for a device."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
