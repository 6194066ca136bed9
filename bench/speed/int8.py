"""What int8 costs in accuracy: `weightspace bench int8`.

Networks are trained, put into int8 by samples of the training data, and asked about all test
images, in float and in int8, by NumPy and by C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ...kernels.errors import MissingCompilerError, check_name
from ...methods import Task, fit
from ...methods.evaluate import outputs
from ...nnlite import Network, models
from ...nnlite.export.c.host import Host
from ...nnlite.export.int8 import Calibration, Quantised, print_c, quantise
from .. import data as data_sets
from ..data import Dataset
from ..streams.normalise import check_normalise, to_float
from . import machine, records

GOAL = 0.3  # points of accuracy that int8 may cost


@dataclass(frozen=True)
class Case:
    """A network and its data; epochs of Adam 1e-3, batches of 128."""

    data: str
    build: Callable[..., Network]
    flat: bool
    epochs: int


def _mlp(outputs: int, input_shape: tuple[int, ...], **settings: Any) -> Network:
    return models.mlp((*input_shape, 256, 256, outputs), **settings)


def _residual(outputs: int, input_shape: tuple[int, ...], **settings: Any) -> Network:
    return models.resnet((8, 16, 32), 1, outputs, input_shape, **settings)


CASES = {
    "mnist-mlp": Case("mnist", _mlp, True, 8),
    "fashion-mlp": Case("fashion-mnist", _mlp, True, 8),
    "mnist-lenet5": Case("mnist", models.lenet5, False, 4),
    "fashion-lenet5": Case("fashion-mnist", models.lenet5, False, 6),
    "fashion-resnet": Case("fashion-mnist", _residual, False, 4),
    "fashion-fip-cnn": Case("fashion-mnist", models.fip_cnn, False, 2),
}


@dataclass(frozen=True)
class Row:
    """What came of one network. Accuracies in percent; same: share of answers as in float.

    c: "same" or "other" bits in C than in NumPy, of all test images; "" where there is no compiler.
    """

    case: str
    data: str
    parameters: int
    seed: int
    epochs: int
    calibrated: int
    percentile: float
    test_images: int
    float_accuracy: float
    int8_accuracy: float
    same: float
    c: str
    weights_bytes: int
    arena_bytes: int

    @property
    def loss(self) -> float:
        """Points of accuracy that were lost; negative where int8 is better."""
        return self.float_accuracy - self.int8_accuracy


def run(
    names: Iterable[str] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    calibrate: int = 1000,
    percentile: float = 100.0,
    data_dir: str | None = None,
    train_limit: int | None = None,
    console: Console | None = None,
) -> list[Row]:
    """Train, quantise and compare the cases `names` (None: all), and print a table.

    calibrate: how many training images ranges are read off. Raises UnknownNameError, and what
    data sets, `fit` and `quantise` raise.
    """
    console = console or Console()
    chosen = list(names or CASES)
    for name in chosen:
        check_name("int8 network", name, CASES)
    calibration = Calibration(percentile)
    rows = []
    for name in chosen:
        case = CASES[name]
        dataset = data_sets.load(case.data, data_dir).limited(train_limit)
        for seed in range(seeds):
            with console.status(f"{name}, seed {seed}"):
                rows.append(_one(name, case, dataset, seed, epochs, calibrate, calibration))
            told = (
                f"{rows[-1].float_accuracy:.2f} % in float, {rows[-1].int8_accuracy:.2f} % in int8"
            )
            console.print(f"[dim]{name}, seed {seed}: {told}[/]", highlight=False)
    console.print(table(rows))
    return rows


def _one(
    name: str, case: Case, dataset: Dataset, seed: int, epochs: int | None, calibrate: int,
    calibration: Calibration,
) -> Row:  # fmt: skip
    scaling = check_normalise("int8", "mnist", dataset.input_shape[-1])
    train, test = (to_float(x, scaling, case.flat) for x in (dataset.train_x, dataset.test_x))
    net = case.build(dataset.num_classes, input_shape=train.shape[1:], seed=seed, init="he_normal")
    task = Task.from_arrays(name, (train, dataset.train_y), (test[:1], dataset.test_y[:1]))
    fit(net, task, epochs=epochs or case.epochs, seed=seed)
    asked = np.concatenate([net.device.get(part).copy() for _, part in outputs(net, test)])
    small = quantise(net, train[:calibrate], calibration)
    answers = small.predict(test)
    correct = [float((y.argmax(axis=1) == dataset.test_y).mean()) for y in (asked, answers)]
    return Row(
        case=name, data=dataset.name, parameters=net.num_parameters, seed=seed,
        epochs=epochs or case.epochs, calibrated=min(calibrate, len(train)),
        percentile=calibration.percentile, test_images=len(test),
        float_accuracy=100 * correct[0], int8_accuracy=100 * correct[1],
        same=float((asked.argmax(axis=1) == answers.argmax(axis=1)).mean()),
        c=_in_c(small, test, answers), weights_bytes=small.weights_bytes,
        arena_bytes=print_c(small).arena_bytes,
    )  # fmt: skip


def _in_c(small: Quantised, x: np.ndarray, answers: np.ndarray) -> str:
    try:
        found = Host(print_c(small)).outputs(x, answers.shape[1])
        return "same" if np.array_equal(found, answers) else "other"
    except MissingCompilerError:
        return ""


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    made = Table(title="int8 beside float32", title_justify="left", box=None)
    for column in ("network", "seed", "float %", "int8 %", "lost", "same answers %", "bits in C",
                   "weights", "arena"):  # fmt: skip
        made.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        lost = f"{row.loss:+.2f}"
        made.add_row(
            row.case, str(row.seed), f"{row.float_accuracy:.2f}", f"{row.int8_accuracy:.2f}",
            lost if row.loss <= GOAL else f"[red]{lost}[/]", f"{100 * row.same:.2f}", row.c or "-",
            f"{row.weights_bytes:,}", f"{row.arena_bytes:,}",
        )  # fmt: skip
    return made


def as_records(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """A record a row, as the bench keeps them."""
    here = machine.describe()
    return [records.record("int8", here, **vars(row)) for row in rows]


def exit_status(rows: Iterable[Row]) -> int:
    """1 where int8 costs more than the goal, or C has other bits."""
    return int(any(row.loss > GOAL or row.c == "other" for row in rows))
