"""Every kernel against the machine's roofline: `weightspace bench kernels`.

Each entry of `kernels.spec` runs on each backend and on a ladder of sizes, from one sample over
what stays in cache to what does not. Its answer is compared with float64 `reference` first: a
wrong kernel is reported and not timed. The samples are taken in passes over the whole list, so that
a slow minute of the machine meets all kernels, and shows as spread rather than as somebody's loss.
"""

from __future__ import annotations

import importlib.util
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from ...kernels import Backend, available, get_backend, spec
from ...kernels.cores import cores_here
from ...kernels.device import NUMPY
from ...kernels.errors import DeviceError, MissingExtraError, SettingError, unknown_name
from . import machine, records, roofline, timing
from . import timing_cuda as cuda_timing

RUNGS = tuple(dict.fromkeys(rung for ladder in spec.LADDER.values() for rung in ladder))
DTYPES = ("float32", "float64")
QUICK_RUNGS = ("small", "large")
_DEVICES = ("cuda", "cuda-host")  # backends with memory of their own
_PAUSE = 0.4  # seconds until the threads of NumPy's BLAS stop spinning; 0.28 was seen
_TF32_SLACK = 300  # by how much TF32's 10 bits may miss float32's tolerance: 1e-3 of the largest
_GOOD, _FAIR = 0.7, 0.4  # share of the roofline from which a cell is green, yellow


@dataclass(frozen=True)
class Schedule:
    """How long to time: passes over the list, samples a pass, seconds a sample."""

    passes: int
    samples: int
    sample_seconds: float


FULL = Schedule(passes=3, samples=5, sample_seconds=4e-3)
QUICK = Schedule(passes=2, samples=4, sample_seconds=2e-3)


@dataclass
class Row:
    """One kernel, variant, backend and size.

    status: "timed", "wrong", "failed" or "absent" (with a reason). error is in units of the
    tolerance: above 1 is wrong. device: the GPU's name, "" for the processor; threads are none on
    one. Times are seconds a call. footprint: bytes of all arrays. level,
    stream: what it is held against (see `roofline`); roof_share and blas_share: the parts of the
    roofline and of the rate of NumPy's BLAS (a GPU's cuBLAS) that it reaches, the median of one of
    each pass.
    alloc_bytes, alloc_blocks: the most that a call held of NumPy's memory, and how many times it
    asked Numba's allocator; None for kernels that are not the processor's.
    """

    kernel: str
    variant: str
    backend: str
    rung: str
    sizes: dict[str, int]
    dtype: str
    threads: int
    status: str = "failed"
    reason: str = ""
    device: str = ""
    error: float | None = None
    samples: tuple[float, ...] = ()
    calls: int = 0
    median: float | None = None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    flops: float = 0.0
    bytes: int = 0
    footprint: int = 0
    gflops: float | None = None
    gbs: float | None = None
    level: str = ""
    stream: str = ""
    roof_shares: tuple[float, ...] = ()
    roof_share: float | None = None
    blas_shares: tuple[float, ...] = ()
    blas_share: float | None = None
    alloc_bytes: int | None = None
    alloc_blocks: int | None = None


@dataclass
class Selection:
    """What to time; None means all of it. Raises UnknownNameError for a name that is not there.

    names: kernels, families of `spec.LADDER`, or the start of a kernel's name ("softmax"). quick:
    of what is not named, the last backend and `QUICK_RUNGS` only.
    """

    names: Iterable[str] | None = None
    backends: Iterable[str] | None = None
    rungs: Iterable[str] | None = None
    dtypes: Iterable[str] | None = ("float32",)
    quick: bool = False
    kernels: list[spec.Kernel] = field(init=False)

    def __post_init__(self) -> None:
        self.kernels = _select(self.names)
        self.backends = list(self.backends or available()[-1 if self.quick else 0 :])
        for name in self.backends:  # an unknown one is refused now, not after the peaks
            with suppress(MissingExtraError, DeviceError):
                get_backend(name)
        self.rungs = _known("size", self.rungs or (QUICK_RUNGS if self.quick else None), RUNGS)
        self.dtypes = _known("dtype", self.dtypes or DTYPES[:1], DTYPES)

    def rows(self, threads: int) -> Iterator[Row]:
        """A row for everything chosen, the sizes of one kernel side by side."""
        for kernel in self.kernels:
            for variant in kernel.timed:
                for dtype in self.dtypes or ():
                    for backend in self.backends or ():
                        for rung, sizes in spec.LADDER[kernel.family].items():
                            if rung in (self.rungs or ()):
                                own = 0 if backend in _DEVICES else threads
                                yield Row(
                                    kernel.name, variant, backend, rung, dict(sizes), dtype, own
                                )


