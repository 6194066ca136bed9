"""The same images, classes and first weights to avalanche's own EWC and SI, and to these here.

avalanche-lib runs in a process of its own, by an interpreter that has it (`python`); that its SI
and EWC mean the same lambda is not assumed: each library's convention is beside its numbers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError, check_name
from ....methods import SI, Method, Naive, Stream, fit
from ....nnlite.optim import Adam
from ... import data
from ...runs.tables import known_mean, titled
from ...show.labels import number
from ..lab import Advancing, check_least
from ..rows import grouped, with_error
from ..study import Part, PartRow, Row, Study, Work
from .study import class_order, make_network, make_stream
from .variants import BatchedEWC

SCRIPT = Path(__file__).with_name("with_avalanche.py")
OURS, PEER = "weightspace", "avalanche"


@dataclass(frozen=True)
class Settings:
    """python: an interpreter that has avalanche-lib. epochs: a task.

    ewc, si: avalanche's lambdas; here they are what gives the same penalty. xi: SI's damping.
    """

    python: str = sys.executable
    data: str = "mnist"
    train_limit: int | None = None
    test_limit: int | None = None
    protocol: str = "split"
    width: int = 400
    batch: int = 128
    epochs: int = 2
    ewc: tuple[float, ...] = (1e5,)
    si: tuple[float, ...] = (1.0, 100.0)
    xi: float = 1e-3


class Learned(PartRow):
    """All tasks learned by a method of a library. importance: the largest that it keeps."""

    library: str
    method: str
    lam: float
    accuracy: float
    accuracies: list[float]
    importance: float


def ours(method: str, lam: float, batch: int, xi: float) -> Method:
    """What gives avalanche's penalty: lam sum S d^2 of EWC, (lam / 2) sum Omega d^2 of SI."""
    if method == "ewc":
        return BatchedEWC(2 * lam, squared=batch)
    return SI(lam / 2, xi) if method == "si" else Naive()


def _here(work: Work, method: str, lam: float) -> Iterator[Row]:
    made, stream = work.settings, make_stream(work)
    learner = ours(method, lam, made.batch, made.xi)
    result = fit(
        make_network(work, stream), stream, learner, optimizer=Adam(1e-3), epochs=made.epochs,
        batch_size=made.batch, seed=work.seed, observer=Advancing(work),
    )  # fmt: skip
    kept = learner.arrays.get("omega")
    yield {
        "library": OURS, "method": method, "lam": lam, "accuracy": result.acc,
        "accuracies": result.R[-1].tolist(),
        "importance": 0.0 if kept is None else float(kept.max()),
    }  # fmt: skip


def _there(work: Work, method: str, lam: float) -> Iterator[Row]:
    made, stream = work.settings, make_stream(work)
    asked = {
        "method": method, "lam": lam, "xi": made.xi, "seed": work.seed, "lr": 1e-3,
        "batch": made.batch, "epochs": made.epochs, "order": class_order(work, stream.num_classes),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "work.npz"), Path(folder, "answer.json")
        np.savez(given, asked=json.dumps(asked), **_arrays(work, stream))
        done = subprocess.run(
            [made.python, str(SCRIPT), str(given), str(answer)], capture_output=True, text=True,
            check=False, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        )  # fmt: skip
        if done.returncode or not answer.exists():
            raise SettingError(
                f"{made.python} did not learn with avalanche-lib; it said: {done.stderr[-600:]}"
            )
        found = json.loads(answer.read_text("utf-8"))
    yield {
        "library": f"{PEER} {found['versions']['avalanche-lib']}", "method": method, "lam": lam,
        "accuracy": float(np.mean(found["accuracies"])), "accuracies": found["accuracies"],
        "importance": found["importance"],
    }  # fmt: skip


def _arrays(work: Work, stream: Stream) -> dict[str, Any]:
    """All images of the tasks, and the layers of the network before the first."""
    net = make_network(work, stream)
    found: dict[str, Any] = {"sizes": np.array(
        [stream.input_shape[0], *[work.settings.width] * 2, stream.num_classes])}  # fmt: skip
    for layer in range(3):
        for name in ("weight", "bias"):
            found[f"{name}_{layer}"] = net.layout.view(net.theta, f"{layer}.{name}").copy()
    for part in ("train", "test"):
        loaded = [getattr(task, f"load_{part}")() for task in stream]
        found[f"{part}_x"], found[f"{part}_y"] = map(np.concatenate, zip(*loaded, strict=True))
    return found


def parts(settings: Settings) -> Sequence[Part]:
    """A part a library, method and strength. Raises UnknownNameError or SettingError."""
    check_name("protocol", settings.protocol, ("split",))
    check_name("data set", settings.data, data.NAMES)
    check_least(settings, {"epochs": 1, "batch": 1, "width": 1})
    asked = [("naive", 0.0), *(("ewc", lam) for lam in settings.ewc),
             *(("si", lam) for lam in settings.si)]  # fmt: skip
    return [
        Part(f"{name}-{method}-{number(lam)}", partial(run, method=method, lam=lam))
        for method, lam in asked
        for name, run in ((OURS, _here), (PEER, _there))
    ]


def tell(rows: Sequence[Row]) -> list[Table]:
    """Both libraries side by side: accuracy, and the largest importance kept."""
    heads = ("method", "avalanche's lambda", "library", "seeds", "accuracy %", "largest importance")
    table = titled("the same images and first weights", heads, left=3)
    for (method, lam, library), of in grouped(rows, "method", "lam", "library").items():
        mean, error, count = known_mean([100 * row["accuracy"] for row in of])
        table.add_row(method, number(lam), library, str(count), with_error(mean, error, 2),
                      f"{max(row['importance'] for row in of):.2e}")  # fmt: skip
    return [table]


STUDY = Study(
    name="fishers-peers",
    summary="avalanche's own EWC and SI on the same images and first weights",
    settings=Settings(),
    parts=parts,
    draw=lambda rows, folder: [],
    tell=tell,
    notes=("avalanche: lambda sum S d^2 (EWC, squared gradients of batches), (lambda/2) sum Omega "
           "d^2 (SI); here the strengths that give the same penalty",),
    row=Learned,
)  # fmt: skip
