"""Methods that rehearse, each against its paper's equation."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
from test_memory import network, pairs
from weightspace.kernels import errors
from weightspace.methods import AGEM, DERPP, GEM, METHODS, LwF, Naive, Replay, Task, TaskEnd, fit
from weightspace.methods.fit import Observer
from weightspace.methods.gem import project
from weightspace.methods.vectors import inner_products
from weightspace.nnlite import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    Network,
    load_arrays,
    optim,
)

REHEARSING = (GEM, AGEM, Replay, DERPP, LwF)


def after(method, net, tasks):
    """The method when `tasks` are behind it, the net having moved on after each."""
    method.start(net, optim.SGD(0.1))
    rng = np.random.default_rng(3)
    for index, task in enumerate(tasks):
        train = tuple(net.device.put(a) for a in task.load_train())
        method.end_task(net, TaskEnd(index, task, train, seed=2, device=net.device))
        net.theta += rng.normal(0, 0.2, net.num_parameters)
    return method


def batch(net, n=20, seed=9):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *net.input_shape)), rng.integers(0, net.num_outputs, n)


def adjusted(method, net, x, y):
    """The batch's own gradient, and what the method makes of it."""
    method.see(net, x, y)
    own = net.loss_and_grad(x, y, mode="train")[1]
    grad = own.copy()
    method.adjust(net, grad)
    return own, grad


def slope(loss, net, v, h=1e-5):
    """d/dh loss(theta + h v), by central differences."""
    theta = net.theta.copy()
    values = []
    for sign in (1, -1):
        net.theta[:] = theta + sign * h * v
        values.append(loss())
    net.theta[:] = theta
    return (values[0] - values[1]) / (2 * h)


def cross_entropy(target, logits, active):
    """-sum q log softmax(logits) over the active classes, (N,)."""
    z = logits[:, active]
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -(target[:, active] * log_p).sum(axis=1)


def probability(logits, active):
    e = np.exp(logits) * active
    return e / e.sum(axis=1, keepdims=True)


# ---- GEM -----------------------------------------------------------------------------------------


def by_enumeration(p, q, least):
    """argmin 1/2 v' p v + q' v s.t. v >= least: the best over all sets of variables held there."""
    best, value = np.empty(0), np.inf
    for bound in product((True, False), repeat=len(q)):
        at = np.array(bound)
        v = np.full(len(q), least)
        if not at.all():
            v[~at] = np.linalg.solve(p[np.ix_(~at, ~at)], -q[~at] - p[np.ix_(~at, at)] @ v[at])
        found = v @ p @ v / 2 + q @ v
        if (v >= least - 1e-12).all() and found < value:
            best, value = v, found
    return best


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_gems_dual_is_solved_exactly(size, margin):
    rng = np.random.default_rng(size)
    for _ in range(40):
        rows, g = rng.normal(size=(size, size + 3)), rng.normal(size=size + 3)
        v = project(rows @ rows.T, rows @ g, margin, ridge=1e-3)
        expected = by_enumeration(rows @ rows.T + 1e-3 * np.eye(size), rows @ g, margin)
        np.testing.assert_allclose(v, expected, rtol=1e-7, atol=1e-9)


def test_gems_dual_agrees_with_the_primal():
    """z = g + G'v is the point of the cone nearest to g (eq. 8), found by another solver."""
    minimize = pytest.importorskip("scipy.optimize", reason="compares with scipy").minimize
    rng = np.random.default_rng(0)
    for _ in range(10):
        rows, g = rng.normal(size=(4, 9)), rng.normal(size=9)
        z = g + project(rows @ rows.T, rows @ g) @ rows
        cone = {
            "type": "ineq",
            "fun": lambda z, rows=rows: rows @ z,
            "jac": lambda z, rows=rows: rows,
        }
        nearest = minimize(
            lambda z, g=g: ((z - g) ** 2).sum() / 2, g, jac=lambda z, g=g: z - g, method="SLSQP",
            constraints=cone, options={"ftol": 1e-14},
        )  # fmt: skip
        np.testing.assert_allclose(z, nearest.x, atol=1e-5)
        assert (rows @ z >= -1e-12).all()


