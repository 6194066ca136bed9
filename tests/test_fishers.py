"""EWC by five Fishers: what each computes, what is searched and what chosen, claims, and a peer."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from weightspace import methods
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies.claims import IN_PART, NOT_REPRODUCED, NOT_TESTABLE, REPRODUCED
from weightspace.bench.studies.fishers import claims, numbers, peers
from weightspace.bench.studies.fishers.study import STUDY, chosen, parts
from weightspace.bench.studies.fishers.variants import SQUARED, VARIANTS, BatchedEWC, batch_squares
from weightspace.bench.studies.study import run_study
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.nnlite import models

SMALL = {
    "data": "mnist-demo", "train_limit": 400, "test_limit": 100, "width": 6, "steps": 2,
    "grid": (1.0, 10.0), "batched_grid": (10.0,), "few": 20,
}  # fmt: skip


@pytest.fixture
def net():
    return models.mlp((6, 5, 4), seed=3, dtype=np.float64)


@pytest.fixture
def samples():
    rng = np.random.default_rng(1)
    return rng.normal(size=(10, 6)), rng.integers(0, 2, 10)


def kept(seed, variant, accuracy, lam=1.0, which="chosen"):
    return {"seed": seed, "part": variant, "which": which, "variant": variant, "lam": lam,
            "accuracy": accuracy, "bwt": 0.0, "kept": 8}  # fmt: skip


# ---- what the five compute -----------------------------------------------------------------------


def test_squares_of_batches_are_not_means_of_squares(net, samples):
    x, y = samples
    active = np.array([True, True, False, False])
    grads = net.sample_grads(x, y, active)
    found = batch_squares(net, x, y, active, 4)
    means = [grads[lo : lo + 4].mean(axis=0) for lo in (0, 4, 8)]  # the last has two samples
    assert relative_error(found, np.mean(np.square(means), axis=0)) <= tolerance("float64", 20)
    one = batch_squares(net, x, y, active, 1)
    assert relative_error(one, np.square(grads).mean(axis=0)) <= tolerance("float64", 20)
    assert relative_error(one, VARIANTS["empirical"].alone(net, x, y, active)) <= tolerance(
        "float64", 20
    )
    assert found.sum() < one.sum()


def test_the_exact_one_is_the_mean_over_all_classes_by_their_probabilities(net, samples):
    x, y = samples
    active = np.array([True, True, False, False])
    logits = net.forward(x)[:, :2]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    terms = [p[:, c, None] * net.sample_grads(x, np.full(10, c), active) ** 2 for c in (0, 1)]
    wanted = terms[0] + terms[1]
    for name in ("exact", "few"):
        found = VARIANTS[name].alone(net, x, y, active)
        assert relative_error(found, wanted.mean(axis=0)) <= tolerance("float64", 20)
    many = np.repeat(x, 400, axis=0)  # one label a sample, of many
    drawn = VARIANTS["sampled"].alone(net, many, np.repeat(y, 400), active)
    assert 0 < relative_error(drawn, wanted.mean(axis=0)) < 0.2


def test_methods_keep_what_their_names_say(blob_tasks):
    kinds = {name: one.method(2.0, 7) for name, one in VARIANTS.items()}
    assert {name: (m.fisher, m.samples, m.lam) for name, m in kinds.items()} == {
        "exact": ("true", None, 2.0), "few": ("true", 7, 2.0), "sampled": ("sampled", None, 2.0),
        "empirical": ("empirical", None, 2.0), "batched": ("sampled", None, 2.0)}  # fmt: skip
    x, y = blob_tasks[0].load_train()
    net = models.mlp((x.shape[1], 5, int(y.max()) + 1), seed=0)
    learner = kinds["batched"]
    methods.fit(net, blob_tasks[:1], learner, steps=3)
    assert np.array_equal(learner.arrays["omega"], batch_squares(net, x, y, None, SQUARED))
    with pytest.raises(errors.SettingError, match="squared"):
        BatchedEWC(squared=0)


# ---- the study -----------------------------------------------------------------------------------


def run(tmp_path, seeds, **more):
    made = replace(STUDY, settings=replace(STUDY.settings, **{**SMALL, **more}))
    return run_study(made, Request("cpu", seeds, tmp_path / "out"), Console(quiet=True))


def test_first_seeds_search_and_the_others_learn_by_what_was_chosen(tmp_path):
    done = run(tmp_path, (0, 1))
    searched = [(r["variant"], r["lam"]) for r in done.rows if r["seed"] == 0]
    grid = [("none", 0.0), *((v, lam) for v in VARIANTS if v != "batched" for lam in (1.0, 10.0))]
    assert sorted(searched) == sorted([*grid, ("batched", 10.0)])
    assert {r["which"] for r in done.rows if r["seed"] == 0} == {"search"}
    learned = {r["variant"]: r["lam"] for r in done.rows if r["seed"] == 1}
    assert learned == {"none": 0.0, **chosen(STUDY.settings)}
    assert {r["which"] for r in done.rows if r["seed"] == 1} == {"chosen"}
    assert {path.name for path in done.figures} == {"strengths.png", "ways.png"}
    size = 4 * sum(a * b + b for a, b in ((784, 6), (6, 6), (6, 10)))
    assert {r["kept"] for r in done.rows if r["variant"] != "none"} == {2 * size}
    told = STUDY.tell(done.rows)
    assert [table.row_count for table in told] == [6, 6, len(claims.CLAIMS)]


def test_seeds_have_their_own_order_of_classes(tmp_path):
    a, b = (run(tmp_path / str(seed), (seed,), searches=0).rows for seed in (4, 5))
    first = [row["accuracy"] for row in a if row["variant"] == "none"]
    assert first != [row["accuracy"] for row in b if row["variant"] == "none"]


def test_seconds_are_told_beside_those_of_learning(tmp_path):
    done = run(tmp_path, (0,), ask="seconds")
    assert {row["variant"]: row["samples"] for row in done.rows} == {
        **dict.fromkeys(VARIANTS, 81), "few": 20}  # fmt: skip
    assert {row["classes"] for row in done.rows} == {2}
    assert all(row["seconds"] > 0 < row["learning_seconds"] for row in done.rows)
    (table, judged) = STUDY.tell(done.rows)
    assert table.row_count == 5 and judged.row_count == len(claims.CLAIMS)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ask": "why"}, "accuracy"),
        ({"protocol": "rotated"}, "permuted"),
        ({"data": "mnisst"}, "mnist"),
        ({"few": 0}, "few=0"),
        ({"exact": -1.0}, "0 or more"),
    ],
)
def test_settings_that_lead_nowhere_are_named(settings, says):
    with pytest.raises(errors.WeightspaceError, match=says):
        parts(replace(STUDY.settings, **settings))


# ---- numbers and claims --------------------------------------------------------------------------


def test_the_best_strength_how_far_it_reaches_and_differences_by_seed():
    accuracies = {1.0: 0.90, 10.0: 0.949, 100.0: 0.950, 1000.0: 0.946, 1e4: 0.7}
    rows = [kept(0, "exact", accuracy, lam, "search") for lam, accuracy in accuracies.items()]
    assert numbers.best(rows) == 100.0 and numbers.good(rows) == pytest.approx(2)
    ours = [kept(seed, "few", value) for seed, value in ((1, 0.9), (2, 0.8), (3, 0.1))]
    theirs = [kept(seed, "exact", value) for seed, value in ((2, 0.7), (1, 0.7))]
    mean, error, count = numbers.differences(ours, theirs)
    assert (mean, error, count) == (pytest.approx(15), pytest.approx(5), 2)


@pytest.mark.parametrize(
    ("few", "batched", "none", "verdicts"),
    [
        (0.99, 0.991, 0.85, (REPRODUCED, REPRODUCED, REPRODUCED)),
        (0.983, 0.985, 0.96, (IN_PART, IN_PART, NOT_REPRODUCED)),
        (0.99, 0.90, 0.97, (NOT_REPRODUCED, NOT_REPRODUCED, REPRODUCED)),
    ],
)
def test_accuracies_are_judged(few, batched, none, verdicts):
    values = {"exact": 0.99, "few": few, "sampled": 0.99, "empirical": 0.99, "batched": batched}
    rows = [kept(seed, name, value) for seed in (1, 2) for name, value in values.items()]
    assert claims.alike(rows) is None  # without the bound of no method nothing is said
    rows += [kept(seed, "none", none, 0.0) for seed in (1, 2)]
    found = [claims.alike(rows), claims.far_above_none(rows), claims.few_suffice(rows)]
    assert tuple(answer[0] for answer in found if answer) == verdicts


@pytest.mark.parametrize(
    ("best", "verdict", "says"),
    [(1e4, REPRODUCED, "10000 against 100"), (1e3, IN_PART, "1000 against 100"),
     (1e5, IN_PART, "at an end"), (1e2, NOT_REPRODUCED, "100 against 100")],
)  # fmt: skip
def test_strengths_are_judged(best, verdict, says):
    rows = [kept(0, "exact", 0.9 - (lam != 100), lam, "search") for lam in (10, 100, 1000)]
    rows += [kept(0, "batched", 0.9 - (lam != best), lam, "search")
             for lam in (10, 1e2, 1e3, 1e4, 1e5)]  # fmt: skip
    answer = claims.larger_strength(rows)
    assert answer is not None and answer[0] == verdict and says in answer[1]
    assert claims.ranges(rows) is None


def test_seconds_are_judged_and_what_is_not_there_is_not():
    row = {"which": "seconds", "seed": 0, "part": "seconds"}
    seconds = {"exact": 1.3, "empirical": 1.0, "batched": 0.5}
    rows = [{**row, "variant": name, "seconds": value} for name, value in seconds.items()]
    verdicts = [one.verdict for one in claims.judge(rows)]
    assert verdicts == [NOT_TESTABLE] * 5 + [REPRODUCED]
    rows[0]["seconds"] = 1.1
    assert claims.judge(rows)[-1].verdict == IN_PART
    rows[2]["seconds"] = 0.9
    assert claims.judge(rows)[-1].verdict == NOT_REPRODUCED


# ---- a peer --------------------------------------------------------------------------------------

ANSWERS = """#!{python}
import json, sys
import numpy as np
work = dict(np.load(sys.argv[2]))
asked = json.loads(str(work["asked"]))
assert work["train_x"].shape[1] == work["weight_0"].shape[1] == 784
assert len(work["train_y"]) == 400 and sorted(asked["order"]) == list(range(10))
found = {{"accuracies": [0.5, 1.0], "importance": asked["lam"],
         "versions": {{"avalanche-lib": "9.9", "torch": "9"}}}}
