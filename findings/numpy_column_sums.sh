#!/usr/bin/env bash
# The sum of a column depends on how many columns stand beside it.
#
# numpy 2.4.6, x86-64 and any CPU, float32: `a.sum(axis=0)` of a C-contiguous (n, columns) array.
#
# Expected: a column's sum is one thing, so that a bias gradient, a mean over samples or a batch's
# statistics of one unit do not change in a bit when the layer gets a second unit.
# Seen: of two columns or more each is summed row after row; a single column is summed pairwise, as
# a contiguous vector. The same numbers give other bits in (n, 1) than as one of two equal columns,
# and the first is nearer to the exact sum (70 times here). The order that is said to be
# pairwise "along the fast axis in memory" is thus another one for the same axis of the same data.
# What follows here: kernels that must give the same bits for any width write their order themselves.
#
# Exits 0 while that is so, 1 when it no longer is.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install -q 'numpy==2.4.6'
"$place/env/bin/python" - <<'PYTHON'
import numpy as np

column = np.random.default_rng(0).random((100_000, 1), dtype=np.float32)
alone = column.sum(axis=0)[0]
beside = np.repeat(column, 2, axis=1).sum(axis=0)
exact = column.astype(np.float64).sum()
chain = np.float32(0)
for value in column[:, 0]:
    chain += value
print(f"alone {alone!r}, beside itself {beside[0]!r} and {beside[1]!r}, exact {exact:.4f}")
print(f"one after another {chain!r}; pairwise as a vector {column[:, 0].sum()!r}")
differs = alone != beside[0] and beside[0] == beside[1] == chain and alone == column[:, 0].sum()
nearer = abs(alone - exact) < abs(beside[0] - exact) / 10
print("as described" if differs and nearer else "no longer so")
raise SystemExit(not (differs and nearer))
PYTHON
