"""Why SIG works: importances mixed as they say, and the study from end to end on random images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from weightspace.bench import data
from weightspace.bench.data import Dataset
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies.importances import why_told
from weightspace.bench.studies.importances.mixed import Mixed, measure
from weightspace.bench.studies.importances.why_sig import mixtures
from weightspace.bench.studies.study import run_study
from weightspace.kernels import errors
from weightspace.methods import Task
from weightspace.methods.base import TaskEnd
from weightspace.nnlite import models


@pytest.fixture
def learnt(rng):
    """A network, samples of a task, and how it ended."""
    net = models.mlp((12, 7, 5, 3), dtype="float64", seed=1)
    x, y = rng.random((30, 12)), rng.integers(0, 3, 30)
    return net, x, y, TaskEnd(0, Task.from_arrays("a", (x, y), (x, y)), (x, y), 4)


def importance(learnt, **settings):
    net, x, y, end = learnt
    return net.layout.views(Mixed(**settings).importance(net, x, y, end))


@pytest.mark.parametrize("kind", ["sig", "mas", "fis"])
def test_unmixed_it_is_the_measure_with_a_mean_of_1(learnt, kind):
    net, x, y, end = learnt
    found = Mixed(pattern=kind, totals=kind).importance(net, x, y, end)
    plain = measure(kind, net, x, y)
    assert found.mean() == pytest.approx(1)
    np.testing.assert_allclose(found, plain / plain.mean(), rtol=1e-12)


def test_totals_and_patterns_come_from_where_they_should(learnt):
    net, x, y, _ = learnt
    plain = {kind: net.layout.views(measure(kind, net, x, y)) for kind in ("sig", "mas")}
    mixed = importance(learnt, pattern="sig", totals="mas")
    whole = sum(values.sum() for values in plain["mas"].values()) / net.num_parameters
    for name, values in mixed.items():
        assert values.sum() == pytest.approx(plain["mas"][name].sum() / whole)
        assert np.corrcoef(values.ravel(), plain["sig"][name].ravel())[0, 1] > 1 - 1e-12
    one = importance(learnt, pattern="mas", totals="mas", other="sig", layer=2)
    assert np.corrcoef(one["1.weight"].ravel(), plain["sig"]["1.weight"].ravel())[0, 1] > 1 - 1e-12
    for name in ("0.weight", "2.weight", "0.bias"):
        np.testing.assert_allclose(one[name], plain["mas"][name] / whole)


def test_shuffled_keeps_each_arrays_values(learnt):
    plain, dealt = importance(learnt), importance(learnt, shuffled=True)
    for name, values in plain.items():
        np.testing.assert_allclose(np.sort(values.ravel()), np.sort(dealt[name].ravel()))
    assert not np.allclose(plain["0.weight"], dealt["0.weight"])
    again = importance(learnt, shuffled=True)
    np.testing.assert_array_equal(dealt["0.weight"], again["0.weight"])


def test_the_factors_of_sig_make_sig(learnt):
    net, x, y, _ = learnt
    views = {
        kind: net.layout.views(measure(kind, net, x, y)) for kind in ("sig", "input", "weight")
    }
    for name in ("0.weight", "1.weight", "2.weight"):
        np.testing.assert_allclose(
            views["input"][name] * views["weight"][name], views["sig"][name], rtol=1e-12
        )
        assert np.ptp(views["input"][name], axis=0).max() < 1e-9  # an input is every unit's alike
    assert (views["input"]["0.bias"] == 1).all()


TINY = ("tasks=2", "hidden=6,5", "shallow=6", "deep=6,5,4", "steps=3", "batch_size=8",
        "lams=0.001,0.01", "samples=10", "held_out=20")  # fmt: skip


@pytest.fixture
def images(monkeypatch, rng):
    x = rng.integers(0, 256, (80, 6, 6, 1)).astype(np.uint8)
    made = Dataset("made-up", x[:60], np.arange(60) % 4, x[60:], np.arange(20) % 4, 4, "a test")
    monkeypatch.setattr(data, "load", lambda name, data_dir=None: made)


def test_the_study_from_end_to_end(tmp_path, images):
    study = STUDIES["why-sig"].with_settings(TINY)
    study = replace(study, draw=lambda *_: [])
    done = run_study(study, Request("cpu", [0, 1], tmp_path / "out"), Console(quiet=True))
    per_seed = 1 + 2 * len(mixtures(3)) + 2 * (1 + 2 * 3)
    assert len(done.rows) == 2 * per_seed
    found = why_told.lines(done.rows, 3)
    assert set(found) == {"none", *mixtures(3)} and why_told.middle(done.rows) == 3
    assert all(set(one.accuracies) == {0, 1} for one in found.values())
    assert len(study.tell(done.rows)) == 1 + 3


def test_more_held_out_than_there_is_is_refused(tmp_path, images):
    study = STUDIES["why-sig"].with_settings([*TINY, "held_out=60"])
    with pytest.raises(errors.SettingError, match="held_out=60: fewer than the 60"):
        run_study(study, Request("cpu", [0], tmp_path / "out"), Console(quiet=True))


# ---- answers -------------------------------------------------------------------------------------


def made_up(**accuracies):
    """Rows of three layers with these accuracies, SIG and MAS at two strengths, two seeds."""
    found = {"none": 0.5, "sig": 0.8, "mas": 0.9, "fis": 0.9} | accuracies
    return [
        {"kind": "line", "part": "mixtures", "seed": seed, "depth": 3, "line": line, "lam": lam,
         "accuracy": value - (lam == 2.0) / 10, "held_out": value - (lam == 2.0) / 10}
        for line, value in found.items() for lam in ((0.0,) if line == "none" else (1.0, 2.0))
        for seed in (0, 1)
    ]  # fmt: skip


def test_strengths_are_chosen_on_held_out_images_and_told_on_test_images():
    rows = made_up()
    for row in rows:
        row["accuracy"] = 0.1 if row["lam"] == 1.0 else 0.99
    one = why_told.chosen(rows, 3, "sig")
    assert one == why_told.Chosen(1.0, True, {0: 0.1, 1: 0.1})
    assert why_told.chosen(rows, 4, "sig") is None


def test_answers_follow_from_the_numbers():
    question, alike, apart = "SIG holds tasks as well as MAS", 0.88, 0.65
    assert why_told.answers(made_up(sig=alike))[0][:2] == (question, "yes")
    assert why_told.answers(made_up(sig=apart))[0][:2] == (question, "no")
    shuffled = {
        f"{one} shuffled within layers": value for one, value in (("sig", 0.6), ("mas", 0.7))
    }
    told = {claim: said for claim, said, _ in why_told.answers(made_up(flat=0.55, **shuffled))}
    assert told["how SIG divides importance within a layer does not matter"] == "no"
    shuffled["sig shuffled within layers"] = 0.79
    told = {claim: said for claim, said, _ in why_told.answers(made_up(flat=0.55, **shuffled))}
    assert told["how SIG divides importance within a layer does not matter"] == "yes"
    deeper = [{**row, "depth": 4, "accuracy": row["accuracy"] - 0.1 * (row["line"] == "sig")}
              for row in made_up()]  # fmt: skip
    assert why_told.answers(made_up() + deeper)[-1].answer == "yes"
    assert why_told.answers(made_up() + [{**row, "depth": 2} for row in deeper])[-1].answer != (
        "yes"
    )


def test_there_is_no_answer_where_nothing_was_held():
    assert why_told.answers(made_up(mas=0.4)) == []
