"""Inner products of vectors of length P, taken where they lie."""

from __future__ import annotations

import numpy as np

from ..kernels.codes import IDENTITY
from ..nnlite import Network


def inner_products(net: Network, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b' (U, V) of rows a (U, P) and b (V, P), in float64 on the host.

    In the network's dtype, by the kernel of a dense layer: a sum in an order that does not depend
    on the number of threads.
    """
    products = net.device.empty((len(a), len(b)), net.dtype)
    net.ops.dense_forward(a, b, None, IDENTITY, 0.0, products)
    return net.device.get(products).astype(np.float64)


def inner(net: Network, a: np.ndarray, b: np.ndarray) -> float:
    """a . b of two vectors (P,)."""
    return float(inner_products(net, a[None], b[None])[0, 0])
