"""Matrix products by themselves: any sizes, strides and cuts give one chain of fma an output, and
nothing beside the arrays is written or read."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_sizes import FLOATS

pytest.importorskip("numba", reason="these products are the cpu backend's, which needs numba")
from weightspace.kernels.cpu.gemm import Product, product_unit, unit_shape
from weightspace.kernels.exact.fused import chain

# None, one, around the vectors of 4, 8 and 16, and around the pieces of 512 that k is packed in.
SIZES = st.one_of(st.integers(0, 70), st.sampled_from((0, 1, 2, 511, 512, 513, 1025, 2100)))
MOST = 300_000  # multiplications that the slow chain is asked for


class Matrix:
    """Rows x columns of a product, laid out by row or `turned`, lines apart, in a frame of NaN."""

    def __init__(self, rng, rows, columns, dtype, turned, apart, frame=True):
        lines, length = (columns, rows) if turned else (rows, columns)
        self.line = length + apart
        around = 40 if frame else 0
        self.room = np.full(around + lines * self.line + around, np.nan, dtype)
        laid = self.room[around : around + lines * self.line].reshape(lines, self.line)[:, :length]
        laid[...] = rng.standard_normal(laid.shape)
        self.at = self.room.ctypes.data + around * self.room.itemsize
        self.matrix = laid.T if turned else laid  # (rows, columns)
        self.row, self.column = (1, self.line) if turned else (self.line, 1)

    def rest(self):
        """What lies in the room beside the matrix."""
        kept = self.matrix.copy()
        self.matrix[...] = 0
        rest = self.room.copy()
        self.matrix[...] = kept
        return rest


def product(a, b, out, add, more=()):
    """What `gemm` is told of out = or += a b, going on with the pair `more`."""
    (m, k), n = a.matrix.shape, b.matrix.shape[1]
    c, d = more or (a, b)
    return Product(
        m=m, n=n, k=k, a=a.at, a_row=a.row, a_k=a.column, b=b.at, b_k=b.row, b_column=b.column,
        out=out.at, out_row=out.row, out_column=out.column, add=add, pairs=1 + bool(more),
        a2=c.at, a2_row=c.row, b2=d.at, b2_column=d.column,
    )  # fmt: skip


def multiply(dtype, p, threads):
    """All units of a product, cut as for so many threads."""
    one = dtype(1)
    down, across = unit_shape(one, p, threads)
    for top in range(0, p.m, max(down, 1)):
        for left in range(0, p.n, max(across, 1)):
            bottom, right = min(top + down, p.m), min(left + across, p.n)
            product_unit(one, p, top, bottom, left, right)


def expected(a, b, out, add, more=()):
    total = out.matrix.copy() if add else np.zeros_like(out.matrix)
    for x, y in ((a, b), more) if more else ((a, b),):
        total = chain(x.matrix.T[:, :, None], y.matrix[:, None, :], total)
    return total


def plant(rng, matrix):
    """NaN, both infinities and -0 in a few places."""
    if matrix.size:
        for special in (np.nan, np.inf, -np.inf, -0.0):
            matrix[rng.integers(matrix.shape[0]), rng.integers(matrix.shape[1])] = special


def same(found, wanted):
    whole = f"u{found.itemsize}"
    bits = np.ascontiguousarray(found).view(whole) == np.ascontiguousarray(wanted).view(whole)
    return (bits | (np.isnan(found) & np.isnan(wanted))).all()


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=60)
@given(
    m=SIZES, n=SIZES, k=SIZES, seed=st.integers(0, 1 << 30), turned=st.tuples(*[st.booleans()] * 3),
    apart=st.sampled_from((0, 1, 16, 29)), add=st.booleans(), pairs=st.booleans(),
    special=st.booleans(), threads=st.sampled_from((1, 2, 7, 64)),
)  # fmt: skip
def test_each_output_is_one_chain(
    dtype, m, n, k, seed, turned, apart, add, pairs, special, threads
):
    while m * n * k > MOST:  # the largest is made smaller
        largest = max(m, n, k)
        m, n, k = (size // 2 if size == largest else size for size in (m, n, k))
    rng = np.random.default_rng(seed)
    a, c = (Matrix(rng, m, k, dtype, turned[0], apart) for _ in range(2))
    b, d = (Matrix(rng, k, n, dtype, turned[1], apart) for _ in range(2))
    out = Matrix(rng, m, n, dtype, turned[2], apart)
    if special:
        for each in (a, b, c, d, out):
            plant(rng, each.matrix)
    more = (c, d) if pairs else ()
    add = add and not turned[2]  # sums that are turned begin at 0
    with np.errstate(all="ignore"):
        wanted = expected(a, b, out, add, more)
    factors = [each.room.copy() for each in (a, b, c, d)]
    beside = out.rest()
    multiply(dtype, product(a, b, out, int(add), more), threads)
    assert same(out.matrix, wanted)
    assert same(out.rest(), beside), "nothing beside it is written"
    for each, before in zip((a, b, c, d), factors, strict=True):
        assert same(each.room, before), "nor anything that is read"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("turned", [False, True])
def test_a_number_that_is_not_finite_stays_in_its_row(dtype, turned, rng):
    """Of every row that a tile of 8, 12 or 16 has, and of the padded lanes of the last."""
    for m in (1, 3, 16, 29):
        for row in range(m):
            a, b = Matrix(rng, m, 20, dtype, turned, 0), Matrix(rng, 20, 35, dtype, turned, 0)
            out, clean = (Matrix(rng, m, 35, dtype, turned, 0) for _ in range(2))
            multiply(dtype, product(a, b, clean, 0), 1)
            a.matrix[row, row % 20] = (np.nan, np.inf)[row % 2]
            multiply(dtype, product(a, b, out, 0), 1)
            touched = ~np.isfinite(out.matrix)
            assert touched[row].all() and touched.sum() == 35
            others = np.arange(m) != row
            assert same(out.matrix[others], clean.matrix[others])


# ---- the ends of memory ------------------------------------------------------------------------


def at_the_end_of_memory(number, dtype):
    """A Matrix's room, moved so that it ends (or begins) where no page may be read."""
    import ctypes
    import mmap

    page, libc = mmap.PAGESIZE, ctypes.CDLL(None)
    size = number * np.dtype(dtype).itemsize
    pages = -(-size // page)
    place = mmap.mmap(-1, (pages + 2) * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(place))
    for closed in (start, start + (pages + 1) * page):
        if libc.mprotect(ctypes.c_void_p(closed), ctypes.c_size_t(page), 0):
            raise OSError("no page can be closed")
    return place, start + page, start + (pages + 1) * page - size


def walk_to_the_ends():
    """Products whose arrays lie between pages that may not be touched. Run as a program."""
    rng, kept = np.random.default_rng(0), []
    for dtype in FLOATS:
        for m, n, k in [(1, 1, 1), (1, 17, 33), (33, 1, 17), (5, 3, 2), (16, 33, 9), (70, 35, 513)]:
            for layout in range(16):
                turned, late = (layout & 1, layout >> 1 & 1, layout >> 2 & 1), layout >> 3
                made = [
                    Matrix(rng, *shape, dtype, bool(how), 0, frame=False)
                    for shape, how in zip(((m, k), (k, n), (m, n)), turned, strict=True)
                ]
                for each in made:
                    place, first, last = at_the_end_of_memory(each.room.size, dtype)
                    kept.append(place)
                    each.at = last if late else first
                    moved = (ctypes.c_char * each.room.nbytes).from_address(each.at)
                    np.frombuffer(moved, dtype)[...] = each.room
                    kept.append(moved)
                a, b, c = made
                multiply(dtype, product(a, b, c, 0), 1)
                if not turned[2]:
                    multiply(dtype, product(a, b, c, 1), 1)
                found = np.frombuffer(moved, dtype).reshape(made[2].room.shape)
                out = np.full_like(made[2].matrix, np.nan)
                lines = found.reshape(out.T.shape if turned[2] else out.shape)
                out[...] = lines.T if turned[2] else lines
                once = chain(made[0].matrix.T[:, :, None], made[1].matrix[:, None, :], out * 0)
                twice = chain(made[0].matrix.T[:, :, None], made[1].matrix[:, None, :], once)
                assert same(out, once if turned[2] else twice), (dtype, m, n, k, layout)
    print("walked")


@pytest.mark.skipif(sys.platform == "win32", reason="pages are closed by a function of POSIX")
def test_nothing_beyond_the_ends_is_read():
    """A whole vector that is loaded where an array's last row ends would end the process."""
    done = subprocess.run(
        [sys.executable, Path(__file__)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.strip() == "walked", (done.returncode, done.stderr)


if __name__ == "__main__":
    walk_to_the_ends()
