"""Pruning by magnitude: the projection onto sparse vectors, one shot, and lottery tickets.

P_p(w) keeps the largest (1 - p) P of |w| and sets the others to zero: the nearest vector that has
so many zeros. A mask (P,) holds 1 where a parameter lives and 0 where it is pruned; training under
a mask multiplies the optimizer's step by it (`Streams.gain`), so what is zero stays zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..kernels.errors import NonFiniteError, SettingError, ShapeError, check_name
from ..nnlite import Network
from ..nnlite.optim import Adam, Optimizer, Streams
from .base import Naive
from .evaluate import finite
from .fit import Augment, fit
from .settings import COUNT, NOT_NEGATIVE, POSITIVE, Limit, check_settings, limited, real, whole
from .tasks import Task

What = Literal["all", "weights"]
By = Literal["network", "layer"]


def weight_names(net: Network) -> list[str]:
    """The parameters that connect units: weights of dense layers and convolutions, in order."""
    return [name for name in net.layout if len(net.layout.shape(name)) > 1]


@dataclass(frozen=True)
class Magnitude:
    """Which parameters the smallest are looked for among.

    what: "all" parameters, biases and norms among them (Raghavan & Thomson's code), or "weights"
    alone. by: the smallest of the whole "network", or the same share of every "layer". A sparsity
    is the share of zeros among those parameters. Raises UnknownNameError for other words.
    """

    what: What = "all"
    by: By = "network"

    def __post_init__(self) -> None:
        check_settings(self, "Magnitude")

    def groups(self, net: Network) -> list[slice]:
        """The parts of a vector (P,) that are pruned, a name each."""
        names = list(net.layout) if self.what == "all" else weight_names(net)
        starts = [(net.layout.offset(name), net.layout.shape(name)) for name in names]
        return [slice(lo, lo + math.prod(shape)) for lo, shape in starts]

    def mask(self, net: Network, sparsity: float, vector: np.ndarray | None = None) -> np.ndarray:
        """1 where P_p(vector) keeps a parameter, 0 elsewhere: (P,) in the network's dtype.

        vector: theta by default. Exactly round(sparsity n) of n candidates become 0 (of each layer,
        by="layer"); equal magnitudes fall in one order, NaN is the largest. Raises SettingError
        outside [0, 1).
        """
        check_sparsity(sparsity)
        sizes = abs(net.theta if vector is None else vector)
        mask = np.ones_like(sizes)
        if self.by == "layer":
            for part in self.groups(net):
                _drop_smallest(sizes[part], mask[part], sparsity)
        elif self.what == "all":
            _drop_smallest(sizes, mask, sparsity)
        else:
            joined = np.concatenate([sizes[part] for part in self.groups(net)])
            kept = np.ones_like(joined)
            _drop_smallest(joined, kept, sparsity)
            at = 0
            for part in self.groups(net):
                length = part.stop - part.start
                mask[part] = kept[at : at + length]
                at += length
        return mask

    def project(self, net: Network, sparsity: float) -> np.ndarray:
        """Set theta to P_p(theta) in place; returns the mask.

        Raises what `mask` raises, NonFiniteError where theta has diverged.
        """
        _check_finite(net.theta)
        mask = self.mask(net, sparsity)
        net.theta *= mask
        return mask


def check_sparsity(sparsity: float) -> None:
    """Raise SettingError unless 0 <= sparsity < 1."""
    if not 0 <= sparsity < 1:
        raise SettingError(
            f"sparsity is {sparsity}: the share of parameters set to zero lies in [0, 1), "
            "as 0.994 for 99.4 %"
        )


def _check_finite(theta: np.ndarray) -> None:
    if not finite(theta):
        raise NonFiniteError(
            "weights that are NaN or infinite cannot be pruned by size: the network has diverged"
        )


def _drop_smallest(sizes: np.ndarray, mask: np.ndarray, share: float) -> None:
    """mask (n,), a view, gets 0 at the round(share n) smallest of sizes (n,)."""
    count = round(share * len(sizes))
    if count:
        mask[np.argpartition(sizes, count - 1)[:count]] = 0


def sparsity_of(mask: np.ndarray) -> float:
    """The share of zeros in a mask."""
    return 1 - int((mask != 0).sum()) / len(mask)


def layer_sparsity(net: Network, mask: np.ndarray) -> dict[str, float]:
    """The share of zeros of each named parameter. Raises ShapeError for another's mask."""
    host = net.device.get(_checked(net, mask))
    return {name: float((part == 0).mean()) for name, part in net.layout.views(host).items()}


def _checked(net: Network, mask: np.ndarray) -> np.ndarray:
    if getattr(mask, "shape", None) != (net.num_parameters,):
        raise ShapeError(
            f"the mask has shape {getattr(mask, 'shape', None)}; this network has "
            f"{net.num_parameters} parameters"
        )
    return mask


# ---- training under a mask -----------------------------------------------------------------------


class Masked(Naive):
    """Plain training in which only the parameters that a mask (P,) marks with 1 move.

    decay: of the weights, (decay / 2) |theta|^2 added to the loss; a penalty anchored at zero.
    """

    name = "masked"
    convention = "plain training of the parameters that a mask keeps, loss + (decay/2) |theta|^2"

    def __init__(self, mask: np.ndarray, decay: float = 0.0) -> None:
        super().__init__()
        self._mask, self._decay = mask, decay

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self.arrays["mask"] = net.device.put(_checked(net, self._mask).astype(net.dtype))
        net.theta *= self.arrays["mask"]
        if self._decay:
            self.arrays["ones"] = np.ones_like(net.theta)
            self.arrays["zeros"] = np.zeros_like(net.theta)

    def streams(self) -> Streams:
        mask = self.arrays["mask"]
        if not self._decay:
            return Streams(gain=mask)
        return Streams(self.arrays["ones"], self.arrays["zeros"], self._decay, gain=mask)


@dataclass(frozen=True)
class Training:
    """How a network is trained, pruned or whole: `steps` of an optimizer, its rate in stages.

    stages: (share of the steps, factor of the rate) each; moments begin anew at each (`cosine`
    makes many). decay: of the weights, as in `Masked`. Raises SettingError for shares that do not
    add up to 1, or numbers below what makes sense.
    """

    limits = limited(steps=COUNT, batch_size=COUNT, decay=NOT_NEGATIVE)
    steps: int = 5000
    batch_size: int = 60
    optimizer: Optimizer = field(default_factory=lambda: Adam(1.2e-3))
    stages: tuple[tuple[float, float], ...] = ((0.75, 1.0), (0.25, 0.1))
    augment: Augment | None = None
    decay: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, "Training")
        for number in (number for stage in self.stages for number in stage):
            real("Training.stages", number, POSITIVE)
        if self.steps < len(self.stages) or abs(sum(share for share, _ in self.stages) - 1) > 1e-9:
            raise SettingError(
                f"Training got steps={self.steps}, stages={self.stages}: shares that add up to 1, "
                "at least a step for each"
            )

    def run(
        self, net: Network, task: Task, seed: int, mask: np.ndarray | None = None, done: int = 0,
        kept: Path | None = None,
    ) -> None:  # fmt: skip
        """Train in place, under the mask if there is one. done: steps that were taken before.

        kept: a file, of which each stage has a numbered one beside it while training lasts: what
        was stopped then goes on where it was, to the same bits. Raises what `fit` raises.
        """
        if mask is None and self.decay:
            mask = np.ones_like(net.theta)
        method = Naive() if mask is None else Masked(mask, self.decay)
        end, stage_ends, files = 0.0, [], []
        for share, factor in self.stages:
            end += share
            stage_ends.append((round(end * self.steps), factor))
        for number, (last, factor) in enumerate(stage_ends):
            if last > done:
                file = kept and kept.with_stem(f"{kept.stem}-stage-{number}")
                fit(
                    net, [task], method, optimizer=slower(self.optimizer, factor),
                    steps=last - done, batch_size=self.batch_size, seed=seed + number,
                    augment=self.augment, checkpoint=file, resume=file is not None,
                )  # fmt: skip
                done = last
                files += [file] if file else []
        for file in files:
            file.unlink()


