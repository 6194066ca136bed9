"""NumPy's and SciPy's own BLAS, held to one thread where results must not depend on how many.

Their threading gives other bits for another number of threads (one row of a product in a thousand,
a Haar matrix, an eigenvalue), and a worker process has fewer of them than the process that asked.
The backend "cpu" takes nothing from a BLAS; this is for all the rest: the backend "reference", and
what methods and data take from NumPy's and SciPy's linear algebra.
"""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any

from threadpoolctl import threadpool_limits


class _OneThread(ContextDecorator):
    """`with one_blas_thread:`, or above a function. It holds for the whole process, until the last
    of the threads that are in it has left. (What macOS' Accelerate does is out of its reach.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limits = threadpool_limits(1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limits.restore_original_limits()


one_blas_thread = _OneThread()
