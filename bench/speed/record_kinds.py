"""What the bench's records hold, by kind, for those who read them: `records.read(path, KINDS)`.

NotRequired is what older records lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict


class Cores(TypedDict):
    """A rate on one core and on all."""

    one: float
    all: float


class Machine(TypedDict):
    """`machine.describe`, with the peaks of `machine.measure` where they were measured."""

    cpu: str
    cores: int
    system: str
    commit: str | None
    dirty: bool | None
    versions: dict[str, str]
    fma_gflops: NotRequired[dict[str, Cores]]
    blas_gflops: NotRequired[dict[str, Cores]]
    blas: NotRequired[str]
    bandwidth_gbs: NotRequired[dict[str, dict[str, float]]]
    gpu: NotRequired[dict[str, float | str]]


class _Record(TypedDict):
    date: str
    machine: Machine


class Peaks(_Record):
    """A machine."""

    kind: Literal["machine"]


class _Kernel(_Record):
    kind: Literal["kernel"]
    kernel: str
    variant: str
    backend: str
    rung: str
    dtype: str
    threads: int
    device: NotRequired[str]
    reason: str
    samples: list[float]


class TimedKernel(_Kernel):
    """A kernel that was timed."""

    status: Literal["timed"]
    median: float
    flops: float
    bytes: int
    gflops: float
    gbs: float
    level: str
    roof_share: float | None
    blas_share: float | None


class OtherKernel(_Kernel):
    """One that was not."""

    status: Literal["wrong", "failed", "absent", "skipped"]


class _Operation(_Record):
    operation: str
    size: str
    peer: str
    backend: NotRequired[str]
    device: NotRequired[str]
    threads: NotRequired[int]
    busy: NotRequired[int]
    variant: str
    reason: str
    samples: list[float]


class _Timed(_Operation):
    status: Literal["timed"]
    median: float
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    p50: NotRequired[float | None]
    p99: NotRequired[float | None]
    peak_bytes: int | None


class _Other(_Operation):
    status: Literal["wrong", "failed", "absent", "skipped", "not offered"]


class TimedStep(_Timed):
    """An operation on a network that was timed."""

    kind: Literal["step"]


class OtherStep(_Other):
    """One that was not."""

    kind: Literal["step"]


class TimedProduct(_Timed):
    """A dense product that was timed."""

    kind: Literal["product"]
    error: float
    max_error: float
    gflops: float
    roof_share: float | None


class OtherProduct(_Other):
    """One that was not."""

    kind: Literal["product"]


class Law(_Record):
    """How a cost grows along an axis."""

    kind: Literal["scaling"]
    cost: str
    axis: str
    values: list[int]
    samples: list[list[float]]
    medians: list[float]
    exponent: float
    low: float
    high: float
    expected: float
    steeper: bool


class Start(_Record):
    """A time or a size of starting up."""

    kind: Literal["startup"]
    name: str
    status: Literal["timed", "sized", "absent"]
    reason: str
    samples: list[float]
    median: float | None
    bytes: int | None


class Embedded(_Record):
    """A network on a small machine: `embedded.measure.Row`, with what follows from it."""

    kind: Literal["embedded"]
    model: str
    target: str
    maker: str
    operation: str
    status: Literal["measured", "absent", "too large", "failed"]
    reason: str
    multiply_adds: int
    weights: int
    flash: int | None
    statics: int | None
    arena: int | None
    arena_touched: int | None
    stack: int | None
    stack_touched: int | None
    counts: Literal["instructions", "cycles", "nothing"]
    work: float | None
    agreement: str
    accuracy: float | None
    overhead: int | None
    each: float | None
    tools: dict[str, str]


KINDS: Mapping[str, Any] = {
    "machine": Peaks,
    "kernel": TimedKernel | OtherKernel,
    "step": TimedStep | OtherStep,
    "product": TimedProduct | OtherProduct,
    "scaling": Law,
    "startup": Start,
    "embedded": Embedded,
}
