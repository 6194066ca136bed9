"""Complex convolutions for superposed models, and the way from their images to dense layers.

A complex image is channels-last, (H, W, 2 C): the real parts of its channels, then the imaginary
ones. A complex convolution is then a real one with twice the filters, so layers that treat all
channels alike (pooling, an activation on both parts: "split") take such images as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...kernels.errors import SettingError, ShapeError
from ..checks import settle
from ..init import glorot_deviation
from ..layout import Shape
from ..settings import flag
from ..workspace import Scope
from .base import Layer, Start, Views
from .conv import Conv2d
from .shapes import image


class Saved(NamedTuple):
    """What ComplexConv2d's forward pass leaves for its other verbs."""

    x: np.ndarray  # (N, H, W, 2 C) the input, or (N, H, W, C) if real
    y: np.ndarray  # (N, h, w, 2 O) the output, in which f' can be written
    kernel: np.ndarray  # (2 O, R, S, 2 C) the real convolution's weight


@dataclass(frozen=True)
class ComplexConv2d(Conv2d):
    """A convolution of `filters` complex filters, y = f(x * (c W)), c a phase a kernel entry.

    Cheung et al. 2019, Eq. 8: the context c (2, R, S, C) multiplies the kernel. weight (O, 2, R, S,
    C), a real parameter like any other; no bias. f acts on both parts alike. real_input: the input
    is a real image (H, W, C). Other settings as in Conv2d, but no groups (SettingError). Raises
    ShapeError for an odd number of channels.
    """

    bias: bool = False
    real_input: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, real_input=flag("ComplexConv2d.real_input", self.real_input))
        if self.bias:
            raise SettingError("ComplexConv2d got bias=True; it has none: leave bias out")
        if self.groups != 1:
            raise SettingError(
                f"ComplexConv2d got groups={self.groups}; it has none: its filters see all channels"
            )

    @property
    def _maps(self) -> int:
        return 2 * self.filters

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        channels = image("ComplexConv2d", input_shape)[2]
        if not self.real_input:
            channels = _half("ComplexConv2d", channels)
        return {"weight": (self.filters, 2, *self.size, channels)}  # type: ignore[misc]

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        _, *shape = self.parameters(input_shape)["weight"]
        return {"context": (tuple(shape), np.array([1.0, 0.0]).reshape(2, 1, 1, 1))}

    def initialise(self, rng: np.random.Generator, p: Views, init) -> None:
        """Magnitudes ~ N(0, 2 / (fan_in + fan_out)), phases uniform, as in ComplexLinear."""
        filters, _, r, s, channels = p["weight"].shape
        deviation = glorot_deviation(r * s * channels, r * s * filters)
        size = rng.normal(0, deviation, (filters, r, s, channels))
        phase = rng.uniform(-np.pi, np.pi, size.shape)
        p["weight"][:, 0], p["weight"][:, 1] = size * np.cos(phase), size * np.sin(phase)

    def _kernel(self, k: Scope, p: Views, of: str = "") -> np.ndarray:
        """(2 O, R, S, 2 C): ((Re cW, -Im cW), (Im cW, Re cW)); the left half of real images."""
        weight = p["weight"]
        filters, _, r, s, channels = weight.shape
        parts = k.take(of + "parts", weight.shape)
        k.ops.complex_expand(
            _entries(weight), k.state["context"].reshape(2, -1), parts.reshape(filters, 1, -1)
        )
        across = channels if self.real_input else 2 * channels
        kernel = k.take(of + "kernel", (2 * filters, r, s, across))
        above, below = kernel[:filters], kernel[filters:]
        above[..., :channels] = parts[:, 0]
        np.negative(parts[:, 1], out=below[..., :channels])
        if not self.real_input:
            above[..., channels:] = parts[:, 1]
            below[..., channels:] = parts[:, 0]
        return kernel

    def _contract(self, k: Scope, dkernel: np.ndarray, dw: np.ndarray) -> None:
        """The transpose of `_kernel`: dw (O, 2, R, S, C), overwritten."""
        filters, channels = len(dw), dw.shape[-1]
        parts = k.take("dparts", dw.shape)
        above, below = dkernel[:filters], dkernel[filters:]
        re, minus = parts[:, 0], parts[:, 1]
        re[...] = above[..., :channels]
        np.negative(below[..., :channels], out=minus)
        if not self.real_input:
            re += below[..., channels:]
            minus += above[..., channels:]
        c = k.state["context"].reshape(2, -1)
        k.ops.complex_contract(parts.reshape(filters, 1, -1), c, _entries(dw))

    def forward(self, k: Scope, p: Views, x: np.ndarray):
        kernel = self._kernel(k, p)
        y, _ = super().forward(k, {"weight": kernel}, x)
        return y, Saved(x, y, kernel)

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        own = {"weight": saved.kernel}
        if dp is None:
            return super().backward(k, own, saved, dy, None, beta, want_dx)
        dkernel, dw = k.take("dkernel", saved.kernel.shape), dp["weight"]
        dx = super().backward(k, own, saved, dy, {"weight": dkernel}, 0.0, want_dx)
        if beta:
            added = k.take("added", dw.shape)
            self._contract(k, dkernel, added)
            k.ops.add(dw, added, dw)
        else:
            self._contract(k, dkernel, dw)
        return dx

    def tangent(self, k, p, saved, tp, tx):
        moved = None if tp is None else {"weight": self._kernel(k, tp, "t")}
        return super().tangent(k, {"weight": saved.kernel}, saved, moved, tx)

    def _sample(self, k: Scope, saved: Saved, dz: np.ndarray, n: int, dw: np.ndarray) -> None:
        """dw (O, 2, R, S, C) = the gradient of sample n alone; all of it, before any power."""
        x, dkernel = saved.x[n : n + 1], k.take("sample", (1, *saved.kernel.shape))
        k.ops.conv2d_sample_grads(
            x, dz[n : n + 1], *self._steps,
            self._work(k, "conv2d_sample_grads", x.shape), dkernel, None,
        )  # fmt: skip
        self._contract(k, dkernel[0], dw)

    def sample_grads(self, k, p, saved, dy, out) -> None:
        dz = self._pulled(k, saved.y, dy)
        for n in range(len(dz)):
            self._sample(k, saved, dz, n, out["weight"][n])

    def accumulate(self, k, p, saved, dy, out, power) -> None:
        dz = self._pulled(k, saved.y, dy.reshape(-1, *dy.shape[2:])).reshape(dy.shape)
        alone = k.take("alone", out["weight"].shape)
        for pulled in dz:
            for n in range(len(pulled)):
                self._sample(k, saved, pulled, n, alone)
                out["weight"] += np.abs(alone) ** power

    def signal(self, k, p, saved, out) -> None:
        """The signal through the weights as the context turns them, real and imaginary part."""
        dkernel = k.take("dkernel", saved.kernel.shape)
        k.ops.fill(0.0, dkernel)
        super().signal(k, {"weight": saved.kernel}, saved, {"weight": dkernel})
        filters, channels = self.filters, out["weight"].shape[-1]
        above, below = dkernel[:filters], dkernel[filters:]
        re, im = out["weight"][:, 0], out["weight"][:, 1]
        re += above[..., :channels]
        im += below[..., :channels]
        if not self.real_input:
            re += below[..., channels:]
            im += above[..., channels:]


