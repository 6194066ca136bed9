"""How the worker threads wait: long enough to be quick, not so long as to stand in the way.

Numba's OpenMP threads spin between parallel regions, by default for milliseconds. On a machine
whose cores are busy with something else that is ruinous: the spinning thread holds the very core
that the thread it waits for needs (a training step of 0.5 ms took 80 ms beside two busy processes).
A short spin costs little when the cores are free, and where it is too short, a
thread sleeps between the kernels of a step and is late for the next one. Adam's step of
784-300-100-10 with 64 samples, two cores of a Zen 4, alone and beside a busy process: 0.92 and
1.24 ms with 1,000 rounds, 0.76 and 1.55 with 3,000, 0.85 and 2.50 with 10,000.
GOMP_SPINCOUNT or OMP_WAIT_POLICY, if set, are respected.
"""

from __future__ import annotations

import os

from ..errors import SettingError

try:
    from numba import config  # asked of numba.core, a second import would not fail
except ValueError as wrong:  # Numba looks at its settings as it is imported
    raise SettingError(
        f"NUMBA_NUM_THREADS is {os.environ.get('NUMBA_NUM_THREADS')!r}, and Numba says: {wrong} "
        "Unset it, or set it to at least 1"
    ) from None

_SPIN = "GOMP_SPINCOUNT"


def load_thread_pool() -> None:
    """Load Numba's OpenMP pool with a short spin; where there is none, Numba finds another."""
    ours = _SPIN not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if ours:
        os.environ[_SPIN] = "3000"
    try:
        from numba.np.ufunc import omppool  # type: ignore[attr-defined]  # noqa: F401, PLC0415
    except ImportError:
        pass
    finally:  # read by the library as it loads; not meant for child processes
        if ours:
            del os.environ[_SPIN]


def require_compiler() -> None:
    """Raise SettingError where Numba was told not to compile: no kernel runs as Python."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise SettingError(
            "NUMBA_DISABLE_JIT is set, and the backend 'cpu' is compiled by Numba: unset it, or "
            "use backend='reference', which is plain NumPy"
        )


require_compiler()
load_thread_pool()
