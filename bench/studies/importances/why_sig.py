"""Why does SIG work? (Kutalev 2022 asks.) Its importances, taken apart and swapped.

SIG says |w| mean |x| where MAS and FIS say how much the answers depend on a weight, and yet tasks
are held. An importance is how much each layer gets in all, and how that is divided within it: here
either is taken from SIG, MAS or FIS, in all layers or in one; the division is shuffled, or made
even; and SIG's two factors stand alone. Each line's strength is chosen on held-out images, for the
importances of every task are scaled to a mean of 1 and no published strength is theirs.

Depth: SIG correlates with the others near the input only, so the fewer layers a network has, the
nearer SIG should come to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ....methods import Naive, Task, accuracy, fit
from ....nnlite import Network, models
from ....nnlite.optim import Adam
from ... import streams
from .. import lab
from ..lab import check_least, hold_out
from ..study import Part, PartRow, Row, Study, Work
from . import why_told
from .mixed import Mixed


@dataclass(frozen=True)
class Settings:
    """tasks: permutations; steps: of each; held_out: the last training images of each, which choose
    a line's strength among `lams`. samples: behind an importance. hidden: of the network whose
    importances are taken apart; shallow, deep: of those that depth is asked of. lr: of Adam; a
    large one, so that few steps forget much.
    """

    data: str = "mnist-demo"
    train_limit: int | None = 20_000
    test_limit: int | None = 2000
    tasks: int = 5
    hidden: tuple[int, ...] = (100, 50)
    shallow: tuple[int, ...] = (100,)
    deep: tuple[int, ...] = (100, 50, 50, 50)
    steps: int = 400
    batch_size: int = 100
    lr: float = 3e-3
    lams: tuple[float, ...] = (1e-4, 4e-4, 1.6e-3, 6.4e-3)
    samples: int = 1000
    held_out: int = 1000


class Line(PartRow):
    """A network that learnt all tasks. line: what was mixed; accuracies: after the last task."""

    kind: str
    depth: int
    line: str
    lam: float
    accuracy: float
    held_out: float


class Lab(lab.Lab):
    """A seed's permutations, without the images that choose a strength, and those."""

    def __init__(self, work: Work) -> None:
        made: Settings = work.settings
        super().__init__(work, made.train_limit, made.test_limit)
        stream = streams.build(
            "permuted", self.dataset, "domain", num_tasks=made.tasks, seed=work.seed
        )
        self.tests = [task.load_test() for task in stream]
        parts = [hold_out(task.load_train(), made.held_out) for task in stream]
        self.held = [held for _, held in parts]
        self.tasks = [
            Task.from_arrays(task.name, learnt, (x[:1], y[:1]))  # tested at the end, all at once
            for task, (learnt, _), (x, y) in zip(stream, parts, self.tests, strict=True)
        ]

    def network(self, hidden: Sequence[int]) -> Network:
        """A new network; all of a seed and depth begin with the same weights."""
        sizes = (int(np.prod(self.image_shape)), *hidden, self.classes)
        return models.mlp(sizes, backend=self.work.backend, seed=self.work.seed)

    def learnt(self, hidden: Sequence[int], lam: float, mix: dict[str, Any]) -> Row:
        """Mean accuracies after all tasks, on test images and on those held out."""
        made: Settings = self.settings
        net = self.network(hidden)
        method = Mixed(lam=lam, samples=made.samples, which="last", **mix) if lam else Naive()
        fit(
            net, self.tasks, method, optimizer=Adam(made.lr), steps=made.steps,
            batch_size=made.batch_size, seed=self.work.seed,
        )  # fmt: skip
        test, held = (float(np.mean([accuracy(net, *images) for images in sets]))
                      for sets in (self.tests, self.held))  # fmt: skip
        return {"lam": lam, "accuracy": test, "held_out": held}


def mixtures(layers: int) -> dict[str, dict[str, Any]]:
    """Every line by name: settings of `Mixed`."""
    lines: dict[str, dict[str, Any]] = {
        one: {"pattern": one, "totals": one} for one in ("sig", "mas", "fis")
    }
    for within, totals in (("sig", "mas"), ("mas", "sig"), ("flat", "sig"), ("flat", "mas"),
                           ("input", "sig"), ("weight", "sig")):  # fmt: skip
        lines[f"{within} within, {totals} among layers"] = {"pattern": within, "totals": totals}
    lines["flat"] = {"pattern": "flat", "totals": "flat"}
    for one in ("sig", "mas"):
        lines[f"{one} shuffled within layers"] = {
            "pattern": one, "totals": one, "shuffled": True,
        }  # fmt: skip
    for one, other in (("mas", "sig"), ("sig", "mas")):
        for layer in range(1, layers + 1):
            lines[f"{one}, layer {layer} divided as {other}"] = {
                "pattern": one, "totals": one, "other": other, "layer": layer,
            }  # fmt: skip
    return lines


def _part(hidden: Sequence[int], work: Work, only: Sequence[str] = ()) -> Iterator[Row]:
    """All lines, or some, at all strengths on one network; and nothing held."""
    made, desk = work.settings, Lab(work)
    depth = len(hidden) + 1
    lines = {name: mix for name, mix in mixtures(depth).items() if not only or name in only}
    asked = [("none", 0.0, {}), *((name, lam, mix) for name, mix in lines.items()
                                  for lam in made.lams)]  # fmt: skip
    for number, (name, lam, mix) in enumerate(asked):
        yield {"kind": "line", "depth": depth, "line": name, **desk.learnt(hidden, lam, mix)}
        work.advance(number + 1, len(asked))


def parts(settings: Settings) -> Sequence[Part]:
    """Mixtures on one network; SIG, MAS and FIS on a shallower and a deeper one."""
    check_least(settings, {"tasks": 2, "steps": 1, "samples": 1, "held_out": 1})
    alone = ("sig", "mas", "fis")
    return [
        Part("mixtures", partial(_part, settings.hidden)),
        Part("shallow", partial(_part, settings.shallow, only=alone)),
        Part("deep", partial(_part, settings.deep, only=alone)),
    ]


STUDY = Study(
    name="why-sig",
    summary="importances taken apart: why does SIG hold tasks? (Kutalev 2022)",
    settings=Settings(),
    parts=parts,
    draw=why_told.draw,
    tell=why_told.tell,
    notes=why_told.NOTES,
    row=Line,
)
