"""The contract: one entry a kernel. The tests, the parity check and the bench all read it.

An entry names each array argument with its axes, says which are written ("=") or added to ("+="),
gives the scalars, and can make valid arguments of any size. From that follow the least number of
bytes the kernel must move and the check of a backend against `reference`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from . import codes, reference

Sizes = Mapping[str, int]
Maker = Callable[[np.random.Generator, tuple[int, ...], Any], np.ndarray]

# The one table of tolerances: relative to the largest value of the reference's output, for a
# reduction of length L multiplied by sqrt(L), as rounding errors add up.
TOLERANCE = {"float32": 3e-6, "float64": 1e-13}


def tolerance(dtype: Any, length: int = 1) -> float:
    """The relative error allowed to a result of `dtype` that sums `length` terms."""
    return TOLERANCE[np.dtype(dtype).name] * math.sqrt(max(length, 1))


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest expected magnitude; NaN must meet NaN."""
    if found.shape != expected.shape or not np.array_equal(np.isnan(found), np.isnan(expected)):
        return math.inf
    if not expected.size:
        return 0.0
    difference = np.nanmax(np.abs(found - expected), initial=0.0)
    scale = np.nanmax(np.abs(expected), initial=0.0)
    return float(difference / scale) if scale > 0 else float(difference)


