"""Synaptic Intelligence (Zenke, Poole & Ganguli 2017): importance from the path training took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..nnlite import Network
from ..nnlite.optim import Optimizer, Streams
from .base import Method, TaskEnd
from .settings import NOT_NEGATIVE, POSITIVE, limited


@dataclass
class SI(Method):
    """SI: penalty lam sum Omega (theta - anchor)^2, no 1/2 (lam is the paper's c).

    Within a task the fused optimizer step adds up omega = sum over steps of -g dtheta, with g the
    gradient of the loss alone and dtheta the step actually taken. After it,
    Omega += omega / ((theta - theta_start)^2 + xi), and the anchor is theta.

    clamp: "sum" sets the running Omega to at least 0 (the authors' published code, the default),
    "task" each task's contribution, "none" leaves negative ones (the paper's formula as printed).
    gradient: "loss" (original), or "total", with the penalty's gradient in g (Kutalev's code).
    xi: 0.1 for permuted MNIST, 1e-3 for split MNIST and CIFAR in the authors' runs.
    """

    name = "si"
    convention = "lam sum Omega (theta-anchor)^2, Omega = path integral of the loss gradient"
    limits = limited(lam=NOT_NEGATIVE, xi=POSITIVE)
    lam: float = 0.1
    xi: float = 0.1
    clamp: Literal["sum", "task", "none"] = "sum"
    gradient: Literal["loss", "total"] = "loss"

    def start(self, net: Network, optimizer: Optimizer) -> None:
        self.arrays["path"] = np.zeros_like(net.theta)
        self.arrays["start"] = net.theta.copy()

    def streams(self) -> Streams:
        path, omega = self.arrays["path"], self.arrays.get("omega")
        if omega is None or self.gradient == "total":
            return Streams(path=path)
        return Streams(omega=omega, anchor=self.arrays["anchor"], lam=2 * self.lam, path=path)

    def adjust(self, net: Network, grad: np.ndarray) -> None:
        if self.gradient == "total" and "omega" in self.arrays:
            # folded into the gradient beforehand, the penalty becomes part of what path sees
            net.ops.penalty_gradient(
                net.theta, self.arrays["omega"], self.arrays["anchor"], 2 * self.lam, grad
            )

    def adjusts(self) -> bool:
        return self.gradient == "total" and "omega" in self.arrays

    def end_task(self, net: Network, end: TaskEnd) -> None:
        self.arrays["omega"] = consolidate(
            self.arrays["path"],
            net.theta - self.arrays["start"],
            self.arrays.get("omega"),
            self.xi,
            self.clamp,
        )
        self.arrays["anchor"] = net.theta.copy()
        self.arrays["start"] = net.theta.copy()
        self.arrays["path"][:] = 0

    def persistent_bytes(self) -> int:
        return sum(self.arrays[name].nbytes for name in ("omega", "anchor") if name in self.arrays)


def consolidate(
    path: np.ndarray, moved: np.ndarray, omega: np.ndarray | None, xi: float, clamp: str
) -> np.ndarray:
    """Omega (P,) after a task: the running sum plus path / (moved^2 + xi), clamped as `SI` says."""
    new = path / (moved * moved + moved.dtype.type(xi))
    if clamp == "task":
        new = np.maximum(new, 0)
    total = new if omega is None else omega + new
    return np.maximum(total, 0) if clamp == "sum" else total
