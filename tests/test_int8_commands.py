"""`weightspace export --weights int8`, `--fold` and `weightspace bench int8`."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench import data
from weightspace.bench.cli.app import app
from weightspace.bench.data import Dataset
from weightspace.bench.speed import int8, records
from weightspace.kernels.errors import SettingError, UnknownNameError
from weightspace.nnlite import models


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(30, 6)))
    return path


@pytest.mark.parametrize("learn", [(), ("--learn", "tail:1", "--method", "replay")])
def test_a_network_in_int8(learn, samples, tmp_path):
    out = tmp_path / "out"
    done = run("6-9-4-3", "--weights", "int8", "--samples", samples, "--out", out, *learn)
    assert done.exit_code == 0, done.output
    text = (out / "net.c").read_text()
    assert "static const int8_t net_0_Linear_weight[54]" in text
    assert ("net_learn_step" in text) == bool(learn)


def test_what_int8_needs(samples):
    assert isinstance(run("6-9-3", "--weights", "int8").exception, SettingError)
    everything = run("6-9-3", "--weights", "int8", "--samples", samples, "--learn", "all")
    assert "what learns is float" in str(everything.exception)
    assert isinstance(run("6-9-3", "--weights", "int4").exception, UnknownNameError)


def test_a_folded_network(tmp_path):
    done = run("fip-cnn", "--fold", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "norm" not in (tmp_path / "net.c").read_text()
    assert isinstance(run("6-9-3", "--fold", "--learn", "all").exception, SettingError)


def tiny() -> Dataset:
    """Images of four kinds, dark but for a bright quarter."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    x = rng.integers(0, 120, (400, 6, 6, 1))
    for image, kind in zip(x, y, strict=True):
        row, column = 3 * (kind // 2), 3 * (kind % 2)
        image[row : row + 3, column : column + 3] += 130
    x = x.astype(np.uint8)
    return Dataset("tiny", x[:300], y[:300], x[300:], y[300:], 4, "here")


def test_the_bench_counts_what_int8_costs(monkeypatch, tmp_path):
    def build(outputs, input_shape, **settings):
        return models.mlp((*input_shape, 8, outputs), backend="reference", **settings)

    monkeypatch.setattr(data, "load", lambda name, data_dir: tiny())
    monkeypatch.setitem(int8.CASES, "tiny", int8.Case("tiny", build, True, 60))
    told = io.StringIO()
    rows = int8.run(["tiny"], calibrate=50, console=Console(file=told, width=200))
    (row,) = rows
    assert row.float_accuracy > 90 and abs(row.loss) <= 3
    assert (row.calibrated, row.test_images, row.epochs) == (50, 100, 60)
    assert row.c == ("same" if any(map(shutil.which, ("gcc", "clang", "cc"))) else "")
    assert f"{row.int8_accuracy:.2f}" in told.getvalue()
    path = records.write(tmp_path / "int8.jsonl", int8.as_records(rows))
    assert json.loads(path.read_text())["int8_accuracy"] == row.int8_accuracy
    assert int8.exit_status(rows) == int(row.loss > int8.GOAL)
    with pytest.raises(UnknownNameError, match="tiny"):
        int8.run(["tinny"])
