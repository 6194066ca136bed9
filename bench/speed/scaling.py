"""How costs grow: `weightspace bench scaling`.

A cost is timed along an axis (width, depth, batch, tasks, ...) and the exponent p of
cost ~ value^p is fitted to the three largest values, where fixed overheads no longer hide it. Where
p lies surely above what the arithmetic calls for, something is hidden: that is marked, and the exit
status says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...kernels import get_backend
from ...kernels.cores import cores_here
from ...kernels.errors import SettingError, unknown_name
from ...methods import AGEM, EWC, FIP, GEM, MAS, SI, Method, Task, importance
from ...methods.base import TaskEnd
from ...nnlite import Network, models, optim
from . import records, timing
from .kernels import thread_count

# A true exponent is rarely met exactly: at the end of a range a cost may be leaving a cache.
SLACK = 0.35
_FITTED = 3  # the largest values, which the exponent is fitted to
_CLASSES = 10


@dataclass(frozen=True)
class Law:
    """A cost along an axis. `prepare` makes the call to time at a value; `expected` is the
    exponent its arithmetic calls for; `ideal` says that smaller is worse (threads)."""

    cost: str
    axis: str
    expected: float
    values: tuple[int, ...]
    prepare: Callable[[int], Callable[[], object]]
    ideal: bool = False

    @property
    def name(self) -> str:
        """Such as "training step / width"."""
        return f"{self.cost} / {self.axis}"


@dataclass
class Row:
    """One law, measured: seconds a call at each value, and the fitted exponent with its ends.

    steeper: the exponent is surely above the expected one, by more than `SLACK`.
    """

    cost: str
    axis: str
    expected: float
    values: tuple[int, ...]
    samples: tuple[tuple[float, ...], ...]
    medians: tuple[float, ...]
    exponent: float
    low: float
    high: float
    steeper: bool
    ideal: bool = False


# ---- the costs ----------------------------------------------------------------------------------


def _data(net: Network, samples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, *net.input_shape), dtype=np.float32)
    return x, rng.integers(0, net.num_outputs, samples)


def _net(width: int, depth: int = 2) -> Network:
    """A square network: every hidden layer and the input have `width` units."""
    return models.mlp((width,) * (depth + 1) + (_CLASSES,), backend="cpu", seed=0)


def training_step(net: Network, batch: int, method: Method | None = None) -> Callable[[], None]:
    """Forward, backward, the method's hooks and the fused Adam step."""
    x, y = _data(net, batch)
    grad, optimizer, count = np.empty_like(net.theta), optim.Adam(1e-6), 0
    state = optimizer.state(net.num_parameters, net.dtype)
    streams = method.streams() if method else optim.Streams()

    def call() -> None:
        nonlocal count
        count += 1
        net.loss_and_grad(x, y, out=grad)
        if method:
            method.adjust(net, grad)
        optimizer.step(net.ops, net.theta, grad, state, count, streams)

    return call


def _after_tasks(make: Callable[[], Method]) -> Callable[[int], Callable[[], None]]:
    """A training step once `tasks` tasks are remembered."""

    def prepare(tasks: int) -> Callable[[], None]:
        net = models.mlp((784, 256, 256, _CLASSES), backend="cpu", seed=0)
        x, y = _data(net, 64)
        task = Task.from_arrays("noise", (x, y), (x, y))
        method = make()
        method.start(net, optim.Adam())
        for index in range(tasks):
            method.end_task(net, TaskEnd(index, task, (x, y), seed=0))
        return training_step(net, 64, method)

    return prepare


def _fisher(net: Network, samples: int, batch: int = 256) -> Callable[[], object]:
    x, y = _data(net, samples)
    return lambda: importance.fisher(net, x, y, kind="empirical", batch=batch)


def _jvp(net: Network, batch: int) -> Callable[[], object]:
    x, v = _data(net, batch)[0], np.ones_like(net.theta)
    return lambda: net.jvp(x, v)


def _vjp(net: Network, batch: int) -> Callable[[], object]:
    x, u = _data(net, batch)[0], np.ones((batch, net.num_outputs), np.float32)
    return lambda: net.vjp(x, u)


def _on_threads(threads: int) -> Callable[[], None]:
    step = training_step(_net(2048), 256)

    def call() -> None:
        with thread_count(threads):
            step()

    return call


