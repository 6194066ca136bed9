"""Networks: gradients of the loss, passes, settings and bad input, on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.nnlite import BatchNorm2d, Flatten, Linear, Network, models, optim
from weightspace.nnlite.init import INITIALISERS, Generators, generator

N, K, INPUTS = 7, 5, 13
STEP = 1e-6  # of central differences: the error is of the order STEP**2 + eps / STEP
DIFFERENCES = 1e-7


@pytest.fixture
def batch(rng):
    return rng.normal(size=(N, INPUTS)), rng.integers(0, K, N)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_every_gradient_is_that_of_the_loss(backend, batch, rng, loss):
    """By theta, by the inputs, and of each sample."""
    net = Network([Linear(9, "tanh"), Linear(K)], (INPUTS,), backend, "float64", loss=loss)
    x, y = batch
    if loss == "squared_error":
        y = rng.normal(size=(N, K))
    mean, grad = net.loss_and_grad(x, y)
    grads, by_x = net.sample_grads(x, y), net.input_grad(x, y)
    assert np.isclose(mean, net.losses(x, y).mean())
    assert relative_error(grads.mean(0), grad) <= tolerance("float64", N)
    v, d = rng.normal(size=net.num_parameters), rng.normal(size=x.shape)
    theta, slopes = net.theta.copy(), []
    for step in (STEP, -STEP):
        net.theta = theta + step * v
        slopes.append(net.losses(x, y))
        net.theta = theta
        slopes.append(net.losses(x + step * d, y))
    above, above_x, below, below_x = slopes
    assert relative_error(grads @ v, (above - below) / (2 * STEP)) <= DIFFERENCES
    assert relative_error((by_x * d).sum(1), (above_x - below_x) / (2 * STEP)) <= DIFFERENCES


def test_state_is_kept_and_put_back(batch):
    net = Network([BatchNorm2d(), Linear(K)], (INPUTS,), "reference", "float64")
    net.forward(batch[0], "train")
    kept, other = net.state.kept("a."), net.like()
    other.forward(batch[0], "train")
    assert not np.array_equal(other.state["0.mean"], kept["a.0.mean"])
    other.state.restore(kept, "a.")
    assert all(np.array_equal(other.state[name], net.state[name]) for name in net.state)
    with pytest.raises(errors.UnknownNameError, match=r"0\.mean"):
        other.state.restore({})
    with pytest.raises(errors.ShapeError, match=r"0\.var"):  # and nothing was changed
        other.state.restore({"0.mean": kept["a.0.mean"] + 1, "0.var": np.ones(1)})
    assert np.array_equal(other.state["0.mean"], kept["a.0.mean"])


def test_masked_classes_get_no_gradient(backend, batch):
    net = Network([Linear(6, "relu"), Linear(K)], (INPUTS,), backend, "float64")
    x, _ = batch
    active = np.array([True, False, True, False, False])
    _, grad = net.loss_and_grad(x, np.array([0, 2] * 3 + [0]), active=active)
    head = net.layout.view(grad, "1.weight")
    assert head[active].any() and not head[~active].any()


def test_images_pass_through_flatten(backend, rng):
    net = Network([Flatten(), Linear(K)], (4, 4, 2), backend, "float64")
    x = rng.normal(size=(3, 4, 4, 2))
    assert net.input_grad(x, np.array([0, 1, 2])).shape == x.shape
    flat = Network([Linear(K)], (32,), backend, "float64")
    flat.theta[:] = net.theta
    assert np.array_equal(net.forward(x), flat.forward(x.reshape(3, 32)))


def test_any_memory_order_gives_the_same_answer(backend, batch):
    net = Network([Linear(6, "relu"), Linear(K)], (INPUTS,), backend, "float64")
    x, y = batch
    spread = np.repeat(np.asfortranarray(x), 2, axis=1)[:, ::2]
    assert not spread.flags.c_contiguous
    assert np.array_equal(net.loss_and_grad(spread, y)[1], net.loss_and_grad(x, y, mode="eval")[1])


def test_saved_of_an_older_pass_is_refused(backend, batch):
    net = Network([Linear(K)], (INPUTS,), backend, "float64")
    x, _ = batch
    saved = net.trace(x)
    net.forward(x)  # works in buffers of its own
    net.push(saved, net.theta.copy())
    net.trace(x)
    with pytest.raises(errors.StaleError, match="trace"):
        net.pull(saved, np.ones((N, K)))


def test_initialisers_have_their_variance():
    for name in INITIALISERS:
        net = Network([Linear(400)], (300,), "reference", "float64", seed=1, init=name)
        weight = net.layout.view(net.theta, "0.weight")
        variance = {"uniform_fan_in": 1 / 900, "glorot": 2 / 700, "he": 2 / 300}
        expected = variance[name if name in variance else name.split("_")[0]]
        assert abs(weight.var() / expected - 1) < 0.02, name


def test_a_layers_weights_do_not_depend_on_the_others():
    short = models.mlp((9, 8, 7), backend="reference", seed=5)
    long = models.mlp((9, 8, 7, 6), backend="reference", seed=5)
    assert np.array_equal(
        short.layout.view(short.theta, "0.weight"), long.layout.view(long.theta, "0.weight")
    )


def test_every_whole_number_is_a_key_of_its_own():
    """Also those that a float64 would round, and those below 0."""
    keys = [-1, -2, -3, 2**63, 2**63 + 1, 2**64 - 5]
    words = [word for k in keys for word in ((k, 1), (1, k), (1, 1, k))]
    drawn = {float(generator(*word).random()) for word in words}
    assert len(drawn) == len(words)


@pytest.mark.parametrize("number", [0, 3, -1, 2**63 + 1])
def test_generators_begin_anew_whatever_was_drawn(number):
    made = Generators(5, -2)
    made[7].integers(0, 9, 3, "int32")  # which leaves half of a word
    assert np.array_equal(made[number].permutation(99), generator(5, -2, number).permutation(99))
    assert np.array_equal(made[number].normal(size=5), generator(5, -2, number).normal(size=5))


def test_models_have_their_parameter_counts():
    assert models.lenet_300_100(backend="reference").num_parameters == 266_610
    assert models.mlp((784, 256, 256, 10), backend="reference").num_parameters == 269_322


def test_optimizers_on_a_bowl(backend):
    """Each optimizer walks down 1/2 |theta|^2."""
    from weightspace.kernels import get_backend

    ops = get_backend(backend)
    for optimizer in (
        optim.SGD(0.1),
        optim.SGD(0.05, momentum=0.9),
        optim.Adam(0.1),
        optim.RMSprop(0.05),
        optim.Adadelta(2.0, 0.9, 1e-4),
    ):
        theta = np.array([1.0, -2.0, 3.0])
        state = optimizer.state(3, "float64")
        for count in range(1, 201):
            optimizer.step(ops, theta, theta.copy(), state, count)
        assert np.abs(theta).max() < 0.1, optimizer


BAD = {
    "another width": (lambda x, y: (x[:, :5], y), errors.ShapeError, "takes"),
    "no samples": (lambda x, y: (x[:0], y[:0]), errors.ShapeError, "at least one"),
    "a list": (lambda x, y: (x.tolist(), y), errors.DtypeError, "NumPy array"),
    "float32 inputs": (lambda x, y: (x.astype("f"), y), errors.DtypeError, "astype"),
    "whole-number inputs": (lambda x, y: (x.astype(int), y), errors.DtypeError, "astype"),
    "too few labels": (lambda x, y: (x, y[:-1]), errors.ShapeError, "labels"),
    "labels of floats": (lambda x, y: (x, y.astype("float32")), errors.DtypeError, "whole numbers"),
    "label too large": (lambda x, y: (x, y + K), errors.LabelError, f"0..{K - 1}"),
    "negative label": (lambda x, y: (x, y - K), errors.LabelError, "labels run from"),
    "NaN": (lambda x, y: (np.where(x == x[2], np.nan, x), y), errors.NonFiniteError, "row 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(backend, batch, case):
    change, error, message = BAD[case]
    net = Network([Linear(K)], (INPUTS,), backend, "float64")
    with pytest.raises(error, match=message):
        net.loss_and_grad(*change(*batch))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Linear(0), errors.SettingError, "at least 1"),
        (lambda: Linear(3, "rleu"), errors.UnknownNameError, "Did you mean 'relu'"),
        (lambda: Linear(3, "leaky_relu", -0.1), errors.SettingError, "above 0"),
        (lambda: Network([], (3,)), errors.SettingError, "at least one layer"),
        (lambda: Network([Linear(3)], (4, 4, 1)), errors.ShapeError, "Flatten"),
        (lambda: Network([Flatten()], (4,), dtype="float16"), errors.SettingError, "float32"),
        (lambda: Network([Linear(3)], (4,), init="he"), errors.UnknownNameError, "he_"),
        (lambda: Network([Linear(3)], (4,), loss="mse"), errors.UnknownNameError, "squared"),
        (lambda: models.mlp((5,)), errors.SettingError, "outputs"),
        (lambda: optim.SGD(lr=0), errors.SettingError, "above 0"),
        (lambda: optim.get_optimizer("adamw"), errors.UnknownNameError, "adam"),
        (lambda: optim.get_optimizer("sgd", beta=1), errors.SettingError, "beta"),
        (lambda: models.lenet_300_100(backend="reference").plan(0), errors.SettingError, "batch"),
    ],
)
def test_bad_settings_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()
