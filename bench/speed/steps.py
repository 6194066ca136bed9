"""Whole operations against peers: `weightspace bench steps`.

Each peer runs in a process of its own on the same inputs. Its answer is compared with float64
NumPy first: one that is wrong is reported as wrong and not timed, one that is not installed as
absent. The right ones are then timed in turn, round by round, while the others sleep, so that a
drift of the machine meets all of them; the ratio to weightspace comes with a bootstrap interval.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...kernels.cores import cores_here
from ...kernels.errors import unknown_name
from . import machine, records, timing
from .conditions import BusyLoops, conditions_of, on_cores, other_engine
from .peers import BASELINE, PeerSpec, place, select, truth
from .peers.client import Client
from .peers.problem import GROUPS, Problem, save_arrays
from .peers.products import Product
from .peers.selection import problems
from .roofline import Peaks, Roof

# torch.compile needs half a minute for each problem: no part of a quick run unless asked for.
QUICK_PEERS = (
    BASELINE, "torch-eager", "torch-func", "backpack", "jax", "cupy", "openblas", "mkl", "blis",
)  # fmt: skip
TF32_TOLERANCE = 1e-2  # relative, where products of float32 may keep 10 bits of their inputs
IDLE_SHARE = 0.05  # of a core: more than this while others are timed counts as disturbing them
OUTSIDE_CORES = 0.1  # more than this used by other processes makes the times worth little
LATENCY = "forward-1"  # whose calls are also timed one by one: what a caller waits for
LATENCY_CALLS = 2000  # a round
_LEAST_IDLE = 0.1  # seconds: with no other peer to wait for, the share would mean nothing


@dataclass(frozen=True)
class Schedule:
    """How long to time: rounds, seconds a sample, and the pause for thread pools to fall asleep."""

    rounds: int
    sample_seconds: float
    pause: float


FULL = Schedule(rounds=15, sample_seconds=0.05, pause=0.03)
QUICK = Schedule(rounds=7, sample_seconds=0.05, pause=0.03)
PRODUCTS = Schedule(rounds=15, sample_seconds=0.02, pause=0.03)  # of which there are many


@dataclass
class Row:
    """One peer at one problem.

    status: "timed", "wrong", "absent", "not offered", "skipped" or "failed" (with a reason).
    backend: what the peers computed on, "" for the processor; device: the GPU's name.
    Times are seconds per call, memory is bytes: `peak_bytes` of the whole process, `start_bytes`
    of it after import. ratio is this peer's median over weightspace's: above 1, weightspace is
    faster. idle_share is the part of a core the peer used while others were timed; outside is
    how many cores everything that is no part of the bench used meanwhile (None without psutil).

    p50, p99: percentiles of the times of single calls, over all rounds; of `LATENCY` alone.

    threads: on how many cores, 0 for all; busy: loops that ran beside, a part of the bench.
    max_error is the largest of one number, in root mean squares of the result. Of a product:
    gflops, what it is held against (`roofline.Roof`), and roof_share, the part that it reaches.
    """

    operation: str
    size: str
    peer: str
    status: str
    reason: str = ""
    backend: str = ""
    device: str = ""
    variant: str = ""
    settings: dict[str, Any] | None = None
    error: float | None = None
    tolerance: float | None = None
    samples: tuple[float, ...] = ()
    calls: int = 0
    median: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    p50: float | None = None
    p99: float | None = None
    peak_bytes: int | None = None
    start_bytes: int | None = None
    idle_share: float | None = None
    outside: float | None = None
    threads: int = 0
    busy: int = 0
    max_error: float | None = None
    gflops: float | None = None
    roof: dict[str, Any] | None = None
    roof_share: float | None = None


def run(
    operations: Iterable[str] | None = None,
    sizes: Iterable[str] | None = None,
    peers: Iterable[str | PeerSpec] | None = None,
    quick: bool = False,
    console: Console | None = None,
    backend: str = "cpu",
    threads: int = 0,
    busy: int = 0,
    before: Path | None = None,
) -> list[Row]:
    """Compare, time and print the chosen operations; returns the rows, in order.

    operations: names or groups of `problem.GROUPS`; sizes: such as "784-300-100-10x64",
    "conv32-32@16x64" or "resnet20x128" (`networks`); peers: names, or "torch" for all that run on
    torch; None means all (quick: few, see `choice`, and `QUICK_PEERS`). backend: "cpu", "cuda" or
    "cuda-host", for all peers (see `peers.place`). Weightspace is always among them.
    threads: cores for all peers alike, 0 for all there are. busy: how many processes keep cores
    busy meanwhile. before: another checkout, whose engine becomes the peer "before".

    Raises UnknownNameError or SettingError.
    """
    console = console or Console()
    if backend not in place.BACKENDS:
        raise unknown_name("backend of the bench", backend, place.BACKENDS)
    chosen = select(peers, backend)
    if quick and peers is None:
        chosen = [spec for spec in chosen if spec.name in QUICK_PEERS]
    todo = problems(operations, sizes, quick)
    rows: list[Row] = []
    with ExitStack() as stack:
        if before is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="weightspace-before-"))
            chosen.append(other_engine(before, Path(folder)))
        status = stack.enter_context(console.status("", refresh_per_second=1))
        loops = stack.enter_context(BusyLoops(busy))
        stack.enter_context(on_cores(threads))
        roofs = _roofs(todo, backend)
        for number, problem in enumerate(todo, start=1):
            title = f"{problem.operation} {problem.size} ({number} of {len(todo)})"

            def say(what: str, title: str = title) -> None:
                status.update(f"{title}: {what}")

            peers_of_it = [spec for spec in chosen if problem.network.work in spec.work]
            roof = _roof(problem, roofs)
            schedule = QUICK if quick else PRODUCTS if roof else FULL
            found = run_problem(problem, peers_of_it, schedule, say, backend, loops)
            for row in found:
                row.threads, row.busy = threads, busy
                _rate(row, problem, roof)
            rows += found
            console.print(table(problem, found))
    return rows


def _roofs(todo: Iterable[Problem], backend: str) -> Peaks | None:
    """The peaks of the processor, where products are to be held against them."""
    wanted = backend == "cpu" and any(isinstance(one.network, Product) for one in todo)
    return Peaks(quick=True) if wanted else None


def _roof(problem: Problem, roofs: Peaks | None) -> Roof | None:
    """What a product is held against, measured now."""
    if roofs is None or not isinstance(kind := problem.network, Product):
        return None
    moved = kind.traffic(problem.operation, problem.batch)  # each array once: all that it touches
    return roofs.roof(kind.flops(problem.batch), moved, sum(moved), kind.dtype, cores_here())


def _rate(row: Row, problem: Problem, roof: Roof | None) -> None:
    if row.median is None or not isinstance(problem.network, Product):
        return
    row.gflops = problem.network.flops(problem.batch) / row.median * 1e-9
    if roof is not None:
        row.roof, row.roof_share = asdict(roof), roof.seconds / row.median


def as_records(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """A record a row, of kind "product" or "step"."""
    here = machine.describe()
    return [
        records.record("product" if is_product(row) else "step", here, **asdict(row))
        for row in rows
    ]


def is_product(row: Row) -> bool:
    """Whether it is a dense product, and no step of a network."""
    return row.operation in GROUPS["product"]


def exit_status(rows: Iterable[Row]) -> int:
    """1 where a peer was wrong or failed, else 0: an absent or skipped one is no fault."""
    return int(any(row.status in {"wrong", "failed"} for row in rows))


def run_problem(
    problem: Problem,
    peers: Sequence[PeerSpec],
    schedule: Schedule,
    say: Callable[[str], None] = lambda what: None,
    backend: str = "cpu",
    loops: BusyLoops | None = None,
) -> list[Row]:
    """One row a peer at one problem: prepare and check each, then time those that are right."""
    say("computing the truth")
    problem = problem.draw()
    expected = truth.answer(problem)
    with tempfile.TemporaryDirectory(prefix="weightspace-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        arrays = folder / "problem.npz"
        save_arrays(arrays, problem.arrays)
        say("starting the peers")
        started = [stack.enter_context(Client(spec, problem, arrays, backend)) for spec in peers]
        greetings = [client.hello() for client in started]
        rows, ready = [], []
        for client, greeting in zip(started, greetings, strict=True):
            say(f"preparing {client.spec.name}")
            row = Row(problem.operation, problem.size, client.spec.name, "failed")
            row.backend = "" if backend == "cpu" else backend
            rows.append(row)
            checked = _checked(row, client, greeting, expected)
            if checked is not None:
                ready.append((row, stack.enter_context(checked)))
        say(f"timing {', '.join(row.peer for row, _ in ready)}")
        _time(ready, schedule, loops or BusyLoops())
    _compare(rows)
    return rows


def _checked(
    row: Row, client: Client, greeting: dict[str, Any], expected: dict[str, np.ndarray]
) -> Client | None:
    """Fill in the row up to the check; the peer's process where it is ready and right.

    A peer that had several variants to choose from is started afresh with the one it chose, so
    that its memory is that of one.
    """
    reply, got = (greeting, {}) if greeting["status"] != "ok" else client.prepare()
    if reply["status"] == "ready" and reply["variants"] > 1:
        client.close()
        client = client.again()
        client.hello()
        reply, got = client.prepare(reply["variant"])
    if reply["status"] != "ready":
        row.status, row.reason = reply["status"], reply["reason"]
        client.close()
        return None
    row.variant, row.settings = reply["variant"], reply["settings"]
    row.device = row.settings.get("device", "") if row.settings else ""
    if client.spec.commit:
        row.settings = {**(row.settings or {}), "commit": client.spec.commit}
    error = truth.error_of(client.problem, got, expected)
    if np.isfinite(error):
        row.error, row.max_error = error, truth.largest_error(got, expected)
    row.tolerance = truth.tolerance(client.problem)
    if row.backend and place.tf32():
        row.tolerance = max(row.tolerance, TF32_TOLERANCE)
    if error > row.tolerance:
        row.status = "wrong"
        row.reason = f"relative error {error:.2g}, tolerance {row.tolerance:.2g}: not timed"
        client.close()
        return None
    row.status = "ready"
    return client


def _time(ready: Sequence[tuple[Row, Client]], schedule: Schedule, loops: BusyLoops) -> None:
    """Take the samples, the peers in turn; each round starts with another peer."""
    before = _Usage.now(ready, loops)
    for row, client in ready:
        _ask(row, client, "calibrate", seconds=schedule.sample_seconds)
        time.sleep(schedule.pause)
    idle = {row.peer: [0.0, 0.0] for row, _ in ready}
    each: dict[str, list[float]] = {row.peer: [] for row, _ in ready}
    finished = {row.peer: time.perf_counter() for row, _ in ready}
    for number in range(schedule.rounds):
        shift = number % max(1, len(ready))
        for row, client in [*ready[shift:], *ready[:shift]]:
            waited = time.perf_counter() - finished[row.peer]
            each[row.peer] += _latencies(row, client)
            reply = _ask(row, client, "sample", calls=row.calls, pause=schedule.pause)
            finished[row.peer] = time.perf_counter()
            if reply:
                row.samples += (reply["seconds"],)
                idle[row.peer][0] += reply["idle_cpu"]
                idle[row.peer][1] += waited
    outside = _Usage.now(ready, loops).outside(before)
    for row, _ in ready:
        row.outside = outside
        if row.status == "ready" and row.samples:
            _summarise(row, idle[row.peer], each[row.peer])


def _ask(row: Row, client: Client, do: str, **fields: Any) -> dict[str, Any]:
    """Ask a peer that has not failed yet; its failure becomes its row's. {} where there is none."""
    if row.status == "failed":
        return {}
    reply = client.ask(do, **fields)
    if reply["status"] == "failed":
        row.status, row.reason = "failed", reply["reason"]
        return {}
    row.calls = reply.get("calls", row.calls)
    row.peak_bytes = reply.get("peak_bytes", row.peak_bytes)
    row.start_bytes = reply.get("start_bytes", row.start_bytes)
    return reply


