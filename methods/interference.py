"""Interference: how much of one task another will disturb, asked of a network's weights.

All are asked at one theta, that of the network which has learnt task A and is about to learn B.

| measure         | definition                                          | range   | symmetric |
|-----------------|-----------------------------------------------------|---------|-----------|
| gradient cosine | <g_A, g_B> / |g_A| |g_B|, g of the mean loss        | [-1, 1] | yes       |
| Fisher overlap  | sum sqrt(f_A f_B), f = F / sum F the true Fisher's  | [0, 1]  | yes       |
|                 | diagonal: 1 - H^2, H Hellinger's distance           |         |           |
|                 | (Kirkpatrick et al. 2017)                           |         |           |
| metric overlap  | tr(G_A G_B) / |G_A| |G_B|, Frobenius norms          | [0, 1]  | yes       |
| metric share    | g_B' G_A g_B / |g_B|^2 tr G_A                       | [0, 1]  | no        |
| metric length   | sqrt(g_B' G_A g_B)                                  | >= 0    | no        |

G = 1/N sum J^T M J is the metric of the outputs (`fip.Metric`). With B B^T = G_A's Gram matrix
and so on, tr(G_A G_B) = |B_A B_B^T|^2: no (P, P) matrix is formed. The step -e g_B moves A's
answers by e times the metric length; to second order that, not the cosine, is what B does to A
where A's own gradient has vanished. The metric share is the same for directions, whatever the
lengths of g_B and of G_A.
"""

from __future__ import annotations

import numpy as np

from ..kernels.errors import ShapeError
from ..nnlite import Network
from .fip import Metric
from .fip.metric import Space
from .importance import fisher
from .tasks import Arrays
from .vectors import cosine, inner, near_one, scaled

MEASURES = ("gradient cosine", "Fisher overlap", "metric overlap", "metric share", "metric length")


def gradient_cosine(net: Network, a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of two gradients (P,); NaN where one is 0. Raises ShapeError for other shapes."""
    if not a.shape == b.shape == net.theta.shape:
        raise ShapeError(f"cosine of gradients {a.shape} and {b.shape}; give two of the network's")
    return cosine(net, a, b)


def fisher_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """sum_i sqrt(a_i b_i) / sqrt(sum a sum b) of two Fisher diagonals (P,); NaN where one is 0.

    Raises ShapeError for diagonals of different lengths.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ShapeError(f"overlap of Fisher diagonals {a.shape} and {b.shape}; give two (P,)")
    a, b = near_one(a.astype(np.float64)), near_one(b.astype(np.float64))
    norm = np.sqrt(a.sum() * b.sum())
    return float(min(np.sqrt(a * b).sum() / norm, 1.0)) if norm > 0 else float("nan")


def metric_overlap(
    net: Network, a: np.ndarray, b: np.ndarray, space: Space = "softmax-fisher"
) -> float:
    """The cosine of the metrics of inputs a (N, ...) and b (M, ...), as matrices (P, P).

    From the Gram matrix of both together, (N + M) K rows: few samples will do, and must.
    """
    both = Metric(net, np.concatenate([a, b]), space, own=False)
    gram = near_one(net.device.get(both.gram()).astype(np.float64))
    k, n = net.num_outputs, len(a) + len(b)
    blocks = gram.reshape(k, n, k, n)
    of_a, of_b = slice(None, len(a)), slice(len(a), None)
    cross, own, other = (
        float((blocks[:, s][:, :, :, t] ** 2).sum())
        for s, t in ((of_a, of_b), (of_a, of_a), (of_b, of_b))
    )
    return min(cross / np.sqrt(own * other), 1.0) if own * other > 0 else float("nan")


def metric_share(
    net: Network,
    x: np.ndarray,
    v: np.ndarray,
    trace: float | None = None,
    space: Space = "softmax-fisher",
) -> float:
    """v' G v / |v|^2 tr G, G the metric on x (N, ...), of a direction v (P,) other than 0.

    trace: of G, if known; in "softmax-fisher" it is the sum of the true Fisher's diagonal.
    """
    if trace is None:
        trace = _trace(net, x, space)
    v, _ = scaled(net, v)  # the share is of a direction
    return _share(net, v, Metric(net, x, space, own=False).squared_length(v), trace)


def _trace(net: Network, x: np.ndarray, space: Space) -> float:
    """tr G, G the metric on x (N, ...)."""
    if space == "softmax-fisher":
        return float(net.device.get(fisher(net, x)).sum(dtype=np.float64))
    gram = Metric(net, x, space, own=False).gram()
    return float(np.trace(net.device.get(gram).astype(np.float64)))


def _share(net: Network, v: np.ndarray, squared_length: float, trace: float) -> float:
    """v' G v / |v|^2 tr G, given v' G v; NaN where v or G is 0."""
    squared = inner(net, v, v)
    return squared_length / (squared * trace) if trace > 0 and squared > 0 else float("nan")


class Probe:
    """Task A's side at the weights of now, to be held against any number of others B.

    a: x (N, *input_shape), y (N,) of A. gram: of these, how many are behind the metric overlap.
    The network is only read, but must not move in between.
    """

    def __init__(
        self, net: Network, a: Arrays, gram: int = 40, space: Space = "softmax-fisher"
    ) -> None:
        self.net, self.gram = net, gram
        self.space: Space = space
        self.x, self.gradient, self.fisher = self._ask(a)
        if space == "softmax-fisher":  # then the diagonal at hand is the metric's
            self.trace = float(net.device.get(self.fisher).sum(dtype=np.float64))
        else:
            self.trace = _trace(net, self.x, space)

    def _ask(self, arrays: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The inputs, the mean loss's gradient (P,) and the Fisher diagonal (P,)."""
        x, y = arrays
        _, gradient = self.net.loss_and_grad(x, y, mode="eval")
        return x, gradient.copy(), fisher(self.net, x)

    def against(self, b: Arrays) -> dict[str, float]:
        """MEASURES of task B's x (M, *input_shape), y (M,), by name."""
        net, get = self.net, self.net.device.get
        x, gradient, other = self._ask(b)
        squared = Metric(net, self.x, self.space, own=False).squared_length(gradient)
        return {
            "gradient cosine": gradient_cosine(net, self.gradient, gradient),
            "Fisher overlap": fisher_overlap(get(self.fisher), get(other)),
            "metric overlap": metric_overlap(net, self.x[: self.gram], x[: self.gram], self.space),
            "metric share": _share(net, gradient, squared, self.trace),
            "metric length": float(np.sqrt(squared)),
        }
