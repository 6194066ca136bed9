"""The peaks of a CPU, measured: FMA rate, bandwidth of every memory level, NumPy's BLAS's rate.

The FMA and bandwidth kernels are Numba loops that release the GIL; "all cores" is one of them a
core, each on memory of its own. Rates are the best of a few runs: a peak is what the machine can
do, and whatever disturbs it can only make it look smaller.

Conventions: an FMA counts as 2 flops; copy moves 2 and triad (a = b + s c) 3 arrays, each
counted once (STREAM's rule, McCalpin 1995: what a cache reads before a write is not counted).
Besides those two there are a read, a fill, a scaling in place and an axpy, because what memory
can do depends on how loads and stores mix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from time import perf_counter_ns
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from ...kernels.errors import MissingExtraError
from ...kernels.host_blas import one_blas_thread
from ...kernels.spec import Traffic

# Independent accumulators: enough to cover the latency of an FMA on two units (4 cycles x 2) with
# room, and few enough for the 16 vector registers of AVX2. Each is a chain long enough that its one
# load and store do not count.
_ACCUMULATORS = 12
_CHAIN = 64
_COLUMNS = 256  # times 12 accumulators: 12 or 24 kB, stays in any first-level cache
_MEMORY_FACTOR = 4  # "memory" is this many times the last cache ...
_MEMORY_BYTES = 256 << 20  # ... or this much, whichever is more
_SECONDS = {True: 0.02, False: 0.1}  # one run, by `quick`
_RUNS = {True: 3, False: 7}
_FACTOR = 1.0 - 1e-6  # keeps every chain's value in range for ever


@cache
def _numba() -> Any:
    try:
        import numba
    except ImportError as error:
        raise MissingExtraError("numba", "cpu", "measuring the peaks of the machine") from error
    return numba


@cache
def _fma_kernel() -> Any:
    """x[r, i] -> (..(x a + b) a + b ..), `_CHAIN` deep, the rows r side by side; i is vectorised.

    Written out by `exec`, because a chain must stay in a register and Numba unrolls no such loop.
    """
    rows = range(_ACCUMULATORS)
    body = [f"v{r} = x[{r}, i]" for r in rows]
    body += [f"v{r} = v{r} * a + b" for _ in range(_CHAIN) for r in rows]
    body += [f"x[{r}, i] = v{r}" for r in rows]
    source = (
        "def fma(x, a, b, repeats):\n for _ in range(repeats):\n  for i in range(x.shape[1]):\n"
    )
    source += "".join(f"   {line}\n" for line in body)
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    # "contract" alone lets the compiler fuse v * a + b; no other arithmetic changes.
    return _numba().njit(nogil=True, fastmath={"contract"}, error_model="numpy")(namespace["fma"])


def _read(target, first, second, scale, repeats):
    total = target.dtype.type(0)
    for _ in range(repeats):
        for i in range(first.size):
            total += first[i]
        total *= scale
    return total


def _fill(target, first, second, scale, repeats):
    for r in range(repeats):
        value = scale * r
        for i in range(target.size):
            target[i] = value


def _scale(target, first, second, scale, repeats):
    for _ in range(repeats):
        for i in range(target.size):
            target[i] = scale * target[i]


def _axpy(target, first, second, scale, repeats):
    for _ in range(repeats):
        for i in range(target.size):
            target[i] += scale * first[i]


def _copy(target, first, second, scale, repeats):
    for _ in range(repeats):
        for i in range(target.size):
            target[i] = first[i]


def _triad(target, first, second, scale, repeats):
    for _ in range(repeats):
        for i in range(target.size):
            target[i] = first[i] + scale * second[i]


@dataclass(frozen=True)
class Stream:
    """A loop over long arrays: what it does, how many arrays it has, and how many it moves.

    mix: loads, stores in place and stores elsewhere of one pass, in arrays (`spec.Traffic`).
    """

    body: Callable[..., Any]
    arrays: int
    mix: Traffic

    @property
    def moved(self) -> int:
        """Arrays moved in one pass."""
        return sum(self.mix)


STREAMS = {
    "read": Stream(_read, 1, Traffic(1, 0, 0)),
    "fill": Stream(_fill, 1, Traffic(0, 0, 1)),
    "scale": Stream(_scale, 1, Traffic(1, 1, 0)),
    "axpy": Stream(_axpy, 2, Traffic(2, 1, 0)),
    "copy": Stream(_copy, 2, Traffic(1, 0, 1)),
    "triad": Stream(_triad, 3, Traffic(2, 0, 1)),
}


def nearest_stream(mix: Traffic) -> str:
    """The stream that loads and stores in the proportion closest to `mix`.

    A store to where nothing was loaded costs most machines a load as well, and a store in place
    does not: a kernel is held against the stream that does as it does.
    """
    wanted = np.array(mix) / max(sum(mix), 1)

    def distance(name: str) -> float:
        stream = STREAMS[name]
        return float(np.abs(np.array(stream.mix) / stream.moved - wanted).sum())

    return min(STREAMS, key=distance)


@cache
def _stream_kernel(name: str) -> Any:
    # a sum is vectorised only where it may be reordered
    flags = {"contract", "reassoc", "nsz"} if name == "read" else {"contract"}
    return _numba().njit(nogil=True, fastmath=flags, error_model="numpy")(STREAMS[name].body)


def vector_bits(dtype: str = "float32") -> int:
    """Width in bits of the FMA instructions that Numba's compiler made here: 512, 256, 128 or 0.

    Read from the assembly of the very kernel that measures the FMA rate; 0 means scalar code,
    and then the measured "peak" is none.
    """
    kernel = _fma_kernel()
    one = np.ones((_ACCUMULATORS, 8), dtype)
    kernel(one, one[0, 0], one[0, 0], 1)
    suffix = {"float32": "ps", "float64": "pd"}[dtype]
    assembly = "\n".join(kernel.inspect_asm().values())
    found = re.findall(rf"vfm\w+{suffix}\s[^\n]*?%([xyz])mm", assembly)
    if found:
        return max({"x": 128, "y": 256, "z": 512}[one] for one in found)
    return 128 if re.search(r"\bfmla\s+v\d+\.[24][sd]", assembly) else 0


def _best_seconds(
    work: Callable[[int, int], object], threads: int, seconds: float, runs: int
) -> float:
    """Least seconds for one repeat, where `work(thread, repeats)` runs on `threads` at once."""
    with ThreadPoolExecutor(threads) as pool:

        def run(repeats: int) -> float:
            start = perf_counter_ns()
            for done in [pool.submit(work, thread, repeats) for thread in range(threads)]:
                done.result()
            return (perf_counter_ns() - start) * 1e-9

        run(1)
        repeats = 1
        while run(repeats) < seconds / 4:
            repeats *= 2
        return min(run(4 * repeats) for _ in range(runs)) / (4 * repeats)


def fma_rate(dtype: str, threads: int, quick: bool = False) -> float:
    """GFLOP/s of independent fused multiply-adds in registers on `threads` threads."""
    kernel = _fma_kernel()
    vectors = [np.full((_ACCUMULATORS, _COLUMNS), 0.5, dtype) for _ in range(threads)]
    a, b = np.dtype(dtype).type(_FACTOR), np.dtype(dtype).type(1e-6)
    each = _best_seconds(
        lambda thread, repeats: kernel(vectors[thread], a, b, repeats),
        threads,
        _SECONDS[quick],
        _RUNS[quick],
    )
    return 2.0 * _CHAIN * _ACCUMULATORS * _COLUMNS * threads / each * 1e-9


def bandwidth(name: str, total_bytes: int, threads: int, quick: bool = False) -> float:
    """GB/s of one of `STREAMS` over arrays of `total_bytes` in all, on `threads`."""
    kernel, stream = _stream_kernel(name), STREAMS[name]
    length = max(64, total_bytes // (stream.arrays * threads * 4))
    # Each thread's arrays are its own and touched (ones, not empty): their pages exist.
    sets = [[np.ones(length, np.float32) for _ in range(stream.arrays)] for _ in range(threads)]
    scale = np.float32(_FACTOR)

    def work(thread: int, repeats: int) -> None:
        own = sets[thread]
        kernel(own[0], own[min(1, stream.arrays - 1)], own[-1], scale, repeats)

    each = _best_seconds(work, threads, _SECONDS[quick], _RUNS[quick])
    return float(stream.moved * length * 4 * threads) / each * 1e-9


def levels(caches: Mapping[str, int]) -> dict[str, int]:
    """Working set in bytes of each memory level for one thread, from `caches` (bytes by name).

    Half of a cache, so that a thread's arrays surely fit; memory is several times the largest.
    """
    chosen = {name: size // 2 for name, size in caches.items()}
    largest = max(caches.values(), default=0)
    chosen["memory"] = max(_MEMORY_BYTES, _MEMORY_FACTOR * largest)
    return chosen


def bandwidths(
    caches: Mapping[str, int], shared: Mapping[str, int], cores: int, quick: bool = False
) -> dict[str, dict[str, float]]:
    """GB/s by level and stream, as "copy_1" (one core) and "copy_all".

    `shared` says how many cores share a cache: on all cores each gets its part of it.
    """
    return {
        level: {
            f"{name}_{label}": bandwidth(
                name, working_set(level, caches, shared, threads), threads, quick
            )
            for name in STREAMS
            for label, threads in (("1", 1), ("all", cores))
        }
        for level in levels(caches)
    }


def working_set(
    level: str, caches: Mapping[str, int], shared: Mapping[str, int], threads: int
) -> int:
    """Bytes that `threads` together use to measure a level: each its part of a shared cache."""
    one = levels(caches)[level]
    return one if level == "memory" else one * max(1, threads // shared.get(level, 1))


def blas_rate(dtype: str, threads: int, quick: bool = False) -> float:
    """GFLOP/s of NumPy's BLAS, a square product (side 512 when quick, else 1024) of its own on
    each of `threads`, the library's own threads being one."""
    size = 512 if quick else 1024
    sets = [[np.ones((size, size), dtype) for _ in range(3)] for _ in range(threads)]

    def products(thread: int, repeats: int) -> None:
        left, right, out = sets[thread]
        for _ in range(repeats):
            np.matmul(left, right, out=out)

    with one_blas_thread:
        each = _best_seconds(products, threads, _SECONDS[quick], _RUNS[quick])
    return 2.0 * size**3 * threads / each * 1e-9


def blas_name() -> str:
    """NumPy's BLAS, its version, and the kind of processor it takes this one for."""
    found: dict[str, Any] = next(
        (one for one in threadpool_info() if one["user_api"] == "blas"), {}
    )
    kept = (found.get(key) for key in ("internal_api", "version", "architecture"))
    return " ".join(("NumPy's", *(str(one) for one in kept if one)))
