"""Networks and layers, proved by identities in float64 on every backend."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.nnlite import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    ComplexConv2d,
    ComplexFlatten,
    ComplexLinear,
    Context,
    ContextConv2d,
    ContextLinear,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    Rotation,
    Sequential,
    models,
    optim,
)
from weightspace.nnlite.init import INITIALISERS, generator

N, K, INPUTS = 7, 5, 13
STEP = 1e-6  # of central differences: the error is of the order STEP**2 + eps / STEP
DIFFERENCES = 1e-7
STACKS = {
    "relu": [Linear(17, "relu"), Linear(9, "relu"), Linear(K)],
    "leaky": [Linear(17, "leaky_relu", 0.1), Linear(K)],
    "tanh, sigmoid": [Linear(11, "tanh"), Linear(6, "sigmoid"), Linear(K)],
    "separate activations": [Linear(8), Activation("tanh"), Linear(K), Activation("sigmoid")],
    "no bias": [Linear(6, "tanh", bias=False), Linear(K, bias=False)],
    "one layer": [Linear(K)],
    "one unit": [Linear(1, "tanh"), Linear(K)],
    "contexts": [ContextLinear(9, "tanh"), ContextLinear(K, bias=False)],
    "learned contexts": [Context(), Linear(9, "tanh"), Context(), Linear(K)],
    "rotations": [Rotation(), Linear(7, "tanh"), Rotation(), Linear(K)],
    "complex": [ComplexLinear(6, "tanh"), ComplexLinear(5, "relu"), ComplexLinear(K, real=True)],
    "flat norm": [Linear(6), BatchNorm2d(activation="tanh"), Dropout(0.5), Linear(K)],
}
BLOCK = (
    Conv2d(6, 3, 2, 1, bias=False),
    BatchNorm2d(activation="relu"),
    Conv2d(6, 3, 1, 1, bias=False),
    BatchNorm2d(),
)
IMAGE_STACKS = {
    "convolutions": [
        Conv2d(9, 3, 1, 1, "relu"),  # wide enough for Winograd
        Conv2d(8, 3, 1, 1, "tanh"),
        Conv2d(4, (2, 3), (2, 1), (0, 1), "leaky_relu", 0.1, bias=False),
        Flatten(),
        Linear(K),
    ],
    "contexts on kernels": [
        ContextConv2d(5, 3, 1, 1, "relu"),
        ContextConv2d(4, 3, 2, bias=False),
        Flatten(),
        ContextLinear(K),
    ],
    "complex convolutions": [
        ComplexConv2d(4, 3, 1, 1, "relu", real_input=True),
        ComplexConv2d(3, (2, 3), 2, (1, 0), "tanh"),
        ComplexFlatten(),
        ComplexLinear(K, real=True),
    ],
    "complex pooling": [
        ComplexConv2d(3, 3, activation="leaky_relu", real_input=True),
        AvgPool2d(2),
        GlobalAvgPool(),
        ComplexFlatten(),
        ComplexLinear(K, real=True),
    ],
    "pooling": [
        MaxPool2d(2),
        Conv2d(5, 1),
        MaxPool2d(3, 2, 1),
        AvgPool2d(2, 1),
        AdaptiveAvgPool2d(3, 2),
        Flatten(),
        Linear(K),
    ],
    "norm": [BatchNorm2d(), Conv2d(4), BatchNorm2d(activation="tanh"), GlobalAvgPool(), Linear(K)],
    "plain norm": [Conv2d(4), BatchNorm2d(affine=False, activation="relu"), Flatten(), Linear(K)],
    "residual": [
        Conv2d(6, 3, 1, 1, bias=False),
        Residual(BLOCK, (Conv2d(6, 1, 2, bias=False), BatchNorm2d())),
        Residual((Conv2d(6, 3, 1, 1), Dropout(0.4)), activation="leaky_relu"),
        Sequential((Activation("tanh"), MaxPool2d(2))),
        GlobalAvgPool(),
        Linear(K),
    ],
    "residual first": [Residual((Conv2d(3, 3, 1, 1),)), GlobalAvgPool(), Linear(K)],
}
IMAGE = (9, 8, 3)


@pytest.fixture(params=[*STACKS, *IMAGE_STACKS])
def net(request, backend) -> Network:
    layers, shape = STACKS.get(request.param), (INPUTS,)
    if layers is None:
        layers, shape = IMAGE_STACKS[request.param], IMAGE
    made = Network(layers, shape, backend=backend, dtype="float64", seed=3)
    rng = np.random.default_rng(11)
    made.theta += rng.normal(0, 0.1, made.num_parameters)  # BatchNorm begins at 1 and 0
    for running in made.state.values():
        running[...] += rng.uniform(0, 1, running.shape)
    return made


@pytest.fixture
def batch(request, rng):
    named = "net" in request.fixturenames
    shape = request.getfixturevalue("net").input_shape if named else (INPUTS,)
    return rng.normal(size=(N, *shape)), rng.integers(0, K, N)


def central_difference(net, v, measure):
    """(measure(theta + h v) - measure(theta - h v)) / 2h, theta put back."""
    theta = net.theta.copy()
    net.theta[:] = theta + STEP * v
    above = measure()
    net.theta[:] = theta - STEP * v
    below = measure()
    net.theta[:] = theta
    return (above - below) / (2 * STEP)


def test_gradient_is_the_derivative_of_the_loss(net, batch, rng):
    x, y = batch
    _, grad = net.loss_and_grad(x, y, mode="eval")
    v = rng.normal(size=net.num_parameters)
    slope = central_difference(net, v, lambda: net.losses(x, y).mean())
    assert abs(slope - grad @ v) <= DIFFERENCES * max(1, abs(slope))


def test_jvp_is_the_derivative_of_the_outputs(net, batch, rng):
    x, _ = batch
    v = rng.normal(size=net.num_parameters)
    slope = central_difference(net, v, lambda: net.forward(x))
    assert relative_error(net.jvp(x, v), slope) <= DIFFERENCES


def test_jvp_is_trace_then_push(net, batch, rng):
    x, _ = batch
    v = rng.normal(size=net.num_parameters)
    assert np.array_equal(net.jvp(x, v), net.push(net.trace(x), v))


def test_jvp_and_vjp_are_adjoint(net, batch, rng):
    x, _ = batch
    v, u = rng.normal(size=net.num_parameters), rng.normal(size=(N, K))
    left, right = (net.jvp(x, v) * u).sum(), v @ net.vjp(x, u)
    assert abs(left - right) <= tolerance("float64", net.num_parameters) * max(1, abs(left))


def test_input_tangent_and_input_cotangent_are_adjoint(net, batch, rng):
    x, _ = batch
    tx, u = rng.normal(size=x.shape), rng.normal(size=(N, K))
    saved = net.trace(x)
    left = (net.push(saved, tx=tx) * u).sum()
    right = (net.pull_input(saved, u) * tx).sum()
    assert abs(left - right) <= tolerance("float64", x.size * K) * max(1, abs(left))


def test_push_is_linear_in_both_directions_together(net, batch, rng):
    x, _ = batch
    v, tx = rng.normal(size=net.num_parameters), rng.normal(size=x.shape)
    saved = net.trace(x)
    both = net.push(saved, v, tx)
    apart = net.push(saved, v) + net.push(saved, tx=tx)
    assert relative_error(both, apart) <= tolerance("float64", net.num_parameters)


def test_input_grad_is_the_derivative_of_each_loss(net, batch, rng):
    x, y = batch
    d = rng.normal(size=x.shape)
    above, below = net.losses(x + STEP * d, y), net.losses(x - STEP * d, y)
    slopes = (above - below) / (2 * STEP)
    found = (net.input_grad(x, y) * d).reshape(N, -1).sum(1)
    assert relative_error(found, slopes) <= DIFFERENCES


def test_sample_gradients_average_to_the_gradient(net, batch):
    x, y = batch
    grads = net.sample_grads(x, y)
    _, grad = net.loss_and_grad(x, y, mode="eval")
    assert relative_error(grads.mean(0), grad) <= tolerance("float64", N)
    for n in range(N):
        _, alone = net.loss_and_grad(x[n : n + 1], y[n : n + 1], mode="eval")
        assert relative_error(grads[n], alone) <= tolerance("float64", x[0].size)


@pytest.mark.parametrize("power", [1, 2])
def test_accumulate_is_the_sum_of_sample_gradients_powers(net, batch, rng, power):
    x, _ = batch
    u = rng.normal(size=(3, N, K))
    expected = np.zeros(net.num_parameters)
    for v in range(3):
        for n in range(N):
            expected += np.abs(net.vjp(x[n : n + 1], u[v, n : n + 1])) ** power
    total = np.ones(net.num_parameters)
    net.accumulate(net.trace(x), u, total, power)  # stacked cotangents, added to what was there
    assert relative_error(total, expected + 1) <= tolerance("float64", 3 * N)


def test_gram_is_the_product_of_all_gradients(net, batch, rng):
    x, _ = batch
    u = rng.normal(size=(3, N, K))
    rows = np.array([net.vjp(x[n : n + 1], u[v, n : n + 1]) for v in range(3) for n in range(N)])
    expected = rows @ rows.T
    assert relative_error(net.gram(net.trace(x), u), expected) <= tolerance(
        "float64", net.num_parameters
    )


def test_many_directions_are_pushed_and_pulled_as_one_would_be(net, batch, rng):
    x, _ = batch
    v, u = rng.normal(size=(3, net.num_parameters)), rng.normal(size=(3, N, K))
    saved = net.trace(x)
    pushed = np.array([net.push(saved, one) for one in v])
    pulled = np.array([net.pull(saved, one) for one in u])
    allowed = tolerance("float64", net.num_parameters)
    assert relative_error(net.push_many(saved, v), pushed) <= allowed
    assert relative_error(net.pull_many(saved, u), pulled) <= allowed


def test_second_is_the_derivative_of_the_jvp(net, batch, rng):
    x, _ = batch
    v = rng.normal(size=net.num_parameters)
    slope = central_difference(net, v, lambda: net.jvp(x, v))
    assert relative_error(net.second(net.trace(x), v), slope) <= DIFFERENCES


def test_pull_accumulates_when_asked(net, batch, rng):
    x, _ = batch
    u = rng.normal(size=(N, K))
    saved = net.trace(x)
    once = net.pull(saved, u)
    twice = net.pull(saved, u, once.copy(), beta=1.0)
    assert relative_error(twice, 2 * once) <= tolerance("float64", N)


def test_plan_is_what_a_training_step_holds(net, batch):
    x, y = batch
    net.loss_and_grad(x, y, mode="train")
    state = sum(array.nbytes for array in net.state.values())
    held = net.workspace.nbytes + 2 * net.theta.nbytes + state
    assert net.plan(N) == held
    net.loss_and_grad(x, y, mode="train")
    net.loss_and_grad(x[:3], y[:3], mode="train")
    after = net.workspace.nbytes + 2 * net.theta.nbytes + state
    assert after == held, "a later step allocated"


def test_squared_error_gradient(backend, rng):
    net = Network([Linear(4, "tanh"), Linear(3)], (5,), backend, "float64", loss="squared_error")
    x, t = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))
    loss, grad = net.loss_and_grad(x, t)
    assert np.isclose(loss, ((net.forward(x) - t) ** 2).sum() / 2 / 6)
    v = rng.normal(size=net.num_parameters)
    slope = central_difference(net, v, lambda: net.losses(x, t).mean())
    assert abs(slope - grad @ v) <= DIFFERENCES * max(1, abs(slope))


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


def test_backends_agree(rng):
    pytest.importorskip("numba", reason="compares the cpu backend, which needs numba")
    nets = [models.mlp((20, 30, 10), backend=b, dtype="float64") for b in ("reference", "cpu")]
    x, y = rng.normal(size=(33, 20)), rng.integers(0, 10, 33)
    v = rng.normal(size=nets[0].num_parameters)
    for ask in (
        lambda net: net.forward(x),
        lambda net: net.loss_and_grad(x, y, mode="eval")[1],
        lambda net: net.jvp(x, v),
        lambda net: net.vjp(x, x[:, :10]),
        lambda net: net.sample_grads(x, y),
        lambda net: net.input_grad(x, y),
    ):
        ours, expected = ask(nets[1]), ask(nets[0])
        assert relative_error(ours, expected) <= 1e-10


def test_saved_of_an_older_pass_is_refused(backend, batch):
    net = Network([Linear(K)], (INPUTS,), backend, "float64")
    x, _ = batch
    saved = net.trace(x)
    net.forward(x)
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
