"""Fixtures shared by all tests. Hypothesis draws the same examples at every run."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from blobs import make_blobs
from cuda_required import gpu
from hypothesis import HealthCheck, settings
from on_host import on_host
from planted import Clock
from weightspace.bench.speed import timing
from weightspace.kernels import Backend, available
from weightspace.methods import Task

__all__ = ["gpu"]  # a fixture

settings.register_profile(
    "weightspace",
    derandomize=True,  # a failing example fails again, and CI sees what we saw
    deadline=None,  # the first call of a kernel compiles it
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("weightspace")


@pytest.fixture(params=[name for name in available() if name != "cuda"])
def backend(request) -> str:
    """Every backend that is installed here and computes on NumPy's arrays (`gpu` is the other)."""
    return request.param


@pytest.fixture(params=available(study=True))
def ops(request) -> Backend:
    """The kernels of every backend there is here, CUDA sources on the CPU among them."""
    return on_host(request.param)


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """Signals as in a terminal: a shell has some of them ignored by what runs in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock that the bench measures by, which stands still until the test moves it."""
    planted = Clock()
    monkeypatch.setattr(timing, "perf_counter_ns", lambda: planted.now)
    return planted


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def blob_tasks() -> list[Task]:
    """Three tasks of clusters in different places."""
    return [Task.from_arrays(f"blobs {i}", make_blobs(i), make_blobs(i, 60)) for i in range(3)]


@pytest.fixture
def real_data() -> str:
    """The folder of the real data sets, if this machine has them."""
    folder = os.environ.get("WEIGHTSPACE_DATA")
    if not folder:
        pytest.skip("needs the real data sets: set $WEIGHTSPACE_DATA to their folder")
    return folder
