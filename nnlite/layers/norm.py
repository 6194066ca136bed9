"""BatchNorm2d: each channel normalised by statistics of the batch, or by running ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...kernels.errors import ModeError, SettingError, ShapeError, check_name
from ..checks import settle
from ..layout import Shape
from ..settings import POSITIVE_FLOAT32, flag, real
from ..workspace import Scope
from .activation import Activated, slope_of
from .base import Start, Views

_SUMS = 64  # parts that the kernels cut rows into, each with sums of its own
STATISTICS = ("running", "batch")


class Saved(NamedTuple):
    """What BatchNorm2d's forward pass leaves for its other verbs."""

    x: np.ndarray  # (N, T, C) the input, T positions a sample
    y: np.ndarray  # (N, T, C) the output, in which f' can be written
    mean: np.ndarray  # (C,)
    inverse: np.ndarray  # (C,) 1 / sqrt(var + eps)
    batch: bool  # whether they are the batch's own
    shape: Shape  # of one sample


@dataclass(frozen=True)
class BatchNorm2d(Activated):
    """y = f(weight (x - mean) / sqrt(var + eps) + bias), channel by channel (Ioffe & Szegedy 2015).

    Mode "train": mean and var of this batch, and the running ones move towards them by `momentum`
    (torch's meaning; the running variance is the unbiased one). Mode "eval": the running ones, as
    constants. statistics="batch": the batch's own in both modes, and none are kept.
    affine=False: no weight and bias. Flat samples (C,) will do, too.

    Per-sample quantities are defined where statistics are constants; elsewhere they raise
    ModeError, because one sample's gradient then depends on the others.
    """

    momentum: float = 0.1
    eps: float = 1e-5
    affine: bool = True
    statistics: str = "running"
    activation: str = "identity"
    slope: float = 0.01

    def __post_init__(self) -> None:
        momentum, eps = (
            real(f"BatchNorm2d.{n}", getattr(self, n), POSITIVE_FLOAT32)
            for n in ("momentum", "eps")
        )
        if momentum > 1:
            raise SettingError(f"BatchNorm2d got momentum={momentum}; it must lie in (0, 1]")
        check_name("statistics", self.statistics, STATISTICS)
        settle(
            self,
            momentum=momentum,
            eps=eps,
            affine=flag("BatchNorm2d.affine", self.affine),
            slope=slope_of(self.activation, self.slope),
        )

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) not in (1, 3):
            raise ShapeError(
                f"BatchNorm2d got samples of shape {input_shape}; it takes images (H, W, C) or "
                "flat samples (C,)"
            )
        return input_shape

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        return {"weight": input_shape[-1:], "bias": input_shape[-1:]} if self.affine else {}

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        if self.statistics == "batch":
            return {}
        return {"mean": (input_shape[-1:], 0.0), "var": (input_shape[-1:], 1.0)}

    def moded(self) -> bool:
        return self.statistics == "running"

    def couples(self, mode) -> bool:
        return self.statistics == "batch" or mode == "train"

    def initialise(self, rng, p: Views, init) -> None:
        if self.affine:
            p["weight"][...] = 1
            p["bias"][...] = 0

    def _sums(self, k: Scope, channels: int) -> np.ndarray:
        return k.take("sums", (_SUMS, 2, channels))

    def _moments(self, k: Scope, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """mean, 1 / sqrt(var + eps), and whether they are those of the batch."""
        channels, count = rows.shape[2], rows.shape[0] * rows.shape[1]
        inverse = k.take("inverse", (channels,))
        batch = self.couples(k.run.mode)
        running: tuple[Any, Any] = (k.state.get("mean"), k.state.get("var"))  # maybe none are kept
        if batch:
            mean, var = k.take("mean", (channels,)), k.take("var", (channels,))
            k.ops.norm_statistics(rows, self._sums(k, channels), mean, var)
        else:
            mean, var = running
            running = (None, None)  # nothing follows
        if running[0] is not None and count < 2:
            raise ShapeError(
                "BatchNorm2d in mode 'train' got one value a channel, which has no variance; "
                "give it a batch of at least two samples"
            )
        k.ops.norm_moments(var, mean, self.eps, self.momentum, count, *running, inverse)
        return mean, inverse, batch

    def forward(self, k: Scope, p: Views, x: np.ndarray) -> tuple[np.ndarray, Saved]:
        y = k.take("y", x.shape)
        shape = (len(x), math.prod(x.shape[1:-1]), x.shape[-1])
        rows, out = x.reshape(shape), y.reshape(shape)
        mean, inverse, batch = self._moments(k, rows)
        k.ops.norm_forward(
            rows, mean, inverse, p.get("weight"), p.get("bias"), self._act, self.slope, out
        )
        return y, Saved(rows, out, mean, inverse, batch, x.shape[1:])

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        if saved.batch and len(dy) != len(saved.x):
            raise ModeError(
                "stacked cotangents through BatchNorm2d need running statistics: "
                "trace(x, mode='eval')"
            )
        dx = k.flow(dy.shape, dy)
        dgamma, dshift = (None, None) if dp is None else (dp.get("weight"), dp.get("bias"))
        rows = (len(dy), *saved.x.shape[1:])
        k.ops.norm_backward(
            saved.x, saved.mean, saved.inverse, p.get("weight"), saved.y, dy.reshape(rows),
            self._act, self.slope, saved.batch, float(beta), self._sums(k, rows[2]), dgamma, dshift,
            dx.reshape(rows),
        )  # fmt: skip
        return dx if want_dx else None

    def tangent(self, k, p, saved, tp, tx):
        if tx is None and (tp is None or not self.affine):
            return None
        ty = k.flow((len(saved.x), *saved.shape), saved.y if tx is None else tx)
        tgamma, tshift = (None, None) if tp is None else (tp.get("weight"), tp.get("bias"))
        k.ops.norm_tangent(
            saved.x, saved.mean, saved.inverse, p.get("weight"), saved.y,
            None if tx is None else tx.reshape(saved.x.shape), tgamma, tshift, self._act,
            self.slope, saved.batch, self._sums(k, saved.x.shape[2]), ty.reshape(saved.x.shape),
        )  # fmt: skip
        return ty

    def second(self, k, p, saved, tp, tx, txx):
        if saved.batch:
            raise ModeError(
                "second derivatives through BatchNorm2d need running statistics, as constants: "
                "mode 'eval', and statistics='running' in the layer"
            )
        return super().second(k, p, saved, tp if self.affine else None, tx, txx)

    def _at(self, k, saved, tx):
        """The kernel takes the mean off its input, and tx has none."""
        return saved._replace(x=tx.reshape(saved.x.shape) + saved.mean)

    def sample_grads(self, k, p, saved, dy, out) -> None:
        if self.affine:
            dz = self._pulled(k, saved.y, dy.reshape(saved.x.shape))
            k.ops.norm_sample_grads(
                saved.x, saved.mean, saved.inverse, dz, out["weight"], out["bias"]
            )

    def accumulate(self, k, p, saved, dy, out, power) -> None:
        if self.affine:
            rows = (-1, *saved.x.shape[1:])
            dz = self._pulled(k, saved.y, dy.reshape(rows)).reshape(-1, *saved.x.shape)
            k.ops.norm_accumulate(
                saved.x, saved.mean, saved.inverse, dz, power, self._sums(k, rows[2]),
                out["weight"], out["bias"],
            )  # fmt: skip

    def signal(self, k, p, saved, out) -> None:
        if self.affine:
            k.ops.norm_signal(
                saved.x, saved.mean, saved.inverse, p["weight"], saved.y,
                self._sums(k, saved.x.shape[2]), out["weight"], out["bias"],
            )  # fmt: skip
