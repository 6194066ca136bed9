"""The study of task space: from end to end on random images, and its claims on made-up rows."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from rich.console import Console
from weightspace.bench import data
from weightspace.bench.data import Dataset
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies.page import write_page
from weightspace.bench.studies.rows import select
from weightspace.bench.studies.study import run_study
from weightspace.bench.studies.task_space import figures, numbers
from weightspace.bench.studies.task_space.claims import judged
from weightspace.bench.studies.task_space.lab import Stopwatch, reached
from weightspace.kernels import errors
from weightspace.methods import fit
from weightspace.methods.result import Evaluation
from weightspace.nnlite import models

TINY = (
    "sets=orig,inv,rot90,noise1,basic", "sequence=orig,inv", "schemes=orig+inv,rot90+inv+orig",
    "hidden=12,8", "batch_size=16", "steps=12", "pair_steps=6", "every=3", "threshold=0.6",
    "visit_steps=3", "rounds=2", "kept_rounds=1,2", "lams=0,1", "samples=20", "gram_samples=4",
    "ssim_images=2", "held_out=20",
)  # fmt: skip


@pytest.fixture
def images(monkeypatch):
    """Images of ten classes that differ, in place of the real ones."""
    rng = np.random.default_rng(0)
    y = np.arange(160) % 10
    noise = rng.integers(0, 60, (160, 8, 8, 1))
    x = np.clip(200 * (rng.random((10, 8, 8, 1)) < 0.3)[y] + noise, 0, 255).astype(np.uint8)
    made = Dataset("made-up", x[:120], y[:120], x[120:], y[120:], 10, "a test")
    monkeypatch.setattr(data, "load", lambda name, data_dir=None: made)
    return made


def run(tmp_path, *assignments, drawn=False, **more):
    study = STUDIES["task-space"].with_settings([*TINY, *assignments])
    if not drawn:  # figures are what takes time
        study = replace(study, draw=lambda *_: [])
    request = Request("cpu", [0], tmp_path / "out", **more)
    return study, run_study(study, request, Console(quiet=True))


def test_a_small_study_from_end_to_end(tmp_path, images, untyped):
    for package in ("scipy", "skimage", "matplotlib"):
        pytest.importorskip(package, reason=f"the study needs {package}")
    study, done = run(tmp_path, drawn=True)
    rows = done.rows
    pairs = select(rows, kind="pair")
    sets = ("orig", "inv", "rot90", "noise1")  # basic is orig, image for image
    assert {(r["first"], r["second"]) for r in pairs} == set(permutations(sets, 2))
    for row in pairs:
        assert row["forgetting"] == pytest.approx(row["before"] - row["after"])
        alone = select(rows, kind="isolated", set=row["first"])[0]
        assert row["before"] == pytest.approx(alone["accuracy"])
        learnt = row["steps_to"] is not None
        assert not learnt or row["steps_to"] % 3 == 0 <= row["seconds_to"]
        assert learnt or row["learnt"] < row["target"]
    assert untyped(numbers.similarity(rows))("orig", "inv") == pytest.approx(-1, abs=1e-4)
    visits = numbers.visits(rows, "rot90+inv+orig", 1.0)
    assert visits.shape == (6, 3)
    last = visits[-1].mean()
    assert numbers.by_lam(rows, "rot90+inv+orig", numbers.at_the_end)[1.0] == [pytest.approx(last)]
    kept = [(r["scheme"], r["round"]) for r in select(rows, kind="weights")]
    assert kept == [(s, n) for s in ("orig+inv", "rot90+inv+orig") for n in (1, 2)]
    assert {path.stem for path in done.figures} == {
        "correlations", "digits", "means", "dendrogram", "accuracies", "schemes", "si",
        "forgetting", "predictors", "times", "weights",
    }  # fmt: skip
    page = write_page("", "", study.tell(rows), done.figures, (), tmp_path / "out").read_text()
    assert "inv, fliplr, flipud and rot90 correlate" in page and "metric overlap" in page
    assert len((tmp_path / "out" / "pairs.csv").read_text().splitlines()) == len(pairs) + 1
    _, again = run(tmp_path, resume=True)
    assert again.rows == rows


def test_parts_may_be_chosen(tmp_path, images):
    study, done = run(tmp_path, "parts=sequence")
    assert [row["kind"] for row in done.rows] == ["sequence"]
    assert len(study.tell(done.rows)) == 2
    assert [path.stem for path in figures.draw(done.rows, tmp_path)] == ["accuracies"]
    assert all(verdict == "not testable" for _, verdict, _ in judged(done.rows))


@pytest.mark.parametrize(
    ("assignment", "error", "match"),
    [
        ("parts=pears", errors.UnknownNameError, "pairs"),
        ("parts=pairs", errors.SettingError, "isolated"),
        ("threshold=1.5", errors.SettingError, "threshold"),
        ("every=0", errors.SettingError, "every"),
        ("ssim_images=0", errors.SettingError, "ssim_images=0: at least 1"),
        ("sets=orig", errors.SettingError, "at least two"),
        ("sets=orig,inv,orig", errors.SettingError, "different"),
        ("schemes=none", errors.SettingError, "schemes=none"),
        ("lams=0,0.0", errors.SettingError, "different"),
        ("parts=none", errors.SettingError, "no parts"),
        ("sets=orig,invert", errors.UnknownNameError, "inv"),
        ("schemes=orig+rot91", errors.UnknownNameError, "rot90"),
        ("optimizer=adamdelta", errors.UnknownNameError, "adadelta"),
        ("held_out=120", errors.SettingError, "held_out=120: fewer than the 120"),
    ],
)
def test_settings_that_lead_nowhere(tmp_path, images, assignment, error, match):
    with pytest.raises(error, match=match):
        run(tmp_path, assignment)


def test_pairs_miss_the_networks_they_start_from(tmp_path, images):
    pytest.importorskip("skimage", reason="SSIM needs scikit-image")
    run(tmp_path, "parts=isolated")
    folder = tmp_path / "out" / "seed-0"
    for file in folder.glob("alone-*"):
        file.unlink()
    config = tmp_path / "out" / "config.toml"
    config.write_text(config.read_text().replace('["isolated"]', '["isolated", "pairs"]'))
    with pytest.raises(errors.CheckpointError, match="isolated"):
        run(tmp_path, "parts=isolated,pairs", resume=True)


def test_a_damaged_part_is_named(tmp_path, images):
    run(tmp_path, "parts=sequence")
    part = tmp_path / "out" / "seed-0" / "sequence.jsonl"
    for text in (part.read_text()[:30], "3\n"):
        part.write_text(text)
        with pytest.raises(errors.CheckpointError, match=r"sequence\.jsonl is damaged"):
            run(tmp_path, "parts=sequence", resume=True)


def test_a_stopwatch_leaves_tests_out(blob_tasks, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    net, watch = models.mlp((12, 8, 4), backend="reference"), Stopwatch()
    result = fit(net, blob_tasks[:1], steps=7, eval_every=3, observer=watch)
    assert [step for step, _ in watch.curve] == [3, 6, 7]
    assert watch.curve[-1][1] == result.R[0, 0] and watch.clock == [0, 0, 0]
    watch, tested = Stopwatch(), Evaluation(2, 0, np.array([0.5]))
    watch.started(2, 0, [])
    for seconds, told in ((1, "step"), (2, "step"), (9, "test"), (12, "step"), (20, "test")):
        now[0] = seconds
        watch.stepped(0, 0, 0.0) if told == "step" else watch.evaluated(tested)
    assert watch.clock == [2, 5]


def test_the_first_test_that_is_good_enough_counts():
    curve, clock = [(5, 0.2), (10, 0.9), (15, 0.8), (20, 0.95)], [0.1, 0.2, 0.3, 0.4]
    assert reached(curve, clock, 0.8) == (10, 0.2)
    assert reached(curve, clock, 0.92) == (20, 0.4)
    assert reached(curve, clock, 0.99) == (None, None)


# ---- claims --------------------------------------------------------------------------------------


def verdicts(rows):
    return {claim: verdict for claim, verdict, _ in judged(rows)}


def test_the_published_sequence_reproduces_itself():
    r = np.zeros((8, 8))
    for task, values in enumerate(numbers.PUBLISHED):
        r[task, : len(values)] = values
    rows = [{"kind": "sequence", "seed": 0, "sets": list(numbers.PUBLISHED_ORDER), "R": r.tolist()}]
    told = {c: v for c, v in verdicts(rows).items() if c.startswith("sequence")}
    assert len(told) == 4 and set(told.values()) == {"reproduced"}
    forgetful = [{**rows[0], "R": (np.eye(8) - r / 10).tolist()}]
    told = {c: v for c, v in verdicts(forgetful).items() if c.startswith("sequence")}
    assert list(told.values()) == ["reproduced", *["not reproduced"] * 3]
    other = [{**rows[0], "sets": list(numbers.PUBLISHED_ORDER[::-1])}]
    assert set(verdicts(other).values()) == {"not testable"}


def pair_rows(slope, seeds=(0, 1)):
    """Pairs of eight made-up sets whose forgetting falls by `slope` with their correlation."""
    rng = np.random.default_rng(5)
    place = rng.normal(size=8)
    rows = []
    for a, b in ((a, b) for a in range(8) for b in range(8) if a != b):
        r = float(np.tanh(place[a] * place[b]))
        for seed in seeds:
            lost = 0.3 - slope * r + 0.05 * rng.normal()
            rows.append(
                {"kind": "pair", "seed": seed, "first": f"s{a}", "second": f"s{b}",
                 **dict.fromkeys(numbers.PREDICTORS, float(rng.normal())), numbers.PIXELS: r,
                 "forgetting": lost, "steps_to": 10 if r > 0.3 else 70, "seconds_to": 0.1,
                 "given": 100}
            )  # fmt: skip
    return rows


def test_forgetting_and_times_are_judged_by_pairs(untyped):
    forgetting = "the more alike two tasks, the less the first is forgotten"
    times = "anti-correlated tasks take up to 6 times longer"
    assert verdicts(pair_rows(0.3))[forgetting] == "reproduced"
    assert verdicts(pair_rows(-0.3))[forgetting] == "not reproduced"
    assert verdicts(pair_rows(0.3))[times] == "reproduced"
    even = [{**row, "steps_to": 20} for row in pair_rows(0.3)]
    assert verdicts(even)[times] == "not reproduced"
    never = [{**row, "steps_to": 10 if row[numbers.PIXELS] > 0.3 else None} for row in even]
    assert verdicts(never)[times] == "reproduced"
    told = numbers.predictions(untyped(numbers.pairs(pair_rows(0.3))))
    assert told[numbers.PIXELS].line.pearson < -0.8 > told[numbers.PIXELS].within
    more, low, high = told["gradient cosine"].more
    assert low < more < 0 and high < 0


def test_what_a_visit_takes_is_counted_from_the_visit_before():
    accuracies = np.array([[9, 0], [5, 8], [9, 6], [7, 8], [9, 7], [8, 9]]) / 10
    assert numbers.drop(accuracies, ["a", "b"], "a", "b") == pytest.approx((4 + 2 + 1) / 30)
    assert numbers.drop(accuracies, ["a", "b"], "b", "a") == pytest.approx((2 + 1) / 20)
    assert numbers.throughout(accuracies) == pytest.approx((13 + 15 + 17) / 60)


def test_rows_are_json(tmp_path, images):
    pytest.importorskip("skimage", reason="SSIM needs scikit-image")
    _, done = run(tmp_path, "parts=correlations")
    assert json.loads(json.dumps(done.rows)) == done.rows
    matrix = np.array(select(done.rows, kind="tasks", digit=3)[0]["matrix"])
    assert matrix.shape == (5, 5)
    np.testing.assert_allclose(matrix, matrix.T)
