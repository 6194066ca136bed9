"""quantise: a Network and samples to a Quantised, layer by layer.

Each layer of the folded float network runs on the samples, so that its grid is that of what the
float network computes; its operation is written down beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ....kernels.errors import SettingError
from ...checks import check_input
from ...layers import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Residual,
)
from ...layers.shapes import sides
from ...layout import Shape
from ...net import Network
from ..fold import Part, affine_of, folded, parts_of, write_arrays
from .calibrate import OWN, Calibration, activated
from .operations import Add, AveragePool, Convolution, Dense, Ends, MaxPool, Operation, Table
from .quantised import Quantised, Tensor
from .rounding import HIGH, LOW, Grid, fixed, half_up
from .weights import Weights, weights_of

_CHUNK = 256  # samples that the float network computes at once


def quantise(
    net: Network,
    samples: np.ndarray,
    calibration: Calibration | None = None,
    count: int | None = None,
) -> Quantised:
    """`net`, or its first `count` layers (a trunk), in int8.

    samples (N, *input_shape): what ranges are read off (`Calibration`); all layers' outputs of
    these are in memory one after another. Dropout and BatchNorm2d are folded away, binary contexts
    are folded into the weights as they are now.

    Raises SettingError for a layer that has no int8 form, or sums that int32 cannot hold,
    ShapeError or DtypeError for samples that do not fit, NonFiniteError.
    """
    samples = check_input(samples, net.input_shape, net.dtype, net.device)
    walk = _Walk(net, calibration or Calibration(), net.device.get(samples))
    last = walk.chain(folded(parts_of(net, count), contexts=True), walk.input)
    if not walk.operations:
        raise SettingError("no layer of this network computes anything: there is nothing to put "
                           "into int8")  # fmt: skip
    walk.tensors[last.tensor] = replace(walk.tensors[last.tensor], shape=last.shape)
    return Quantised(tuple(walk.tensors), tuple(walk.operations), last.tensor)


class _Value(NamedTuple):
    """A tensor's number and grid, and its float numbers for the samples (N, ...), shaped as now."""

    tensor: int
    real: np.ndarray
    grid: Grid

    @property
    def shape(self) -> Shape:
        return self.real.shape[1:]


class _Walk:
    """Operations and tensors so far."""

    def __init__(self, net: Network, calibration: Calibration, samples: np.ndarray) -> None:
        self.net, self.calibration = net, calibration
        self.tensors: list[Tensor] = []
        self.operations: list[Operation] = []
        self.input = self.add(calibration.grid("the input", samples), samples)

    def add(self, grid: Grid, real: np.ndarray) -> _Value:
        """A new tensor on a grid; real: its float numbers for the samples, (N, ...)."""
        self.tensors.append(Tensor(real.shape[1:], grid))
        return _Value(len(self.tensors) - 1, real, grid)

    def chain(self, parts: tuple[Part, ...], at: _Value) -> _Value:
        """Layers one after another."""
        for part in parts:
            lower = LOWERED.get(type(part.layer))
            if lower is None:
                known = ", ".join(sorted(kind.__name__ for kind in LOWERED))
                raise SettingError(
                    f"a {part.name} has no int8 form; there is one of {known}, of Dropout and, "
                    "with binary contexts, of ContextLinear and ContextConv2d: export it in float"
                )
            at = lower(self, part, at)
        return at

    def name(self, part: Part) -> str:
        return f"{len(self.operations)}.{part.name}"

    def run(self, part: Part, at: _Value) -> np.ndarray:
        """What a layer makes of a value in float, its activation left out."""
        layer: Any = part.layer
        if hasattr(layer, "activation"):
            layer = replace(layer, activation="identity")
        x, shape = at.real, layer.output_shape(at.shape)
        one = Network([layer, Flatten()], at.shape, self.net.backend, str(self.net.dtype))
        write_arrays(one, (replace(part, layer=layer),))
        rows = [one.forward(x[n : n + _CHUNK]) for n in range(0, len(x), _CHUNK)]
        return np.concatenate([one.device.get(each) for each in rows]).reshape(-1, *shape)

    # ---- what several layers share --------------------------------------------------------------

    def activate(
        self, part: Part, z: np.ndarray, make: Callable[[Grid, Ends, int], Operation]
    ) -> _Value:
        """The operation `make` (grid, ends, tensor) for z, then f: by clamp, bend or table."""
        layer: Any = part.layer
        name, f, slope = self.name(part), layer.activation, layer.slope
        if f in OWN:
            grid = self.calibration.before(name, z, f)
            at = self.add(grid, z)
            self.operations.append(make(grid, Ends.of(grid, "identity", None), at.tensor))
            return self.table(f"{name} {f}", at, f, slope, OWN[f])
        grid = self.calibration.of_activated(name, z, f, slope)
        bend = fixed(slope) if f == "leaky_relu" else None
        at = self.add(grid, activated(z, f, slope))
        self.operations.append(make(grid, Ends.of(grid, f, bend), at.tensor))
        return at

    def table(self, name: str, at: _Value, f: str, slope: float, grid: Grid) -> _Value:
        """f of a tensor by a table of all its 256 numbers."""
        every = np.arange(LOW, HIGH + 1, dtype=np.float64)[None]
        y = activated(at.grid.scale * (every - at.grid.zero), f, slope)
        table = np.clip(half_up(y[0] / grid.scale) + grid.zero, LOW, HIGH).astype(np.int8)
        to = self.add(grid, activated(at.real, f, slope))
        self.operations.append(Table(name, (at.tensor,), to.tensor, table))
        return to

    def weigh(
        self, part: Part, at: _Value, w: np.ndarray, b: np.ndarray,
        make: Callable[[str, int, Weights, Ends], Operation],
    ) -> _Value:  # fmt: skip
        """An operation of weights w (O, ...) and biases b (O,) in float64."""
        name, slope = self.name(part), getattr(part.layer, "slope", 1.0)

        def made(to: Grid, ends: Ends, output: int) -> Operation:
            steep = slope if ends.bend is not None else 1.0
            return make(name, output, weights_of(name, w, b, at.grid, to, steep), ends)

        return self.activate(part, self.run(part, at), made)


