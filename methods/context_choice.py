"""Which context? Chosen from the inputs alone, when nobody says which task they belong to.

Cheung et al. (2019) name the context as an input and leave its choice open. Under a wrong context a
network gives noise, and noise is less sure of itself than an answer: the context is taken under
which a batch's outputs have the least entropy. More inputs that are known to share a task make the
choice surer; a single one will do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kernels.errors import NonFiniteError
from ..nnlite import Network
from .evaluate import outputs
from .superposition import Superposition


def outputs_under(
    method: Superposition, net: Network, x: np.ndarray, candidates: Sequence[int]
) -> np.ndarray:
    """The outputs (candidates, N, K) float64 for x under each context; net: what `wrap` gave.

    The network is left under the last candidate. Raises NonFiniteError where an output is not
    finite, since the least entropy of such is none.
    """
    rows = []
    for number in candidates:
        method.select(net, number, None)
        found = [np.float64(net.device.get(part)) for _, part in outputs(net, x)]
        rows.append(np.concatenate(found))
        if not np.isfinite(rows[-1]).all():
            raise NonFiniteError(
                f"under context {number} outputs are NaN or infinite: the network has diverged"
            )
    return np.array(rows)


def entropies(outputs: np.ndarray) -> np.ndarray:
    """- sum p log p of the softmax p over the last axis of outputs (..., K), in nats: (...)."""
    shifted = outputs - outputs.max(axis=-1, keepdims=True)
    weights = np.exp(shifted)
    total = weights.sum(axis=-1)
    return np.log(total) - (weights * shifted).sum(axis=-1) / total


def best(table: np.ndarray, candidates: Sequence[int], batch: int | None = None) -> np.ndarray:
    """The context of the least mean entropy for each input, (N,): table (candidates, N).

    Inputs that follow one another in groups of `batch` are known to share it; None: all of them.
    """
    size = table.shape[1] if batch is None else batch
    edges = np.arange(0, table.shape[1], size)
    means = np.add.reduceat(table, edges, axis=1)  # a group's sum has the order of its mean
    chosen = np.asarray(candidates)[means.argmin(axis=0)]
    return np.repeat(chosen, np.diff([*edges, table.shape[1]]))


def choose_context(
    method: Superposition, net: Network, x: np.ndarray, candidates: Sequence[int]
) -> int:
    """The context under which the inputs x, all of one task, are answered most surely; it is set.

    candidates: numbers of contexts. Costs a forward pass a candidate.
    """
    table = entropies(outputs_under(method, net, x, candidates))
    number = int(best(table, candidates)[0])
    method.select(net, number, None)
    return number