def _normal(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def _positive(rng, shape, dtype):
    return np.abs(rng.standard_normal(shape)).astype(dtype) + dtype(0.1)


def _unit(rng, shape, dtype):
    """Outputs of every activation at once: positive, at most 1."""
    return rng.uniform(0.05, 0.95, shape).astype(dtype)


def _simplex(rng, shape, dtype):
    e = np.exp(rng.standard_normal(shape))
    return (e / e.sum(axis=-1, keepdims=True)).astype(dtype)


def _labels(rng, shape, dtype):
    return np.zeros(shape, np.int64)  # class 0 exists for every K


def _all_true(rng, shape, dtype):
    return np.ones(shape, bool)


class Traffic(NamedTuple):
    """Bytes a kernel must move, by how they move: machines charge them differently.

    read: loaded. updated: stored where they were loaded from. fresh: stored where nothing was
    loaded, for which a cache first loads the line it is going to overwrite.
    """

    read: int
    updated: int
    fresh: int


@dataclass(frozen=True)
class Kernel:
    """One kernel's contract.

    axes: argument -> its axes, space-separated, in the order of the signature, None for a scalar.
    writes: argument -> "=" (overwritten), "+=" (read and written) or "beta" (as the scalar beta
    says: 0 overwrites). scratch: arguments whose
    values mean nothing before or after. make: how to fill an argument (default: normal).
    variants: named changes to the arguments, a value or None for an absent array. reduces: the axes
    summed over, for the tolerance. flops: floating-point operations, from the sizes. family: the
    ladder of sizes it is timed on. timed: the variants whose cost differs enough to be timed too.
    share: what part of `flops` a variant needs, if not all. product: flops are a matrix product's.
    """

    name: str
    axes: dict[str, str | None]
    writes: dict[str, str]
    flops: Callable[[Sizes], float]
    scalars: dict[str, Any] = field(default_factory=dict)
    scratch: frozenset[str] = frozenset()
    make: dict[str, Maker] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=lambda: {"": {}})
    reduces: str = ""
    family: str = "dense"
    timed: tuple[str, ...] = ("",)
    share: dict[str, float] = field(default_factory=dict)
    product: bool = False

    def shape(self, argument: str, sizes: Sizes) -> tuple[int, ...]:
        """The shape of an array argument; an axis like "VN" is the product of its letters."""
        axes = self.axes[argument]
        assert axes is not None
        return tuple(math.prod(sizes[letter] for letter in axis) for axis in axes.split())

    def letters(self) -> list[str]:
        """The axis letters this kernel has sizes for."""
        found = "".join(axes or "" for axes in self.axes.values()).replace(" ", "")
        return sorted(set(found))

    def arguments(
        self, rng: np.random.Generator, sizes: Sizes, dtype: Any, variant: str = ""
    ) -> dict[str, Any]:
        """Valid arguments, in the order of the signature."""
        changes = self.variants[variant]
        real = np.dtype(dtype).type
        made: dict[str, Any] = {}
        for name, axes in self.axes.items():
            if name in changes:
                made[name] = changes[name]
            elif axes is None:
                made[name] = self.scalars[name]
            else:
                maker = self.make.get(name, _normal)
                made[name] = maker(rng, self.shape(name, sizes), real)
        return made

    def traffic(self, sizes: Sizes, dtype: Any, variant: str = "") -> Traffic:
        """The least memory traffic: inputs read once, "=" written once, "+=" both; no scratch."""
        read = updated = fresh = 0
        changes = self.variants[variant]
        for name, axes in self.axes.items():
            if axes is None or name in self.scratch or changes.get(name, 0) is None:
                continue
            size = math.prod(self.shape(name, sizes)) * np.dtype(dtype).itemsize
            way = self.writes.get(name)
            adds = way == "+=" or (way == "beta" and changes.get("beta", self.scalars["beta"]) != 0)
            if name not in self.writes:
                read += size
            elif adds:
                read, updated = read + size, updated + size
            else:
                fresh += size
        return Traffic(read, updated, fresh)

    def bytes(self, sizes: Sizes, dtype: Any, variant: str = "") -> int:
        """All of `traffic` together."""
        return sum(self.traffic(sizes, dtype, variant))

    def work(self, sizes: Sizes, variant: str = "") -> float:
        """Floating-point operations of a variant."""
        return self.flops(sizes) * self.share.get(variant, 1.0)

    def length(self, sizes: Sizes) -> int:
        """How many terms the longest sum of this kernel has."""
        return max((sizes[letter] for letter in self.reduces), default=1)

    def run(self, backend: ModuleType, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        """Call the kernel on copies of `arguments`; returns what it wrote, by name."""
        copies = {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in arguments.items()
        }
        getattr(backend, self.name)(*copies.values())
        return {name: copies[name] for name in self.writes if copies[name] is not None}


def check(
    backend: ModuleType,
    kernel: Kernel,
    sizes: Sizes,
    dtype: Any,
    variant: str = "",
    seed: int = 0,
) -> float:
    """`check_arguments` on arguments drawn from `seed`."""
    arguments = kernel.arguments(np.random.default_rng(seed), sizes, dtype, variant)
    return check_arguments(backend, kernel, sizes, dtype, arguments)


def check_arguments(
    backend: ModuleType, kernel: Kernel, sizes: Sizes, dtype: Any, arguments: dict[str, Any]
) -> float:
    """A kernel's worst error against float64 `reference`, in units of its tolerance: 1 passes.

    The reference computes in float64 on the same arguments, so float32 errors are the kernel's
    own. `arguments` are left as they are.
    """
    exact = {
        name: value.astype(np.float64)
        if isinstance(value, np.ndarray) and value.dtype == np.dtype(dtype)
        else value
        for name, value in arguments.items()
    }
    found, expected = kernel.run(backend, arguments), kernel.run(reference, exact)
    allowed = tolerance(dtype, kernel.length(sizes))
    return max(relative_error(found[name], expected[name]) for name in expected) / allowed


# Flops of an exponential: a polynomial of degree 6 after taking out powers of two (`cpu`'s way).
_EXP = 22.0


def _elementwise(name: str, forward: float, pull: float, slope: bool = False) -> list[Kernel]:
    """The kernels of an activation; `forward` and `pull`: their flops an element."""
    scalars = {"slope": 0.01} if slope else {}
    extra: dict[str, str | None] = {"slope": None} if slope else {}
    return [
        Kernel(
            f"{name}_forward",
            {"x": "N O", **extra, "y": "N O"},
            {"y": "="},
            lambda s: forward * s["N"] * s["O"],
            scalars,
            family="activation",
        ),
        *(
            Kernel(
                f"{name}_{verb}",
                {"y": "N O", source: "N O", **extra, target: "N O"},
                {target: "="},
                lambda s: pull * s["N"] * s["O"],
                scalars,
                make={"y": _unit},
                family="activation",
            )
            for verb, source, target in (("backward", "dy", "dx"), ("tangent", "tx", "ty"))
        ),
    ]


_ACTS = {name: {"act": code} for name, code in codes.ACTIVATIONS.items()}
_ACT: dict[str, str | None] = {"act": None, "slope": None}
_RELU = {"act": codes.RELU, "slope": 0.01}

_DENSE = [
    Kernel(
        "dense_forward",
        {"x": "N I", "w": "O I", "b": "O", **_ACT, "y": "N O"},
        {"y": "="},
        lambda s: 2.0 * s["N"] * s["I"] * s["O"],
        _RELU,
        variants={"": {}, **_ACTS, "no bias": {"b": None}},
        reduces="I",
        product=True,
    ),
    Kernel(
        "dense_backward",
        {
            "x": "N I",
            "w": "O I",
            "y": "N O",
            "dy": "N O",
            **_ACT,
            "beta": None,
            "dz": "N O",
            "dw": "O I",
            "db": "O",
            "dx": "N I",
        },
        {"dz": "=", "dw": "beta", "db": "beta", "dx": "="},
        lambda s: 4.0 * s["N"] * s["I"] * s["O"],
        {**_RELU, "beta": 0.0},
        make={"y": _unit},
        variants={
            "": {},
            **_ACTS,
            "adding": {"beta": 1.0},
            "no bias": {"db": None},
            "first layer": {"dx": None},
            "input only": {"dw": None, "db": None},
        },
        reduces="NO",
        timed=("", "first layer"),
        share={"first layer": 0.5, "input only": 0.5},
        product=True,
    ),
    Kernel(
        "dense_tangent",
        {
            "x": "N I",
            "w": "O I",
            "y": "N O",
            "tx": "N I",
            "tw": "O I",
            "tb": "O",
            **_ACT,
            "ty": "N O",
        },
        {"ty": "="},
        lambda s: 4.0 * s["N"] * s["I"] * s["O"],
        _RELU,
        make={"y": _unit},
        variants={
            "": {},
            **_ACTS,
            "input still": {"tx": None},
            "parameters still": {"tw": None, "tb": None},
            "no bias": {"tb": None},
        },
        reduces="I",
        share={"input still": 0.5, "parameters still": 0.5},
        product=True,
    ),
    Kernel(
        "dense_sample_grads",
        {"x": "N I", "dz": "N O", "dw": "N O I", "db": "N O"},
        {"dw": "=", "db": "="},
        lambda s: 1.0 * s["N"] * s["I"] * s["O"],
        variants={"": {}, "no bias": {"db": None}},
        family="per-sample",
    ),
    Kernel(
        "dense_accumulate",
        {
            "x": "N I",
            "dz": "V N O",
            "power": None,
            "xp": "N I",
            "dp": "N O",
            "dw": "O I",
            "db": "O",
        },
        {"dw": "+=", "db": "+="},
        lambda s: 2.0 * s["N"] * s["I"] * s["O"],
        {"power": 2},
        frozenset({"xp", "dp"}),
        variants={"": {}, "absolute": {"power": 1}, "no bias": {"db": None}},
        reduces="N",
        timed=("", "absolute"),
        product=True,
    ),
    Kernel(
        "dense_signal",
        {
            "x": "N I",
            "y": "N O",
            "w": "O I",
            "traffic": "I",
            "response": "O",
            "dw": "O I",
            "db": "O",
        },
        {"dw": "+=", "db": "+="},
        lambda s: 1.0 * s["N"] * (s["I"] + s["O"]) + 2.0 * s["O"] * s["I"],
        scratch=frozenset({"traffic", "response"}),
        variants={"": {}, "no bias": {"db": None}},
        reduces="N",
    ),
]

_ACTIVATIONS = [
    Kernel(
        "activation_forward",
        {**_ACT, "x": "N O", "y": "N O"},
        {"y": "="},
        lambda s: 1.0 * s["N"] * s["O"],
        _RELU,
        variants={"": {}, **_ACTS},
        family="activation",
    ),
    Kernel(
        "activation_backward",
        {**_ACT, "y": "N O", "dy": "VN O", "dx": "VN O"},
        {"dx": "="},
        lambda s: 1.0 * s["V"] * s["N"] * s["O"],
        _RELU,
        make={"y": _unit},
        variants={"": {}, **_ACTS},
        family="activation",
    ),
    *_elementwise("identity", 0, 0),
    *_elementwise("relu", 1, 1),
    *_elementwise("leaky_relu", 2, 2, slope=True),
    *_elementwise("tanh", _EXP + 6, 3),
    *_elementwise("sigmoid", _EXP + 3, 3),
]

_LOSSES = [
    Kernel(
        "softmax",
        {"logits": "N K", "active": "K", "p": "N K"},
        {"p": "="},
        lambda s: (_EXP + 4) * s["N"] * s["K"],
        make={"active": _all_true},
        reduces="K",
        family="loss",
    ),
    *(
        Kernel(
            f"softmax_{verb}",
            {"p": "N K", source: "N K", target: "N K"},
            {target: "="},
            lambda s: 4.0 * s["N"] * s["K"],
            make={"p": _simplex},
            reduces="K",
            family="loss",
        )
        for verb, source, target in (("backward", "u", "dz"), ("tangent", "tz", "tp"))
    ),
    Kernel(
        "softmax_fisher_factor",
        {"p": "N K", "factor": "K N K"},
        {"factor": "="},
        lambda s: 2.0 * s["N"] * s["K"] ** 2,
        make={"p": _simplex},
        family="loss",
    ),
    Kernel(
        "softmax_cross_entropy",
        {"logits": "N K", "labels": "N", "active": "K", "loss": "N", "dlogits": "N K"},
        {"loss": "=", "dlogits": "="},
        lambda s: (_EXP + 4) * s["N"] * s["K"],
        make={"labels": _labels, "active": _all_true},
        reduces="K",
        family="loss",
    ),
    Kernel(
        "squared_error",
        {"outputs": "N K", "targets": "N K", "loss": "N", "doutputs": "N K"},
        {"loss": "=", "doutputs": "="},
        lambda s: 3.0 * s["N"] * s["K"],
        reduces="K",
        family="loss",
    ),
]

_STREAMS: dict[str, str | None] = {
    "omega": "P",
    "anchor": "P",
    "lam": None,
    "path": "P",
    "gain": "P",
}
_NONE = {"omega": None, "anchor": None, "path": None, "gain": None}
_STREAM_VARIANTS = {
    "": _NONE,
    "penalty": {"path": None, "gain": None},
    "path": {"omega": None, "anchor": None, "gain": None},
    "penalty and path": {"gain": None},
    "gain": {"omega": None, "anchor": None, "path": None},
    "all": {},
}


def _update(name: str, moments: tuple[str, ...], scalars: dict[str, Any], cost: float) -> Kernel:
    return Kernel(
        f"{name}_update",
        {
            "theta": "P",
            "grad": "P",
            **{moment: "P" for moment in moments},
            **{scalar: None for scalar in scalars},
            **_STREAMS,
        },
        {"theta": "+=", **{moment: "+=" for moment in moments}, "path": "+="},
        lambda s: cost * s["P"],
        {**scalars, "lam": 0.3},
        make={name: _positive for name in ("v", "square", "omega", "gain")},
        variants=_STREAM_VARIANTS,
        family="update",
        timed=("", "penalty and path", "all"),
    )


_UPDATES = [
    _update("sgd", (), {"lr": 0.01}, 2),
    _update("momentum", ("velocity",), {"lr": 0.01, "momentum": 0.9}, 4),
    _update(
        "adam", ("m", "v"), {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "step": 3}, 12
    ),
    _update("rmsprop", ("square",), {"lr": 1e-3, "alpha": 0.99, "eps": 1e-8}, 8),
    Kernel(
        "penalty_gradient",
        {"theta": "P", "omega": "P", "anchor": "P", "lam": None, "grad": "P"},
        {"grad": "+="},
        lambda s: 4.0 * s["P"],
        {"lam": 0.3},
        make={"omega": _positive},
        family="update",
    ),
]

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel for kernel in (*_DENSE, *_ACTIVATIONS, *_LOSSES, *_UPDATES)
}