def _floats(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias in float64, a bias of zeros where there is none."""
    w = part.arrays["weight"].astype(np.float64)
    return w, part.arrays.get("bias", np.zeros(len(w))).astype(np.float64)


def _linear(walk: _Walk, part: Part, at: _Value) -> _Value:
    def make(name: str, to: int, weights: Weights, ends: Ends) -> Operation:
        return Dense(name, (at.tensor,), to, *weights, ends)

    return walk.weigh(part, at, *_floats(part), make)


def _convolution(walk: _Walk, part: Part, at: _Value) -> _Value:
    layer: Any = part.layer
    image: Any = at.shape
    size = layer.output_shape(image)[:2]
    (top, _), (left, _) = sides(layer.padding)

    def make(name: str, to: int, weights: Weights, ends: Ends) -> Operation:
        return Convolution(
            name, (at.tensor,), to, *weights, ends, image, size, at.grid.zero, layer.stride,
            (top, left), layer.dilation, layer.groups,
        )  # fmt: skip

    return walk.weigh(part, at, *_floats(part), make)


def _norm(walk: _Walk, part: Part, at: _Value) -> _Value:
    """One that could not be folded: a depthwise convolution of 1 x 1."""
    factor, shift = affine_of(part)
    image: Any = (1, 1, *at.shape)[-3:]

    def make(name: str, to: int, weights: Weights, ends: Ends) -> Operation:
        return Convolution(
            name, (at.tensor,), to, *weights, ends, image, image[:2], at.grid.zero, (1, 1), (0, 0),
            (1, 1), image[2],
        )  # fmt: skip

    return walk.weigh(part, at, factor.reshape(-1, 1, 1, 1), shift, make)


def _max_pool(walk: _Walk, part: Part, at: _Value) -> _Value:
    layer: Any = part.layer
    image: Any = at.shape
    window, stride, padding = layer._window
    to = walk.add(at.grid, walk.run(part, at))
    walk.operations.append(
        MaxPool(
            walk.name(part), (at.tensor,), to.tensor, image, layer.output_shape(image)[:2], window,
            stride, padding,
        )
    )  # fmt: skip
    return to


def _average_pool(walk: _Walk, part: Part, at: _Value) -> _Value:
    layer: Any = part.layer
    image: Any = at.shape
    bounds = layer._rectangles(image)
    areas = np.outer(*(each[:, 2] for each in bounds)).ravel()  # what sums are divided by
    areas = areas[:1] if (areas == areas[0]).all() else areas
    name, y = walk.name(part), walk.run(part, at)
    grid = walk.calibration.grid(name, y)
    scales = [fixed(at.grid.scale / (grid.scale * int(area))) for area in areas]
    to = walk.add(grid, y)
    rows, columns = (b[:, :2].astype(np.uint16) for b in bounds)
    walk.operations.append(
        AveragePool(
            name, (at.tensor,), to.tensor, image, rows, columns,
            np.array([m for m, _ in scales], np.int32), np.array([n for _, n in scales], np.uint8),
            at.grid.zero, grid.zero,
        )
    )  # fmt: skip
    return to


def _residual(walk: _Walk, part: Part, at: _Value) -> _Value:
    a, b = walk.chain(part.body, at), walk.chain(part.shortcut, at)
    name = walk.name(part)

    def make(grid: Grid, ends: Ends, to: int) -> Operation:
        factors, shift = _factors(a.grid.scale / grid.scale, b.grid.scale / grid.scale)
        zeros = (a.grid.zero, b.grid.zero)
        return Add(name, (a.tensor, b.tensor), to, factors, zeros, shift, ends)

    return walk.activate(part, a.real + b.real, make)


def _factors(a: float, b: float) -> tuple[tuple[int, int], int]:
    """Two real factors as whole numbers times 2^-shift, the larger of 20 bits: sums fit int32."""
    shift = min(max(20 - math.frexp(max(a, b))[1], 1), 30)
    first, second = (int(half_up(math.ldexp(each, shift))) for each in (a, b))
    if max(first, second) >= 1 << 21:
        raise SettingError(
            f"a Residual's paths have scales {a!r} and {b!r} times its output's; both must be "
            "below 2^20: calibrate with samples like those that the network will see"
        )
    return (first, second), shift


def _activation(walk: _Walk, part: Part, at: _Value) -> _Value:
    layer: Any = part.layer
    name, f, slope = walk.name(part), layer.name, layer.slope
    grid = OWN.get(f) or walk.calibration.of_activated(name, at.real, f, slope)
    return walk.table(name, at, f, slope, grid)


def _flatten(walk: _Walk, part: Part, at: _Value) -> _Value:
    """The same bytes by another shape."""
    return at._replace(real=at.real.reshape(len(at.real), -1))


LOWERED: dict[type[Layer], Callable[[_Walk, Part, _Value], _Value]] = {
    Activation: _activation,
    AdaptiveAvgPool2d: _average_pool,
    AvgPool2d: _average_pool,
    BatchNorm2d: _norm,
    Conv2d: _convolution,
    Flatten: _flatten,
    GlobalAvgPool: _average_pool,
    Linear: _linear,
    MaxPool2d: _max_pool,
    Residual: _residual,
}
