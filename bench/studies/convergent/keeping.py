"""Which method keeps its features? One network before and after learning more, unit by unit.

The classes come in groups, the head masked to the task's (as in `split-fashion`). After the first
task the network is kept; after each later one its units are matched with themselves then, on test
images of the first task: a unit that still does what it did has correlation 1 with itself, and
bipartite matching pairs it with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ....methods import Moments, accuracy, fit
from ....methods.activations import Units, moments, unit_layers
from ....methods.matching import bipartite_matching
from ....nnlite import Network
from ...experiments.presets import PRESETS
from ...runs.make import make_network, make_optimizer, make_stream
from ...runs.preset import Preset, variants
from ..lab import Advancing
from ..study import Row, Work

# in place of those of the preset `split-fashion`. EWC's is the best of 1e3, 1e4 and 1e5 (91.3, 98.6
# and 98.9 % over five tasks of 100 steps, one seed), so that all three keep what they can do
_METHODS: dict[str, dict[str, Any]] = {
    "ewc": {"lam": 1e5, "stabilised": True, "samples": 2000},
    "replay": {"memories": 500},
    "fip": {"memories": 500, "batch": 100, "strength": 5.0},
}


class _Keeper(Advancing):
    """Keeps the network as it is after each task."""

    def __init__(self, work: Work, net: Network) -> None:
        super().__init__(work)
        self.net = net
        self.nets: list[Network] = []

    def task_ended(self, task: int, row: np.ndarray) -> None:
        self.nets.append(self.net.like())


def keeping(method: str) -> Callable[[Work], Iterable[Row]]:
    """The part of one method."""

    def run(work: Work) -> Iterator[Row]:
        made, preset = work.settings, _preset(work)
        stream = make_stream(preset, work.seed, work.data_dir)
        (variant,) = variants(preset, [method])
        net = make_network(preset, stream, work.backend, work.seed)
        keeper = _Keeper(work, net)
        fit(
            net, stream, variant.build(), optimizer=make_optimizer(preset), steps=preset.steps,
            batch_size=preset.batch_size, seed=work.seed, observer=keeper,
            reset_optimizer=preset.reset_optimizer,
        )  # fmt: skip
        tests = [task.load_test() for task in stream]
        x = tests[0][0][: made.keep_limit]
        before = keeper.nets[0]
        for learnt, after in enumerate(keeper.nets, start=1):
            accuracies = [
                accuracy(after, images, labels, task.active)
                for (images, labels), task in zip(tests[:learnt], stream, strict=False)
            ]
            yield {"ask": "keep", "method": method, "learnt": learnt, "accuracies": accuracies,
                   "first": accuracies[0], "layers": _kept(before, after, x)}  # fmt: skip

    return run


def _preset(work: Work) -> Preset:
    """`split-fashion` with the study's data, network and lengths."""
    made, preset = work.settings, PRESETS["split-fashion"]
    stream = {**preset.stream_settings, "classes_per_task": made.keep_classes,
              "normalise": made.normalise}  # fmt: skip
    return replace(
        preset, data=made.data, model=made.model, init=made.init, stream_settings=stream,
        train_limit=made.train_limit, steps=made.keep_steps, lr=made.lr,
        methods={**preset.methods, **_METHODS},
    )  # fmt: skip


def _kept(before: Network, after: Network, x: np.ndarray) -> list[Row]:
    """How much of itself a network finds again, in each hidden layer.

    The outputs are left out: most of them belong to other tasks.
    """
    layers = unit_layers(before)[:-1]
    return [
        _itself(of, layer)
        for layer, of in zip(layers, moments([before, after.like()], x, layers), strict=True)
    ]


def _itself(of: Moments, layer: Units) -> Row:
    """Over the units that varied before; one that no longer does has correlation 0 with itself."""
    live = of.alive[: layer.units]
    r = of.correlation()[: layer.units, layer.units :]
    found = bipartite_matching(r)
    return {
        "layer": layer.name, "live": int(live.sum()),
        "dead_after": int((live & ~of.alive[layer.units :]).sum()),
        "itself": float(np.diag(r)[live].mean()),
        "identity": float((found.partner == np.arange(layer.units))[live].mean()),
        "matched": float(found.score[live].mean()),
    }  # fmt: skip
