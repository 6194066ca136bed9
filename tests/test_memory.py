"""The memory of rehearsal methods: what is stored, how it is drawn, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import AGEM, FIP, Replay, Task, TaskEnd
from weightspace.methods.memory import HOST, Memory
from weightspace.nnlite import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Network, models
from weightspace.nnlite.optim import Adam

PAIRS = ((0, 1), (2, 3))


MLP = (Linear(9, "tanh"), Linear(4))
IMAGES = (Conv2d(3, 3), BatchNorm2d(activation="relu"), Flatten(), Dropout(0.5), Linear(4))


def network(backend="reference", layers=MLP, shape=(6,)):
    return Network(layers, shape, backend, "float64", seed=1)


def pairs(shape=(6,), n=30, masked=True):
    """Two tasks of two classes each, on one head of four."""
    rng = np.random.default_rng(0)
    tasks = []
    for pair in PAIRS:
        x, y = rng.normal(size=(n, *shape)), rng.choice(pair, n)
        active = np.isin(np.arange(4), pair) if masked else None
        tasks.append(Task.from_arrays(str(pair), (x, y), (x, y), active))
    return tasks


def filled(net, tasks, count, outputs=False):
    memory = Memory({})
    for index, task in enumerate(tasks):
        train = tuple(net.device.put(a) for a in task.load_train())
        memory.add(net, TaskEnd(index, task, train, seed=5, device=net.device), count, outputs)
    return memory


def mean_gradient(net, memory, rows):
    """The same by a sample at a time, each masked to its own task."""
    x, y = (net.device.get(memory.arrays[f"memory.{name}"]) for name in "xy")
    grads = []
    for row in rows:
        active = memory.arrays["memory.active"][memory.arrays["memory.task"][row]]
        grads.append(net.loss_and_grad(x[[row]], y[[row]], active=active, mode="eval")[1])
    return np.mean(grads, axis=0)


def test_an_empty_memory():
    memory = Memory({})
    assert (len(memory), memory.tasks, memory.nbytes) == (0, 0, 0)
    assert len(memory.draw(5, 1)) == 0 and memory.groups(slice(None)) == []
    with pytest.raises(errors.ShapeError, match="no rows"):
        memory.loss_gradient(network(), slice(None), np.zeros(103))


def test_samples_are_the_tasks_own_each_once(backend):
    net, tasks = network(backend), pairs()
    memory = filled(net, tasks, 8)
    assert (len(memory), memory.tasks) == (16, 2)
    assert [memory.of_task(k) for k in (0, 1)] == [slice(0, 8), slice(8, 16)]
    for k, task in enumerate(tasks):
        x, y = task.load_train()
        kept, labels = (memory.take(net, name, memory.of_task(k)) for name in "xy")
        rows = [np.flatnonzero((x == sample).all(axis=1)).item() for sample in kept]
        assert len(set(rows)) == 8 and rows != sorted(range(8))
        assert (y[rows] == labels).all()
        assert (memory.arrays["memory.active"][k] == task.active).all()
    assert memory.nbytes == 16 * (6 * 8 + 8 + 8) + 8
    with pytest.raises(errors.ShapeError, match="task 2"):
        memory.of_task(2)


def test_a_small_task_is_stored_whole_and_copied():
    net, tasks = network(), pairs(n=5)
    x, _ = tasks[0].load_train()
    memory = filled(net, tasks[:1], 50)
    assert len(memory) == 5 and (memory.arrays["memory.x"] == x).all()
    assert not np.shares_memory(memory.arrays["memory.x"], x)


def test_the_choice_follows_from_seed_and_task():
    net, tasks = network(), pairs()
    first, again = (filled(net, tasks, 8).arrays["memory.x"] for _ in range(2))
    assert (first == again).all()
    other = Memory({})
    other.add(net, TaskEnd(0, tasks[0], tasks[0].load_train(), seed=6), 8)
    assert not (other.arrays["memory.x"] == first[:8]).all()


def test_draws_are_sorted_unrepeated_and_keyed():
    memory = filled(network(), pairs(), 20)
    rows = memory.draw(12, 1, 2, 3)
    assert (np.diff(rows) > 0).all() and len(rows) == 12 and rows.max() < 40
    assert (rows == memory.draw(12, 1, 2, 3)).all()
    assert not (rows == memory.draw(12, 1, 2, 4)).all()
    assert (memory.draw(99, 1) == np.arange(40)).all()
    counts = np.bincount(np.concatenate([memory.draw(10, 0, 0, i) for i in range(2000)]))
    assert abs(counts - 500).max() < 5 * np.sqrt(500 * 0.75)


def test_a_step_asks_no_more_kernels_after_more_tasks():
    """Tasks that share a head: rows of fifty tasks took fifty softmaxes where one will do."""

    def asked(method, tasks):
        net = models.mlp((6, 5, 4), backend="reference")
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 4, 20)
        method.start(net, Adam())
        for index in range(tasks):
            task = Task.from_arrays(f"{index}", (x, y), (x, y))
            method.end_task(net, TaskEnd(index, task, (x, y), seed=0))
        calls = []
        for name in ("softmax", "softmax_cross_entropy", "dense_forward", "dense_backward"):
            kernel = getattr(net.ops, name)
            patch.setattr(net.ops, name, lambda *a, kernel=kernel: calls.append(0) or kernel(*a))
        method.see(net, x, y)
        method.adjust(net, np.ones_like(net.theta))
        patch.undo()
        return len(calls)

    patch = pytest.MonkeyPatch()
    for make in (
        lambda: AGEM(memories=20, batch=60),
        lambda: Replay(memories=20),
        lambda: FIP(memories=20, batch=60, step="both"),
    ):
        assert asked(make(), 3) == asked(make(), 50)


def test_groups_cut_rows_where_classes_change():
    memory = filled(network(), pairs(), 8)
    found = memory.groups(np.array([1, 5, 9, 12, 15]))
    assert [(g.task, g.rows) for g in found] == [(0, slice(0, 2)), (1, slice(2, 5))]
    assert [np.flatnonzero(g.active).tolist() for g in found] == [[0, 1], [2, 3]]
    assert [g.task for g in memory.groups(memory.of_task(1))] == [1]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("rows", [slice(None), np.array([1, 4, 9, 12]), np.array([10, 11])])
def test_gradients_are_means_of_samples_masked_to_their_tasks(backend, masked, rows):
    net = network(backend)
    memory = filled(net, pairs(masked=masked), 8)
    out = np.full(net.num_parameters, np.nan)
    memory.loss_gradient(net, rows, out)
    expected = mean_gradient(net, memory, np.arange(16)[rows])
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-12)
    added = np.ones_like(out)
    memory.loss_gradient(net, rows, added, beta=0.25, scale=3.0)
    np.testing.assert_allclose(added, 0.25 + 3 * expected, rtol=1e-9, atol=1e-12)


def test_a_large_memory_is_passed_in_parts(monkeypatch):
    net = network()
    memory = filled(net, pairs(), 8, outputs=True)
    whole, parts = np.empty((2, net.num_parameters))
    memory.loss_gradient(net, slice(None), whole)
    monkeypatch.setattr(type(net), "batch_within", lambda self, room: 3)
    memory.loss_gradient(net, slice(None), parts)
    np.testing.assert_allclose(parts, whole, rtol=1e-10, atol=1e-13)
    kept = filled(net, pairs(), 8, outputs=True).arrays["memory.outputs"]
    np.testing.assert_allclose(kept, memory.arrays["memory.outputs"], rtol=1e-12)


def test_modes():
    """Mode "eval" changes nothing; "train" is one pass in which statistics move."""
    net = network(layers=IMAGES, shape=(4, 4, 2))
    memory = filled(net, pairs((4, 4, 2), masked=False), 8)
    before = {name: array.copy() for name, array in net.state.items()}
    grad, expected = np.empty((2, net.num_parameters))
    memory.loss_gradient(net, slice(None), grad)
    assert net.draws == 0 and all((net.state[n] == a).all() for n, a in before.items())
    twin = net.like()
    memory.loss_gradient(net, slice(None), grad, mode="train")
    twin.loss_and_grad(memory.arrays["memory.x"], memory.arrays["memory.y"], expected, mode="train")
    np.testing.assert_allclose(grad, expected, rtol=1e-10, atol=1e-13)
    assert net.draws == 1 and all((net.state[n] == a).all() for n, a in twin.state.items())


def test_outputs_are_those_at_the_time_of_storing(backend):
    net = network(backend)
    memory = filled(net, pairs(), 8, outputs=True)
    x, kept = memory.arrays["memory.x"], memory.arrays["memory.outputs"].copy()
    assert (kept == net.forward(x)).all()
    net.theta += 0.1
    assert (memory.arrays["memory.outputs"] == kept).all()


def test_outputs_that_depend_on_the_batch_are_those_of_one_pass():
    layers = (Conv2d(3, 3), BatchNorm2d(statistics="batch"), Flatten(), Linear(4))
    net = network(layers=layers, shape=(4, 4, 2))
    memory = filled(net, pairs((4, 4, 2), n=400)[:1], 300, outputs=True)
    assert (memory.arrays["memory.outputs"] == net.forward(memory.arrays["memory.x"])).all()


def test_what_does_not_fit_is_refused():
    net, tasks = network(), pairs()
    end = TaskEnd(0, tasks[0], tasks[0].load_train(), 0)
    with pytest.raises(errors.SettingError, match="count is 0"):
        Memory({}).add(net, end, 0)
    regression = Network((Linear(4),), (6,), "reference", "float64", loss="squared_error")
    with pytest.raises(errors.SettingError, match="squared_error"):
        Memory({}).add(regression, end, 3)
    memory = filled(net, tasks[:1], 3)
    with pytest.raises(errors.ShapeError, match="all of its samples or for none"):
        memory.add(net, end, 3, outputs=True)


def test_host_arrays_are_those_no_kernel_reads():
    memory = filled(network(), pairs(), 3, outputs=True)
    assert set(memory.arrays) - HOST == {"memory.x", "memory.y", "memory.outputs"}
