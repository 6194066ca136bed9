"""Repeated timing of one call, and the statistics every bench table is made of.

A *sample* is the mean time of a batch of calls long enough for the clock to be exact
(`SAMPLE_SECONDS`); a *timing* is a set of samples, told by its median, the bootstrap
confidence interval of that median and its spread (inter-quartile range over median).
Medians, because on a shared machine the disturbances are one-sided and rare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

from ...kernels.errors import SettingError

SAMPLE_SECONDS = 2e-3  # at least 1 ms a sample: perf_counter's own 50-100 ns vanish in it
LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A value with the two ends of its confidence interval, all in the value's unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Timing:
    """The samples of one call (seconds per call) and how many calls one sample averaged."""

    samples: tuple[float, ...]
    calls: int

    @property
    def median(self) -> float:
        """Seconds per call: the median sample."""
        return float(np.median(self.samples))

    @property
    def interval(self) -> Interval:
        """The median with its bootstrap confidence interval, in seconds per call."""
        return median_interval(self.samples)

    @property
    def spread(self) -> float:
        """Inter-quartile range over median: what a reader should take for noise."""
        return spread(self.samples)


def _nothing() -> None:
    """A call is over when it returns."""


def time_batch(
    call: Callable[[], object], calls: int, wait: Callable[[], object] = _nothing
) -> float:
    """Seconds per call of `calls` calls in a row; where they only queue work, `wait` ends it."""
    wait()
    start = perf_counter_ns()
    for _ in range(calls):
        call()
    wait()
    return (perf_counter_ns() - start) * 1e-9 / calls


def time_each(
    call: Callable[[], object], calls: int, wait: Callable[[], object] = _nothing
) -> list[float]:
    """Seconds of each of `calls` calls in a row, the clock's own 50 ns or so among them."""
    wait()
    taken = []
    for _ in range(calls):
        start = perf_counter_ns()
        call()
        wait()
        taken.append(1e-9 * (perf_counter_ns() - start))
    return taken


def calibrate(
    call: Callable[[], object],
    sample_seconds: float = SAMPLE_SECONDS,
    warmup_calls: int = 3,
    wait: Callable[[], object] = _nothing,
) -> int:
    """How many calls make one sample of at least `sample_seconds`, after warming up.

    A call that takes as long as a sample is made twice and no more. Else the count is doubled
    until a batch reaches half of the goal, and the quickest of three such batches decides: one
    disturbed call (a page fault, a sleeping thread) cannot make all samples too short.
    Raises SettingError for a goal that is not a positive number of seconds.
    """
    if not (math.isfinite(sample_seconds) and sample_seconds > 0):
        raise SettingError(
            f"sample_seconds is {sample_seconds}; expected a positive number of seconds: "
            f"leave it out for {SAMPLE_SECONDS}"
        )
    if min(time_batch(call, 1, wait) for _ in range(2)) >= sample_seconds:
        return 1
    time_batch(call, max(1, warmup_calls), wait)
    calls = 1
    while time_batch(call, calls, wait) * calls < sample_seconds / 2:
        calls *= 2
    per_call = min(time_batch(call, calls, wait) for _ in range(3))
    return max(1, math.ceil(sample_seconds / max(per_call, 1e-9)))


def measure(
    call: Callable[[], object],
    samples: int = 15,
    sample_seconds: float = SAMPLE_SECONDS,
    max_seconds: float = math.inf,
    wait: Callable[[], object] = _nothing,
) -> Timing:
    """Time `call`: warm up, calibrate, then take `samples` samples.

    Stops early, but not before three samples, once `max_seconds` have gone by; so a call of
    several seconds does not hold a whole suite. Raises SettingError for fewer than one sample.
    """
    if samples < 1:
        raise SettingError(f"samples is {samples}; expected at least 1")
    calls = calibrate(call, sample_seconds, wait=wait)
    taken: list[float] = []
    start = perf_counter_ns()
    while len(taken) < samples:
        taken.append(time_batch(call, calls, wait))
        if len(taken) >= 3 and (perf_counter_ns() - start) * 1e-9 > max_seconds:
            break
    return Timing(tuple(taken), calls)


def _checked(samples: Sequence[float]) -> np.ndarray:
    """The samples as a float64 vector; raises SettingError where there is none."""
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise SettingError(
            f"samples have shape {values.shape}; expected a vector of at least one time: "
            "take more samples"
        )
    return values


def _ends(statistics: np.ndarray, level: float) -> tuple[float, float]:
    tail = 100.0 * (1.0 - level) / 2.0
    low, high = np.percentile(statistics, [tail, 100.0 - tail])
    return float(low), float(high)


def median_interval(
    samples: Sequence[float], level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The median and its percentile-bootstrap confidence interval (Efron 1979), in their unit."""
    values = _checked(samples)
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(0, values.size, (resamples, values.size))]
    return Interval(float(np.median(values)), *_ends(np.median(drawn, axis=1), level))


def ratio_interval(
    samples: Sequence[float],
    reference: Sequence[float],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
    paired: bool = True,
) -> Interval:
    """median(samples) / median(reference) with its bootstrap confidence interval.

    Where `paired`, samples of equal number are taken to be rounds of one interleaved run and are
    resampled together, so that a slow drift of the machine, which both see, cancels; otherwise
    each set is resampled by itself.
    """
    above, below = _checked(samples), _checked(reference)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, above.size, (resamples, above.size))
    same = paired and above.size == below.size
    others = rows if same else rng.integers(0, below.size, (resamples, below.size))
    ratios = np.median(above[rows], axis=1) / np.median(below[others], axis=1)
    return Interval(float(np.median(above) / np.median(below)), *_ends(ratios, level))


def spread(samples: Sequence[float]) -> float:
    """Inter-quartile range over median."""
    low, median, high = np.percentile(_checked(samples), [25, 50, 75])
    return float((high - low) / median)
