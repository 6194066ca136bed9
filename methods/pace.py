"""Pace: how many steps to take before looking up, so that signals and progress do not wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 0.05  # from one look to the next: what a person takes for at once


class Pace:
    """`steps`: how many take about SECONDS, as those before did; few at first.

    It decides when somebody looks, and nothing of what is computed.
    """

    def __init__(self) -> None:
        self.steps = 4

    @contextmanager
    def timed(self, count: int) -> Iterator[None]:
        """Around so many steps."""
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        self.steps = max(1, min(16 * self.steps, int(SECONDS * count / max(took, 1e-9))))