@dataclass(frozen=True)
class ComplexFlatten(Layer):
    """Complex images (H, W, 2 C), or pooled ones (2 C,), as planes (2, H W C) for ComplexLinear.

    `saved` is the input's shape.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        _half("ComplexFlatten", input_shape[-1])
        return 2, math.prod(input_shape) // 2

    def _planes(self, k: Scope, x: np.ndarray, name: str) -> np.ndarray:
        y = k.take(name, (len(x), *self.output_shape(x.shape[1:])))
        _by_plane(y, x.shape[-1])[...] = x.reshape(len(x), -1, 2, x.shape[-1] // 2)
        return y

    def forward(self, k, p, x: np.ndarray):
        return self._planes(k, x, "y"), x.shape[1:]

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if not want_dx:
            return None
        dx = k.flow((len(dy), *saved), dy)
        dx.reshape(len(dy), -1, 2, saved[-1] // 2)[...] = _by_plane(dy, saved[-1])
        return dx

    def tangent(self, k, p, saved, tp, tx):
        return None if tx is None else self._planes(k, tx, "ty")


def _half(owner: str, channels: int) -> int:
    if channels % 2:
        raise ShapeError(
            f"{owner} got {channels} channels; a complex image has the real parts of its channels, "
            "then the imaginary ones: an even number"
        )
    return channels // 2


def _entries(weight: np.ndarray) -> np.ndarray:
    """(O, 2, R, S, C) as (O, 2, R S C)."""
    return weight.reshape(len(weight), 2, -1)


def _by_plane(planes: np.ndarray, channels: int) -> np.ndarray:
    """(N, 2, H W C) in the order of an image's `channels`, 2 C: a view (N, H W, 2, C)."""
    return planes.reshape(len(planes), 2, -1, channels // 2).swapaxes(1, 2)
