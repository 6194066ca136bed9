"""What a sweep tries, what its choice may look at, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from test_sweep import TINY, sweep, tiny
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.data import Dataset
from weightspace.bench.data.validation import HeldOut
from weightspace.bench.experiments.presets import get_preset
from weightspace.bench.sweep import SweepPlan, figures, read_axes
from weightspace.bench.sweep.results import at_the_edge, choose
from weightspace.bench.sweep.space import candidates, read_random
from weightspace.kernels import errors

# ---- what is tried -----------------------------------------------------------------------------


def test_grids_multiply_and_methods_have_their_own_keys():
    axes = read_axes(["lr=1e-3,1e-4", "ewc.lam=1,10,100", "hidden=64,64;128,128"], [])
    assert len(candidates(axes, "ewc", 5, 0)) == 12
    assert candidates(axes, "naive", 5, 0) == [
        {"hidden": hidden, "lr": lr} for hidden in ("64,64", "128,128") for lr in ("1e-3", "1e-4")
    ]


def test_draws_depend_on_nothing_but_seed_key_and_number():
    axis = read_random("ewc.lam=log:1:1000")
    texts = [axis.draw(3, number) for number in range(50)]
    assert texts == [axis.draw(3, number) for number in reversed(range(50))][::-1]
    assert len(set(texts)) > 45 and texts[0] != axis.draw(4, 0)
    values = np.log10([float(text) for text in texts])
    assert 0 <= values.min() < 0.4 and 2.6 < values.max() <= 3 and abs(values.mean() - 1.5) < 0.3
    one, two = ["ewc.lam=log:1:1000", "lr=uniform:0:1"], ["lr=uniform:0:1", "ewc.lam=log:1:1000"]
    assert candidates(read_axes([], one), "ewc", 4, 3) == candidates(
        read_axes([], two), "ewc", 4, 3
    )
    assert [c["ewc.lam"] for c in candidates(read_axes([], one), "ewc", 4, 3)] == texts[:4]
    whole = read_random("steps=int:3:5")
    assert {whole.draw(0, number) for number in range(60)} == {"3", "4", "5"}
    named = read_random("activation=choice:relu:tanh")
    assert {named.draw(0, number) for number in range(20)} == {"relu", "tanh"}


@pytest.mark.parametrize(
    "given", ["uniform:1000000:1000001", "log:0.99999:1", "uniform:-1.0001:-1"]
)
def test_draws_from_a_narrow_range_differ_and_stay_in_it(given):
    axis = read_random(f"lr={given}")
    values = [float(axis.draw(0, number)) for number in range(20)]
    lo, hi = (float(end) for end in axis.source[1:])
    assert len(set(values)) == 20 and lo <= min(values) < max(values) <= hi


def test_the_methods_are_those_whose_keys_are_swept():
    assert tiny().methods == ("ewc", "si")
    shared = tiny(axes=read_axes(["lr=1e-3,1e-2"], []), settings=TINY[:-1])
    assert shared.methods == tuple(get_preset("permuted-mnist").methods)
    assert len({trial.identity() for c in tiny().candidates() for trial in
                [*tiny().inner_trials(c), *tiny().outer_trials(c)]}) == 4 * 3  # fmt: skip


def test_numpys_numbers_make_the_same_sweep():
    given = {"draws": 2, "seed": 3, "trials": 2, "folds": 2, "inner": 1}
    theirs = tiny(**{name: np.int64(value) for name, value in given.items()},
                  validation=np.float32(0.25))  # fmt: skip
    ours = tiny(**given, validation=0.25)
    assert theirs.asked() == ours.asked()
    assert [t.identity() for t in theirs.inner_trials(theirs.candidates()[0])] == [
        t.identity() for t in ours.inner_trials(ours.candidates()[0])
    ]


def test_a_preset_with_cases_has_a_line_for_each():
    plan = SweepPlan("psp-permuted-mnist", read_axes(["lr=1e-3,1e-4"], []), ("superposition",))
    labels = {candidate.label for candidate in plan.candidates()}
    assert len(labels) > 1 and len(plan.candidates()) == 2 * len(labels)


# ---- what a choice may look at -----------------------------------------------------------------


def numbered(classes=3, train=50, test=20) -> Dataset:
    """A data set whose every image is a number of its own."""
    marks = np.arange(train + test, dtype=np.uint8).reshape(-1, 1, 1, 1)
    y = np.arange(train + test) % classes
    return Dataset("numbers", marks[:train], y[:train], marks[train:], y[train:], classes, "here")


def test_held_out_images_are_training_images_and_folds_share_none():
    whole = numbered()
    seen = []
    for fold in range(5):
        cut = HeldOut(0.2, fold).of(whole)
        train, held = set(cut.train_x.ravel()), set(cut.test_x.ravel())
        assert train | held == set(range(50)) and not train & held  # no test image, no other lost
        assert len(held) in range(9, 12) and set(cut.test_y) == {0, 1, 2}
        assert (cut.test_x.ravel() % 3 == cut.test_y).all()
        assert cut.hash == HeldOut(0.2, fold).of(numbered()).hash
        seen += held
    assert sorted(seen) == list(range(50))


def test_the_choice_is_the_best_mean_without_a_failure():
    plan = tiny(folds=2)
    accuracies = iter([0.5, 0.7, 0.9, None, 0.6, 0.6, 0.6, 0.6])
    results = {
        trial.identity(): {"status": "ok" if acc is not None else "diverged", "acc": acc}
        for candidate in plan.candidates()
        for trial in plan.inner_trials(candidate)
        for acc in [next(accuracies)]
    }
    ewc, si = choose(plan, results)
    assert ewc.candidate and ewc.candidate.settings == {"ewc.lam": "1"} and ewc.failed == 1
    assert ewc.validation and ewc.validation.mean == pytest.approx(0.6)
    assert ewc.validation.error == pytest.approx(0.1)
    assert si.candidate == plan.candidates()[2]  # the first of equals
    (told,) = at_the_edge(plan, [ewc, si])  # what is drawn has no ends
    assert told.startswith("ewc: ewc.lam=1 is at the end")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], errors.SettingError, "--grid key=a,b,c"),
        (["--grid", "ewc.lamb=1,2"], errors.UnknownNameError, "Did you mean 'lam'"),
        (["--grid", "ewk.lam=1,2"], errors.UnknownNameError, "Did you mean 'ewc'"),
        (["--grid", "stepz=1,2"], errors.UnknownNameError, "Did you mean 'steps'"),
        (["--grid", "stream.num_task=1,2"], errors.UnknownNameError, "num_tasks"),
        (["--grid", "ewc.lam"], errors.SettingError, "--grid 'ewc.lam'"),
        (["--grid", "ewc.lam=1,,2"], errors.SettingError, "none of them empty"),
        (["--grid", "ewc.lam=1,2;3"], errors.SettingError, "one value at a time"),
        (["--grid", "ewc.lam=1,x"], errors.SettingError, "expected float"),
        (["--grid", "ewc.lam=1,-1"], errors.SettingError, "at least 0"),
        (["--grid", "lr=1,2", "--random", "lr=log:1:2"], errors.SettingError, "swept twice"),
        (["--grid", "lr=1,2", "--set", "lr=3"], errors.SettingError, "give it once"),
        (["--grid", "ewc.lam=1,2", "-m", "si"], errors.SettingError, "add -m ewc"),
        (["--grid", "lr=1,2", "--draws", "3"], errors.SettingError, "--random"),
        (["--grid", "lr=1,2", "--validation", "1"], errors.SettingError, "between 0 and 1"),
        (["--grid", "lr=1,2", "--folds", "6"], errors.SettingError, "make 5 of them"),
        (["--random", "lr=lug:1:2"], errors.UnknownNameError, "Did you mean 'log'"),
        (["--random", "lr=log:0:2"], errors.SettingError, "both above 0"),
        (["--random", "lr=uniform:2:1"], errors.SettingError, "LO below HI"),
        (["--random", "steps=int:1.5:3"], errors.SettingError, "whole numbers"),
        (["--grid", "lr=1,1.0"], errors.SettingError, "are the same settings"),
        (["--grid", "lr=1,nan"], errors.SettingError, "a finite one"),
        (["--grid", "lr=1,2", "-m", "ewk"], errors.UnknownNameError, "Did you mean 'ewc'"),
        (["--grid", "lr=1,2", "--resume", "--overwrite"], errors.SettingError, "contradict"),
        (["--grid", "lr=1,2", "--dask", "tcp://x", "--workers", "2"], errors.SettingError, "pool"),
    ],
)
def test_bad_requests_are_named(tmp_path, arguments, error, message):
    given = ["sweep", "permuted-mnist", *arguments, "--out", str(tmp_path / "r")]
    result = CliRunner().invoke(app, given)
    assert isinstance(result.exception, error), result.exception
    assert message in str(result.exception)
    assert not (tmp_path / "r").exists()


def test_a_study_is_not_swept_and_a_file_is_no_folder(tmp_path):
    result = CliRunner().invoke(app, ["sweep", "task-space", "--grid", "lr=1,2"])
    assert "'task-space' is a study" in str(result.exception)
    (tmp_path / "r").touch()
    with pytest.raises(errors.SettingError, match="is a file"):
        sweep(tiny(), tmp_path / "r", None)


def test_methods_that_share_a_panel_may_have_other_names():
    kin = read_axes(["ewc.which=last,random", "mas.which=random,first"], [])
    names = figures._names(kin)
    assert names == ["last", "random", "first"]
    assert [figures._place(text, names) for text in kin[1].values] == [1, 2]
    assert not figures._names(read_axes(["ewc.lam=1,10"], ["si.lam=log:1:9"]))