def cosine(count: int) -> tuple[tuple[float, float], ...]:
    """`count` stages of equal lengths whose rates follow half a cosine from 1 to 0."""
    return tuple((1 / count, (1 + math.cos(math.pi * (at + 0.5) / count)) / 2)
                 for at in range(count))  # fmt: skip


def slower(optimizer: Optimizer, factor: float) -> Optimizer:
    """The same optimizer at `factor` times its learning rate."""
    return replace(optimizer, lr=optimizer.lr * factor)  # type: ignore[type-var]


def one_shot(net: Network, sparsity: float, rule: Magnitude | None = None) -> np.ndarray:
    """Prune the smallest parameters of a trained network at once, in place; returns the mask.

    To fine-tune it: `Training(...).run(net, task, seed, mask)`.
    """
    return (rule or Magnitude()).project(net, sparsity)


# ---- lottery tickets -----------------------------------------------------------------------------


class Ticket(NamedTuple):
    """A network after one round of iterative magnitude pruning.

    net: the trained network itself, which the next round goes on with: copy it to keep it.
    steps: training steps of all rounds so far.
    """

    round: int
    net: Network
    mask: np.ndarray
    steps: int

    @property
    def sparsity(self) -> float:
        """The share of zeros among all parameters."""
        return sparsity_of(self.mask)


