#!/usr/bin/env bash
# NUMBA_CPU_NAME=haswell, on a machine with AVX-512, makes machine code that no Haswell can run.
#
# numba 0.68.1, llvmlite 0.50.0, numpy 2.4.6, x86-64 with AVX-512 (seen on a Zen 4).
#
# Expected: to name an older CPU gives code for it: with vectors of 32 bytes at most, to try what that
# CPU would compute, or to fill a cache for several kinds of machine.
# Seen: only the name is taken. The features stay those that this machine was found to have, they are
# added to the named CPU's, and the loop is compiled to registers zmm. NUMBA_CPU_FEATURES set to nothing
# must stand beside it: then Haswell's own are all there are. (The name "generic" alone has that effect
# by itself, as the documentation says of it; it says nothing of others.)
# What follows here: kernels/cpu/target.py sets the features to nothing where only a name is given.
#
# Exits 0 while that is so, 1 when it no longer is; where there is no AVX-512 there is nothing to see.
set -euo pipefail
if ! grep -qsw avx512f /proc/cpuinfo; then
    echo "skipped: this machine has no AVX-512 that could be added"
    exit 0
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install -q numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cat > "$place/registers.py" <<'PY'
import numpy as np
from numba import njit


@njit
def add(a, b):
    for i in range(a.size):
        b[i] += a[i]


add(np.ones(100, "float32"), np.ones(100, "float32"))
code = add.inspect_asm(add.signatures[0])
print("zmm" if "zmm" in code else "ymm" if "ymm" in code else "xmm")
PY
widest() { env -u NUMBA_CPU_NAME -u NUMBA_CPU_FEATURES "$@" "$place/env/bin/python" "$place/registers.py"; }
named=$(widest NUMBA_CPU_NAME=haswell)
both=$(widest NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=)
echo "NUMBA_CPU_NAME=haswell: registers up to $named; with NUMBA_CPU_FEATURES= too: up to $both"
[ "$named" = zmm ] && [ "$both" = ymm ] || { echo "no longer so"; exit 1; }
echo "as described"