def _latencies(row: Row, client: Client) -> list[float]:
    """The seconds of single calls, where somebody waits for one."""
    if row.operation != LATENCY:
        return []
    return _ask(row, client, "latency", calls=min(row.calls, LATENCY_CALLS)).get("each", [])


def _summarise(row: Row, idle: Sequence[float], each: Sequence[float]) -> None:
    if each:
        row.p50, row.p99 = (float(p) for p in np.percentile(each, [50, 99]))
    found = timing.median_interval(row.samples)
    row.median, row.low, row.high = found.value, found.low, found.high
    row.spread = timing.spread(row.samples)
    row.idle_share = idle[0] / idle[1] if idle[1] > _LEAST_IDLE else None
    row.status = "timed"
    if row.idle_share is not None and row.idle_share > IDLE_SHARE:
        row.reason = f"used {row.idle_share:.0%} of a core while others were timed"


@dataclass(frozen=True)
class _Usage:
    """CPU seconds up to now: of the whole machine (None without psutil), and of the bench, busy
    loops included."""

    clock: float
    machine: float | None
    bench: float

    @classmethod
    def now(cls, ready: Sequence[tuple[Row, Client]], loops: BusyLoops) -> _Usage:
        peers = sum(_ask(row, client, "usage").get("cpu_seconds", 0.0) for row, client in ready)
        bench = peers + time.process_time() + loops.cpu_seconds()
        return cls(time.perf_counter(), machine.busy_seconds(), bench)

    def outside(self, before: _Usage) -> float | None:
        """Cores used by others since `before`."""
        if self.machine is None or before.machine is None:
            return None
        spent = (self.machine - before.machine) - (self.bench - before.bench)
        return max(0.0, spent / (self.clock - before.clock))


