"""BLIS, from the package `blis`, which is built for one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
from blis.py import gemm

from .problem import NotRunError
from .products import offered


def settings() -> dict[str, Any]:
    """Which BLIS."""
    return {"blis": metadata.version("blis"), "threads": 1}


def _multiply(
    operation: str, a: np.ndarray, b: np.ndarray, out: np.ndarray
) -> Callable[[], np.ndarray]:
    turned = {"trans1": operation == "product-tn", "trans2": operation == "product-nt"}
    if any(turned.values()) and a.dtype != np.float32:
        raise NotRunError("blis.py.gemm mistakes the sizes of transposed factors in float64")
    return partial(gemm, a, b, out=out, beta=0.0, **turned)


PRODUCTS = offered("gemm", _multiply)