def next_mask(
    net: Network, mask: np.ndarray, rate: float, output_rate: float, by: By = "layer"
) -> np.ndarray:
    """`mask` less the share `rate` of the surviving weights with the smallest |theta|.

    by "layer": of each layer, of the last one the share `output_rate`. "network": of all together,
    the last layer left alone (as for deep convolutional networks). Biases and norms stay.
    """
    names, mask = weight_names(net), net.device.get(mask).copy()
    groups = [[name] for name in names] if by == "layer" else [names[:-1]]
    _check_finite(net.theta)
    sizes = abs(net.device.get(net.theta))
    for group in groups:
        places = np.concatenate([_survivors(net, mask, name) for name in group])
        count = round((output_rate if group == names[-1:] else rate) * len(places))
        if count:
            mask[places[np.argpartition(sizes[places], count - 1)[:count]]] = 0
    return net.device.put(mask)


def _survivors(net: Network, mask: np.ndarray, name: str) -> np.ndarray:
    """Where in theta the parameters of `name` lie that the mask keeps."""
    lo = net.layout.offset(name)
    return lo + np.flatnonzero(mask[lo : lo + math.prod(net.layout.shape(name))])


def lottery_tickets(
    net: Network,
    task: Task,
    rounds: int,
    training: Training,
    *,
    rewind: int = 0,
    rate: float = 0.2,
    output_rate: float = 0.1,
    by: By = "layer",
    seed: int = 0,
) -> Iterator[Ticket]:
    """Iterative magnitude pruning with rewinding (Frankle & Carbin 2019; Frankle et al. 2020).

    Train; prune the smallest surviving weights; put the survivors back to what they were after
    `rewind` steps (0: their first values); repeat. Yields a ticket after each training: round 0 is
    the whole network, and round r has lost a share 1 - (1 - rate)^r of its weights. Trains `net` in
    place, from what its theta is now, with `training.steps` steps in round 0 and `rewind` fewer in
    each later one. Raises SettingError for settings outside what they may be.
    """
    whole("a lottery's rounds", rounds, Limit(0))
    whole("a lottery's rewind", rewind, Limit(0, training.steps - 1))
    real("a lottery's rate", rate, Limit(0, 1, above=True, below=True))
    real("a lottery's output_rate", output_rate, Limit(0, 1, below=True))
    check_name("choice of magnitudes", by, get_args(By))
    if rewind:
        fit(net, [task], optimizer=training.optimizer, steps=rewind, augment=training.augment,
            batch_size=training.batch_size, seed=seed)  # fmt: skip
    start, mask, steps = net.like(), np.ones_like(net.theta), rewind
    for number in range(rounds + 1):
        if number:
            mask = next_mask(net, mask, rate, output_rate, by)
            _rewind(net, start, mask)
        training.run(net, task, seed + 1000 * (number + 1), mask, rewind)
        steps += training.steps - rewind
        yield Ticket(number, net, mask, steps)


def _rewind(net: Network, start: Network, mask: np.ndarray) -> None:
    """Put survivors and statistics back to where they were."""
    net.theta[...] = start.theta * mask
    net.state.restore(start.state)