def _compare(rows: Iterable[Row]) -> None:
    """Fill in the ratios to weightspace, where both were timed."""
    by_peer = {row.peer: row for row in rows if row.status == "timed"}
    if (own := by_peer.pop(BASELINE, None)) is None:
        return
    for row in by_peer.values():
        found = timing.ratio_interval(row.samples, own.samples)
        row.ratio, row.ratio_low, row.ratio_high = found.value, found.low, found.high


def table(problem: Problem, rows: Iterable[Row]) -> Table:
    """The rows of one problem as a table; a ratio above 1 means that weightspace is faster."""
    rows = list(rows)
    outside = max((row.outside or 0.0 for row in rows), default=0.0)
    warning = f"others used {outside:.1f} cores meanwhile: repeat this on an idle machine"
    product = isinstance(problem.network, Product)
    made = Table(
        title="  ".join((problem.operation, problem.size, *_where(rows))),
        title_justify="left",
        caption=warning if outside > OUTSIDE_CORES else None,
        caption_justify="left",
    )
    made.add_column("peer", no_wrap=True)
    waits = problem.operation == LATENCY
    last = ("GFLOP/s", "% roof", "error") if product else ("peak MiB",)
    last = ("p50 us", "p99 us", *last) if waits else last
    for name in ("us", "+-", "x weightspace", *last):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("how")
    for row in rows:
        if row.status != "not offered":
            more = _rates(row) if product else [*(_percentiles(row) if waits else ()), _memory(row)]
            made.add_row(*_cells(row, more))
    return made


