"""fit: the one training loop. Tasks in order, a method's hooks, measurements, checkpoints.

Every batch follows from (seed, task, epoch) alone through a counter-based generator, so a run that
was stopped at any step and resumed takes exactly the batches it would have taken.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..kernels.errors import (
    CheckpointError,
    DivergedError,
    LabelError,
    NonFiniteError,
    SettingError,
    ShapeError,
)
from ..nnlite import Network
from ..nnlite.checkpoint import load_arrays, named_parameters, restore_parameters, save_arrays
from ..nnlite.optim import Adam, Optimizer
from ..nnlite.step import TrainingStep
from .base import Method, Naive, TaskEnd
from .batches import Batches
from .result import Evaluation, Result
from .tasks import Arrays, Stream, Task, as_tasks

# augment(x, key) -> x of the same shape: key is (seed, task, step), from which all draws follow.
# What it returns may lie on the host, or on the device, there always at the same place.
Augment = Callable[[np.ndarray, tuple[int, int, int]], np.ndarray]
EVALUATION_BYTES = 1 << 29  # what an evaluation batch may hold


class Observer:
    """What a caller may watch while `fit` runs; every hook does nothing by default."""

    def started(self, total_steps: int, done_steps: int, tasks: Sequence[Task]) -> None:
        """Training begins, or goes on after `done_steps` of `total_steps`."""

    def stepped(self, step: int, task: int, loss: float) -> None:
        """Optimizer step number `step` (from 1, over all tasks) of task `task` was taken."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Accuracies were measured."""

    def task_began(self, task: int) -> None:
        """Training of task `task` begins, or goes on in a resumed run."""

    def task_learnt(self, task: int) -> None:
        """Task `task` was learnt and the method has what it keeps of it; tests come next."""

    def task_ended(self, task: int, row: np.ndarray) -> None:
        """Task `task` was tested; row (T,) is its row of R."""

    def saved(self, step: int) -> None:
        """A checkpoint of the state after `step` steps is on disk."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C arrived; the message says where the checkpoint lies. Subclass of KeyboardInterrupt."""


@dataclass
class _Progress:
    """Everything besides the network that a resumed run needs."""

    task: int  # the task being learnt
    step: int  # steps taken within it
    rows: list[np.ndarray]  # finished rows of R
    history: list[Evaluation]
    losses: list[float]
    persistent: list[int]
    baseline: np.ndarray
    moments: dict[str, np.ndarray]
    count: int  # optimizer steps since its moments were last zero


def accuracy(
    net: Network, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None, batch: int = 1000
) -> float:
    """The fraction of samples whose largest (active) output is the label's.

    At most `batch` samples a pass, fewer where their buffers would take more than half a GiB.
    """
    right = 0
    batch = min(batch, net.batch_within(EVALUATION_BYTES))
    y = net.device.put(y)
    for lo in range(0, len(x), batch):
        outputs = net.trace(x[lo : lo + batch]).outputs
        if active is not None:
            outputs = np.where(net.mask(active), outputs, -np.inf)
        right = right + (outputs.argmax(axis=1) == y[lo : lo + batch]).sum()
    return int(right) / len(x)


def _checked(task: Task, part: str, arrays: Arrays, net: Network) -> Arrays:
    """A task's arrays as the network needs them; a named error says what is wrong with them."""
    x, y = arrays
    if x.shape[1:] != net.input_shape:
        raise ShapeError(
            f"task '{task.name}': {part} inputs have shape {x.shape[1:]} a sample; the network "
            f"takes {net.input_shape}"
        )
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        raise NonFiniteError(
            f"task '{task.name}': {len(rows)} of {len(x)} {part} inputs hold NaN or infinity "
            f"(first: row {rows[0]})"
        )
    net.loss.check(y, (len(x), net.num_outputs))
    if task.active is not None and not task.active[y].all():
        outside = int(y[~task.active[y]][0])
        raise LabelError(
            f"task '{task.name}': label {outside} is not among the classes it declares active"
        )
    return np.ascontiguousarray(x, net.dtype), y


