"""An int8 network's C on this machine: to see that it is what NumPy says, and for study."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from ....kernels.c.library import STRICT, build, machine_flags
from .print_c import print_c
from .quantised import Quantised


def predict_in_c(quantised: Quantised, x: np.ndarray, flags: Sequence[str] = ()) -> np.ndarray:
    """What `Quantised.predict` answers, by the host's compiler: (N, *output_shape) float32.

    Raises MissingCompilerError, and CompileError where a warning is given or what `build` raises.
    """
    made = print_c(quantised)
    text = made.source.replace(f'#include "{made.name}.h"', made.header)
    loaded = ctypes.CDLL(str(build(text, (*STRICT, "-O2", *machine_flags(), *flags))))
    rows = np.ascontiguousarray(x, np.float32)
    y = np.empty((len(rows), *quantised.output_shape), np.float32)
    arena = np.empty(made.arena_bytes, np.int8)
    for one, out in zip(rows, y, strict=True):
        loaded.net_predict(*(a.ctypes.data_as(ctypes.c_void_p) for a in (arena, one, out)))
    return y