def test_gems_dual_with_repeated_and_opposite_constraints():
    row = np.array([[1.0, 2.0, -1.0]])
    rows, g = np.vstack([row, row, 2 * row]), -row[0]
    z = g + project(rows @ rows.T, rows @ g) @ rows
    np.testing.assert_allclose(z, 0, atol=1e-12)
    rows = np.vstack([row, -row])
    z = g + project(rows @ rows.T, rows @ g) @ rows
    np.testing.assert_allclose(rows @ z, 0, atol=1e-12)
    with pytest.raises(errors.ShapeError):
        project(np.eye(3), np.ones(2))


def memory_gradients(method, net):
    grads = np.empty((method.memory.tasks, net.num_parameters))
    for k, row in enumerate(grads):
        method.memory.loss_gradient(net, method.memory.of_task(k), row)
    return grads


@pytest.mark.parametrize("masked", [True, False])
def test_gem_projects_onto_what_all_tasks_allow(backend, masked):
    net = network(backend)
    method = after(GEM(memories=10, margin=0.0, ridge=0.0), net, pairs(masked=masked))
    g = memory_gradients(method, net)
    own = -g[0] + 0.3 * g[1] + 0.01 * np.random.default_rng(1).normal(size=g.shape[1])
    grad = own.copy()
    method.adjust(net, grad)
    assert (g @ own < 0).any() and (g @ grad >= -1e-12).all()
    v = by_enumeration(g @ g.T, g @ own, 0.0)
    np.testing.assert_allclose(grad, own + v @ g, rtol=1e-8, atol=1e-12)


def test_gems_margin_turns_the_step_further():
    net = network()
    method = after(GEM(memories=10), net, pairs())
    g = memory_gradients(method, net)
    own = -g.sum(axis=0)
    grad = own.copy()
    method.adjust(net, grad)
    v = by_enumeration(g @ g.T + 1e-3 * np.eye(2), g @ own, 0.5)
    np.testing.assert_allclose(grad, own + v @ g, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("method", [GEM, AGEM])
def test_a_gradient_that_hurts_nobody_is_kept_bit_for_bit(backend, method):
    net = network(backend)
    made = after(method(memories=10), net, pairs())
    grad = memory_gradients(made, net).sum(axis=0)
    kept = grad.copy()
    made.adjust(net, grad)
    assert (grad == kept).all()


def test_agem_projects_onto_the_mean_of_a_draw(backend):
    net = network(backend)
    method = after(AGEM(memories=10, batch=7), net, pairs())
    rows = copy.deepcopy(method)._draw(7)
    assert len(rows) == 7
    reference = np.empty(net.num_parameters)
    method.memory.loss_gradient(net, rows, reference)
    own = np.random.default_rng(1).normal(size=len(reference)) - reference
    grad = own.copy()
    method.adjust(net, grad)
    expected = own - (own @ reference) / (reference @ reference) * reference
    np.testing.assert_allclose(grad, expected, rtol=1e-9, atol=1e-12)
    assert abs(grad @ reference) < 1e-10
    assert not (copy.deepcopy(method)._draw(7) == rows).all(), "the next step draws anew"


def test_inner_products_of_long_vectors(backend):
    """float32 keeps the sign of a product that is small beside the vectors' lengths."""
    net = Network((Linear(2),), (3,), backend, "float32")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 300_001)).astype("f")
    found = inner_products(net, rows, rows)
    exact = rows.astype(float) @ rows.astype(float).T
    lengths = np.sqrt(np.diag(exact))
    assert (np.abs(found - exact) / np.outer(lengths, lengths)).max() < 1e-6


# ---- replay --------------------------------------------------------------------------------------