json.dump(found, open(sys.argv[3], "w"))
"""


def test_a_peer_gets_the_images_the_order_and_the_first_weights(tmp_path):
    python = tmp_path / "python"
    python.write_text(ANSWERS.format(python=sys.executable))
    python.chmod(0o755)
    settings = peers.Settings(
        str(python), "mnist-demo", 400, 100, width=4, epochs=1, ewc=(3.0,), si=(5.0,)
    )
    made = replace(peers.STUDY, settings=settings)
    done = run_study(made, Request("cpu", (0,), tmp_path / "out"), Console(quiet=True))
    there = [row for row in done.rows if row["library"] == "avalanche 9.9"]
    assert [(row["method"], row["accuracy"], row["importance"]) for row in there] == [
        ("naive", 0.75, 0.0), ("ewc", 0.75, 3.0), ("si", 0.75, 5.0)]  # fmt: skip
    here = [row for row in done.rows if row["library"] == "weightspace"]
    assert [row["importance"] > 0 for row in here] == [False, True, True]
    assert json.loads((tmp_path / "out/study.json").read_text())["rows"] == done.rows
    assert peers.STUDY.tell(done.rows)[0].row_count == 6


def test_a_peer_that_is_not_there_is_said(tmp_path):
    settings = peers.Settings("false", "mnist-demo", 100, 20, width=4, epochs=1)
    made = replace(peers.STUDY, settings=settings)
    with pytest.raises(errors.SettingError, match="false did not learn with avalanche-lib"):
        run_study(made, Request("cpu", (0,), tmp_path / "out"), Console(quiet=True))


def test_the_same_penalty_in_both_conventions():
    ewc, si = (peers.ours(name, 6.0, 9, 0.1) for name in ("ewc", "si"))
    assert isinstance(ewc, BatchedEWC) and isinstance(si, methods.SI)
    assert (ewc.lam, ewc.squared) == (12.0, 9)  # (lam / 2) sum S d^2 here, lam sum S d^2 there
    assert (si.lam, si.xi) == (3.0, 0.1)  # lam sum Omega d^2 here, (lam / 2) sum Omega d^2 there
