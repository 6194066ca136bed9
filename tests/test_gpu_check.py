"""The first minutes on a GPU, rehearsed: what fails, hangs or is missing costs its step alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from backends import find
from gpu_check import inside
from gpu_check.runner import (
    FAILED,
    LEFT,
    LOGS,
    OK,
    RECORDS,
    SKIP,
    SKIPPED,
    TABLE,
    TIMEOUT,
    Step,
    run_steps,
)
from gpu_check.steps import FAMILIES, right_answers, speed
from test_imports import ROOT

WAITS = "import threading; threading.Event().wait()"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WAITS!r}])"


def python(name: str, code: str, seconds: float = 60, **environment: str) -> Step:
    return Step(name, seconds, [sys.executable, "-c", code], tuple(environment.items()))


def test_every_step_is_told_whatever_becomes_of_it(tmp_path, capsys):
    steps = [
        python("right", "import os; print('seen', os.environ['X'])", X="1"),
        python("wrong", "print('WRONG dense_forward'); raise SystemExit(1)"),
        python("crash", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        python("hang", f"print('begun', flush=True)\n{CHILD}", 2),
        python("nothing", f"print('no torch'); raise SystemExit({SKIP})"),
        Step("absent", 5, ["no-such-program"]),
        python("last", "print('still here')"),
    ]
    run_steps(steps, tmp_path, 100)
    found = [json.loads(line) for line in (tmp_path / RECORDS).read_text().splitlines()]
    assert [(one["step"], one["status"]) for one in found] == [
        ("right", OK), ("wrong", FAILED), ("crash", FAILED), ("hang", TIMEOUT),
        ("nothing", SKIPPED), ("absent", SKIPPED), ("last", OK),
    ]  # fmt: skip
    assert [found[place]["told"] for place in (0, 1, 3, 6)] == [
        "seen 1", "WRONG dense_forward", "begun", "still here"]  # fmt: skip
    assert "7 steps: 2 ok, 2 failed, 1 out of time, 2 skipped" in (tmp_path / TABLE).read_text()
    assert "==== wrong: failed\nWRONG dense_forward" in (tmp_path / LOGS).read_text()


def test_the_time_for_all_steps_is_kept(tmp_path):
    steps = [python("long", "input()", 60), python("late", "print(1)")]
    steps[0] = Step(
        "long", 60, [sys.executable, "-c", "import threading; threading.Event().wait()"]
    )
    assert [one["status"] for one in run_steps(steps, tmp_path, 2)] == [TIMEOUT, LEFT]


def test_a_wrong_kernel_is_named_and_the_others_go_on(monkeypatch, capsys):
    right = find("reference")

    class Wrong:
        NAME, device = "wrong", right.device

        def __getattr__(self, name):
            if name == "sgd_update":
                return lambda *arguments: None
            if name == "adam_update":
                raise RuntimeError("an illegal address was encountered")
            return getattr(right, name)

    monkeypatch.setattr(inside, "get_backend", lambda name: Wrong())
    assert inside.kernels("cpu", "update") == 1
    told = capsys.readouterr().out
    assert "WRONG sgd_update float32" in told
    assert "WRONG adam_update float32" in told
    assert "illegal address" in told
    assert "WRONG rmsprop_update" not in told


def test_bits_are_compared_with_the_cpus(monkeypatch, capsys):
    find("cuda-host")
    find("cpu")
    assert inside.bits("cuda-host", "dense") == 0
    assert "equal to cpu of cpu" in capsys.readouterr().out
    real = inside._digest
    monkeypatch.setattr(inside, "_digest", lambda make, name: real(make, name) + name)
    assert inside.bits("cuda-host", "dense") == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_step(family, tmp_path):
    names = [step.name for step in right_answers("cuda", tmp_path)]
    assert f"kernels: {family}" in names


def test_steps_are_commands_that_there_are(tmp_path):
    """A typo in an option would cost a step on a borrowed GPU: each command line is read."""
    for step in [*right_answers("cuda", tmp_path), *speed("cuda", tmp_path, [])]:
        words = list(step.command)
        if "weightspace.bench" not in words:
            continue
        options = [word for word in words if word.startswith("-") and word not in ("-m",)]
        at = words.index("weightspace.bench") + 1
        name = words[at : at + (2 if words[at] == "bench" else 1)]
        told = subprocess.run(
            [sys.executable, "-m", "weightspace.bench", *name, "--help"], cwd=ROOT,
            capture_output=True, text=True, check=True, env={"COLUMNS": "200", "PATH": ""},
        ).stdout  # fmt: skip
        assert all(option in told for option in options), step


def test_a_part_runs_from_the_command_line(tmp_path):
    """On the host launcher, whose one step asks for no GPU."""
    find("cuda-host")
    words = ["-m", "gpu_check", "--backend", "cuda-host", "--only", "kernels: loss"]
    done = subprocess.run(
        [sys.executable, *words, "--out", str(tmp_path)], cwd=ROOT, check=False,
        capture_output=True, text=True, env={"PYTHONPATH": "tests", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "right" in (tmp_path / TABLE).read_text()
