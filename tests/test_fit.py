"""The training loop: reproducible, resumable to the same bits, and honest about bad data."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from weightspace.kernels import errors, get_backend
from weightspace.methods import EWC, SI, Interrupted, Joint, Naive, Observer, Stream, Task, fit
from weightspace.nnlite import load_arrays, models, optim

SETTINGS: dict = {"steps": 30, "batch_size": 16, "eval_every": 10}


def small_net(backend="reference"):
    return models.mlp((12, 10, 4), backend=backend, seed=1)


def state(path) -> bytes:
    return path.read_bytes()


class StopAt(Observer):
    """Sends Ctrl-C to this very process at one step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def stepped(self, step: int, task: int, loss: float) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("method", [Naive, EWC, SI, Joint])
@pytest.mark.parametrize("at", [1, 29, 30, 47])
def test_a_stopped_run_resumes_to_the_same_bits(blob_tasks, tmp_path, method, at):
    optimizer = optim.Adam(1e-2)
    whole = fit(
        small_net(), blob_tasks, method(), optimizer=optimizer, **SETTINGS,
        checkpoint=tmp_path / "whole",
    )  # fmt: skip
    part = tmp_path / "part"
    with pytest.raises(Interrupted, match=f"after step {at}"):
        fit(
            small_net(), blob_tasks, method(), optimizer=optimizer, **SETTINGS,
            checkpoint=part, observer=StopAt(at),
        )  # fmt: skip
    resumed = fit(
        small_net(), blob_tasks, method(), optimizer=optimizer, **SETTINGS,
        checkpoint=part, resume=True,
    )  # fmt: skip
    assert state(part) == state(tmp_path / "whole")
    assert np.array_equal(resumed.R, whole.R)
    assert np.array_equal(resumed.losses, whole.losses)
    assert [e.step for e in resumed.history] == [e.step for e in whole.history]


def test_a_run_may_go_on_with_another_backend(blob_tasks, tmp_path):
    """With that one's roundings from there on: bits are promised of one backend alone."""
    whole, path = fit(small_net(), blob_tasks, **SETTINGS), tmp_path / "c"
    with pytest.raises(Interrupted):
        fit(small_net(), blob_tasks, **SETTINGS, checkpoint=path, observer=StopAt(47))
    moved = fit(small_net("cpu"), blob_tasks, **SETTINGS, checkpoint=path, resume=True)
    assert np.array_equal(moved.losses[:47], whole.losses[:47])
    np.testing.assert_allclose(moved.losses, whole.losses, rtol=1e-3)


def test_resuming_a_finished_run_trains_no_more(blob_tasks, tmp_path):
    fit(small_net(), blob_tasks, **SETTINGS, checkpoint=tmp_path / "c")
    before = state(tmp_path / "c")
    again = fit(small_net(), blob_tasks, **SETTINGS, checkpoint=tmp_path / "c", resume=True)
    assert state(tmp_path / "c") == before and len(again.losses) == 90


def test_a_checkpoint_of_another_run_is_refused(blob_tasks, tmp_path):
    fit(small_net(), blob_tasks, **SETTINGS, checkpoint=tmp_path / "c", identity="one")
    with pytest.raises(errors.CheckpointError, match="another run"):
        fit(
            small_net(), blob_tasks, **SETTINGS, checkpoint=tmp_path / "c", identity="two",
            resume=True,
        )  # fmt: skip
    other = models.mlp((12, 11, 4), backend="reference")
    with pytest.raises(errors.CheckpointError, match=r"layers\.0\.units: 10 then, 11 now"):
        fit(other, blob_tasks, **SETTINGS, checkpoint=tmp_path / "c", identity="one", resume=True)


def test_checkpoint_names_theta_optimizer_method_and_progress(blob_tasks, tmp_path):
    fit(small_net(), blob_tasks, SI(), **SETTINGS, checkpoint=tmp_path / "c")
    arrays, about = load_arrays(tmp_path / "c")
    assert {"theta.0.weight", "optimizer.m", "method.omega", "progress.rows"} <= set(arrays)
    assert (about["task"], about["step"]) == (3, 0)


def test_divergence_names_the_step_and_keeps_the_checkpoint(blob_tasks, tmp_path):
    path = tmp_path / "c"
    overflowing = np.errstate(all="ignore")  # NumPy says so too, on the way to infinity
    with (
        overflowing,
        pytest.raises(errors.DivergedError, match=r"(at|after) step \d+.*last good checkpoint"),
    ):
        fit(
            small_net(), blob_tasks, optimizer=optim.SGD(1e18), steps=200, batch_size=16,
            checkpoint=path, checkpoint_every=1,
        )  # fmt: skip
    arrays, _ = load_arrays(path)
    assert np.isfinite(arrays["progress.losses"]).all()


