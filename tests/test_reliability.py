"""The short form of `make reliability`: killed, out of room, damaged files, long use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reliability import soak

pytest.importorskip("matplotlib", reason="runs draw figures")
if not hasattr(os, "fork"):
    pytest.skip("kills forks of itself", allow_module_level=True)

BUDGET = {"kills": [], "faults": [], "fuzz": ["--inputs", "40"], "soak": ["--tasks", "60"]}


@pytest.mark.parametrize("part", BUDGET)
def test_short(part):
    """In a process of its own, whose forks have no threads behind them."""
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": here, "MPLBACKEND": "Agg"}
    environment.pop("WEIGHTSPACE_DATA", None)
    command = [sys.executable, "-m", "reliability", part, "--short", *BUDGET[part]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_task_that_takes_ever_longer_is_caught():
    begun = iter(range(10_000))
    (found,) = soak.soak("naive", 50, clock=lambda: next(begun) ** 2)["failures"]
    assert found.startswith("naive: a task takes 3.0 times what it took early on")
