"""What is asked of settings and arrays at nnlite's doors, before any of them reaches a kernel.

Kernels trust their arguments: an array of another shape, type or layout ends there in a crash or in
plausible numbers. So every public verb looks at what it is given here, once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.device import Device
from ..kernels.errors import DtypeError, NonFiniteError, SettingError, ShapeError
from .layout import Shape
from .settings import whole

_DTYPES = ("float32", "float64")


def settle(layer: Any, **settings: Any) -> None:
    """Set the checked values of a frozen layer's settings, from within its __post_init__."""
    for name, value in settings.items():
        object.__setattr__(layer, name, value)


def sample_shape(given: Any) -> Shape:
    """The shape of one sample, as ints. Raises ShapeError for one that holds no value."""
    try:
        shape = tuple(whole("input_shape", size) for size in given)
    except (TypeError, SettingError):
        shape = ()
    if not shape:
        raise ShapeError(
            f"input_shape is {given!r:.80}; give that of one sample, whole numbers of at least 1: "
            "(784,), or (28, 28, 1) for images"
        )
    return shape


def network_dtype(given: Any) -> np.dtype:
    """The dtype that a name or NumPy's type names. Raises SettingError for one not computed in."""
    try:
        name = "none" if given is None else np.dtype(given).name
    except (TypeError, ValueError):  # a name that is no text at all, too
        name = repr(given)
    if name not in _DTYPES:
        raise SettingError(f"dtype {name}: a Network computes in {' or '.join(_DTYPES)}")
    return np.dtype(name)


# ---- arrays --------------------------------------------------------------------------------------


def check_array(array: Any, what: str, dtype: np.dtype, device: Device) -> None:
    """Raise DtypeError, naming `what`, unless it is an array of `dtype`, NumPy's or the device's.

    Lists, data frames and other libraries' tensors are for the caller to convert, who alone knows
    their meaning; so are masked arrays, whose mask no kernel would see.
    """
    if type(array) is not np.ndarray:
        if isinstance(array, np.ma.MaskedArray):
            raise DtypeError(f"{what}: a masked array, whose mask would be lost; .filled(0) fills")
        if not isinstance(array, np.ndarray) and not device.owns(array):
            raise DtypeError(
                f"{what} must be a NumPy array, not {_kind(array)}: np.asarray(..., "
                f"dtype='{dtype}') makes one"
            )
    if array.dtype != dtype:
        raise DtypeError(
            f"{what} {'are' if what.endswith('s') else 'is'} {array.dtype}; this network computes "
            f"in {dtype}: convert once with .astype('{dtype}')"
        )


def _kind(thing: Any) -> str:
    name = type(thing).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def check_input(
    x: np.ndarray, shape: Shape, dtype: np.dtype, device: Device, n: int | None = None
) -> np.ndarray:
    """x on the device, if it is samples (N, *shape) of `dtype`, `n` of them where that is given.

    Raises ShapeError or DtypeError for anything else.
    """
    check_array(x, "inputs", dtype, device)
    if x.shape[1:] != shape or x.ndim == 0 or len(x) == 0 or (n is not None and len(x) != n):
        rows = "at least one sample" if n is None else f"{n} samples"
        raise ShapeError(
            f"inputs have shape {x.shape}; this network takes (N, "
            f"{', '.join(map(str, shape))}) with {rows}"
        )
    return device.put(x)


def check_cotangent(
    u: np.ndarray, shape: Shape, dtype: np.dtype, device: Device, stacked: bool = False
) -> np.ndarray:
    """u on the device, if it is a cotangent (N, K) of `dtype`; stacked: (V, N, K) will do, too.

    It may hold NaN and infinity. Raises ShapeError or DtypeError for anything else.
    """
    check_array(u, "the cotangent", dtype, device)
    if u.shape != shape and not (stacked and u.ndim == 3 and u.shape[1:] == shape and len(u)):
        n, outputs = shape
        more = f" or (V, {n}, {outputs})" if stacked else ""
        raise ShapeError(
            f"the cotangent has shape {u.shape}; {n} samples of {outputs} outputs need "
            f"({n}, {outputs}){more}"
        )
    return device.put(u)


def check_directions(v: np.ndarray, size: int, dtype: np.dtype, device: Device) -> np.ndarray:
    """v on the device, if it is directions (V, size). Raises ShapeError or DtypeError."""
    check_array(v, "directions", dtype, device)
    if v.ndim != 2 or v.shape[1] != size or not len(v):
        raise ShapeError(f"directions have shape {v.shape}; give (V, {size})")
    return device.put(v)


def check_active(active: Any, outputs: int) -> None:
    """Raise ShapeError unless `active` is an array of bools, one for each of `outputs` classes."""
    if getattr(active, "shape", None) != (outputs,) or active.dtype != bool:
        raise ShapeError(f"active must be an array of {outputs} bools, one a class")


def check_out(out: np.ndarray, what: str, device: Device) -> np.ndarray:
    """`out`, if results can be written into it where it lies. Raises ShapeError.

    Its shape and dtype are for `Layout.check` to see.
    """
    if not device.owns(out) or not out.flags.c_contiguous:
        raise ShapeError(
            f"{what} must be contiguous and in the memory of '{device.name}': results "
            "are written into it"
        )
    if not getattr(out.flags, "writeable", True):  # CuPy's arrays always are
        raise ShapeError(f"{what} is read-only, and results are written into it: give a .copy()")
    return out


def explain_non_finite(x: np.ndarray) -> None:
    """Raise NonFiniteError if it is the input's fault that the loss is not finite."""
    bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if bad.any():
        rows = np.flatnonzero(bad)
        raise NonFiniteError(
            f"{len(rows)} of {len(x)} inputs hold NaN or infinity (first: row {rows[0]}); "
            "clean the data before training on it"
        )
