"""fit: the one training loop. Tasks in order, a method's hooks, measurements, checkpoints.

Every batch follows from (seed, task, epoch) alone through a counter-based generator, so a run that
was stopped at any step and resumed takes exactly the batches it would have taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from ..kernels.errors import DivergedError, NonFiniteError, SettingError
from ..nnlite import Network
from ..nnlite.checkpoint import (
    describe_network,
    load_arrays,
    named_parameters,
    restore_parameters,
    save_arrays,
)
from ..nnlite.optim import OPTIMIZERS, Adam, Optimizer
from ..nnlite.step import TrainingStep
from .base import Method, Naive, TaskEnd
from .batches import Batches
from .calibration import calibration_error
from .evaluate import accuracy, check_classifies, finite
from .identity import Record, as_record, describe_optimizer
from .observer import Observer
from .pace import Pace
from .plan import Length, check_batches
from .result import Evaluation, Result
from .settings import ANY, NOT_NEGATIVE, flag, made, whole
from .state import Progress, check_same_run, read_progress
from .stopping import Interrupted, Stop
from .survey import Data, checked, survey
from .table import METHODS
from .tasks import Stream, Task, as_tasks

# augment(x, key) -> x of the same shape: key is (seed, task, step), from which all draws follow.
# What it returns may lie on the host, or on the device, there always at the same place.
Augment = Callable[[np.ndarray, tuple[int, int, int]], np.ndarray]


def fit(
    net: Network,
    tasks: Stream | Task | Iterable[Task],
    method: Method | type[Method] | str | None = None,
    *,
    optimizer: Optimizer | type[Optimizer] | str | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 128,
    seed: int = 0,
    reset_optimizer: bool = False,
    eval_every: int = 0,
    eval_switch: int = 0,
    calibration: bool = False,
    augment: Augment | None = None,
    observer: Observer | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 500,
    resume: bool = False,
    identity: str = "",
) -> Result:
    """Learn `tasks` one after another with `method`, and measure every task after each.

    steps or epochs: for each task. optimizer: Adam(1e-3) by default; `reset_optimizer` zeroes its
    moments at each task. A method or an optimizer with its default settings may be given by name.
    eval_every: also measure the tasks seen so far every so many steps; eval_switch: after each of
    the first so many of every task but the first. calibration: `Result.calibration`, too.
    augment: changes each training batch, by (seed, task, step) alone; importances see the data.
    checkpoint: a file to keep the state in, every `checkpoint_every` steps, at each task's end and
    when a signal stops the run; with `resume` training continues from it to the same bits (another
    backend may, with its own roundings). A checkpoint of other settings, another network or other
    data is refused, and told how it differs; `identity` is one more word that must be the same, for
    what `fit` cannot know.

    The network is trained in place. Everything that can be refused is, by a named error, before the
    first step: bad data (of a stream with a hash: its training data when their turn comes),
    settings, and batches that the network cannot take.

    Raises DivergedError (it names the step) when a loss is not finite, or what the last step led
    to: at each checkpoint, measurement and end of a task the weights, all that is kept and the
    outputs are looked at, so the last checkpoint, which stays as it was, is a good one.
    CheckpointError; Interrupted after Ctrl-C, SIGTERM or SIGHUP, with a checkpoint written.
    """
    observer = Observer() if observer is None else observer
    _check_asked(net, observer, augment, checkpoint, resume)
    learner: Method = made("method", Naive() if method is None else method, METHODS, Method)
    with Stop(observer.stopping) as stop:
        trainer = _Trainer(
            learner.wrap(net), as_tasks(tasks), learner,
            made("optimizer", Adam() if optimizer is None else optimizer, OPTIMIZERS, Optimizer),
            Length.of(steps, epochs), batch_size, seed, reset_optimizer, eval_every, eval_switch,
            calibration, augment, observer, Path(checkpoint) if checkpoint else None,
            checkpoint_every, identity, stop,
        )  # fmt: skip
        result = trainer.run(tasks.hash if isinstance(tasks, Stream) else "", resume)
    if stop.number:  # it came after the last look
        raise trainer.interrupted(len(result.losses))
    return result


def _check_asked(net: object, observer: object, augment: object, checkpoint, resume) -> None:
    """Raise SettingError for what `fit` was given in the place of a network, a hook or a file."""
    if not isinstance(net, Network):
        raise SettingError(f"fit trains a Network; it got {net!r} ({type(net).__name__})")
    if resume and not checkpoint:
        raise SettingError("resume=True needs the checkpoint to go on from")
    check_classifies(net, "fit measures accuracy, which")
    if not isinstance(observer, Observer):
        raise SettingError(f"observer is {observer!r}; give an object of a class of Observer's")
    if augment is not None and not callable(augment):
        raise SettingError(f"augment is {augment!r}; give a function of (x, key)")
    if checkpoint and Path(checkpoint).is_dir():
        raise SettingError(f"checkpoint {checkpoint} is a folder; it names a file")


@dataclass
class _Trainer:
    """One run of `fit`: what stays the same throughout; what changes is a `Progress`."""

    net: Network
    tasks: tuple[Task, ...]
    method: Method
    optimizer: Optimizer
    length: Length
    batch_size: int
    seed: int
    reset_optimizer: bool
    eval_every: int
    eval_switch: int
    calibration: bool
    augment: Augment | None
    observer: Observer
    checkpoint: Path | None
    checkpoint_every: int
    identity: str
    stop: Stop

    def __post_init__(self) -> None:
        self.batch_size = whole("batch_size", self.batch_size)
        self.seed = whole("seed", self.seed, ANY)
        self.reset_optimizer = flag("reset_optimizer", self.reset_optimizer)
        self.eval_every = whole("eval_every", self.eval_every, NOT_NEGATIVE)
        self.eval_switch = whole("eval_switch", self.eval_switch, NOT_NEGATIVE)
        self.calibration = flag("calibration", self.calibration)
        self.checkpoint_every = whole("checkpoint_every", self.checkpoint_every)
        self._pace = Pace()

    def run(self, known: str, resume: bool) -> Result:
        """known: the hash of all data, where somebody knows it."""
        device = self.net.device
        data = survey(self.tasks, known, self.net, hashed=self.checkpoint is not None)
        self.plan = [self.length.steps_over(size, self.batch_size) for size in data.sizes]
        check_batches(self.net, self.method, self.tasks, data.sizes, self.plan, self.batch_size)
        self.method.check(self.net, data.sizes)
        self.tests = [(device.put(x), device.put(y)) for x, y in data.tests]
        self.record = self._describe(data) if self.checkpoint else {}
        self.method.arrays.clear()
        self.method.start(self.net, self.optimizer)
        if resume and self.checkpoint and self.checkpoint.exists():
            now = self._load(self.checkpoint)
        else:
            now = Progress(self._fresh_moments())
            now.baseline = self._measure(now, len(self.tasks))
        self.observer.started(sum(self.plan), len(now.losses), self.tasks)
        while now.task < len(self.tasks):
            self._stop_if_asked(now)
            self._learn_task(now)
        return Result(
            R=np.array(now.rows),
            baseline=now.baseline,
            history=tuple(now.history),
            losses=np.array(now.losses),
            method=self.method.settings(),
            convention=self.method.convention,
            network=self.net,
            persistent_bytes=tuple(now.persistent),
            task_names=tuple(task.name for task in self.tasks),
            calibration=self._calibrated() if self.calibration else None,
        )

    # ---- one task ----------------------------------------------------------------------------

    def _learn_task(self, now: Progress) -> None:
        task = self.tasks[now.task]
        learnt = range(len(self.tasks)) if self.method.joint else (now.task,)
        parts = [
            checked(self.tasks[i], "training", self.tasks[i].load_train(), self.net) for i in learnt
        ]
        batches = Batches(self.net.ops, parts, self.batch_size, self.seed, now.task)
        size = len(parts[-1][0])  # the newest task's samples come last, on the device too
        del parts
        active = self._joint_active() if self.method.joint else task.active
        if now.step == 0 and now.task and self.reset_optimizer:
            now.moments, now.count = self._fresh_moments(), 0
        self.observer.task_began(now.task)
        self.method.begin_task(self.net, now.task, task, self.plan[now.task])
        step = TrainingStep(
            self.net, self.optimizer, now.moments, self.method.streams(), active,
            self.method.adjust if self.method.hooked else None,
        )  # fmt: skip
        x = None
        while now.step < self.plan[now.task]:
            self.method.select(self.net, now.task, now.step)
            x = self._take_steps(now, step, batches)
            if step.full or self._due_in(now, now.step) == 0:
                self._look(now, step.read())
                self._after_look(now, x)
        self._check(now, x)
        train = tuple(array[-size:] for array in batches.arrays)
        self.method.end_task(self.net, TaskEnd(now.task, task, train, self.seed, self.net.device))
        self.observer.task_learnt(now.task)
        self._end_task(now)

    def _take_steps(self, now: Progress, step: TrainingStep, batches: Batches) -> np.ndarray:
        """The next step, or as many as nobody asks anything of between; returns the last inputs."""
        free = self.method.free_steps(now.task, now.step)
        due = self._due_in(now, now.step + 1) + 1
        count = min(free, due, self._pace.steps)
        if self.augment is None and count > 1 and step.many:
            with self._pace.timed(count):
                rows, sizes = batches.rows(now.step, count), batches.sizes(now.step, count)
                x, y = batches.arrays
                step.queue_many(x, y, rows, sizes, now.count + 1)
            now.step, now.count = now.step + count, now.count + count
            return x[rows[-sizes[-1] :]]
        x, y = batches[now.step]
        if self.augment is not None:
            x = self.augment(x, (self.seed, now.task, now.step))
        self.method.see(self.net, x, y)
        now.count += 1
        step.queue(x, y, now.count)
        now.step += 1
        return x

    def _fresh_moments(self) -> dict[str, np.ndarray]:
        net = self.net
        return self.optimizer.state(net.num_parameters, net.dtype, net.device)

    def _due_in(self, now: Progress, step: int) -> int:
        """How many steps after `step` losses must be read, though a GPU would rather go on."""
        if now.task and step <= self.eval_switch:
            return 0
        every = (self.checkpoint_every, self.plan[now.task], self.eval_every)
        return min(-step % number for number in every if number)

    def _look(self, now: Progress, losses: list[float]) -> None:
        """Take note of the losses of the latest steps, in order."""
        good = losses if all(map(math.isfinite, losses)) else list(takewhile(math.isfinite, losses))
        first = len(now.losses) + 1
        now.losses += good
        if type(self.observer).stepped is not Observer.stepped:  # most watch no single step
            for step, loss in enumerate(good, first):
                self.observer.stepped(step, now.task, loss)
        if len(good) < len(losses):
            bad = losses[len(good)]
            raise self._diverged(now, f"the loss became {bad} at", first + len(good))

    def _after_look(self, now: Progress, x: np.ndarray) -> None:
        last = now.step == self.plan[now.task]
        soon = now.task > 0 and now.step <= self.eval_switch  # after a switch
        if (soon or (self.eval_every and now.step % self.eval_every == 0)) and not last:
            seen = len(self.tasks) if self.method.joint else now.task + 1
            self._record(now, self._measure(now, seen))
        if self.stop.number or (now.step % self.checkpoint_every == 0 and not last):
            self._save(now, x)
            self._stop_if_asked(now, saved=True)

    def _end_task(self, now: Progress) -> None:
        row = self._measure(now, len(self.tasks))
        now.rows.append(row)
        now.persistent.append(int(self.method.persistent_bytes()))
        self._record(now, row)
        self.observer.task_ended(now.task, row)
        now.task, now.step = now.task + 1, 0
        self._save(now)

    def _measure(self, now: Progress, seen: int) -> np.ndarray:
        """Accuracies (T,) on the first `seen` tasks, NaN for the rest."""
        row = np.full(len(self.tasks), np.nan)
        for index in range(seen):
            self.method.select(self.net, index, None)
            try:
                row[index] = accuracy(self.net, *self.tests[index], self.tasks[index].active)
            except NonFiniteError as wrong:
                if not now.losses:
                    raise  # nothing was trained: the weights came like this
                raise self._diverged(now, f"{wrong}, after", len(now.losses)) from None
        return row

    def _calibrated(self) -> np.ndarray:
        """Calibration errors (T,) on every task, after the last one."""
        found = []
        for index, task in enumerate(self.tasks):
            self.method.select(self.net, index, None)
            found.append(calibration_error(self.net, *self.tests[index], task.active))
        return np.array(found)

    def _stop_if_asked(self, now: Progress, saved: bool = False) -> None:
        """Raise Interrupted where a signal came, with a checkpoint of the present state."""
        if self.stop.number:
            if not saved:
                self._save(now)
            raise self.interrupted(len(now.losses))

    def interrupted(self, steps: int) -> Interrupted:
        """What a signal ends in after so many steps."""
        where = f"; --resume continues from {self.checkpoint}" if self.checkpoint else ""
        return Interrupted(f"stopped after step {steps}{where}", self.stop.number)

    def _record(self, now: Progress, accuracies: np.ndarray) -> None:
        evaluation = Evaluation(len(now.losses), now.task, accuracies)
        now.history.append(evaluation)
        self.observer.evaluated(evaluation)

    def _joint_active(self) -> np.ndarray | None:
        """All classes of all tasks: mixed batches cannot be masked by task."""
        masks = [task.active for task in self.tasks]
        if any(mask is None for mask in masks):
            return None
        return np.logical_or.reduce([mask for mask in masks if mask is not None])

    def _check(self, now: Progress, x: np.ndarray | None = None) -> None:
        """Raise DivergedError where something that the next step would start from is not finite.

        x: a batch for which the outputs are looked at, too. (A loss says nothing of its own step.)
        """
        net, on_host = self.net, self.method.on_host
        kept = {"theta": net.theta, **net.state}
        kept |= {f"the optimizer's {name}": array for name, array in now.moments.items()}
        kept |= {
            f"{self.method.name}'s {name}": array
            for name, array in self.method.arrays.items()
            if name not in on_host
        }
        bad = next((name for name, array in kept.items() if not finite(array)), None)
        if bad is None and x is not None and not finite(net.forward(x)):
            bad = "the network's outputs"
        if bad is not None:
            raise self._diverged(now, f"NaN or infinity in {bad} after", len(now.losses))

    def _diverged(self, now: Progress, what: str, step: int) -> DivergedError:
        """what: "the loss became nan at"; step: over all tasks."""
        task = min(now.task, len(self.tasks) - 1)
        kept = ""
        if self.checkpoint and self.checkpoint.exists():
            kept = f" The last good checkpoint is kept: {self.checkpoint}."
        return DivergedError(
            f"{what} step {step} (task '{self.tasks[task].name}', its step "
            f"{step - sum(self.plan[:task])}).{kept} Lower the learning rate (now "
            f"{self.optimizer.lr}) or the penalty (now {self.method.settings()})"
        )

    # ---- checkpoints -------------------------------------------------------------------------

    def _save(self, now: Progress, x: np.ndarray | None = None) -> None:
        self._check(now, x)
        if self.checkpoint is None:
            return
        get, on_host = self.net.device.get, self.method.on_host
        arrays = named_parameters(self.net) | now.arrays()
        arrays |= {f"optimizer.{name}": get(value) for name, value in now.moments.items()}
        arrays |= {
            f"method.{name}": value if name in on_host else get(value)
            for name, value in self.method.arrays.items()
        }
        run = dict(self.record)
        network = run.pop("network")  # where `Network.load` looks for it
        about = {"kind": "run", "network": network, "run": run, **now.numbers()}
        save_arrays(self.checkpoint, arrays, about)
        self.observer.saved(len(now.losses))

    def _describe(self, data: Data) -> Record:
        """What this run is, for its checkpoint."""
        return as_record({
            "identity": self.identity,
            "method": self.method.settings(),
            "optimizer": describe_optimizer(self.optimizer),
            "steps": self.plan,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "reset_optimizer": self.reset_optimizer,
            "eval_every": self.eval_every,
            **({"eval_switch": self.eval_switch} if self.eval_switch else {}),  # later than others
            "augment": self.augment is not None,
            "network": describe_network(self.net),
            "data": data.hashes,
        })  # fmt: skip

    def _load(self, path: Path) -> Progress:
        arrays, about = load_arrays(path)
        check_same_run(about, self.record, path)
        device, method = self.net.device, self.method
        now = read_progress(
            arrays, about, Progress(self._fresh_moments()), self.plan, device.put, path
        )
        restore_parameters(self.net, arrays, path)
        method.arrays.clear()
        for name, array in arrays.items():
            if name.startswith("method."):
                own, kept = name.removeprefix("method."), array.copy()
                method.arrays[own] = kept if own in method.on_host else device.put(kept)
        return now


__all__ = ["Interrupted", "Observer", "fit"]
