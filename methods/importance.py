"""How much each parameter matters: two choices, a cotangent and a power, and one function.

    importance = 1/N sum over samples n and cotangents u of |J_n^T u|**power

| importance        | cotangent at the logits, per sample            | power |
|-------------------|------------------------------------------------|-------|
| empirical Fisher  | p - e_y, y the true label                      | 2     |
| sampled Fisher    | p - e_y, y drawn from p                        | 2     |
| true Fisher       | sqrt(p_c) (e_c - p), every class c             | 2     |
| MAS               | gradient of ||f||^2, f = softmax or logits     | 1     |

Powers are taken per sample, before the mean: squaring a batch's mean gradient instead, as is often
done, gives something about N times smaller. Networks are only read; nothing changes in them.
SI's importance is a path integral and lives in the optimizer step (`methods.SI`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from ..kernels.errors import NonFiniteError, SettingError, ShapeError, unknown_name
from ..nnlite import Network
from ..nnlite.init import generator
from ..nnlite.losses import CrossEntropy, Loss
from .evaluate import check_classifies
from .settings import NOT_NEGATIVE, whole

FisherKind = Literal["true", "sampled", "empirical"]
# cotangent(logits (n, K), first row, last row) -> (n, K) or (V, n, K), or such, one after another
Cotangent = Callable[[np.ndarray, int, int], np.ndarray | Iterator[np.ndarray]]
BATCH = 256  # samples per pass: memory does not depend on how many there are in all
ROOM = 1 << 28  # bytes that a pass may hold: large networks take fewer samples at a time


def mean_power(
    net: Network, x: np.ndarray, cotangent: Cotangent, power: int, batch: int = BATCH
) -> np.ndarray:
    """1/N sum over n, u of |J_n^T u|**power, (P,): every gradient-based importance.

    cotangent(logits, lo, hi) gives the cotangents of samples lo..hi. Memory depends on `batch`,
    never on N. Raises NonFiniteError where the network has diverged.
    """
    batch = _batch(net, x, batch)
    total = net.device.zeros((net.num_parameters,), net.dtype)
    for lo in range(0, len(x), batch):
        hi = min(lo + batch, len(x))
        saved = net.trace(x[lo:hi])
        found = cotangent(saved.outputs, lo, hi)
        for part in found if isinstance(found, Iterator) else (found,):
            net.accumulate(saved, part, total, power)
    total /= net.dtype.type(len(x))
    return _finite(total)


def _replayed(
    net: Network, x: np.ndarray, batch: int, verb: str, *options: Any,
    y: np.ndarray | None = None, active: np.ndarray | None = None,
) -> np.ndarray | None:  # fmt: skip
    """`mean_power` by a program that has its cotangents in it; None where it does not fit ROOM, or
    no program can hold the network."""
    batch, mask = _batch(net, x, batch), net.mask(active)
    if min(batch, len(x)) * net.num_outputs**2 * net.dtype.itemsize > ROOM:  # cotangents, at most
        return None
    program = net.programs.get(net, verb, min(batch, len(x)), *options)
    if program is None or program.arena_bytes > ROOM:
        return None
    total = net.device.zeros((net.num_parameters,), net.dtype)
    y = None if y is None else net.device.put(y)
    for lo in range(0, len(x), batch):
        part = net._check_input(x[lo : lo + batch])
        found = net._replay(verb, len(part), *options)
        assert found is not None  # there is one for a larger batch
        arrays = {"x": part, "active": mask, "total": total}
        net._run(found, "eval", arrays if y is None else {**arrays, "y": y[lo : lo + batch]})
    total /= net.dtype.type(len(x))
    return _finite(total)


def _batch(net: Network, x: np.ndarray, batch: int) -> int:
    """Samples a pass: at most `batch`, and no more than ROOM allows."""
    if len(x) == 0:
        raise ShapeError("an importance needs at least one sample; it got none")
    return min(whole("an importance's batch", batch), net.batch_within(ROOM))


def _finite(importance: np.ndarray) -> np.ndarray:
    """The importance itself. Raises NonFiniteError where it is not finite."""
    wrong = int((~np.isfinite(importance)).sum())
    if wrong:
        raise NonFiniteError(
            f"the importance of {wrong} of {len(importance)} parameters is NaN or infinite: the "
            "network has diverged, or was given such weights or inputs"
        )
    return importance


def probabilities(net: Network, logits: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
    """softmax(logits) (n, K) over the active classes. Raises SettingError for a regression."""
    check_classifies(net, "a probability")
    p = np.empty_like(logits)
    net.ops.softmax(logits, net.mask(active), p)
    return p


def label_cotangent(
    net: Network, logits: np.ndarray, labels: np.ndarray, active: np.ndarray | None = None
) -> np.ndarray:
    """p - e_y (n, K), y the labels (n,): cross-entropy's cotangent at the logits, per sample.

    As the network's loss weighs it: times w_y, and 0 of a label that is ignored.
    """
    check_classifies(net, "cross-entropy's cotangent")
    labels = net.loss.targets(labels, logits.shape, active=active)
    return _cotangent(net, net.loss, logits, labels, active)


def _cotangent(net: Network, loss: Loss, logits, labels, active) -> np.ndarray:
    """What a loss says of labels (n,), an array of its own."""
    k, y = net._each.mine.loss, net.device.put(labels)
    return loss.value_and_cotangent(k, logits, y, net.mask(active)).cotangent.copy()


def fisher_rows(
    net: Network,
    p: np.ndarray,
    others: int,
    room: int = ROOM,
    *,
    active: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """sqrt(p_c) (e_c - p) of p (n, K), (V, n, K): as many classes c at a time as `room` allows.

    active (K,): the only classes with a row, since those of the others are 0. The stack and what
    pulling it back takes must fit beside the `others` bytes of the pass itself.
    """
    n, classes = p.shape
    in_play = np.arange(classes) if active is None else np.flatnonzero(active)
    each = n * (net.plan(2) - net.plan(1) + classes * net.dtype.itemsize)
    at_once = min(max((room - others) // each, 1), classes)
    factor = net.device.empty((at_once, n, classes), p.dtype)
    if at_once == classes:
        net.ops.softmax_fisher_factor(p, factor)
        yield factor if len(in_play) == classes else factor[net.device.put(in_play)]
        return
    for lo in range(0, len(in_play), at_once):
        now = in_play[lo : lo + at_once]
        part = factor[: len(now)]
        for c, row in zip(now.tolist(), part, strict=True):
            # (diag p - p p^T) u with u = e_c / sqrt(p_c)
            u = net.device.zeros(p.shape, p.dtype)
            u[:, c] = np.where(p[:, c] > 0, 1 / np.sqrt(np.where(p[:, c] > 0, p[:, c], 1)), 0)
            net.ops.softmax_backward(p, u, row)
        yield part


def _true_fisher(net: Network, x: np.ndarray, active: np.ndarray | None, batch: int) -> np.ndarray:
    """`fisher` of kind "true"."""
    if active is None or np.all(active):  # a program pulls back all classes, in play or not
        found = _replayed(net, x, batch, "fisher", active=active)
        if found is not None:
            return found

    def of_classes(logits, lo, hi):
        p = probabilities(net, logits, active)
        return fisher_rows(net, p, net.plan(hi - lo), active=active)

    return mean_power(net, x, of_classes, 2, batch)


def fisher(
    net: Network,
    x: np.ndarray,
    y: np.ndarray | None = None,
    kind: FisherKind = "true",
    seed: int = 0,
    active: np.ndarray | None = None,
    batch: int = BATCH,
    first: int = 0,
) -> np.ndarray:
    """The diagonal of the Fisher information of the softmax, (P,), a mean over the samples x.

    kind "true": F_i = 1/N sum_n sum_c p_c (d log p_c / d theta_i)^2, exact in all K classes at
    once. "sampled": one label a sample, drawn from the model with Philox(seed): unbiased.
    "empirical": the true labels `y` (N,) int64; away from the optimum no estimate of the Fisher.
    Its gradients are those of the network's own loss: w_y times, and 0 of a label that is ignored,
    which is one of the N all the same. The other two ask the model alone.
    first: the number of x[0] among all samples, where x is a part of them: it has that one's draw.

    Raises SettingError when "empirical" gets no labels, for a network without a softmax (loss
    "squared_error"), for a batch below 1 or a first below 0; UnknownNameError for another kind;
    NonFiniteError where the network has diverged.
    """
    check_classifies(net, "the Fisher information")
    first = whole("fisher's first", first, NOT_NEGATIVE)
    if kind == "true":
        return _true_fisher(net, x, active, batch)
    if kind == "sampled":
        draws = generator(seed, 0x5A3D).random(first + len(x))[first:]

        def of_drawn(logits, lo, hi):
            p = net.device.get(probabilities(net, logits, active))
            cumulative = p.astype(np.float64).cumsum(axis=1)
            # scaled by the row's own total, so rounding can not leave the last class short
            labels = (cumulative <= draws[lo:hi, None] * cumulative[:, -1:]).sum(axis=1)
            return _cotangent(net, CrossEntropy(), logits, labels, active)

        return mean_power(net, x, of_drawn, 2, batch)
    if kind == "empirical":
        if y is None:
            raise SettingError("the empirical Fisher needs the labels y; give them, or kind='true'")
        labels = net.loss.targets(y, (len(x), net.num_outputs), active=active)
        found = _replayed(net, x, batch, "fisher", "kind", kind, y=labels, active=active)
        if found is not None:
            return found

        def of_labels(logits, lo, hi):
            return label_cotangent(net, logits, labels[lo:hi], active)

        return mean_power(net, x, of_labels, 2, batch)
    raise unknown_name("Fisher", kind, ("true", "sampled", "empirical"))


def mas(
    net: Network,
    x: np.ndarray,
    output: Literal["softmax", "logits"] = "softmax",
    active: np.ndarray | None = None,
    batch: int = BATCH,
) -> np.ndarray:
    """Memory Aware Synapses (Aljundi 2018): 1/N sum_n |d ||f(x_n)||^2 / d theta|, (P,).

    f is the softmax (Kutalev 2022) or the logits (the network's output, as Aljundi writes it); no
    labels. The absolute value is taken per sample. Of a regression's network the "logits" are
    defined. Raises UnknownNameError for another output, SettingError for a softmax there is not.
    """
    if output == "softmax":
        check_classifies(net, "MAS of output='softmax' (there is 'logits', too)")
        found = _replayed(net, x, batch, "mas", active=active)
        if found is not None:
            return found

        def of_softmax(logits, lo, hi):
            p = probabilities(net, logits, active)
            dz = np.empty_like(p)
            net.ops.softmax_backward(p, 2 * p, dz)  # the gradient of sum p^2 at the logits
            return dz

        return mean_power(net, x, of_softmax, 1, batch)
    if output == "logits":

        def of_logits(logits, lo, hi):
            return 2 * logits if active is None else 2 * logits * net.mask(active)

        return mean_power(net, x, of_logits, 1, batch)
    raise unknown_name("output", output, ("softmax", "logits"))


def sig(net: Network, x: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """Total absolute signal (Kutalev 2020, arXiv 2005.07107), (P,), a mean over the samples x.

    A weight: |w_oi| mean_n |x_i(n)|. A bias: mean_n |its unit's output|; for a classifier's head
    that is the softmax. Forward passes only. Raises NonFiniteError where the network has diverged.
    """
    batch = _batch(net, x, batch)
    total = net.device.zeros((net.num_parameters,), net.dtype)
    head = net.device.zeros((net.num_outputs,), net.dtype)
    classifies = isinstance(net.loss, CrossEntropy)
    for lo in range(0, len(x), batch):
        saved = net.trace(x[lo : lo + batch])
        net.signal(saved, total)
        if classifies:
            head += probabilities(net, saved.outputs).sum(axis=0)
    bias = f"{len(net.layers) - 1}.bias"
    if classifies and bias in net.layout:
        net.layout.view(total, bias)[...] = head
    total /= net.dtype.type(len(x))
    return _finite(total)