def laws(quick: bool = False, cores: int | None = None) -> list[Law]:
    """All laws; quick: shorter ranges. The axis "threads" reaches up to `cores`."""
    widths = (128, 256, 512, 1024) if quick else (128, 256, 512, 1024, 2048, 4096)
    depths = (1, 2, 4, 8) if quick else (1, 2, 4, 8, 16, 32)
    batches = (32, 64, 128, 256) if quick else (32, 64, 128, 256, 512, 1024, 2048)
    samples = (256, 512, 1024) if quick else (512, 1024, 2048, 4096, 8192)
    tasks = (1, 2, 4, 8) if quick else (1, 2, 5, 10, 20, 50)
    here = cores_here() if cores is None else cores
    threads = tuple(2**k for k in range(int(math.log2(max(here, 1))) + 1))
    made = [
        Law("training step", "width", 2, widths, lambda v: training_step(_net(v), 64)),
        Law("training step", "depth", 1, depths, lambda v: training_step(_net(256, v), 64)),
        Law("training step", "batch", 1, batches, lambda v: training_step(_net(512), v)),
        Law("forward", "width", 2, widths, lambda v: _forward(_net(v), 64)),
        Law("JVP", "width", 2, widths, lambda v: _jvp(_net(v), 64)),
        Law("JVP", "depth", 1, depths, lambda v: _jvp(_net(256, v), 64)),
        Law("VJP", "width", 2, widths, lambda v: _vjp(_net(v), 64)),
        Law("Fisher", "width", 2, widths, lambda v: _fisher(_net(v), 64)),
        Law("Fisher", "depth", 1, depths, lambda v: _fisher(_net(256, v), 64)),
        Law("Fisher", "samples", 1, samples, lambda v: _fisher(_net(256), v)),
        Law("EWC step, merged", "tasks", 0, tasks, _after_tasks(lambda: EWC(penalty="merged"))),
        Law("EWC step, separate", "tasks", 1, tasks, _after_tasks(lambda: EWC(penalty="separate"))),
        Law("MAS step", "tasks", 0, tasks, _after_tasks(MAS)),
        Law("SI step", "tasks", 0, tasks, _after_tasks(SI)),
        # linear by definition: a pass over each task's memory (docs/conventions.md)
        Law("GEM step", "tasks", 1, tasks, _after_tasks(lambda: GEM(memories=32))),
        Law("A-GEM step", "tasks", 0, tasks, _after_tasks(lambda: AGEM(memories=64, batch=64))),
        Law("FIP step", "tasks", 0, tasks, _after_tasks(lambda: FIP(memories=64, batch=64))),
    ]
    if len(threads) > 1:
        made.append(Law("training step", "threads", -1, threads, _on_threads, ideal=True))
    return made


def _forward(net: Network, batch: int) -> Callable[[], object]:
    x = _data(net, batch)[0]
    return lambda: net.forward(x)


# ---- measuring ----------------------------------------------------------------------------------


def exponent(
    values: Sequence[float], samples: Sequence[Sequence[float]], resamples: int = 1000
) -> tuple[float, float, float]:
    """p of cost ~ value^p with the ends of its 95 % bootstrap interval, by least squares on logs.

    samples: seconds, a set for each value. Raises SettingError for fewer than two values.
    """
    if len(values) < 2 or len(values) != len(samples):
        raise SettingError(f"{len(values)} values and {len(samples)} sets of times: two or more")
    x = np.log(np.asarray(values, float))
    x -= x.mean()
    rng = np.random.default_rng(0)
    drawn = [
        np.median(np.asarray(s)[rng.integers(0, len(s), (resamples, len(s)))], axis=1)
        for s in samples
    ]
    slopes = (x @ np.log(np.stack(drawn))) / (x @ x)
    middle = float(x @ np.log([np.median(s) for s in samples]) / (x @ x))
    low, high = np.percentile(slopes, [2.5, 97.5])
    return middle, float(low), float(high)


def measure(law: Law, quick: bool = False) -> Row:
    """Time a law at each of its values, in turn, and fit its exponent."""
    calls = [law.prepare(value) for value in law.values]
    counts = [timing.calibrate(call, 2e-3 if quick else 1e-2) for call in calls]
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(5 if quick else 9):  # in turn: a slow moment meets all values
        for call, count, times in zip(calls, counts, taken, strict=True):
            times.append(timing.time_batch(call, count))
    found = exponent(law.values[-_FITTED:], taken[-_FITTED:])
    return Row(
        law.cost,
        law.axis,
        law.expected,
        law.values,
        tuple(tuple(times) for times in taken),
        tuple(float(np.median(times)) for times in taken),
        *found,
        steeper=not law.ideal and found[1] > law.expected + SLACK,
        ideal=law.ideal,
    )


def run(
    names: Iterable[str] | None = None,
    quick: bool = False,
    console: Console | None = None,
    every: Sequence[Law] | None = None,
) -> list[Row]:
    """Measure and print the chosen laws, by axis, cost or "cost / axis"; None means all.

    Raises UnknownNameError, and MissingExtraError without the `cpu` backend.
    """
    get_backend("cpu")
    every = laws(quick) if every is None else every
    known = {word for law in every for word in (law.name, law.cost, law.axis)}
    for name in names or ():
        if name not in known:
            raise unknown_name("law", name, known)
    wanted = None if names is None else set(names)
    chosen = [law for law in every if wanted is None or wanted & {law.name, law.cost, law.axis}]
    console = console or Console()
    rows = []
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("", total=len(chosen))
        for law in chosen:
            progress.update(bar, description=law.name, refresh=True)
            rows.append(measure(law, quick))
            progress.advance(bar)
    for line in lines(rows):
        console.print(line, highlight=False, soft_wrap=True)
    return rows


def exit_status(rows: Iterable[Row]) -> int:
    """1 where a cost grows faster than its arithmetic."""
    return int(any(row.steeper for row in rows))


def as_records(rows: Iterable[Row], here: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A record a row."""
    return [records.record("scaling", here, **asdict(row)) for row in rows]


def lines(rows: Iterable[Row]) -> Iterable[str]:
    """The rows as lines of rich's markup, 80 columns wide."""
    yield f"[dim]{'cost ~ value ^ p':32}{'p':>6}{'95 %':>16}{'expected':>10}  from ... to[/]"
    for row in rows:
        colour = "red" if row.steeper else "green"
        ends = f"{row.values[0]}: {_clock(row.medians[0])} ... {row.values[-1]}: "
        yield (
            f"{f'{row.cost} / {row.axis}':32}[{colour}]{row.exponent:>6.2f}[/]"
            f"{f'{row.low:.2f} to {row.high:.2f}':>16}{row.expected:>10.0f}"
            f"  {ends}{_clock(row.medians[-1])}{'  STEEPER' if row.steeper else ''}"
        )


def _clock(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f} us" if seconds < 1e-2 else f"{1e3 * seconds:,.0f} ms"
