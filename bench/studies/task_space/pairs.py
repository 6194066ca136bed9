"""Every ordered pair of tasks, first A, then B: forgetting, time to learn, and what foretold them.

The network that learnt A alone goes on with B for `pair_steps`, its optimizer fresh. Before that,
interference is measured at its weights on `samples` training images of each; B is tested every
`every` steps. B counts as learnt when a test shows `threshold` of what a new network reached on B
alone; pairs that never got there have no time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....methods import accuracy, fip, taskspace
from ....methods.interference import Probe
from ....methods.tasks import Arrays
from ..lab import left_by
from ..study import PartRow, Row, Work, read_rows
from .lab import Lab, Settings, Stopwatch, reached


def pairs(work: Work) -> Iterator[Row]:
    """A row for each ordered pair of different sets, and one for each set from scratch."""
    lab, made = Lab(work), work.settings
    names = lab.distinct
    alone = _alone(work)
    pixels = _pixels(lab)
    lab.warm_up()
    for name, row in alone.items():
        target = made.threshold * row["accuracy"]
        steps, seconds = reached(row["curve"], row["clock"], target)
        yield {
            "kind": "scratch", "second": name, "target": target, "steps_to": steps,
            "seconds_to": seconds,
        }  # fmt: skip
    total = len(names) ** 2
    for i, first in enumerate(names):
        net = lab.alone(first)
        before = accuracy(net, *lab.tasks[first].load_test())
        probe = Probe(net, _samples(lab, first), made.gram_samples)
        for j, second in enumerate(names):
            work.advance(i * len(names) + j, total)
            if first == second:
                continue
            yield {
                "kind": "pair", "first": first, "second": second, "before": before,
                "pixel correlation": float(pixels[i, j]),
                **probe.against(_samples(lab, second)),
                **_learn(lab, first, second, made.threshold * alone[second]["accuracy"], before),
            }  # fmt: skip


class Isolated(PartRow):
    """A row of the part `isolated`."""

    set: str
    accuracy: float


def _alone(work: Work) -> dict[str, Row]:
    """The rows of the part `isolated`, by set."""
    path = left_by("isolated", work.folder / "isolated.jsonl")
    return {row["set"]: row for row in read_rows(path, Isolated)}


def _pixels(lab: Lab) -> np.ndarray:
    """The mean over classes of the correlation of two sets' mean images, (T, T)."""
    loaded = (lab.tasks[name].load_train() for name in lab.distinct)
    means = np.stack([taskspace.class_means(x, y, lab.classes) for x, y in loaded])
    return taskspace.task_correlations(means).mean(axis=0)


def _samples(lab: Lab, name: str) -> Arrays:
    """The first training images of a set."""
    x, y = lab.tasks[name].load_train()
    return x[: lab.settings.samples], y[: lab.settings.samples]


def _learn(lab: Lab, first: str, second: str, target: float, before: float) -> Row:
    """Let the network that learnt `first` learn `second`; what came of it."""
    made: Settings = lab.settings
    net, watch = lab.alone(first), Stopwatch()
    metric = fip.Metric(net, _samples(lab, first)[0])
    start, task = net.theta.copy(), lab.tasks[second]
    at_first = accuracy(net, *task.load_test())
    lab.learn(net, [task], made.pair_steps, eval_every=made.every, observer=watch)
    moved = net.theta - start
    after = accuracy(net, *lab.tasks[first].load_test())
    steps, seconds = reached([(0, at_first), *watch.curve], [0.0, *watch.clock], target)
    return {
        "after": after, "forgetting": before - after, "at_first": at_first,
        "learnt": watch.curve[-1][1], "target": target, "steps_to": steps, "seconds_to": seconds,
        "given": made.pair_steps, "answers moved": metric.length(moved),
        "weights moved": float(np.sqrt((net.device.get(moved).astype(np.float64) ** 2).sum())),
    }  # fmt: skip
