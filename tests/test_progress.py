"""What a person sees, and which seconds count as training."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from rich.console import Console
from test_fit import SETTINGS, small_net
from weightspace.bench.show import progress
from weightspace.kernels import compiling
from weightspace.methods import EWC, fit


def watcher():
    console = Console()
    return progress.Watcher(console, progress.make_progress(console), "ewc")


def test_compiling_is_no_training(blob_tasks, monkeypatch):
    """The wall clock goes on by 1 at each look, and 0.75 of it is said to be compilation."""
    ticks, compiled = itertools.count(), itertools.count(step=0.75)
    monkeypatch.setattr(compiling.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(compiling, "seconds", lambda: next(compiled))
    seen = watcher()
    for task in range(3):
        seen.task_began(task)
        seen.task_learnt(task)
    assert seen.learning == 3 * 0.25


def test_compilations_are_noticed(monkeypatch):
    numba = pytest.importorskip("numba")
    before = compiling.seconds()
    numba.njit(lambda x: x + 1)(np.float32(1))
    assert compiling.seconds() > before
    before, ticks = compiling.seconds(), itertools.count()
    monkeypatch.setattr(compiling.time, "perf_counter", lambda: float(next(ticks)))
    with compiling.timed():
        pass
    assert compiling.seconds() == before + 1


def test_a_signal_is_acknowledged_beside_the_bars(capsys):
    seen = watcher()
    seen.stopping("SIGTERM")
    assert "ewc: SIGTERM, stopping after this step" in capsys.readouterr().out


def test_a_watched_run_has_a_time(blob_tasks, monkeypatch):
    monkeypatch.setattr(progress, "clock", itertools.count().__next__)
    seen = watcher()
    fit(small_net(), blob_tasks, EWC(), **SETTINGS, observer=seen)
    assert seen.learning == len(blob_tasks)
