"""CuPy: an MLP as array expressions, the way one writes it without kernels of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from ....kernels.cuda.device import CupyDevice
from .. import peaks_cuda
from . import truth
from .kinds import Mlp
from .problem import BETA1, BETA2, CHECK_STEPS, EPS, LR_ADAM, LR_SGD, Operation, Problem, Variants


def settings() -> dict[str, Any]:
    """How CuPy runs here."""
    return {"cupy": cupy.__version__, "device": peaks_cuda.describe()["name"]}


wait = CupyDevice().synchronize  # raises where there is no GPU


class _Net:
    """The problem's arrays on the device; layers and tangents are views of theta and v."""

    def __init__(self, problem: Problem) -> None:
        net = problem.network
        assert isinstance(net, Mlp)
        a = {name: cupy.asarray(array) for name, array in problem.arrays.items()}
        self.theta, self.x, self.u, self.n = a["theta"], a["x"], a["u"], problem.batch
        self.layers, self.tangents = net.split(self.theta), net.split(a["v"])
        self.hot = cupy.asarray(np.eye(net.outputs, dtype=np.float32)[problem.arrays["y"]])

    def pull(self, inputs: list[Any], du: Any, power: Callable = lambda a: a) -> Any:
        """As `truth.pull`, after a forward pass that left `inputs`."""
        parts = []
        for dy, a in zip(truth.cotangents(self.layers, inputs, du), inputs, strict=True):
            parts += [(power(dy).T @ power(a)).ravel(), power(dy).sum(axis=0)]
        return cupy.concatenate(parts)

    def error(self) -> tuple[list[Any], Any]:
        """The layers' inputs, and the gradient of each sample's cross-entropy by its logits."""
        logits, inputs = truth.forward(self.layers, self.x)
        return inputs, truth.softmax(logits) - self.hot

    def grad(self) -> Any:
        """The gradient (P,) of the mean cross-entropy."""
        inputs, du = self.error()
        return self.pull(inputs, du / np.float32(self.n))


def _train(problem: Problem, adam: bool) -> Operation:
    net = _Net(problem)
    start = net.theta.copy()
    m, v = cupy.zeros_like(start), cupy.zeros_like(start)
    count = 0

    def call() -> None:
        nonlocal count, m, v
        count += 1
        grad = net.grad()
        if not adam:
            net.theta -= LR_SGD * grad
            return
        m = BETA1 * m + (1 - BETA1) * grad
        v = BETA2 * v + (1 - BETA2) * grad**2
        size = LR_ADAM / (1 - BETA1**count)
        net.theta -= size * m / (cupy.sqrt(v / (1 - BETA2**count)) + EPS)

    def reset() -> None:
        nonlocal count
        count = 0
        net.theta[:] = start
        m.fill(0)
        v.fill(0)

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        return {"change": cupy.asnumpy(net.theta - start)}

    return Operation(call, result, reset)


def _asking(name: str, question: Callable[[_Net], Any]) -> Variants:
    def build(problem: Problem) -> Operation:
        net = _Net(problem)
        return Operation(lambda: question(net), lambda: {name: cupy.asnumpy(question(net))})

    return {"expressions": build}


def _vjp(net: _Net, u: Any) -> Any:
    return net.pull(truth.forward(net.layers, net.x)[1], u)


def _jvp(net: _Net) -> Any:
    return truth.push(net.layers, net.tangents, net.x)


def _fisher(net: _Net) -> Any:
    inputs, du = net.error()
    return net.pull(inputs, du, lambda a: a**2) / net.n


def _mas(net: _Net) -> Any:
    logits, inputs = truth.forward(net.layers, net.x)
    return net.pull(inputs, 2.0 * logits, abs) / net.n


_FORWARD = _asking("logits", lambda net: truth.forward(net.layers, net.x)[0])
OPERATIONS: dict[str, Variants] = {
    "train-step-adam": {"expressions": lambda problem: _train(problem, adam=True)},
    "train-step-sgd": {"expressions": lambda problem: _train(problem, adam=False)},
    "forward-1": _FORWARD,
    "forward-32": _FORWARD,
    "forward-256": _FORWARD,
    "fisher-empirical": _asking("fisher", _fisher),
    "mas": _asking("mas", _mas),
    "vjp": _asking("vjp", lambda net: _vjp(net, net.u)),
    "jvp": _asking("jvp", _jvp),
    "gram": _asking("gram", lambda net: _vjp(net, _jvp(net))),
}
CONVOLUTIONS = "CuPy has no convolution of many maps"
NETWORKS = "only MLPs are written out in CuPy here"
