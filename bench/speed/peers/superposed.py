"""A superposed MLP (Cheung et al. 2019) as a problem, and its training step in float64 NumPy.

psp-binary-784-256-256-10x128: y = W (c x) + b, ReLU between, c signs.

psp-complex-784-256-256-10x128: y = W (c x) in complex numbers, ReLU on real and imaginary parts
alike, c on the unit circle; the logits are the real part of the last layer.

A complex weight is (O, 2, I): real parts, then imaginary ones; so is a context, (2, I).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .kinds import Arrays, Kind, Shape, draw_normal
from .problem import BETA1, BETA2, CHECK_STEPS, EPS, LR_ADAM, Problem


@dataclass(frozen=True)
class Superposed(Kind):
    """An MLP under contexts. Arrays: theta (P,), contexts (C,) of all layers, x (N, I), y (N,)."""

    table: ClassVar[str] = "SUPERPOSED"
    operations: ClassVar[tuple[str, ...]] = ("train-step-adam",)

    contexts: str  # binary or complex
    widths: tuple[int, ...]

    @property
    def name(self) -> str:
        return "-".join(["psp", self.contexts, *map(str, self.widths)])

    @property
    def planes(self) -> int:
        """Real numbers in one of the network's numbers."""
        return 2 if self.contexts == "complex" else 1

    def shapes(self) -> list[Shape]:
        pairs = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        if self.planes == 2:
            return [(o, 2, i) for i, o in pairs]
        return [shape for i, o in pairs for shape in ((o, i), (o,))]

    @property
    def outputs(self) -> int:
        return self.widths[-1]

    def layers(self, vector: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """(weight, bias or None) of each layer: views into a vector of length P."""
        views = self.views(vector)
        if self.planes == 2:
            return ((weight, None) for weight in views)
        return zip(views[::2], views[1::2], strict=True)

    def split_contexts(self, flat: np.ndarray) -> list[np.ndarray]:
        """Each layer's context: (I,), or (2, I)."""
        ends = np.cumsum([self.planes * width for width in self.widths[:-2]])
        parts = np.split(flat, ends)
        return [part.reshape(2, -1) for part in parts] if self.planes == 2 else parts

    def draw(self, rng: np.random.Generator, n: int) -> Arrays:
        theta = draw_normal(rng, self.num_parameters)
        for weight, bias in self.layers(theta):
            scale = np.float32(np.sqrt(2.0 / (self.planes * weight.shape[-1])))
            np.multiply(weight, scale, out=weight)
            if bias is not None:
                np.multiply(bias, np.float32(0.1), out=bias)
        total = sum(self.widths[:-1])
        if self.planes == 2:
            phases = [rng.uniform(-np.pi, np.pi, width) for width in self.widths[:-1]]
            turned = np.concatenate([f(phase) for phase in phases for f in (np.cos, np.sin)])
        else:
            turned = rng.integers(0, 2, total) * 2.0 - 1.0
        x = draw_normal(rng, n, self.widths[0])
        labels = rng.integers(0, self.outputs, n)
        return {"theta": theta, "contexts": turned.astype(np.float32), "x": x, "y": labels}


def _as_numbers(planes: np.ndarray) -> np.ndarray:
    """(..., 2, I) as complex (..., I); real arrays as they are."""
    return planes[..., 0, :] + 1j * planes[..., 1, :]


def _relu(z: Any) -> np.ndarray:
    if np.iscomplexobj(z):
        return np.maximum(z.real, 0) + 1j * np.maximum(z.imag, 0)
    return np.maximum(z, 0)


def _mask(dy: Any, y: Any) -> np.ndarray:
    if np.iscomplexobj(y):
        return dy.real * (y.real > 0) + 1j * (dy.imag * (y.imag > 0))
    return dy * (y > 0)


def _gradient(kind: Superposed, theta: np.ndarray, a: Arrays, hot: np.ndarray) -> np.ndarray:
    """The gradient (P,) of the mean cross-entropy. A cotangent of a complex number is that of its
    two parts, so what a product multiplied by comes back conjugate."""
    whole = kind.planes == 2
    numbers = _as_numbers if whole else np.asarray
    layers = [(numbers(w), b) for w, b in kind.layers(theta)]
    contexts = [numbers(c) for c in kind.split_contexts(a["contexts"])]
    outputs, seen = [a["x"]], []
    for index, ((w, b), c) in enumerate(zip(layers, contexts, strict=True)):
        seen.append(c * outputs[-1])
        z = seen[-1] @ w.T + (0 if b is None else b)
        outputs.append(_relu(z) if index < len(layers) - 1 else z.real)
    shifted = np.exp(outputs[-1] - outputs[-1].max(axis=1, keepdims=True))
    dz = (shifted / shifted.sum(axis=1, keepdims=True) - hot) / len(hot)
    found: list[np.ndarray] = []
    for index in range(len(layers) - 1, -1, -1):
        (w, b), c = layers[index], contexts[index]
        dw = dz.T @ seen[index].conj()
        found[:0] = [np.stack([dw.real, dw.imag], axis=1)] if whole else [dw, dz.sum(axis=0)]
        if index:
            dz = _mask((dz @ w.conj()) * c.conj(), outputs[index])
    return np.concatenate([part.ravel() for part in found])


def train(problem: Problem, a: Arrays) -> dict[str, np.ndarray]:
    """The change of theta (P,) after `CHECK_STEPS` steps of Adam, in float64."""
    kind = problem.network
    assert isinstance(kind, Superposed)
    hot = np.eye(kind.outputs)[a["y"].astype(int)]
    theta = a["theta"].copy()
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, CHECK_STEPS + 1):
        grad = _gradient(kind, theta, a, hot)
        m = BETA1 * m + (1 - BETA1) * grad
        v = BETA2 * v + (1 - BETA2) * grad**2
        theta -= LR_ADAM * (m / (1 - BETA1**step)) / (np.sqrt(v / (1 - BETA2**step)) + EPS)
    return {"change": theta - a["theta"]}