def _known(kind: str, names: Iterable[str] | None, known: Iterable[str]) -> list[str]:
    chosen = list(known if names is None else names)
    for name in chosen:
        if name not in known:
            raise unknown_name(kind, name, known)
    return chosen


def _select(names: Iterable[str] | None) -> list[spec.Kernel]:
    every = list(spec.KERNELS.values())
    if names is None:
        return every
    chosen: dict[str, spec.Kernel] = {}
    for name in names:
        exact = [k for k in every if name in (k.name, k.family)]
        found = exact or [k for k in every if k.name.startswith(name)]
        if not found:
            raise unknown_name("kernel", name, {*spec.KERNELS, *spec.LADDER})
        chosen |= {k.name: k for k in found}
    return list(chosen.values())


def run(
    selection: Selection | None = None,
    quick: bool = False,
    threads: int | None = None,
    console: Console | None = None,
    peaks: Mapping[str, Any] | None = None,
    schedule: Schedule | None = None,
) -> tuple[list[Row], dict[str, Any]]:
    """Check, time and print the chosen kernels; returns the rows and the measured machine.

    quick: fewer sizes (unless some were named), samples and seconds; under a minute once the
    kernels are compiled. threads: 1, or all cores (default). peaks: what `machine.measure`
    returned, if it was called already. Raises SettingError and UnknownNameError.
    """
    if importlib.util.find_spec("threadpoolctl") is None:
        raise MissingExtraError("threadpoolctl", "bench", "timing kernels")
    console = console or Console()
    selection = selection or Selection(quick=quick)
    cores = peaks["cores"] if peaks else cores_here()
    count = threads or cores
    if count not in (1, cores):
        raise SettingError(f"threads is {count}; expected 1 or all {cores} cores")
    rows = list(selection.rows(count))
    with console.status("measuring the peaks of this machine"):
        roofs = roofline.Peaks(peaks, quick, any(row.backend not in _DEVICES for row in rows))
    # last, because NumPy's BLAS threads go on spinning, on cores that the next kernel needs
    order = sorted(rows, key=lambda row: row.backend == "reference")
    plan = schedule or (QUICK if quick else FULL)
    # Redrawn between timings only: a thread of its own would take a core from them now and then.
    quiet = Progress(console=console, transient=True, auto_refresh=False)
    with thread_count(count), quiet as progress:
        bar = progress.add_task("", total=plan.passes * len(rows))
        for number in range(plan.passes):
            for row in order:
                where = f"{row.kernel} {row.variant} {row.backend} {row.rung}"
                progress.update(bar, description=f"pass {number + 1}: {where}", refresh=True)
                if number == 0:
                    _first(row, plan, roofs)
                elif row.status == "timed":
                    _sample(row, plan, roofs)
                progress.advance(bar)
            time.sleep(_PAUSE)
    for row in rows:
        _summarise(row)
    for line in lines(rows):
        console.print(line, highlight=False, soft_wrap=True)
    return rows, roofs.typical()


