"""NumPy functions that accept device arrays: those of them that CuPy has, too."""

from __future__ import annotations

from typing import Any

import numpy as np


def _named(names: str) -> frozenset[Any]:
    return frozenset(getattr(np, name) for name in names.split())


# They give a fact about an array, a Python value, and compute nothing on the device.
FACTS = _named("""
    can_cast iscomplexobj isrealobj may_share_memory ndim result_type shape shares_memory size
""")

# They make a new array on the device, or write into `out`.
COMPUTING = frozenset([np.linalg.norm]) | _named("""
    all allclose amax amin any argmax argmin argpartition argsort argwhere array_equal around
    average bincount broadcast_arrays broadcast_to clip column_stack concatenate copy
    count_nonzero cumprod cumsum diag diagonal diff dot einsum empty_like expand_dims
    flatnonzero flip full_like hstack inner isclose kron max mean min moveaxis nan_to_num
    nonzero ones_like outer pad prod ravel repeat reshape roll sort split squeeze stack std
    sum swapaxes take take_along_axis tensordot tile trace transpose unique var vdot vstack
    where zeros_like
""")

# They give views: allowed during a capture.
VIEWING = _named("""
    broadcast_arrays broadcast_to diagonal expand_dims flip moveaxis split squeeze swapaxes
    transpose
""")