def _plan_steps(
    tasks: Sequence[Task], steps: int | None, epochs: int | None, batch_size: int
) -> list[int]:
    """Optimizer steps for each task."""
    if (steps is None) == (epochs is None):
        raise SettingError("fit needs either steps or epochs (a task), and not both")
    if batch_size < 1 or (steps or epochs or 0) < 1:
        raise SettingError(f"batch_size={batch_size}, steps={steps}, epochs={epochs}: all >= 1")
    if steps is not None:
        return [steps] * len(tasks)
    return [math.ceil(task.train_size / batch_size) * (epochs or 0) for task in tasks]


@contextmanager
def _interrupt_at_step() -> Iterator[list[bool]]:
    """Turn Ctrl-C into a flag that the loop reads between steps, when nothing is half done."""
    flag: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = signal.signal(signal.SIGINT, lambda *_: flag.append(True))
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


def fit(
    net: Network,
    tasks: Stream | Sequence[Task],
    method: Method | None = None,
    *,
    optimizer: Optimizer | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    reset_optimizer: bool = False,
    eval_every: int = 0,
    augment: Augment | None = None,
    observer: Observer | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 500,
    resume: bool = False,
    identity: str = "",
) -> Result:
    """Learn `tasks` one after another with `method`, and measure every task after each.

    steps or epochs: for each task. optimizer: Adam(1e-3) by default; `reset_optimizer` zeroes its
    moments at each task. eval_every: also measure the tasks seen so far every so many steps.
    augment: changes each training batch, by (seed, task, step) alone; importances see the data.
    checkpoint: a file to keep the state in, every `checkpoint_every` steps, at each task's end
    and at Ctrl-C; with `resume` training continues from it to the same bits. `identity` is written
    into it, and a checkpoint of another identity is refused.

    The network is trained in place. Raises the named errors of bad data before training on it;
    DivergedError (it names the step) when a loss is not finite, leaving the last checkpoint as it
    was; CheckpointError; Interrupted at Ctrl-C.
    """
    every = as_tasks(tasks)
    method = method or Naive()
    trainer = _Trainer(
        net=method.wrap(net),
        tasks=every,
        method=method,
        optimizer=optimizer or Adam(),
        batch_size=batch_size,
        seed=seed,
        reset_optimizer=reset_optimizer,
        plan=_plan_steps(every, steps, epochs, batch_size),
        eval_every=eval_every,
        augment=augment,
        observer=observer or Observer(),
        checkpoint=Path(checkpoint) if checkpoint else None,
        checkpoint_every=checkpoint_every,
        identity=identity,
    )
    return trainer.run(resume)


