"""The register tile by itself: what its sums begin at, and that they are never split."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_sizes import FLOATS

pytest.importorskip("numba", reason="the register tile is the cpu backend's, which needs numba")
from weightspace.kernels.cpu import microkernel
from weightspace.kernels.cpu.panels import panel_width


def multiply(vectors, way, columns, a, b, out):
    """out = a (rows, k) b (k, panel) by tiles that many vectors wide, over `columns` of k."""
    rows = np.arange(len(a)) * a.shape[1], np.arange(len(a)) * out.shape[1]
    begin, end = columns
    at = begin * a.itemsize
    microkernel.multiply_rows(
        a.dtype.type(1), vectors, way, len(a), a.ctypes.data + at, rows[0].ctypes.data, 1, 0,
        end - begin, 1, b.ctypes.data + at * b.shape[1], 0, b.shape[1], out.ctypes.data,
        rows[1].ctypes.data,
    )  # fmt: skip


def operands(dtype, vectors, k):
    rows = 2 * microkernel.rows_of(vectors)
    wide = panel_width(np.dtype(dtype).type(1))
    return np.ones((rows, k), dtype), np.ones((k, wide), dtype), wide * vectors // 2


@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_sum_that_goes_on_adds_its_terms_one_by_one(dtype, vectors):
    """1 is lost beside 2 / eps, 2 is not: added term by term the sum stays as it was."""
    a, b, columns = operands(dtype, vectors, 2)
    large = 2 / np.finfo(dtype).eps
    for way, expected in ((microkernel.CONTINUE, large), (microkernel.ADD, large + 2)):
        out = np.full((len(a), b.shape[1]), large, dtype)
        multiply(vectors, way, (0, 2), a, b, out)
        assert (out[:, :columns] == expected).all()
        assert (out[:, columns:] == large).all()


@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_product_in_blocks_of_its_inner_index_has_the_bits_of_the_whole(dtype, vectors, rng):
    a, b, columns = operands(dtype, vectors, 37)
    a[...], b[...] = rng.normal(size=a.shape), rng.normal(size=b.shape)
    whole, blocks = (np.zeros((len(a), b.shape[1]), dtype) for _ in range(2))
    multiply(vectors, microkernel.SET, (0, 37), a, b, whole)
    blocks.fill(np.nan)
    multiply(vectors, microkernel.SET, (0, 5), a, b, blocks)
    multiply(vectors, microkernel.CONTINUE, (5, 30), a, b, blocks)
    multiply(vectors, microkernel.CONTINUE, (30, 37), a, b, blocks)
    assert np.array_equal(whole[:, :columns], blocks[:, :columns])
