"""Runs read back: settings, R, networks, and tables of pandas."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from typer.testing import CliRunner
from weightspace.bench import runs
from weightspace.bench.cli.app import app
from weightspace.bench.experiments.presets import PRESETS
from weightspace.bench.runs.make import make_stream
from weightspace.bench.runs.preset import apply_settings
from weightspace.kernels.errors import CheckpointError, MissingExtraError
from weightspace.methods import accuracy

SET = ["steps=6", "eval_every=3"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "out"
    words = ["run", "split-mnist", "-m", "naive", "-m", "ewc", "--trials", "2", "--out", str(out)]
    words += [word for one in SET for word in ("--set", one)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return runs.load(out)


def test_a_runs_network_answers_as_its_last_row_says(found):
    preset = apply_settings(PRESETS["split-mnist"], SET)
    stream = make_stream(preset, found[0].summary["seed"], None)
    net = found[0].network("reference")
    for place, task in enumerate(stream.tasks):
        assert accuracy(net, *task.load_test(), task.active) == pytest.approx(found[0].R[-1, place])


def test_settings_have_the_names_of_the_command_line(found):
    assert found[0].settings["steps"] == 6
    ewc = next(run for run in found if run.summary["method"] == "ewc")
    assert ewc.settings["ewc.lam"] == ewc.config["method"]["lam"]


def test_tables_hold_what_the_runs_say(found):
    table = runs.table(found)
    assert list(table.index) == ["naive", "ewc"]
    mine = [run.summary["acc"] for run in found if run.summary["method"] == "ewc"]
    assert table.loc["ewc", "acc"] == pytest.approx(np.mean(mine))
    assert table.loc["ewc", "trials"] == 2

    history = runs.history(found)
    tasks = found[0].summary["tasks"]
    assert len(history) == sum(len(run.evaluations()) for run in found) * len(tasks)
    last = history[(history.method == "ewc") & (history.seed == 1)].groupby("task").accuracy.last()
    (run,) = [r for r in found if (r.summary["method"], r.summary["seed"]) == ("ewc", 1)]
    assert last[tasks].tolist() == run.R[-1].tolist()

    matrices = runs.matrices(found)
    assert matrices.loc[("ewc", 1)].to_numpy().tolist() == run.R.tolist()
    assert list(matrices.columns) == tasks


def test_without_pandas_the_extra_is_named(found, monkeypatch):
    real = builtins.__import__

    def absent(name, *more):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingExtraError, match="analysis"):
        runs.table(found)


def test_a_run_without_its_checkpoint_has_no_network(found, tmp_path):
    moved = runs.Run(found[0].config, found[0].summary, tmp_path)
    with pytest.raises(CheckpointError, match="checkpoint"):
        moved.network()
