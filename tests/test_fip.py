"""The metric and its paths: every shortcut against the thing itself, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels.errors import ModeError, SettingError, UnknownNameError
from weightspace.kernels.spec import relative_error
from weightspace.methods import Naive, Observer, fip, fit, importance
from weightspace.methods.fip.metric import SPACES
from weightspace.methods.fip.solve import dense, solve
from weightspace.nnlite import BatchNorm2d, Conv2d, Flatten, Linear, Network
from weightspace.nnlite.optim import SGD, Adam

INPUTS, K, N = 6, 4, 9
STEP = 1e-4


@pytest.fixture
def net(backend) -> Network:
    layers = [Linear(7, "tanh"), Linear(5, "relu"), Linear(K)]
    return Network(layers, (INPUTS,), backend, "float64", seed=3, init="he_normal")


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.normal(size=(N, INPUTS))


def moved_outputs(net, x, v, space, active=None):
    """The change of logits or probabilities from theta - v / 2 to theta + v / 2."""
    found = []
    for sign in (1, -1):
        net.theta += sign * v / 2
        z = net.forward(x)
        found.append(z if space == "logits" else importance.probabilities(net, z, active))
        net.theta -= sign * v / 2
    return found[0] - found[1]


@pytest.mark.parametrize("space", ["logits", "softmax"])
def test_length_is_the_change_of_the_outputs_to_second_order(net, x, rng, space):
    v = rng.normal(size=net.num_parameters)
    metric = fip.Metric(net, x, space)
    changes = []
    for step in (STEP, STEP / 10):
        change = (moved_outputs(net, x, step * v, space) ** 2).sum() / N / step**2
        changes.append(abs(change - metric.squared_length(v)) / change)
    assert changes[0] < 1e-5
    assert changes[1] < changes[0] / 30 or changes[1] < 1e-8  # the error falls with step^2


def test_the_softmax_metric_is_the_true_fisher(net, x):
    metric = fip.Metric(net, x)
    fisher = importance.fisher(net, x, kind="true")
    assert relative_error(np.diag(metric.dense()), fisher) < 1e-12
    rows = []
    for c in range(K):  # and off the diagonal: the expected outer product of the log-likelihood's
        rows.append(net.sample_grads(x, np.full(N, c)))
    p = importance.probabilities(net, net.forward(x))
    outer = np.sum([(rows[c] * p[:, c : c + 1]).T @ rows[c] for c in range(K)], axis=0) / N
    assert relative_error(metric.dense(), outer) < 1e-12


def test_the_fisher_is_twice_the_kl_and_eight_times_bhattacharyya(net, x, rng):
    v = 1e-3 * rng.normal(size=net.num_parameters)
    squared = fip.Metric(net, x).squared_length(v)
    p = importance.probabilities(net, net.forward(x))
    net.theta += v
    q = importance.probabilities(net, net.forward(x))
    kl = (p * np.log(p / q)).sum(axis=1).mean()
    distance = -np.log(np.sqrt(p * q).sum(axis=1)).mean()
    assert abs(2 * kl / squared - 1) < 1e-2
    assert abs(8 * distance / squared - 1) < 1e-2


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("active", [None, [True, True, False, True]])
def test_the_gram_matrix_has_the_metrics_eigenvalues(net, x, rng, space, active):
    active = None if active is None else np.array(active)
    metric = fip.Metric(net, x, space, active)
    matrix = metric.dense()
    assert relative_error(matrix, matrix.T) < 1e-12
    expected = np.sort(np.linalg.eigvalsh(matrix))[::-1]
    found = metric.spectrum()
    count = min(len(expected), len(found))
    assert np.allclose(found[:count], expected[:count], atol=1e-12 * expected[0])
    v, a = rng.normal(size=net.num_parameters), rng.normal(size=metric.rows)
    assert abs(metric.half(v) @ a - metric.half_transposed(a) @ v) < 1e-12 * metric.rows
    assert relative_error(metric.half_transposed(metric.half(v)), metric.product(v)) < 1e-12
    assert abs(metric.half(v) @ metric.half(v) / metric.squared_length(v) - 1) < 1e-12
    assert abs(metric.rayleigh(v) - v @ matrix @ v / (v @ v)) < 1e-12


def test_lanczos_finds_what_the_gram_matrix_has(net, x, monkeypatch):
    exact = fip.Metric(net, x).spectrum(5)
    monkeypatch.setattr("weightspace.methods.fip.metric.EXACT", 0)
    assert np.allclose(fip.Metric(net, x).spectrum(5), exact, rtol=1e-8)


def test_many_products_are_one_after_another(net, x, rng):
    v = rng.normal(size=(5, net.num_parameters))
    metric = fip.Metric(net, x, room=1)
    expected = np.array([metric.product(one) for one in v])
    assert relative_error(metric.products(v), expected) < 1e-13


def test_many_passes_are_one(net, x, rng):
    v = rng.normal(size=net.num_parameters)
    whole, parts = fip.Metric(net, x), fip.Metric(net, x, room=1)
    assert relative_error(parts.product(v), whole.product(v)) < 1e-13
    assert relative_error(parts.outputs(), whole.outputs()) < 1e-14
    with pytest.raises(SettingError, match="one pass"):
        parts.gram()


@pytest.mark.parametrize("mu", [1e-3, 1.0])
def test_three_solvers_agree(net, x, rng, mu):
    v = rng.normal(size=net.num_parameters)
    metric = fip.Metric(net, x)
    exact = dense(metric, v, mu).x
    cg = solve(metric, v, mu, "cg", tolerance=1e-13, iterations=200)
    assert relative_error(cg.x, exact) < 1e-8
    assert relative_error(solve(metric, v, mu, "woodbury").x, exact) < 1e-8
    guess = exact + 1e-6 * rng.normal(size=v.shape)
    warm = solve(metric, v, mu, "cg", tolerance=1e-6, start=guess)
    assert warm.iterations < solve(metric, v, mu, "cg", tolerance=1e-6).iterations


def test_the_step_is_the_best_of_its_length(net, x, rng):
    """No u of that length beats it in u' g u + beta u' v, for the beta that belongs to mu."""
    mu, length = 0.05, 0.1
    v = rng.normal(size=net.num_parameters)
    metric = fip.Metric(net, x)
    solution = dense(metric, v, mu).x
    u = -length * solution / np.linalg.norm(solution)
    beta = float(2 * length / np.linalg.norm(solution))

    def value(u):
        return metric.squared_length(u) + beta * (u @ v)

    best = value(u)
    for _ in range(200):
        other = u + rng.normal(size=u.shape) * rng.choice([1e-3, 1e-2, 1e-1])
        assert value(other * length / np.linalg.norm(other)) > best
    assert value(fip.sampled(metric, v, beta, length)) > best


def test_a_path_without_objective_leaves_the_outputs_alone(net, x, rng):
    start, first = net.theta.copy(), net.forward(x)
    walk = fip.path(net, x, steps=30, length=0.05, mu=1e-6, iterations=60, keep_every=10)
    changed = np.abs(net.forward(x) - first).max()
    far = np.linalg.norm(net.theta - start)
    assert far > 1.4  # of 1.5: it goes nearly straight on
    others = []
    for _ in range(10):  # as far, anywhere
        u = rng.normal(size=start.shape)
        net.theta[:] = start + far * u / np.linalg.norm(u)
        others.append(np.abs(net.forward(x) - first).max())
    assert changed < 0.5 * np.mean(others)
    assert walk.weights.shape == (4, net.num_parameters)
    assert list(walk.at) == [0, 10, 20, 30]
    assert abs(walk.weight_length - 30 * 0.05) < 1e-9
    assert walk.output_length < 1e-5  # each step by itself moves nothing, to first order
    coordinates, shares = walk.principal(2)
    assert coordinates.shape == (4, 2)
    assert shares[0] > 0.9


def test_a_paths_length_counts_the_ways_back(net, x):
    """As long as the line through all its weights is at least, and longer than its steps alone."""
    walk = fip.path(net, x, steps=6, length=0.5, mu=1e-3, nu=1e-3, iterations=60)
    line = np.linalg.norm(np.diff(walk.weights, axis=0), axis=1).sum()
    assert all(step.back > 0 for step in walk.steps)
    assert abs(walk.weight_length - 6 * 0.5 - sum(step.back for step in walk.steps)) < 1e-9
    assert line <= walk.weight_length + 1e-9


def test_a_path_that_ends_early_keeps_its_end(net, x):
    """Its objective has no gradient after the third step."""
    left = iter([1.0, 1.0, 1.0])
    pull = np.ones_like(net.theta)
    walk = fip.path(net, x, lambda _: next(left, 0.0) * pull, steps=9, keep_every=2)
    assert list(walk.at) == [0, 2, 3] and len(walk.steps) == 3
    np.testing.assert_array_equal(walk.weights[-1], net.theta)


@pytest.mark.parametrize("how", ["cg", "woodbury", "sampled"])
def test_a_path_goes_down_its_objective(net, x, how, rng):
    target = net.theta + 0.1 * rng.normal(size=net.num_parameters)

    def gradient(net):
        return net.theta - target

    before = np.linalg.norm(net.theta - target)
    fip.path(net, x, gradient, steps=10, length=0.01, mu=10.0, how=how, beta=100.0)
    assert np.linalg.norm(net.theta - target) < before


def test_the_anchor_pulls_back(net, x, rng):
    """Where each step is free to drift, the anchored walk ends with outputs nearer the first."""
    target = net.theta + rng.normal(size=net.num_parameters)
    first, start = net.forward(x), net.theta.copy()
    ends = []
    for anchor in (0.0, 1000.0):
        net.theta[:] = start
        fip.path(net, x, lambda net: net.theta - target, steps=40, length=0.05, mu=0.01,
                 iterations=60, anchor=anchor, space="logits")  # fmt: skip
        ends.append(np.linalg.norm(net.forward(x) - first))
    assert ends[1] < 0.6 * ends[0]


def test_refining_lowers_the_energy_and_keeps_the_ends(rng):
    net = Network([Linear(8, "tanh"), Linear(3)], (4,), "reference", "float64", seed=1)
    x = rng.normal(size=(5, 4))
    a = net.theta.copy()
    b = a + rng.normal(size=a.shape)
    straight = a + np.linspace(0, 1, 6)[:, None] * (b - a)
    bent = fip.refine(net, x, straight, rounds=15, mu=1e-2, iterations=60)
    assert (bent[0] == a).all() and (bent[-1] == b).all() and (net.theta == a).all()
    assert fip.energy(net, x, bent, 1e-2) < 0.9 * fip.energy(net, x, straight, 1e-2)


def test_the_metric_has_weights_of_its_own(net, x, rng):
    v = rng.normal(size=net.num_parameters)
    metric = fip.Metric(net, x)
    before = metric.product(v)
    net.theta += 0.3
    net.forward(x)
    assert (metric.product(v) == before).all()
    metric.move()
    assert relative_error(metric.product(v), fip.Metric(net, x).product(v)) == 0


def test_convolutions_and_norms(backend, rng):
    layers = [Conv2d(5, 3), BatchNorm2d(activation="relu"), Flatten(), Linear(K)]
    net = Network(layers, (6, 6, 2), backend, "float64", seed=0)
    x = rng.normal(size=(4, 6, 6, 2))
    metric = fip.Metric(net, x)
    v = rng.normal(size=net.num_parameters)
    exact = solve(metric, v, 0.1, "woodbury").x
    assert (
        relative_error(solve(metric, v, 0.1, "cg", tolerance=1e-12, iterations=99).x, exact) < 1e-8
    )


def test_batch_statistics_have_products_but_no_gram_matrix(rng):
    layers = [Conv2d(5, 3), BatchNorm2d(statistics="batch"), Flatten(), Linear(K)]
    net = Network(layers, (6, 6, 2), "cpu", "float64", seed=0)
    x = rng.normal(size=(4, 6, 6, 2))
    metric = fip.Metric(net, x)
    a, b = rng.normal(size=(2, net.num_parameters))
    assert abs(a @ metric.product(b) - b @ metric.product(a)) < 1e-10
    with pytest.raises(ModeError):
        metric.gram()
    with pytest.raises(SettingError, match="together"):
        fip.Metric(net, x, room=1)


def test_bad_settings_are_named(net, x, untyped):
    with pytest.raises(UnknownNameError, match="softmax-fisher"):
        fip.Metric(net, x, untyped("softmax-fischer"))
    with pytest.raises(SettingError, match="mu"):
        solve(fip.Metric(net, x), net.theta, 0.0)
    with pytest.raises(UnknownNameError, match="cg"):
        fip.path(net, x, how=untyped("cgg"))
    with pytest.raises(SettingError, match="length"):
        fip.path(net, x, length=float("inf"))


def test_effective_rank():
    assert abs(fip.effective_rank(np.ones(7)) - 7) < 1e-12
    assert abs(fip.effective_rank(np.array([1.0, 0, 0])) - 1) < 1e-12


# ---- learning tasks ------------------------------------------------------------------------------


def mlp(dtype="float32") -> Network:
    return Network([Linear(64, "relu"), Linear(4)], (12,), dtype=dtype, seed=2)


@pytest.mark.parametrize("step", ["anchor", "metric", "both"])
def test_fip_keeps_more_than_naive_training(blob_tasks, step):
    def kept(method):
        result = fit(mlp(), blob_tasks, method, optimizer=Adam(3e-3), epochs=20, batch_size=32)
        return result.acc

    assert kept(fip.FIP(memories=60, batch=0, step=step, mu=1e-3)) > kept(Naive()) + 0.05


def test_the_anchor_is_the_gradient_of_the_distance(blob_tasks):
    net = mlp("float64")
    method = fip.FIP(memories=20, batch=0, strength=3.0)
    fit(net, blob_tasks[:1], method, steps=20, batch_size=32)
    x, then = method.arrays["memory.x"], method.arrays["memory.outputs"]
    q = importance.probabilities(net, then)
    net.theta += 0.05 * np.random.default_rng(0).normal(size=net.num_parameters)

    def distance():
        p = importance.probabilities(net, net.forward(x))
        return -3.0 * np.log(np.sqrt(p * q).sum(axis=1)).mean()

    grad = np.zeros(net.num_parameters)
    method.adjust(net, grad)
    v = np.random.default_rng(1).normal(size=net.num_parameters)
    values = []
    for sign in (1, -1):
        net.theta += sign * 1e-6 * v
        values.append(distance())
        net.theta -= sign * 1e-6 * v
    slope = (values[0] - values[1]) / 2e-6
    assert abs(slope / (grad @ v) - 1) < 1e-6


def test_the_metric_step_is_the_solution_of_its_system(blob_tasks):
    net = mlp("float64")
    method = fip.FIP(memories=10, batch=0, step="metric", mu=0.1, iterations=300)
    fit(net, blob_tasks[:1], method, steps=20, batch_size=32)
    v = np.random.default_rng(1).normal(size=net.num_parameters)
    grad = v.copy()
    method.adjust(net, grad)
    metric = fip.Metric(net, method.arrays["memory.x"])
    assert relative_error(grad, 0.1 * solve(metric, v, 0.1, "woodbury").x) < 1e-2


def test_both_is_the_implicit_step_under_plain_gradient_descent(blob_tasks):
    """(I + lr strength g / 4) u = -lr (v + strength grad D), u = -lr times what it leaves."""
    net, lr, strength = mlp("float64"), 0.1, 500.0
    method = fip.FIP(memories=10, batch=0, step="both", strength=strength, iterations=300)
    fit(net, blob_tasks[:1], method, steps=20, batch_size=32, optimizer=SGD(lr))
    net.theta += 0.01 * np.random.default_rng(0).normal(size=net.num_parameters)
    v = np.random.default_rng(1).normal(size=net.num_parameters)
    pulled = v.copy()
    method._add_anchor(net, method.memory, np.arange(10), pulled)
    u = v.copy()
    method.adjust(net, u)
    u *= -lr
    metric = fip.Metric(net, method.arrays["memory.x"])
    left = u + lr * strength / 4 * metric.product(u)
    assert relative_error(left, -lr * pulled) < 1e-2
    assert relative_error(u, -lr * pulled) > 0.1  # the metric has a say in it


def test_each_stored_sample_counts_its_own_tasks_classes(rng):
    """Task-incremental: the metric over rows of two tasks is the mean of the two masked ones."""
    net = mlp("float64")
    x = rng.normal(size=(6, 12))
    masks = np.array([[True, True, False, False], [False, False, True, True]])
    both = fip.Metric(net, x, active=np.repeat(masks, 3, axis=0))
    v = rng.normal(size=net.num_parameters)
    parts = [fip.Metric(net, x[:3], active=masks[0]), fip.Metric(net, x[3:], active=masks[1])]
    expected = (parts[0].product(v) + parts[1].product(v)) / 2
    assert relative_error(both.product(v), expected) < 1e-13
    assert relative_error(fip.Metric(net, x, active=np.repeat(masks, 3, axis=0), room=1).product(v),
                          expected) < 1e-13  # fmt: skip


@pytest.mark.parametrize("step", ["anchor", "both"])
def test_a_stopped_run_goes_on_to_the_same_bits(blob_tasks, tmp_path, step):
    class Stop(Observer):
        def saved(self, number):
            if number == 22:
                raise KeyboardInterrupt

    def run(**more):
        net = mlp()
        method = fip.FIP(memories=20, batch=8, step=step)
        fit(net, blob_tasks, method, epochs=4, batch_size=32, **more)
        return net.theta

    whole = run()
    keep = {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 6}
    with pytest.raises(KeyboardInterrupt):
        run(observer=Stop(), **keep)
    assert (run(resume=True, **keep) == whole).all()


def test_bad_settings_of_the_method_are_named(untyped):
    with pytest.raises(UnknownNameError, match="metric"):
        fip.FIP(step=untyped("metrik"))
    for wrong in ({"mu": 0.0}, {"strength": -1.0}, {"memories": 0}, {"iterations": 0}):
        with pytest.raises(SettingError):
            fip.FIP(**untyped(wrong))
