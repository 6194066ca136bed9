#!/usr/bin/env bash
# A kernel of Numba's whose fastmath is no more than {"contract"} computes other bits in the process
# that compiles it than in every later one, which loads it from the cache.
#
# Expected: cache=True keeps the machine code, so all processes on one machine compute the same.
# Seen (numba 0.68.1, llvmlite 0.50.0, numpy 2.4.6, x86-64 with AVX2 or AVX-512, GNU OpenMP): the first
# process differs from the second in theta after five steps of an Adam-like update; the second and the
# third agree. The parallel function's code is linked, in the process that compiles, against the copy of
# the serial one that was compiled before it on its own; the cached code has a copy that was inlined
# and fused in another place. Without "contract" all three agree.
#
# Fails if that changes: if all three agree with "contract", or any two differ without it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cd "$folder"
cat > step.py <<'PY'
import os

import numpy as np
from numba import njit, prange

flags = {"contract"} if os.environ["CONTRACT"] == "1" else set()
how = {"cache": True, "fastmath": flags, "error_model": "numpy"}


@njit(**how)
def adam(g, m, v, keep1, keep2, take1, take2, size, root, eps, d):
    for i in range(d.size):
        m[i] = keep1 * m[i] + take1 * g[i]
        v[i] = keep2 * v[i] + take2 * g[i] * g[i]
        d[i] = -size * m[i] / (np.sqrt(v[i]) * root + eps)


@njit(parallel=True, **how)
def update(theta, g, m, v, d):
    real = theta.dtype.type
    numbers = (real(0.9), real(0.999), real(0.1), real(0.001), real(0.001), real(1), real(1e-8))
    for b in prange((theta.size + 1023) // 1024):
        lo, hi = b * 1024, min((b + 1) * 1024, theta.size)
        adam(g[lo:hi], m[lo:hi], v[lo:hi], *numbers, d[lo:hi])
        for i in range(lo, hi):
            theta[i] += d[i]
PY
cat > main.py <<'PY'
import hashlib

import numpy as np
import step

rng = np.random.default_rng(0)
theta, g, m, v, d = (rng.standard_normal(421).astype("float32") for _ in range(5))
v = abs(v)
for _ in range(5):
    step.update(theta, g, m, v, d)
print(hashlib.sha256(theta.tobytes() + v.tobytes()).hexdigest()[:16])
PY
run() { CONTRACT=$1 NUMBA_CACHE_DIR=$folder/cache-$1 "$folder/venv/bin/python" main.py; }
for contract in 1 0; do
    first=$(run $contract) second=$(run $contract) third=$(run $contract)
    echo "contract=$contract: compiled $first, cached $second, cached $third"
    [ "$second" = "$third" ] || { echo "two cached runs differ"; exit 1; }
    if [ $contract = 1 ]; then
        [ "$first" != "$second" ] || { echo "changed: the compiling process agrees"; exit 1; }
    else
        [ "$first" = "$second" ] || { echo "changed: it differs without contract, too"; exit 1; }
    fi
done
echo "as described"