# Sizes for the bench by family: from one sample, over what stays in cache, to what surely does not.
LADDER: dict[str, dict[str, dict[str, int]]] = {
    "dense": {
        "one": {"N": 1, "I": 784, "O": 256, "V": 1},
        "small": {"N": 64, "I": 300, "O": 100, "V": 1},
        "medium": {"N": 128, "I": 784, "O": 256, "V": 1},
        "large": {"N": 256, "I": 2000, "O": 2000, "V": 1},
        "memory": {"N": 1, "I": 8192, "O": 8192, "V": 1},
    },
    "per-sample": {
        "one": {"N": 1, "I": 784, "O": 256},
        "small": {"N": 16, "I": 300, "O": 100},
        "medium": {"N": 32, "I": 784, "O": 100},
        "memory": {"N": 256, "I": 784, "O": 256},
    },
    "activation": {
        "small": {"N": 64, "O": 100, "V": 1},
        "medium": {"N": 128, "O": 256, "V": 1},
        "large": {"N": 256, "O": 2000, "V": 1},
        "memory": {"N": 8192, "O": 4096, "V": 1},
    },
    "loss": {
        "small": {"N": 64, "K": 10},
        "medium": {"N": 256, "K": 100},
        "large": {"N": 10_000, "K": 10},
        "memory": {"N": 1_000_000, "K": 10},
    },
    "update": {
        "small": {"P": 30_000},
        "medium": {"P": 270_000},
        "large": {"P": 5_600_000},
        "memory": {"P": 16_000_000},
    },
}
