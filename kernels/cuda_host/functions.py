"""NumPy functions that accept device arrays: those of them that CuPy has, too."""

from __future__ import annotations

import numpy as np

# They give a fact about an array, a Python value, and compute nothing on the device.
FACTS = frozenset(
    {
        np.can_cast,
        np.iscomplexobj,
        np.isrealobj,
        np.may_share_memory,
        np.ndim,
        np.result_type,
        np.shape,
        np.shares_memory,
        np.size,
    }
)

# They make a new array on the device, or write into `out`.
COMPUTING = frozenset(
    {
        np.all,
        np.allclose,
        np.amax,
        np.amin,
        np.any,
        np.argmax,
        np.argmin,
        np.argpartition,
        np.argsort,
        np.argwhere,
        np.array_equal,
        np.around,
        np.average,
        np.bincount,
        np.broadcast_arrays,
        np.broadcast_to,
        np.clip,
        np.column_stack,
        np.concatenate,
        np.copy,
        np.count_nonzero,
        np.cumprod,
        np.cumsum,
        np.diag,
        np.diagonal,
        np.diff,
        np.dot,
        np.einsum,
        np.empty_like,
        np.expand_dims,
        np.flatnonzero,
        np.flip,
        np.full_like,
        np.hstack,
        np.inner,
        np.isclose,
        np.kron,
        np.linalg.norm,
        np.max,
        np.mean,
        np.min,
        np.moveaxis,
        np.nan_to_num,
        np.nonzero,
        np.ones_like,
        np.outer,
        np.pad,
        np.prod,
        np.ravel,
        np.repeat,
        np.reshape,
        np.roll,
        np.sort,
        np.split,
        np.squeeze,
        np.stack,
        np.std,
        np.sum,
        np.swapaxes,
        np.take,
        np.take_along_axis,
        np.tensordot,
        np.tile,
        np.trace,
        np.transpose,
        np.unique,
        np.var,
        np.vdot,
        np.vstack,
        np.where,
        np.zeros_like,
    }
)

# They give views: allowed during a capture.
VIEWING = frozenset(
    {
        np.broadcast_arrays,
        np.broadcast_to,
        np.diagonal,
        np.expand_dims,
        np.flip,
        np.moveaxis,
        np.split,
        np.squeeze,
        np.swapaxes,
        np.transpose,
    }
)
