"""Iterative schemes: two, three or more tasks in turn, round after round, the weights carried on.

Each visit to a task is a task of `fit`, so Synaptic Intelligence consolidates after every visit,
as in the authors' code; lam 0 is naive training by the same code. The optimizer's moments go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ....methods import SI, Observer, Task, accuracy
from ....methods.correlation import pearson, weight_layers
from ....methods.tasks import Arrays
from ....methods.vectors import norm
from ....nnlite import Network
from ....nnlite.checkpoint import save_arrays
from ..lab import hold_out
from ..study import Row, Work
from .lab import Lab, Settings

BLOCK = 48  # units of either side that a heat map shows


def iterative(work: Work) -> Iterator[Row]:
    """A row for each visit: accuracies on all of the scheme's tasks, on test images and on those
    that are held out to choose lam by; rows about kept weights."""
    lab, made = Lab(work), work.settings
    done, total = 0, len(made.schemes) * len(made.lams)
    for scheme in made.schemes:
        for lam in made.lams:
            watch = _run(lab, scheme.split("+"), lam)
            yield from ({"kind": "visit", "scheme": scheme, "lam": lam, **row}
                        for row in watch.rows)  # fmt: skip
            if lam == min(made.lams):
                yield from _weights(lab, scheme, watch)
            done += 1
            work.advance(done, total)


class _Visits(Observer):
    """Measures all tasks of a scheme after each visit, and keeps the weights of some rounds."""

    def __init__(
        self, net: Network, tasks: Sequence[Task], held: Sequence[Arrays], rounds: Sequence[int]
    ) -> None:
        self.net, self.tasks, self.held, self.rounds = net, tasks, held, rounds
        self.rows: list[Row] = []
        self.kept: dict[int, np.ndarray] = {}

    def task_ended(self, task: int, row: np.ndarray) -> None:
        number, visited = divmod(task, len(self.tasks))
        self.rows.append(
            {"round": number + 1, "task": self.tasks[visited].name, "visit": task,
             "accuracies": [accuracy(self.net, *one.load_test()) for one in self.tasks],
             "held_out": [accuracy(self.net, *images) for images in self.held]}
        )  # fmt: skip
        if visited == len(self.tasks) - 1 and number + 1 in self.rounds:
            self.kept[number + 1] = self.net.device.get(self.net.theta).copy()


def _run(lab: Lab, names: Sequence[str], lam: float) -> _Visits:
    made: Settings = lab.settings
    net, tasks = lab.network(), [lab.tasks[name] for name in names]
    learnt, held = zip(*(hold_out(task.load_train(), made.held_out) for task in tasks), strict=True)
    watch = _Visits(net, tasks, held, made.kept_rounds)
    visits = [_visit(task, images) for task, images in zip(tasks, learnt, strict=True)]
    lab.learn(
        net, visits * made.rounds, made.visit_steps,
        method=SI(lam=lam, xi=made.xi), observer=watch,
    )  # fmt: skip
    return watch


def _visit(task: Task, images: Arrays) -> Task:
    """The task with a test of one image: `_Visits` measures, where `fit` would test all visits."""
    x, y = task.load_test()
    return Task.from_arrays(task.name, images, (x[:1], y[:1]))


def _weights(lab: Lab, scheme: str, watch: _Visits) -> Iterator[Row]:
    """How far the weights are from those of the first kept round; pieces of them, in a file."""
    if not watch.kept:
        return
    net, arrays = lab.network(), {}
    layers = weight_layers(net.layout)
    second = layers[min(1, len(layers) - 1)]
    first_kept = next(iter(watch.kept.values()))
    for number, theta in watch.kept.items():
        views = {name: net.layout.view(theta, name) for name in layers}
        arrays[f"{number}.units"] = views[second][:BLOCK, :BLOCK]
        arrays[f"{number}.pixels"] = np.abs(views[layers[0]]).mean(axis=0)
        yield {
            "kind": "weights", "scheme": scheme, "round": number,
            "norm": norm(net, theta), "moved": norm(net, theta - first_kept),
            "correlation": [pearson(views[name].ravel(),
                                    net.layout.view(first_kept, name).ravel()) for name in layers],
        }  # fmt: skip
    about = {"scheme": scheme, "rounds": list(watch.kept), "shape": list(lab.image_shape)}
    save_arrays(lab.file(f"weights-{scheme}"), arrays, about)
