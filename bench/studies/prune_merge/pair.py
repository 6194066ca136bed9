"""Two networks that differ in their seed alone, their hidden units paired by correlation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ....kernels.errors import SettingError
from ....methods import Moments, Task, accuracy, fit
from ....methods.activations import moments, unit_layers
from ....methods.matching import Matching, bipartite_matching
from ....methods.surgery import HiddenRow, hidden_rows
from ....nnlite import Network
from ....nnlite.optim import Adam
from ...runs.tables import known_mean
from ...show.style import require
from ..lab import NetworkLab, NetworkSettings, check_least
from ..rows import average, grouped, select
from ..study import Row, Work


@dataclass(frozen=True)
class PairSettings(NetworkSettings):
    """steps: of training each network, Adam at `lr`; tune: of tuning after an operation.

    samples: training images behind correlations and importances; test images only test.
    """

    train_limit: int | None = None
    test_limit: int | None = None
    steps: int = 1000
    batch_size: int = 128
    lr: float = 1e-3
    samples: int = 2000
    tune: int = 200


def check_pair(settings: PairSettings) -> None:
    """Raise SettingError for numbers that lead nowhere, MissingExtraError before training."""
    check_least(settings, {"steps": 1, "batch_size": 1, "samples": 2, "tune": 1})
    require("scipy", "analysis", "matching")


class Paired(NamedTuple):
    """A hidden row of two networks: the moments of both's units side by side, and who matches whom.

    matching: of the first's units with the second's, one to one, by signed correlation.
    """

    name: str
    row: HiddenRow
    of: Moments
    matching: Matching


class PairLab(NetworkLab):
    """The two networks of a seed, and what is made of them."""

    def __init__(self, work: Work) -> None:
        super().__init__(work, work.settings.train_limit, work.settings.test_limit)
        self.x = self.train[0][: self.settings.samples]

    def pair(self) -> list[Network]:
        """Both networks, as the part "networks" left them."""
        return [self.load("networks", f"network-{number}") for number in range(2)]

    def paired(self, nets: Sequence[Network]) -> list[Paired]:
        """The hidden rows of two networks of one architecture, matched over training images."""
        names = {layer.made: layer for layer in unit_layers(nets[0])}
        rows = hidden_rows(nets[0])
        layers = [names[row.made] for row in rows]
        found = []
        for layer, row, of in zip(layers, rows, moments(nets, self.x, layers), strict=True):
            between = of.correlation()[: row.units, row.units :]
            found.append(Paired(layer.name, row, of, bipartite_matching(between)))
        return found

    def learn(self, net: Network, steps: int, seed: int) -> Network:
        """`net`, trained in place for so many steps."""
        made = self.settings
        task = Task.from_arrays("all", self.train, self.first(1))  # parts test it, `fit` need not
        fit(net, [task], optimizer=Adam(made.lr), steps=steps, batch_size=made.batch_size,
            seed=seed)  # fmt: skip
        return net

    def tune(self, net: Network) -> Network:
        """`net` after `settings.tune` more steps, the same batches for all."""
        return self.learn(net, self.settings.tune, 1000 * self.work.seed + 999)

    def accuracy(self, net: Network) -> float:
        """On all test images."""
        return accuracy(net, *self.test)


def train(work: Work) -> Iterator[Row]:
    """Both networks, each from a seed of its own."""
    lab = PairLab(work)
    for number in range(2):
        work.advance(number, 2)
        net = lab.fitted(number)
        hidden_rows(net)  # refuses what has no units to be moved
        net.save(lab.file(f"network-{number}"))
        yield {"ask": "network", "network": number, "accuracy": lab.accuracy(net),
               "parameters": net.num_parameters}  # fmt: skip


def apart(ours: Sequence[Row], theirs: Sequence[Row], value: str) -> tuple[float, float]:
    """Mean and standard error over seeds of `value` of ours less theirs, each seed with itself.

    Rows of one seed (several sizes) are averaged first. Raises SettingError for other seeds.
    """
    mine, other = grouped(ours, "seed"), grouped(theirs, "seed")
    if mine.keys() != other.keys():
        raise SettingError(f"seeds {sorted(mine)} against {sorted(other)}: give the same ones")
    each = [float(average(mine[seed], value) - average(other[seed], value)) for seed in mine]
    mean, error, _ = known_mean(each)
    return mean, error


def said(difference: tuple[float, float]) -> tuple[str, str]:
    """A verdict on whether the first is better, and the difference in words.

    "yes" or "no" where the mean is more than two standard errors from 0, else "not told apart";
    one seed tells nothing apart.
    """
    mean, error = difference
    told = f"{100 * mean:+.2f} points" + ("" if np.isnan(error) else f" ± {100 * error:.2f}")
    if np.isnan(error) or abs(mean) <= 2 * error:
        return "not told apart", told
    return ("yes" if mean > 0 else "no"), told


NUMBERS = ("million parameters", "accuracy", "tuned")  # of the tables


def in_millions(rows: Iterable[Row]) -> list[Row]:
    """The rows with their parameters as people read them."""
    return [{**row, NUMBERS[0]: row["parameters"] / 1e6} for row in rows]


def of_kind(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """The rows with these values. Raises SettingError where there are none."""
    found = select(rows, **wanted)
    if not found:
        raise SettingError(f"no rows with {wanted}")
    return found