@contextmanager
def thread_count(count: int) -> Iterator[None]:
    """Let Numba's kernels use `count` threads inside, and as many as before afterwards."""
    if "cpu" not in available():
        yield
        return
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(count, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _arguments(row: Row) -> dict[str, Any]:
    kernel, rng = spec.KERNELS[row.kernel], np.random.default_rng(0)
    return kernel.arguments(rng, row.sizes, row.dtype, row.variant)


def _first(row: Row, plan: Schedule, roofs: roofline.Peaks) -> None:
    """Check the kernel, say what it must do, and take its first samples if it is right."""
    from threadpoolctl import threadpool_limits

    kernel = spec.KERNELS[row.kernel]
    try:
        backend = get_backend(row.backend)
        row.device = cuda_timing.device_name(row.backend)
    except (MissingExtraError, DeviceError) as error:
        row.status, row.reason = "absent", str(error)
        return
    arguments = _arguments(row)
    _cost(row, kernel, arguments)
    try:
        with threadpool_limits(1, user_api="blas"):  # more would spin on, and disturb the timing
            row.error = spec.check_arguments(backend, kernel, row.sizes, row.dtype, arguments)
    except Exception as error:  # a kernel that cannot run is a finding, not the end of the bench
        row.reason = f"{type(error).__name__}: {_gist(error)}"
        return
    if not row.error <= (_TF32_SLACK if _tensor_cores(row) else 1):
        row.status, row.error = "wrong", row.error if np.isfinite(row.error) else None
        row.reason = "its answer is not the reference's: not timed"
        return
    row.status = "timed"
    call = _call(backend, row, arguments)
    row.calls = cuda_timing.clock(row.backend).calibrate(call, plan.sample_seconds)
    if row.backend not in _DEVICES:
        handles = kernel.parts * sum(isinstance(v, np.ndarray) for v in arguments.values())
        row.alloc_bytes, row.alloc_blocks = allocations(call, handles)
    _take(row, call, plan, roofs)


def _gist(error: Exception) -> str:
    """The line of a message that names the error: Numba's run over pages."""
    lines = str(error).strip().splitlines() or [""]
    return next((line for line in lines if "Error:" in line), lines[0])[:200]


def _sample(row: Row, plan: Schedule, roofs: roofline.Peaks) -> None:
    call = _call(get_backend(row.backend), row, _arguments(row))
    cuda_timing.clock(row.backend).time_batch(call, min(row.calls, 3))
    _take(row, call, plan, roofs)


def _call(backend: Backend, row: Row, arguments: dict[str, Any]) -> Callable[[], None]:
    """The kernel on `arguments`, moved to the backend's memory."""
    device = getattr(backend, "device", NUMPY)
    complete = spec.KERNELS[row.kernel].complete(backend, arguments)
    kernel = getattr(backend, row.kernel)
    values = [device.put(v) if isinstance(v, np.ndarray) else v for v in complete.values()]
    return lambda: kernel(*values)


def _take(row: Row, call: Callable[[], None], plan: Schedule, roofs: roofline.Peaks) -> None:
    """The samples of one pass, and what they are of the roof of their time."""
    least, rate = _limits(row, roofs)
    clock = cuda_timing.clock(row.backend)
    taken = tuple(clock.time_batch(call, row.calls) for _ in range(plan.samples))
    middle = float(np.median(taken))
    row.samples += taken
    if least:
        row.roof_shares += (least / middle,)
    if rate:
        row.blas_shares += (row.flops / middle * 1e-9 / rate,)


def _tensor_cores(row: Row) -> bool:
    """Whether the kernel may round its inputs to TF32."""
    may = row.backend in _DEVICES and row.dtype == "float32" and spec.KERNELS[row.kernel].product
    backend: Any = get_backend(row.backend)
    return may and backend.allow_tf32


def _limits(row: Row, roofs: roofline.Peaks) -> tuple[float | None, float | None]:
    """The least seconds a call can take here, and the GFLOP/s of products if it is one of them.

    The host launcher is no machine that one could name limits for.
    """
    kernel = spec.KERNELS[row.kernel]
    if row.backend == "cuda-host":
        return None, None
    traffic = kernel.traffic(row.sizes, row.dtype, row.variant)
    if row.backend == "cuda":
        gpu = roofs.machine["gpu"]
        name = "tf32" if _tensor_cores(row) else ""
        over = roofline.gpu_roof(gpu, row.flops, traffic, row.dtype, name)
        rate = roofline.gpu_rate(gpu, row.dtype, name)
    else:
        over = roofs.roof(row.flops, traffic, row.footprint, row.dtype, row.threads)
        rate = roofs.blas(row.dtype, row.threads) if kernel.product else None
    row.level, row.stream = over.level, over.stream
    return over.seconds, rate if kernel.product else None


def _cost(row: Row, kernel: spec.Kernel, arguments: Mapping[str, Any]) -> None:
    """Fill in what the kernel must do, and what it works on."""
    row.flops = kernel.work(row.sizes, row.variant)
    row.bytes = kernel.bytes(row.sizes, row.dtype, row.variant)
    row.footprint = sum(a.nbytes for a in arguments.values() if isinstance(a, np.ndarray))


def _summarise(row: Row) -> None:
    if row.status != "timed":
        return
    found = timing.median_interval(row.samples)
    row.median, row.low, row.high = found.value, found.low, found.high
    row.spread = timing.spread(row.samples)
    row.gflops, row.gbs = row.flops / row.median * 1e-9, row.bytes / row.median * 1e-9
    row.roof_share = float(np.median(row.roof_shares)) if row.roof_shares else None
    row.blas_share = float(np.median(row.blas_shares)) if row.blas_shares else None


def allocations(call: Callable[[], object], handles: int = 0) -> tuple[int, int]:
    """What one call allocates: most bytes of Python and NumPy memory, and blocks of Numba's.

    `handles` of the blocks are no data: Numba makes one for each array that it is passed.
    """
    call()
    blocks = _numba_blocks()
    tracemalloc.start()
    try:
        call()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return most, max(0, (_numba_blocks() - blocks) // 2 - handles)


def _numba_blocks() -> int:
    """Blocks that Numba's allocator has handed out so far; 0 without Numba."""
    try:
        from numba.core.runtime import _nrt_python as counts  # type: ignore[attr-defined]
    except ImportError:
        return 0
    counts.memsys_enable_stats()
    return counts.memsys_get_stats_alloc()


def exit_status(rows: Iterable[Row]) -> int:
    """1 where a kernel was wrong or failed, else 0."""
    return int(any(row.status in {"wrong", "failed"} for row in rows))


def as_records(rows: Iterable[Row], here: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The machine with its peaks, and a record a row."""
    about = {key: here[key] for key in here if key not in machine.PEAKS}
    made = [records.record("machine", here)]
    return made + [records.record("kernel", about, **asdict(row)) for row in rows]


# ---- what is printed ----------------------------------------------------------------------------

_HEADS = (
    f"{'':10}{'us':>9}{'+-':>6}{'GFLOP/s':>9}{'GB/s':>8}  {'from':6}{'% roof':>7}{'% BLAS':>8}"
    "  allocates"
)


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as lines of rich's markup, 80 columns wide: a block a kernel, a heading a family."""
    group: tuple[str, ...] = ()
    name = ""
    families = list(spec.LADDER)

    def place(row: Row) -> tuple[str, str, int]:
        return row.backend, row.dtype, families.index(spec.KERNELS[row.kernel].family)

    for row in sorted(rows, key=place):
        family = spec.KERNELS[row.kernel].family
        if group != (family, row.backend, row.dtype):
            group, name = (family, row.backend, row.dtype), ""
            yield f"\n[bold]{family} kernels, {row.backend}, {row.dtype}{_where(row)}[/]"
            yield f"[dim]{_HEADS}[/]"
        if name != (name := title(row.kernel, row.variant)):
            yield f"[bold cyan]{name}[/]"
        yield _line(row)


def _where(row: Row) -> str:
    if row.device:
        return f", {row.device}"
    return f", {row.threads} thread{'s' if row.threads > 1 else ''}" if row.threads else ""


def title(kernel: str, variant: str) -> str:
    """The kernel's name with its variant."""
    return f"{kernel}, {variant}" if variant else kernel


def _line(row: Row) -> str:
    if row.median is None or row.spread is None:
        style = "dim" if row.status == "absent" else "bold red"
        error = f" ({row.error:.2g} x tolerance)" if row.error is not None else ""
        return f"  {row.rung:8}[{style}]{row.status}[/]{escape(f'{error} {row.reason}')}"
    roof, blas = row.roof_share, row.blas_share
    colour = "green" if (roof or 0) >= _GOOD else "yellow" if (roof or 0) >= _FAIR else "red"
    return (
        f"  {row.rung:8}{1e6 * row.median:>9,.1f}{row.spread:>6.0%}"
        f"{row.gflops if row.flops else 0:>9,.1f}{row.gbs:>8,.1f}  {row.level:6}"
        f"[{colour}]{_share(roof):>7}[/]{_share(blas):>8}  {allocated(row)}"
    )


def _share(part: float | None) -> str:
    return "" if part is None else f"{part:.0%}"


def allocated(row: Row) -> str:
    """What a call allocates, in words; views and other objects under 4 KiB are none of it."""
    if row.alloc_bytes is None:
        return ""
    parts = []
    if row.alloc_bytes >= 4096:
        parts.append(f"{row.alloc_bytes / 1024:,.0f} KiB")
    if row.alloc_blocks:
        parts.append(f"{row.alloc_blocks} blocks")
    return ", ".join(parts) or "0"