def test_replay_is_the_gradient_of_both_batches_together(backend):
    """With all of the memory drawn, exactly the mean over 20 + 12 samples."""
    net = network(backend)
    method = after(Replay(memories=6), net, pairs(masked=False))
    x, y = batch(net)
    _, grad = adjusted(method, net, x, y)
    kept = method.memory.arrays
    both = np.concatenate([x, kept["memory.x"]]), np.concatenate([y, kept["memory.y"]])
    np.testing.assert_allclose(grad, net.loss_and_grad(*both)[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
def test_replay_draws_as_many_as_the_batch_has_and_weighs_them(backend, share):
    net = network(backend)
    method = after(Replay(memories=15, share=share), net, pairs())
    rows = copy.deepcopy(method)._draw(20)
    remembered = np.empty(net.num_parameters)
    method.memory.loss_gradient(net, rows, remembered)
    own, grad = adjusted(method, net, *batch(net))
    weight = 0.5 if share is None else share
    np.testing.assert_allclose(grad, (1 - weight) * own + weight * remembered, atol=1e-12)


@pytest.mark.parametrize("masked", [True, False])
def test_derpp_is_the_gradient_of_its_loss(backend, masked):
    net = network(backend)
    method = after(DERPP(memories=15, alpha=0.7, beta=0.2), net, pairs(masked=masked))
    twin = copy.deepcopy(method)
    first, second = twin._draw(20), twin._draw(20)
    kept = method.memory.arrays
    active = kept["memory.active"][kept["memory.task"]]
    assert masked != active.all() and not (first == second).all()

    def loss():
        outputs = net.forward(kept["memory.x"])
        squares = (outputs - kept["memory.outputs"]) ** 2 * active
        mse = (squares.sum(axis=1) / active.sum(axis=1))[first].mean()
        hot = np.eye(4)[kept["memory.y"]]
        ce = [cross_entropy(hot[[i]], outputs[[i]], active[i])[0] for i in second]
        return 0.7 * mse + 0.2 * np.mean(ce)

    own, grad = adjusted(method, net, *batch(net))
    rng = np.random.default_rng(0)
    for v in rng.normal(size=(5, net.num_parameters)):
        assert np.isclose((grad - own) @ v, slope(loss, net, v), rtol=1e-6)


# ---- LwF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False])
def test_lwf_is_the_gradient_of_its_loss(backend, masked):
    net = network(backend)
    tasks = pairs(masked=masked)
    method = after(LwF(lam=0.6, temperature=2.0), net, tasks)
    x, y = batch(net)
    old = net.like()
    old.theta[:] = method.arrays["theta"]
    heads = [[0, 1], [2, 3]] if masked else [[0, 1, 2, 3]]
    assert [np.flatnonzero(head).tolist() for head in method.arrays["classes"]] == heads

    def loss():
        total = 0
        for head in heads:
            active = np.isin(np.arange(4), head)
            target = probability(old.forward(x) / 2, active)
            total += cross_entropy(target, net.forward(x) / 2, active).mean()
        return 0.6 * total

    own, grad = adjusted(method, net, x, y)
    rng = np.random.default_rng(0)
    for v in rng.normal(size=(5, net.num_parameters)):
        assert np.isclose((grad - own) @ v, slope(loss, net, v), rtol=1e-6)


def test_lwf_tells_two_sure_networks_apart(backend):
    """Both nearly sure of one class: float32's 1 - p is off by a tenth there, or 0."""
    net = Network([Linear(4)], (4,), backend=backend)
    net.theta[:] = 0
    net.layout.view(net.theta, "0.weight")[...] = np.eye(4)
    task = Task.from_arrays("all", pair := (np.eye(4, dtype=np.float32), np.arange(4)), pair)
    logits = np.array([[32.0, 0, 0.5, 1], [28, 2, 1, 0]], np.float32)
    method = after(LwF(lam=1.0, temperature=2.0), net, [task])
    net.layout.view(net.theta, "0.weight")[...] = np.eye(4)
    net.layout.view(net.theta, "0.bias")[...] = [1, 0, 0, 0]
    grad = np.zeros_like(net.theta)
    method.see(net, logits, np.zeros(2, np.int64))
    method.adjust(net, grad)
    shares = []
    for z in (logits + np.array([1, 0, 0, 0], np.float32), logits):
        e = np.exp((z - z.max(axis=1, keepdims=True)) / 2, dtype=np.float64)
        shares.append(e / e.sum(axis=1, keepdims=True))
    gap = shares[0] - shares[1]
    np.testing.assert_allclose(net.layout.view(grad, "0.bias"), gap.sum(axis=0) / 4, rtol=1e-5)


def test_lwf_knows_only_classes_that_came_up():
    net = network()
    method = after(LwF(), net, pairs(masked=False)[:1])
    assert method.arrays["classes"].tolist() == [[True, True, False, False]]
    same = after(LwF(), net, pairs()[:1] * 3)
    assert same.arrays["classes"].tolist() == [[True, True, False, False]]


def test_lwf_asks_the_network_as_it_was_when_the_task_ended():
    """Its running statistics, too, which have moved since."""
    layers = (Conv2d(3, 3), BatchNorm2d(activation="relu"), Flatten(), Linear(4))
    net = network(layers=layers, shape=(4, 4, 2))
    tasks = pairs((4, 4, 2), masked=False)
    x, y = batch(net)
    net.loss_and_grad(x, y, mode="train")
    before = net.forward(x)
    method = after(LwF(), net, tasks[:1])
    net.loss_and_grad(3 * x, y, mode="train")
    assert not np.allclose(net.forward(x), before)
    assert (method._old(net).forward(x) == before).all()


# ---- in training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", REHEARSING)
def test_nothing_happens_in_the_first_task(method):
    net = network()
    made = method()
    made.start(net, optim.SGD(0.1))
    own, grad = adjusted(made, net, *batch(net))
    assert (grad == own).all()


class StopAfter(Observer):
    """Stops a run when it has saved its state after so many steps."""

    def __init__(self, step: int) -> None:
        self.at = step

    def saved(self, step: int) -> None:
        if step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", REHEARSING)
def test_a_stopped_run_resumes_to_the_same_bits(method, backend, tmp_path):
    """In the middle of the second task, on a network with statistics and dropped units."""
    layers = (Conv2d(3, 3), BatchNorm2d(activation="relu"), Flatten(), Dropout(0.2), Linear(4))
    settings = {"steps": 12, "batch_size": 16, "optimizer": optim.Adam(1e-2), "checkpoint_every": 5}

    def run(path, **more):
        net = network(backend, layers, (4, 4, 2))
        kept: dict = {"memories": 9} if method is not LwF else {}
        return fit(net, pairs((4, 4, 2)), method(**kept), **settings, checkpoint=path, **more)

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", observer=StopAfter(17))
    resumed = run(tmp_path / "part", resume=True)
    assert (tmp_path / "part").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (resumed.losses == whole.losses).all() and (resumed.R == whole.R).all()
    assert resumed.persistent_bytes == whole.persistent_bytes
    assert all(count > 0 for count in whole.persistent_bytes)
    kept, _ = load_arrays(tmp_path / "whole")
    assert any(name.startswith("method.") for name in kept)


def test_rehearsal_remembers(blob_tasks):
    """Clusters that lie elsewhere in each task, on one head: what is rehearsed stays."""

    def forgetting(method):
        net = Network((Linear(24, "relu"), Linear(4)), (12,), "reference", seed=2)
        settings = {"optimizer": optim.Adam(1e-2), "steps": 80, "batch_size": 30}
        return fit(net, blob_tasks, method, **settings).forgetting

    naive = forgetting(Naive())
    for method in (GEM(), Replay(), DERPP()):
        assert forgetting(method) < naive / 2, method.name
    for method in (AGEM(), LwF()):
        assert forgetting(method) < naive, method.name


@pytest.mark.parametrize(
    ("cls", "wrong", "error"),
    [
        (GEM, {"memories": 0}, errors.SettingError),
        (GEM, {"margin": -1}, errors.SettingError),
        (GEM, {"ridge": np.nan}, errors.SettingError),
        (GEM, {"mode": "test"}, errors.UnknownNameError),
        (AGEM, {"batch": 0}, errors.SettingError),
        (Replay, {"share": 1.5}, errors.SettingError),
        (DERPP, {"alpha": -1}, errors.SettingError),
        (DERPP, {"beta": np.inf}, errors.SettingError),
        (LwF, {"lam": -1}, errors.SettingError),
        (LwF, {"temperature": 0}, errors.SettingError),
        (LwF, {"mode": "both"}, errors.UnknownNameError),
    ],
)
def test_bad_settings_are_named(cls, wrong, error):
    with pytest.raises(error):
        cls(**wrong)


def test_they_are_known_by_name():
    assert [METHODS[name] for name in ("gem", "agem", "replay", "derpp", "lwf")] == [*REHEARSING]