@dataclass
class _Trainer:
    """One run of `fit`: what stays the same throughout; what changes is a `_Progress`."""

    net: Network
    tasks: tuple[Task, ...]
    method: Method
    optimizer: Optimizer
    batch_size: int
    seed: int
    reset_optimizer: bool
    plan: list[int]
    eval_every: int
    augment: Augment | None
    observer: Observer
    checkpoint: Path | None
    checkpoint_every: int
    identity: str

    def run(self, resume: bool) -> Result:
        device = self.net.device
        tests = [_checked(task, "test", task.load_test(), self.net) for task in self.tasks]
        self.tests = [(device.put(x), device.put(y)) for x, y in tests]
        self.method.arrays.clear()
        self.method.start(self.net, self.optimizer)
        if resume and self.checkpoint and self.checkpoint.exists():
            now = self._load()
        else:
            moments = self._fresh_moments()
            now = _Progress(0, 0, [], [], [], [], self._measure(len(self.tasks)), moments, 0)
        self.observer.started(sum(self.plan), len(now.losses), self.tasks)
        with _interrupt_at_step() as interrupted:
            while now.task < len(self.tasks):
                self._learn_task(now, interrupted)
        return Result(
            R=np.array(now.rows),
            baseline=now.baseline,
            history=tuple(now.history),
            losses=np.array(now.losses),
            method=self.method.settings(),
            convention=self.method.convention,
            persistent_bytes=tuple(now.persistent),
            task_names=tuple(task.name for task in self.tasks),
        )

    # ---- one task ----------------------------------------------------------------------------

    def _learn_task(self, now: _Progress, interrupted: list[bool]) -> None:
        task = self.tasks[now.task]
        learnt = range(len(self.tasks)) if self.method.joint else (now.task,)
        parts = [
            _checked(self.tasks[i], "training", self.tasks[i].load_train(), self.net)
            for i in learnt
        ]
        batches = Batches(self.net.ops, parts, self.batch_size, self.seed, now.task)
        size = len(parts[-1][0])  # the newest task's samples come last, on the device too
        del parts
        active = self._joint_active() if self.method.joint else task.active
        if now.step == 0 and now.task and self.reset_optimizer:
            now.moments, now.count = self._fresh_moments(), 0
        self.observer.task_began(now.task)
        self.method.begin_task(self.net, now.task, task, self.plan[now.task])
        hooked = type(self.method).adjust is not Method.adjust
        step = TrainingStep(
            self.net, self.optimizer, now.moments, self.method.streams(), active,
            self.method.adjust if hooked else None,
        )  # fmt: skip
        while now.step < self.plan[now.task]:
            self.method.select(self.net, now.task, now.step)
            x, y = batches[now.step]
            if self.augment is not None:
                x = self.augment(x, (self.seed, now.task, now.step))
            self.method.see(self.net, x, y)
            now.count += 1
            step.queue(x, y, now.count)
            now.step += 1
            if step.full or self._something_is_due(now):
                self._look(now, step.read())
                self._after_look(now, interrupted)
        train = tuple(array[-size:] for array in batches.arrays)
        self.method.end_task(self.net, TaskEnd(now.task, task, train, self.seed, self.net.device))
        self.observer.task_learnt(now.task)
        self._end_task(now)

    def _fresh_moments(self) -> dict[str, np.ndarray]:
        net = self.net
        return self.optimizer.state(net.num_parameters, net.dtype, net.device)

    def _something_is_due(self, now: _Progress) -> bool:
        """Whether losses must be read now, though a GPU would rather go on."""
        every = (self.checkpoint_every, self.plan[now.task], self.eval_every)
        return any(now.step % number == 0 for number in every if number)

    def _look(self, now: _Progress, losses: list[float]) -> None:
        """Take note of the losses of the latest steps, in order."""
        for loss in losses:
            if not math.isfinite(loss):
                raise self._diverged(now, loss)
            now.losses.append(loss)
            self.observer.stepped(len(now.losses), now.task, loss)

    def _after_look(self, now: _Progress, interrupted: list[bool]) -> None:
        total = len(now.losses)
        last = now.step == self.plan[now.task]
        if self.eval_every and now.step % self.eval_every == 0 and not last:
            seen = len(self.tasks) if self.method.joint else now.task + 1
            self._record(now, self._measure(seen))
        if interrupted:
            self._save(now)
            where = f"; --resume continues from {self.checkpoint}" if self.checkpoint else ""
            raise Interrupted(f"stopped after step {total}{where}")
        if now.step % self.checkpoint_every == 0 and not last:
            self._save(now)

    def _end_task(self, now: _Progress) -> None:
        row = self._measure(len(self.tasks))
        now.rows.append(row)
        now.persistent.append(self.method.persistent_bytes())
        self._record(now, row)
        self.observer.task_ended(now.task, row)
        now.task, now.step = now.task + 1, 0
        self._save(now)

    def _measure(self, seen: int) -> np.ndarray:
        """Accuracies (T,) on the first `seen` tasks, NaN for the rest."""
        row = np.full(len(self.tasks), np.nan)
        for index in range(seen):
            self.method.select(self.net, index, None)
            row[index] = accuracy(self.net, *self.tests[index], self.tasks[index].active)
        return row

    def _record(self, now: _Progress, accuracies: np.ndarray) -> None:
        evaluation = Evaluation(len(now.losses), now.task, accuracies)
        now.history.append(evaluation)
        self.observer.evaluated(evaluation)

    def _joint_active(self) -> np.ndarray | None:
        """All classes of all tasks: mixed batches cannot be masked by task."""
        masks = [task.active for task in self.tasks]
        if any(mask is None for mask in masks):
            return None
        return np.logical_or.reduce([mask for mask in masks if mask is not None])

    def _diverged(self, now: _Progress, loss: float) -> DivergedError:
        step, before = len(now.losses) + 1, sum(self.plan[: now.task])
        kept = ""
        if self.checkpoint and self.checkpoint.exists():
            kept = f" The last good checkpoint is kept: {self.checkpoint}."
        return DivergedError(
            f"the loss became {loss} at step {step} (task "
            f"'{self.tasks[now.task].name}', its step {step - before}).{kept} Lower the learning "
            f"rate (now {self.optimizer.lr}) or the penalty (now {self.method.settings()})"
        )

    # ---- checkpoints -------------------------------------------------------------------------

    def _save(self, now: _Progress) -> None:
        if self.checkpoint is None:
            return
        shape, on_host = (-1, len(self.tasks)), self.method.on_host
        get = self.net.device.get
        arrays = named_parameters(self.net)
        arrays |= {f"optimizer.{name}": get(value) for name, value in now.moments.items()}
        arrays |= {
            f"method.{name}": value if name in on_host else get(value)
            for name, value in self.method.arrays.items()
        }
        arrays |= {
            "progress.rows": np.array(now.rows).reshape(shape),
            "progress.history": np.array([e.accuracies for e in now.history]).reshape(shape),
            "progress.history_at": np.array(
                [(e.step, e.task) for e in now.history], np.int64
            ).reshape(-1, 2),
            "progress.losses": np.array(now.losses),
            "progress.baseline": now.baseline,
        }
        about: dict[str, Any] = {
            "kind": "run", "identity": self.identity, "task": now.task, "step": now.step,
            "count": now.count, "seed": self.seed, "persistent": now.persistent, "plan": self.plan,
        }  # fmt: skip
        save_arrays(self.checkpoint, arrays, about)
        self.observer.saved(len(now.losses))

    def _load(self) -> _Progress:
        assert self.checkpoint is not None
        arrays, about = load_arrays(self.checkpoint)
        ours = {"kind": "run", "identity": self.identity, "seed": self.seed, "plan": self.plan}
        for key, value in ours.items():
            if about.get(key) != value:
                raise CheckpointError(
                    f"{self.checkpoint} belongs to another run: its {key} is {about.get(key)!r}, "
                    f"this run's is {value!r}. Use the same settings, or another output folder"
                )
        restore_parameters(self.net, arrays, self.checkpoint)

        def group(prefix: str) -> dict[str, np.ndarray]:
            found = ((n.removeprefix(prefix), a) for n, a in arrays.items() if n.startswith(prefix))
            return {name: array.copy() for name, array in found}

        put = self.net.device.put
        moments = {name: put(array) for name, array in group("optimizer.").items()}
        self.method.arrays.clear()
        for name, array in group("method.").items():
            self.method.arrays[name] = array if name in self.method.on_host else put(array)
        kept = group("progress.")
        at = kept["history_at"].tolist()
        history = [Evaluation(s, t, a) for (s, t), a in zip(at, kept["history"], strict=True)]
        return _Progress(
            about["task"], about["step"], list(kept["rows"]), history, kept["losses"].tolist(),
            about["persistent"], kept["baseline"], moments, about["count"],
        )  # fmt: skip


__all__ = ["Interrupted", "Observer", "accuracy", "fit"]
