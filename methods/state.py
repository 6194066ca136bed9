"""State: how far a run has come, what a checkpoint keeps of that, and how it is read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..kernels.errors import CheckpointError
from .identity import Record, differences
from .result import Evaluation


@dataclass
class Progress:
    """Everything besides the network and the method that a resumed run needs."""

    moments: dict[str, np.ndarray]  # the optimizer's, where the network computes
    baseline: np.ndarray = field(default_factory=lambda: np.empty(0))
    task: int = 0  # the task being learnt
    step: int = 0  # steps taken within it
    count: int = 0  # optimizer steps since its moments were last zero
    rows: list[np.ndarray] = field(default_factory=list)  # finished rows of R
    history: list[Evaluation] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    persistent: list[int] = field(default_factory=list)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps of it beside the moments, by name."""
        shape = (-1, len(self.baseline))
        at = np.array([(e.step, e.task) for e in self.history], np.int64)
        return {
            "progress.rows": np.array(self.rows).reshape(shape),
            "progress.history": np.array([e.accuracies for e in self.history]).reshape(shape),
            "progress.history_at": at.reshape(-1, 2),
            "progress.losses": np.array(self.losses),
            "progress.baseline": self.baseline,
        }

    def numbers(self) -> Record:
        """What a checkpoint's description says of it."""
        return {
            "task": self.task, "step": self.step, "count": self.count,
            "persistent": self.persistent,
        }  # fmt: skip


def read_progress(
    arrays: Mapping[str, np.ndarray],
    about: Record,
    fresh: Progress,
    plan: Sequence[int],
    put: Callable[[np.ndarray], np.ndarray],
    path: Path,
) -> Progress:
    """What a checkpoint holds of a run by `plan`, whose beginning is `fresh`.

    Raises CheckpointError for what no such run can have written.
    """

    def number(name: str, most: float) -> int:
        value = about.get(name)
        if type(value) is not int or not 0 <= value <= most:
            _refuse(path, f"{name} is {value!r:.40}")
        return value

    def array(name: str, shape: tuple[int | None, ...], dtype: Any = np.float64) -> np.ndarray:
        found = arrays.get(name)
        if found is None or found.dtype != dtype or found.ndim != len(shape):
            _refuse(path, f"{name} is missing or of another kind")
        if any(size not in (None, has) for size, has in zip(shape, found.shape, strict=True)):
            _refuse(path, f"{name} has shape {found.shape}")
        return found.copy()

    task = number("task", len(plan))
    step = number("step", plan[task] if task < len(plan) else 0)
    history = array("progress.history", (None, len(plan)))
    at = array("progress.history_at", (len(history), 2), np.int64).tolist()
    persistent = about.get("persistent")
    if not isinstance(persistent, list) or [type(n) for n in persistent] != [int] * task:
        _refuse(path, f"persistent is {persistent!r:.40}")
    return Progress(
        {
            name: put(array(f"optimizer.{name}", one.shape, one.dtype))
            for name, one in fresh.moments.items()
        },
        array("progress.baseline", (len(plan),)),
        task,
        step,
        number("count", sum(plan)),
        list(array("progress.rows", (task, len(plan)))),
        [Evaluation(s, t, a) for (s, t), a in zip(at, history, strict=True)],
        array("progress.losses", (sum(plan[:task]) + step,)).tolist(),
        persistent,
    )


def _refuse(path: Path, why: str) -> NoReturn:
    raise CheckpointError(
        f"{path} is no checkpoint of such a run: {why}. Use an older one, or train anew"
    )


def check_same_run(about: Record, now: Record, path: Path) -> None:
    """Raise CheckpointError unless a checkpoint's description is that of the run `now`.

    Earlier versions noted identity, seed and plan alone: that will do where the caller has said
    what the run is.
    """
    if about.get("kind") != "run":
        raise CheckpointError(f"{path} holds {about.get('kind')!r:.40}, not a run")
    then = about.get("run")
    if isinstance(then, dict):
        then = {**then, "network": about.get("network")}
    elif not now["identity"]:
        raise CheckpointError(
            f"{path} is of an earlier version, which did not note what it was a run of: nobody can "
            "tell whether it is this one. Train anew, with another checkpoint"
        )
    else:
        now = {name: now[name] for name in ("identity", "seed", "steps")}
        then = {**{name: about.get(name) for name in now}, "steps": about.get("plan")}
    if found := differences(then, now):
        raise CheckpointError(
            f"{path} belongs to another run: {'; '.join(found)}. Use the same settings, or another "
            "output folder"
        )
