"""Trial: one training run of a sweep, as plain values; and what a worker makes of it.

A worker gets a JSON-able record and answers with one, whatever process or machine it is on, with
the same bits. It writes nothing: results are kept by who asked.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from ...kernels.errors import WeightspaceError, WorkerError
from ...kernels.host_blas import one_blas_thread
from ..data.validation import HeldOut
from ..experiments.presets import get_preset
from ..runs.make import learn, make_stream
from ..runs.preset import Preset, Variant, apply_settings, as_config
from ..runs.preset import variants as spread
from ..runs.run import OF_THE_PLACE, failed
from ..show.plain import config_hash, plain

Record = dict[str, Any]


class Measured(TypedDict):
    """The result of a trial that was trained and tested. Numbers that are not there are null."""

    status: Literal["ok"]
    acc: float | None
    bwt: float | None
    fwt: float | None
    forgetting: float | None
    stream_hash: str


class Failed(TypedDict):
    """The result of one that came to nothing."""

    status: Literal["diverged", "failed"]
    error: str


@dataclass(frozen=True)
class Trial:
    """All that decides a result. assignments: key=value, in order. held_out None: the real test.

    label: which of the method's lines, where a preset has several.
    """

    experiment: str
    assignments: tuple[str, ...]
    method: str
    label: str
    backend: str
    seed: int
    held_out: HeldOut | None

    def resolve(self) -> tuple[Preset, Variant]:
        """The preset and the method's variant. Raises the named errors of bad settings."""
        preset = apply_settings(get_preset(self.experiment), list(self.assignments))
        found = {variant.label: variant for variant in spread(preset, [self.method])}
        return preset, found[self.label]

    def identity(self) -> str:
        """A hash of everything that decides the result, however it was written."""
        preset, variant = self.resolve()
        held_out = None if self.held_out is None else asdict(self.held_out)
        config = as_config(preset, variant, self.backend, self.seed)
        return config_hash({**config, "held_out": held_out})[:24]

    def message(self, data_dir: Path | None) -> Record:
        """What a worker is sent; it looks for data where this process would, too."""
        place = data_dir or os.environ.get("WEIGHTSPACE_DATA")
        return {
            **asdict(self),
            "assignments": list(self.assignments),
            "id": self.identity(),
            "data_dir": None if not place else str(Path(place).resolve()),
        }


def read_message(message: Record) -> Trial:
    """The trial of a message."""
    given = {key: value for key, value in message.items() if key not in ("id", "data_dir")}
    held_out = given.pop("held_out")
    assignments = tuple(given.pop("assignments"))
    held = None if held_out is None else HeldOut(**held_out)
    return Trial(**given, assignments=assignments, held_out=held)


@one_blas_thread
def run_trial(message: Record) -> Record:
    """Train and test as `message` says: {"result": ..., "timing": ...}, all plain values.

    "stream" is a line for people, which says where the data come from if they are not published.

    A named error is a result like any other, status "diverged" or "failed", unless it is one of
    the place (no data, no GPU): then there is no result, and "stopped" says why.
    """
    begun = time.perf_counter()
    answer: Record = {"id": message["id"]}
    try:
        learnt, answer["stream"] = _learn(message)
        answer["result"] = plain(learnt)
    except OF_THE_PLACE as wrong:
        answer["stopped"] = f"{type(wrong).__name__} on {platform.node()}: {wrong}"
    except WeightspaceError as wrong:
        answer["result"] = failed(wrong)
    answer["timing"] = {
        "id": message["id"],
        "seconds": round(time.perf_counter() - begun, 3),
        "worker": f"{platform.node()} {os.getpid()}",
    }
    return answer


def _learn(message: Record) -> tuple[Record, str]:
    """What is kept of a trial, and its stream in a line."""
    trial = read_message(message)
    if trial.identity() != message["id"]:
        raise WorkerError(
            "this worker reads the trial's settings as others than they were sent: it has another "
            "version of weightspace; install the same one everywhere"
        )
    preset, variant = trial.resolve()
    data_dir = None if message["data_dir"] is None else Path(message["data_dir"])
    stream = make_stream(preset, trial.seed, data_dir, trial.held_out)
    result, _ = learn(preset, variant, stream, trial.backend, trial.seed)
    kept = {
        "status": "ok",
        "acc": result.acc,
        "bwt": result.bwt,
        "fwt": result.fwt,
        "forgetting": result.forgetting,
        "accuracy_matrix": result.R.tolist(),
        "train_images": sum(task.train_size for task in stream),
        "test_images": sum(task.test_size for task in stream),
        "stream_hash": stream.hash,
        "parameters": result.network.num_parameters,
        "persistent_state_bytes": list(result.persistent_bytes),
    }
    return kept, stream.description
