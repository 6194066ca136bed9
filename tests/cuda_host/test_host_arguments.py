"""Arguments that CuPy would pass on, to be read as garbage, are refused."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels.cuda_host import ArgumentError
from weightspace.kernels.errors import UnknownNameError, WeightspaceError

f4, i8 = np.float32, np.int64


@pytest.fixture
def scale(device, kernel):
    """scale(x, y, factor, count)"""
    function = kernel("clean.cu", "scale")
    return lambda *args: device.launch(function, (1,), (32,), args)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: (d.zeros(8, "f8"), d.zeros(8, f4), f4(1), i8(8)),
        lambda d: (d.zeros(8, f4), d.zeros(8, "i4"), f4(1), i8(8)),
        lambda d: (np.zeros(8, f4), d.zeros(8, f4), f4(1), i8(8)),
        lambda d: (3, d.zeros(8, f4), f4(1), i8(8)),
        lambda d: (d.zeros(16, f4)[::2], d.zeros(8, f4), f4(1), i8(8)),
        lambda d: (d.zeros((4, 4), f4).T, d.zeros(8, f4), f4(1), i8(8)),
        lambda d: (d.zeros((4, 4), f4)[:, ::2], d.zeros(8, f4), f4(1), i8(8)),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), 1.0, i8(8)),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), np.float64(1), i8(8)),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), f4(1), 8),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), f4(1), np.int32(8)),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), f4(1), np.uint64(8)),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), d.zeros((), f4), i8(8)),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), f4(1)),
        lambda d: (d.zeros(8, f4), d.zeros(8, f4), f4(1), i8(8), i8(8)),
    ],
    ids=[
        "wider array", "array of another kind", "NumPy array", "number for an array",
        "every other element", "transposed", "columns apart", "Python float", "wider float",
        "Python int", "narrower int", "unsigned int", "array for a number", "too few", "too many",
    ],
)  # fmt: skip
def test_refused(device, scale, wrong):
    with pytest.raises(ArgumentError) as refused:
        scale(*wrong(device))
    assert isinstance(refused.value, TypeError)
    assert isinstance(refused.value, WeightspaceError)
    assert "scale" in str(refused.value)


def test_accepted(device, scale):
    """NumPy has two names for 64-bit integers."""
    x = device.zeros(8, f4)
    scale(x, x, f4(1), np.longlong(8))
    scale(x, x, f4(1), i8(8))
    scale(x[:0], x[:0], f4(1), i8(0))


def test_an_unknown_kernel_is_named(kernel):
    with pytest.raises(UnknownNameError, match="Did you mean 'scale'"):
        kernel("clean.cu", "scales")