def test_epochs_visit_every_sample_once(blob_tasks):
    from weightspace.methods.batches import Batches

    x, y = np.arange(10, dtype="f")[:, None], np.arange(10)
    batches = Batches(get_backend("reference"), [(x, y)], 4, seed=3, key=0)
    assert batches.per_epoch == 3
    for epoch in range(2):
        seen = [batches[epoch * 3 + i][1].copy() for i in range(3)]
        assert [len(part) for part in seen] == [4, 4, 2]
        assert sorted(np.concatenate(seen)) == list(range(10))
    assert not np.array_equal(batches[0][1].copy(), batches[3][1].copy())
    one_by_one = [batches.rows(step) for step in range(1, 8)]
    assert np.array_equal(batches.rows(1, 7), np.concatenate(one_by_one))
    assert batches.sizes(1, 7).tolist() == [len(rows) for rows in one_by_one]


def test_joint_batches_mix_all_tasks():
    from weightspace.methods.batches import Batches

    parts = [(np.full((20, 1), t, "f"), np.full(20, t)) for t in range(3)]
    x, y = Batches(get_backend("reference"), parts, 30, seed=0, key=0)[0]
    assert set(y) == {0, 1, 2} and np.array_equal(x[:, 0], y)


def test_tasks_share_a_masked_head():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 12)).astype("f")
    tasks = []
    for group in ([0, 1], [2, 3]):
        y = np.array(group)[(x[:, 0] > 0).astype(int)]
        active = np.isin(np.arange(4), group)
        tasks.append(Task.from_arrays(f"{group}", (x, y), (x, y), active))
    result = fit(
        small_net(), Stream("s", "task", tuple(tasks), (12,), 4),
        optimizer=optim.Adam(1e-2), steps=80, batch_size=20,
    )  # fmt: skip
    assert result.R[1].min() > 0.9, "a mask keeps the other task's classes out of the argmax"


def bad_tasks():
    x, y = np.ones((8, 12), "f"), np.zeros(8, np.int64)
    holed = x.copy()
    holed[3, 2] = np.nan
    return {
        "NaN in training": ((holed, y), (x, y), None, errors.NonFiniteError, "row 3"),
        "NaN in test": ((x, y), (holed, y), None, errors.NonFiniteError, "test inputs"),
        "width": ((x[:, :5], y), (x, y), None, errors.ShapeError, "training inputs"),
        "labels": ((x, y + 9), (x, y), None, errors.LabelError, "labels run"),
        "mask": ((x, y), (x, y), np.array([0, 1, 1, 1], bool), errors.LabelError, "active"),
    }


@pytest.mark.parametrize("case", bad_tasks())
def test_bad_tasks_are_named(case):
    train, test, active, error, message = bad_tasks()[case]
    with pytest.raises(error, match=message):
        fit(small_net(), [Task.from_arrays("t", train, test, active)], steps=2)


@pytest.mark.parametrize(
    "settings", [{}, {"steps": 1, "epochs": 1}, {"steps": 0}, {"steps": 1, "batch_size": 0}]
)
def test_bad_settings_are_named(blob_tasks, settings):
    with pytest.raises(errors.SettingError):
        fit(small_net(), blob_tasks, **settings)


def test_a_stream_needs_a_scenario(blob_tasks, untyped):
    with pytest.raises(errors.SettingError, match="scenario"):
        Stream("s", untyped("continual"), tuple(blob_tasks), (12,), 4)
    with pytest.raises(errors.SettingError, match="no tasks"):
        Stream("s", "domain", (), (12,), 4)


def test_the_penalty_resumes_in_every_form(blob_tasks, tmp_path):
    for penalty in ("separate", "merged", "online"):
        paths = [tmp_path / f"{penalty}{i}" for i in range(2)]
        method: dict = {"lam": 5.0, "penalty": penalty, "stabilised": True}
        fit(small_net(), blob_tasks, EWC(**method), **SETTINGS, checkpoint=paths[0])
        with pytest.raises(Interrupted):
            fit(
                small_net(), blob_tasks, EWC(**method), **SETTINGS, checkpoint=paths[1],
                observer=StopAt(70),
            )  # fmt: skip
        fit(small_net(), blob_tasks, EWC(**method), **SETTINGS, checkpoint=paths[1], resume=True)
        assert state(paths[0]) == state(paths[1]), penalty
