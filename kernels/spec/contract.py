"""The contract: one entry a kernel. The tests, the parity check and the bench all read it.

An entry names each array argument with its axes, says which are written ("=") or added to ("+="),
gives the scalars, and can make valid arguments of any size. From that follow the least number of
bytes the kernel must move and the check of a backend against `reference`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import reference
from ..device import NUMPY
from .makers import Maker, normal

if TYPE_CHECKING:
    from ..backend import Backend

Sizes = Mapping[str, int]

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
    if found.dtype.kind in "iu":
        found = found.astype(np.float64)  # whole numbers without a sign would wrap around
    difference = np.nanmax(np.abs(found - expected), initial=0.0)
    scale = np.nanmax(np.abs(expected), initial=0.0)
    return float(difference / scale) if scale > 0 else float(difference)


Together = Callable[[np.random.Generator, Sizes, Mapping[str, Any]], dict[str, np.ndarray]]


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
    scalars: values, or functions of the sizes; `derive` sees those too that are no arguments.
    variants: named changes to the arguments, a value or None for an absent array. reduces: the axes
    summed over, for the tolerance; the longest of several, as in "N|O". flops: floating-point
    operations, from the sizes. family: the ladder of sizes it is timed on. timed: the variants
    whose cost differs enough to be timed too. share: what part of `flops` a variant needs, if not
    all. product: flops are a matrix product's.
    parts: compiled functions that the work goes through; each makes handles of the arrays.
    derive: sizes that follow from the others and from the scalars.
    together: makes arguments that must fit each other, from all sizes and from the scalars; others
    are made alone.
    rooms: scratch whose size the backend says: (backend, the kernel's name, arguments) -> elements.
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
    parts: int = 1
    derive: Callable[[Sizes, Mapping[str, Any]], dict[str, int]] | None = None
    together: Together | None = None
    rooms: dict[str, Callable[[Backend, str, dict[str, Any]], int]] = field(default_factory=dict)

    def shape(self, argument: str, sizes: Sizes) -> tuple[int, ...]:
        """The shape of an array argument; an axis like "VN" is the product of its letters."""
        axes = self.axes[argument]
        assert axes is not None
        return tuple(
            int(axis) if axis.isdigit() else math.prod(sizes[letter] for letter in axis)
            for axis in axes.split()
        )

    def all_sizes(self, sizes: Sizes, variant: str = "") -> Sizes:
        """`sizes` with those that follow from them."""
        if self.derive is None:
            return sizes
        return {**sizes, **self.derive(sizes, self.values(sizes, variant))}

    def values(self, sizes: Sizes, variant: str = "") -> dict[str, Any]:
        """The scalars of a variant and what it changes, for these sizes."""
        chosen = {**self.scalars, **self.variants[variant]}
        return {name: of(sizes) if callable(of) else of for name, of in chosen.items()}

    def letters(self) -> list[str]:
        """The axis letters this kernel has sizes for; small ones are sizes that follow."""
        found = "".join(axes or "" for axes in self.axes.values()).replace(" ", "")
        return sorted({letter for letter in found if letter.isupper()})

    def arguments(
        self, rng: np.random.Generator, sizes: Sizes, dtype: Any, variant: str = ""
    ) -> dict[str, Any]:
        """Valid arguments, in the order of the signature."""
        changes, values = self.variants[variant], self.values(sizes, variant)
        sizes = self.all_sizes(sizes, variant)
        real = np.dtype(dtype).type
        joint = self.together(rng, sizes, values) if self.together else {}
        made: dict[str, Any] = {}
        for name, axes in self.axes.items():
            if name in joint:
                made[name] = joint[name]
            elif axes is None or name in changes:
                made[name] = values[name]
            else:
                maker = self.make.get(name, normal)
                made[name] = maker(rng, self.shape(name, sizes), real)
        return made

    def traffic(self, sizes: Sizes, dtype: Any, variant: str = "") -> Traffic:
        """The least memory traffic: inputs read once, "=" written once, "+=" both; no scratch."""
        read = updated = fresh = 0
        changes = self.variants[variant]
        sizes = self.all_sizes(sizes, variant)
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
        return self.flops(self.all_sizes(sizes, variant)) * self.share.get(variant, 1.0)

    def sizes_of(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """The sizes of axes, from the shapes of the arrays that a call was given.

        An axis like "VN" gives the letter that is not known by itself; where none is, all of it is
        the last. Elementwise kernels take arrays of more axes, too, images say: the last axis then
        stands for all that are left.
        """
        found: dict[str, int] = {}
        products: list[tuple[str, int]] = []
        for name, shape in shapes.items():
            axes = (self.axes[name] or "").split()
            last = max(len(axes) - 1, 0)
            whole = (*shape[:last], math.prod(shape[last:])) if len(shape) > len(axes) else shape
            for axis, size in zip(axes, whole, strict=False):
                if len(axis) == 1 and not axis.isdigit():
                    found[axis] = size
                elif not axis.isdigit():
                    products.append((axis, size))
        for axis, size in products:
            for letter in reversed(axis):
                known = math.prod(found.get(other, 1) for other in axis)
                found.setdefault(letter, size // known)
        return found

    def cost(self, shapes: Mapping[str, tuple[int, ...] | None], given: Mapping[str, Any]) -> float:
        """Floating-point operations of a call: shapes of its arrays, None for those that are not
        there; given: its scalars."""
        present = {name: shape for name, shape in shapes.items() if shape is not None}
        sizes = {**dict.fromkeys(self.letters(), 1), **self.sizes_of(present)}
        return self.flops(sizes) * self.share.get(self._variant_of(shapes, given), 1.0)

    def _variant_of(self, shapes: Mapping[str, Any], given: Mapping[str, Any]) -> str:
        """The variant of `share` that a call is, or none of them."""
        for name in self.share:
            changes = self.variants[name]
            if all(
                shapes.get(argument, 0) is None if value is None else given.get(argument) == value
                for argument, value in changes.items()
            ):
                return name
        return ""

    def length(self, sizes: Sizes) -> int:
        """How many terms the longest sum of this kernel has: axes apart by space multiply."""
        sums = self.reduces.split("|")
        return max(math.prod(sizes[letter] for letter in one) for one in sums)

    def complete(self, backend: Backend, arguments: dict[str, Any]) -> dict[str, Any]:
        """`arguments` with the scratch that this backend wants."""
        dtype = next(a.dtype for a in arguments.values() if isinstance(a, np.ndarray))
        made = {
            name: np.full(size(backend, self.name, arguments), np.nan, dtype)
            for name, size in self.rooms.items()
        }
        return {**arguments, **made}

    def run(self, backend: Backend, arguments: dict[str, Any]) -> dict[str, np.ndarray]:
        """Call the kernel on copies of `arguments`; returns what it wrote, by name."""
        device = getattr(backend, "device", NUMPY)
        copies = {
            name: device.put(value.copy()) if isinstance(value, np.ndarray) else value
            for name, value in self.complete(backend, arguments).items()
        }
        getattr(backend, self.name)(*copies.values())
        return {name: device.get(copies[name]) for name in self.writes if copies[name] is not None}


def check(
    backend: Backend,
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
    backend: Backend, kernel: Kernel, sizes: Sizes, dtype: Any, arguments: dict[str, Any]
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
    meaning: Any = reference
    found, expected = kernel.run(backend, arguments), kernel.run(meaning, exact)
    allowed = tolerance(dtype, kernel.length(sizes))
    return max(relative_error(found[name], expected[name]) for name in expected) / allowed
