"""PackNet: who owns a weight, and that what is owned never moves again."""

from __future__ import annotations

import numpy as np
import pytest
from test_fit import StopAt
from test_memory import network, pairs
from weightspace.kernels import errors
from weightspace.methods import Interrupted, Naive, PackNet, fit
from weightspace.methods.fit import Observer
from weightspace.nnlite import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, optim

HIDDEN = (Linear(30, "relu"), Linear(20, "relu"), Linear(4))
SETTINGS = {"steps": 30, "batch_size": 16, "optimizer": optim.Adam(1e-2)}


class Keeping(Observer):
    """Keeps theta as it is when each task has ended."""

    def __init__(self, net) -> None:
        self.net, self.found = net, []

    def task_ended(self, task, row):
        self.found.append(self.net.device.get(self.net.theta).copy())


def learnt(tasks, method, backend="reference", **settings):
    net = network(backend, HIDDEN, (tasks[0].load_train()[0].shape[1],))
    keeping = Keeping(net)
    result = fit(net, tasks, method, observer=keeping, **{**SETTINGS, **settings})
    return net, keeping.found, result


@pytest.mark.parametrize("masked", [True, False])
def test_each_task_owns_a_share_of_what_was_free(masked):
    method = PackNet(prune=0.7)
    net, _, _ = learnt(pairs(masked=masked), method)
    for name in net.layout:
        owner = net.layout.view(method.owner, name)
        shares = [(owner == k).mean() for k in (0, 1, 2)]
        if masked and name.startswith("2."):
            rows = owner.reshape(4, -1)
            assert (rows[:2] == 1).all() and (rows[2:] == 2).all()
        elif name.endswith("weight"):
            np.testing.assert_allclose(shares, [0.49, 0.3, 0.21], atol=1 / owner.size)
        else:
            assert (owner == 1).all()


def test_what_is_owned_is_frozen_and_the_smallest_are_freed(backend):
    method = PackNet(prune=0.7)
    _, found, _ = learnt(pairs(), method, backend)
    first, second = found
    assert (first[method.owner == 1] == second[method.owner == 1]).all()
    assert not first[method.owner != 1][: 30 * 6].any(), "freed weights are 0"
    assert (
        second[method.owner == 2].all() and not second[: 30 * 6][method.owner[: 30 * 6] == 0].any()
    )


def test_pruning_keeps_the_largest():
    method, task = PackNet(prune=0.5, retrain=0.0), pairs(masked=False)[0]
    net = network("reference", HIDDEN)
    method.start(net, optim.SGD(0.1))
    method.begin_task(net, 0, task, 10)
    before = net.theta.copy()
    method.select(net, 0, 10)
    for name in net.layout:
        kept, values = (net.layout.view(a, name) for a in (method.owner == 1, np.abs(before)))
        if values.ndim > 1:
            assert kept.mean() == 0.5 and values[kept].min() >= values[~kept].max()
    assert (net.theta == np.where(method.owner == 1, before, 0)).all()


def test_pruned_weights_stay_out_while_the_rest_is_retrained():
    """From step 20 of 30 on, on theta and on the gain that the fused step reads."""
    seen = {}

    class Watched(PackNet):
        def select(self, net, task, step):
            super().select(net, task, step)
            if step is not None and task == 0:
                seen[step] = net.theta.copy(), self.arrays["gain"].copy()

    learnt(pairs(), Watched(prune=0.7, retrain=1 / 3))
    assert seen[19][1].all() and seen[19][0].all()
    (pruned, gain), (last, same) = seen[20], seen[29]
    assert (gain == same).all() and 0.2 < gain.mean() < 0.5
    assert (pruned[gain == 0][: 30 * 6 // 2] == 0).all()
    assert (pruned != last)[gain == 1].mean() > 0.5 and (pruned == last)[gain == 0].all()


IMAGES = (
    Conv2d(4, 3), BatchNorm2d(activation="relu"), Flatten(), Dropout(0.2), Linear(9, "relu"),
    Linear(4),
)  # fmt: skip


@pytest.mark.parametrize("layers", [HIDDEN, IMAGES])
def test_a_tasks_outputs_never_change_again(layers, backend):
    """With running statistics, too."""
    shape = (6,) if layers is HIDDEN else (4, 4, 2)
    net, tasks = network(backend, layers, shape), pairs(shape) * 2
    x, _ = tasks[0].load_train()
    outputs = []

    class Asking(Observer):
        def task_ended(self, task, row):
            method.select(net, 0, None)
            outputs.append(net.forward(x)[:, :2])

    method = PackNet()
    result = fit(net, tasks, method, observer=Asking(), **SETTINGS)
    for later in outputs[1:]:
        np.testing.assert_allclose(later, outputs[0], rtol=1e-12, atol=1e-12)
    assert (result.R[:, 0] == result.R[0, 0]).all()


@pytest.mark.parametrize("at", [5, 25, 37])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, at):
    def run(path, **more):
        net = network(layers=IMAGES, shape=(4, 4, 2))
        return fit(
            net, pairs((4, 4, 2)), PackNet(), **SETTINGS, eval_every=5, checkpoint=path, **more
        )

    run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "part", observer=StopAt(at))
    run(tmp_path / "part", resume=True)
    assert (tmp_path / "part").read_bytes() == (tmp_path / "whole").read_bytes()


def test_packed_tasks_are_not_forgotten(blob_tasks):
    _, _, naive = learnt(blob_tasks, Naive(), steps=80)
    _, _, packed = learnt(blob_tasks, PackNet(), steps=80)
    assert packed.forgetting == 0 and packed.acc > naive.acc


def test_bad_settings_are_named():
    for settings in ({"prune": 1.0}, {"prune": -0.1}, {"retrain": 1.0}):
        with pytest.raises(errors.SettingError, match="packnet"):
            PackNet(**settings)