def _where(rows: Iterable[Row]) -> list[str]:
    """The backend, unless it is the processor, the GPUs, the threads, and what else was busy."""
    each = ((row.backend, row.device, *conditions_of(row.threads, row.busy)) for row in rows)
    return list(dict.fromkeys(x for said in each for x in said if x))


def _memory(row: Row) -> str:
    """The peak, and how much of it came after the import of the peer, both in MiB."""
    peak, start = row.peak_bytes or 0, row.start_bytes or 0
    return f"{peak / 2**20:.0f} (+{(peak - start) / 2**20:.0f})"


def _percentiles(row: Row) -> list[str]:
    return [f"{1e6 * (each or 0):.2f}" for each in (row.p50, row.p99)]


def _rates(row: Row) -> list[str]:
    """Of a product: GFLOP/s, the part of the roof and the relative error."""
    share = "" if row.roof_share is None else f"{row.roof_share:.0%}"
    return [f"{row.gflops or 0:.1f}", share, f"{row.error or 0:.1e}"]


def _cells(row: Row, last: Sequence[str]) -> list[str]:
    if row.median is None or row.low is None or row.high is None:
        style = "red" if row.status in {"wrong", "failed"} else "dim"
        blank = [""] * (2 + len(last))
        return [row.peer, f"[{style}]{row.status}[/{style}]", *blank, escape(row.reason)]
    ratio = ""
    if row.ratio is not None:
        ratio = f"{row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})"
    return [
        row.peer,
        f"{1e6 * row.median:.1f}",
        f"{(row.high - row.low) / 2 / row.median:.1%}",
        ratio,
        *last,
        escape(", ".join(part for part in (row.variant, row.reason) if part)),
    ]
