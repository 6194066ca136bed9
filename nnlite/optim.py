"""Optimizers: settings plus the names of their moments. The arithmetic is one fused kernel each.

An optimizer holds no arrays. `state(P, dtype)` makes its moments; whoever trains keeps them, and a
checkpoint stores them by name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..kernels import Backend
from ..kernels.device import NUMPY, Device
from ..kernels.errors import DtypeError, SettingError, ShapeError, check_name
from .settings import POSITIVE_FLOAT32, SHARE_BELOW_1, real


@dataclass
class Streams:
    """What a method adds to the fused step; None costs nothing. See `kernels.reference.update`.

    omega, anchor (P,): the penalty (lam / 2) sum omega (theta - anchor)^2, its gradient added to
    the loss's. path (P,): accumulates -grad * step, with the gradient of the loss alone.
    gain (P,): multiplies the step of each weight (WVA; a mask of 0 and 1 freezes).
    """

    omega: np.ndarray | None = None
    anchor: np.ndarray | None = None
    lam: float = 0.0
    path: np.ndarray | None = None
    gain: np.ndarray | None = None

    @property
    def tail(self) -> tuple[Any, ...]:
        """The arguments that every update kernel ends with."""
        return self.omega, self.anchor, float(self.lam), self.path, self.gain


_NO_STREAMS = Streams()


def _check_vectors(
    theta: np.ndarray, grad: np.ndarray, state: dict[str, np.ndarray], streams: Streams
) -> None:
    """Raise ShapeError or DtypeError unless all that a step reads and writes is like theta (P,)."""
    shape, dtype, tail = theta.shape, theta.dtype, streams
    if len(shape) != 1 or not theta.flags.c_contiguous or not getattr(theta.flags, "writeable", 1):
        raise ShapeError(f"theta is {shape}; a step writes into it: (P,), contiguous, writable")
    named = (("grad", grad), *state.items(), ("omega", tail.omega), ("anchor", tail.anchor),
             ("path", tail.path), ("gain", tail.gain))  # fmt: skip
    for name, vector in named:
        if vector is None:
            continue
        if getattr(vector, "shape", None) != shape or not vector.flags.c_contiguous:
            given = getattr(vector, "shape", type(vector).__name__)
            raise ShapeError(f"{name} is {given}; a step needs it contiguous, like theta, {shape}")
        if vector.dtype != dtype:
            raise DtypeError(f"{name} is {vector.dtype}; theta is {dtype}: they must be alike")


class Optimizer:
    """The base: `moments` names the arrays (P,) it keeps between steps.

    Every setting is a number. A rate, or what is added to a divisor, is above 0, and float32 can
    tell it from 0 and infinity: with eps = 0 a weight whose gradient is 0 would step by 0/0. A
    share of what was before (momentum, beta, alpha, rho) lies in [0, 1): at 1 nothing new ever
    counts, and Adam's correction 1 - beta^t is 0. Raises SettingError for anything else.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    lr: float

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # sub-classes are dataclasses
            limit = POSITIVE_FLOAT32 if field.name in ("lr", "eps") else SHARE_BELOW_1
            value = real(f"{type(self).__name__}.{field.name}", getattr(self, field.name), limit)
            object.__setattr__(self, field.name, value)

    def state(self, size: int, dtype: Any, device: Device = NUMPY) -> dict[str, np.ndarray]:
        """Fresh moments, zero, for vectors of length `size`, in the memory of `device`."""
        return {name: device.zeros((size,), dtype) for name in self.moments}

    def settings(self) -> dict[str, Any]:
        """Name and settings, for a config file."""
        return {"name": type(self).__name__.lower(), **asdict(self)}  # type: ignore[call-overload]

    def step(
        self,
        ops: Backend,
        theta: np.ndarray,
        grad: np.ndarray,
        state: dict[str, np.ndarray],
        count: Any,
        streams: Streams = _NO_STREAMS,
    ) -> None:
        """Update theta (P,) and the moments in place; `count` numbers the steps from 1.

        On a GPU `count` may be an int64 array (1,) there, so that a captured step can count on.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent; with `momentum` the heavy ball v = momentum v + g."""

    lr: float = 0.01
    momentum: float = 0.0

    def state(self, size: int, dtype: Any, device: Device = NUMPY) -> dict[str, np.ndarray]:
        return {"velocity": device.zeros((size,), dtype)} if self.momentum else {}

    def step(self, ops, theta, grad, state, count, streams=_NO_STREAMS) -> None:
        _check_vectors(theta, grad, state, streams)
        if self.momentum:
            velocity = state["velocity"]
            ops.momentum_update(theta, grad, velocity, self.lr, self.momentum, *streams.tail)
        else:
            ops.sgd_update(theta, grad, self.lr, *streams.tail)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with bias correction (Kingma & Ba 2015)."""

    moments: ClassVar[tuple[str, ...]] = ("m", "v")
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def step(self, ops, theta, grad, state, count, streams=_NO_STREAMS) -> None:
        _check_vectors(theta, grad, state, streams)
        if isinstance(count, int | np.integer) and count < 1:  # its correction would divide by 0
            raise SettingError(f"Adam's step got count={count}; steps are numbered from 1")
        ops.adam_update(
            theta, grad, state["m"], state["v"],
            self.lr, self.beta1, self.beta2, self.eps, count, *streams.tail,
        )  # fmt: skip


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop as torch writes it: the root is taken before eps is added, no centring."""

    moments: ClassVar[tuple[str, ...]] = ("square",)
    lr: float = 1e-3
    alpha: float = 0.99
    eps: float = 1e-8

    def step(self, ops, theta, grad, state, count, streams=_NO_STREAMS) -> None:
        _check_vectors(theta, grad, state, streams)
        ops.rmsprop_update(
            theta, grad, state["square"], self.lr, self.alpha, self.eps, *streams.tail
        )


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012) with Keras' settings; lr 1 is the paper's, which has none."""

    moments: ClassVar[tuple[str, ...]] = ("square", "moved")
    lr: float = 1.0
    rho: float = 0.95
    eps: float = 1e-8

    def step(self, ops, theta, grad, state, count, streams=_NO_STREAMS) -> None:
        _check_vectors(theta, grad, state, streams)
        ops.adadelta_update(
            theta, grad, state["square"], state["moved"], self.lr, self.rho, self.eps, *streams.tail
        )


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD, "adam": Adam, "rmsprop": RMSprop, "adadelta": Adadelta,
}  # fmt: skip


def get_optimizer(name: str, **settings: Any) -> Optimizer:
    """The optimizer `name` with `settings`. Raises UnknownNameError or SettingError."""
    check_name("optimizer", name, OPTIMIZERS)
    known = [field.name for field in fields(OPTIMIZERS[name])]  # type: ignore[arg-type]
    for setting in settings:
        if setting not in known:
            raise SettingError(
                f"the optimizer '{name}' has no setting '{setting}'; it has {', '.join(known)}"
            )
    return OPTIMIZERS[name](**settings)
