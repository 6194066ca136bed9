"""What public verbs are given is looked at before a kernel sees it: shape, dtype, layout, place."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels import errors, get_backend
from weightspace.methods import importance
from weightspace.nnlite import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    ComplexConv2d,
    ComplexLinear,
    Conv2d,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    Rotation,
    Sequential,
    SparseNetwork,
    losses,
    models,
)
from weightspace.nnlite.init import generator
from weightspace.nnlite.optim import SGD, Adadelta, Adam, RMSprop, Streams
from weightspace.nnlite.step import TrainingStep

N, K, INPUTS = 7, 5, 13


@pytest.fixture
def backend(host_backend) -> str:
    return host_backend


@pytest.fixture
def net(backend) -> Network:
    layers = [Linear(6, "tanh"), BatchNorm2d(), Linear(K)]
    return Network(layers, (INPUTS,), backend, "float64", seed=3)


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.normal(size=(N, INPUTS))


@pytest.fixture
def y(rng) -> np.ndarray:
    return rng.integers(0, K, N)


COTANGENTS = {
    "pull": lambda net, x, u: net.pull(net.trace(x), u),
    "pull_input": lambda net, x, u: net.pull_input(net.trace(x), u),
    "vjp": lambda net, x, u: net.vjp(x, u),
    "accumulate": lambda net, x, u: net.accumulate(net.trace(x), u, net.theta.copy(), 2),
    "gram": lambda net, x, u: net.gram(net.trace(x), u),
    "pull_many": lambda net, x, u: net.pull_many(net.trace(x), u),
}
STACKED = ("accumulate", "gram", "pull_many")
BAD = {
    "another N": (np.zeros((N + 1, K)), errors.ShapeError),
    "another K": (np.zeros((N, K - 1)), errors.ShapeError),
    "turned": (np.zeros((K, N)), errors.ShapeError),
    "flat": (np.zeros(N * K), errors.ShapeError),
    "0-d": (np.array(1.0), errors.ShapeError),
    "no cotangents": (np.zeros((0, N, K)), errors.ShapeError),
    "stacked, another N": (np.zeros((2, N + 1, K)), errors.ShapeError),
    "stacked twice": (np.zeros((2, 2, N, K)), errors.ShapeError),
    "float32": (np.zeros((N, K), "f"), errors.DtypeError),
    "big-endian": (np.zeros((N, K), ">f8"), errors.DtypeError),
    "whole numbers": (np.zeros((N, K), int), errors.DtypeError),
    "a list": (np.zeros((N, K)).tolist(), errors.DtypeError),
    "ragged": ([[0.0], [0.0, 1.0]], errors.DtypeError),
    "a number": (1.0, errors.DtypeError),
    "nothing": (None, errors.DtypeError),
    "masked": (np.ma.masked_array(np.zeros((N, K)), np.eye(N, K, dtype=bool)), errors.DtypeError),
}


@pytest.mark.parametrize("verb", COTANGENTS)
@pytest.mark.parametrize("case", BAD)
def test_a_cotangent_that_does_not_fit_is_named(net, x, verb, case):
    given, error = BAD[case]
    with pytest.raises(error):
        COTANGENTS[verb](net, x, given)


@pytest.mark.parametrize("verb", COTANGENTS)
def test_a_stacked_cotangent_is_for_who_asks_it(net, x, verb):
    if verb in STACKED:
        COTANGENTS[verb](net, x, np.ones((2, N, K)))
    else:
        with pytest.raises(errors.ShapeError, match=f"need \\({N}, {K}\\)"):
            COTANGENTS[verb](net, x, np.ones((2, N, K)))


@pytest.mark.parametrize("verb", COTANGENTS)
def test_any_layout_and_any_value_will_do(net, x, rng, verb):
    u = rng.normal(size=(N, K))
    ask, get = COTANGENTS[verb], net.device.get
    for same in (np.asfortranarray(u), np.repeat(u, 2, axis=1)[:, ::2], u[::-1].copy()[::-1]):
        found, expected = ask(net, x, same), ask(net, x, u)
        if expected is not None:
            assert np.array_equal(get(found), get(expected))
    turned = np.asfortranarray(x)
    if verb != "accumulate":
        assert np.array_equal(get(ask(net, turned, u)), get(ask(net, x, u)))
        assert np.isnan(get(ask(net, x, np.full_like(u, np.nan)))).any()


def test_a_cotangent_is_refused_before_a_pass_is_run(net, x):
    with pytest.raises(errors.ShapeError):
        net.vjp(x, np.zeros((N, K + 1)), "train")
    assert net.draws == 0


OUTS = {
    "pull": lambda net, x, y, out: net.pull(net.trace(x), np.ones((N, K)), out),
    "accumulate": lambda net, x, y, out: net.accumulate(net.trace(x), np.ones((N, K)), out, 1),
    "signal": lambda net, x, y, out: net.signal(net.trace(x), out),
    "loss_and_grad": lambda net, x, y, out: net.loss_and_grad(x, y, out, mode="eval"),
}


@pytest.mark.parametrize("verb", OUTS)
def test_results_go_where_they_can_be_written(verb, x, y):
    net = Network([Linear(6, "tanh"), Linear(K)], (INPUTS,), "reference", "float64")
    ask, size = OUTS[verb], net.num_parameters
    read_only = np.zeros(size)
    read_only.flags.writeable = False
    with pytest.raises(errors.ShapeError, match="read-only"):
        ask(net, x, y, read_only)
    with pytest.raises(errors.ShapeError, match="contiguous"):
        ask(net, x, y, np.zeros(2 * size)[::2])
    with pytest.raises(errors.ShapeError, match="list"):
        ask(net, x, y, [0.0] * size)
    with pytest.raises(errors.DtypeError):
        ask(net, x, y, np.zeros(size, "f"))
    for over in (net.theta, net.theta[:]):
        with pytest.raises(errors.SettingError, match="theta"):
            ask(net, x, y, over)
    ask(net, x, y, np.zeros(size))


def test_beta_is_any_number(backend, rng):
    layers = [ComplexConv2d(2, 3, real_input=True), Flatten(), Linear(K)]  # it knows 0 and 1 only
    net = Network(layers, (4, 4, 1), backend, "float64")
    x, u = rng.normal(size=(N, 4, 4, 1)), rng.normal(size=(N, K))
    saved, get = net.trace(x), net.device.get
    plain = get(net.pull(saved, u)).copy()
    start = rng.normal(size=plain.size)
    out = net.device.put(start.copy())
    np.testing.assert_allclose(get(net.pull(saved, u, out, 0.5)), 0.5 * start + plain, atol=1e-12)
    with pytest.raises(errors.SettingError, match="no out"):
        net.pull(saved, u, beta=1.0)


@pytest.mark.parametrize("v", [np.zeros(3), np.zeros((2, 3)), [[0.0]], np.zeros((0, 0)), None])
def test_directions_that_do_not_fit_are_named(net, x, v):
    for ask in (net.push_many, net.second):
        with pytest.raises((errors.ShapeError, errors.DtypeError)):
            ask(net.trace(x), v)
    with pytest.raises((errors.ShapeError, errors.DtypeError)):
        net.jvp(x, v)


# ---- labels --------------------------------------------------------------------------------------


class Tensor:
    """Another library's array: it knows what NumPy makes of it."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", ">i4", ">i8"])
def test_labels_of_any_whole_numbers(net, x, y, dtype):
    expected = net.losses(x, y)
    for same in (y.astype(dtype), y.tolist(), tuple(y.tolist()), Tensor(y.astype("int32"))):
        assert np.array_equal(net.device.get(net.losses(x, same)), net.device.get(expected))
    assert np.array_equal(
        net.device.get(importance.fisher(net, x, y.astype(dtype), "empirical")),
        net.device.get(importance.fisher(net, x, y, "empirical")),
    )


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (np.zeros(N), errors.DtypeError),
        (np.zeros(N, bool), errors.DtypeError),
        ([0.5] * N, errors.DtypeError),
        ([True] * N, errors.DtypeError),
        (["a"] * N, errors.DtypeError),
        ([[0], [1, 2]], errors.ShapeError),
        (np.zeros((N, 1), int), errors.ShapeError),
        (np.zeros((N, K), int), errors.ShapeError),
        (Tensor(np.zeros((N, 2), int)), errors.ShapeError),
        (3, errors.ShapeError),
        (None, errors.ShapeError),
        (np.full(N, 2**64 - 1, np.uint64), errors.LabelError),
        ([-1] * N, errors.LabelError),
        (np.ma.masked_array(np.zeros(N, int), [True] + [False] * (N - 1)), errors.DtypeError),
    ],
)
def test_labels_that_are_none_are_named(net, x, labels, error):
    with pytest.raises(error, match="labels"):
        net.loss_and_grad(x, labels, mode="train")
    assert net.draws == 0  # before a pass has moved anything


def test_pandas_columns_are_labels_and_frames_are_not(x, y):
    pandas = pytest.importorskip("pandas")
    net = Network([Linear(K)], (INPUTS,), "reference", "float64")
    assert np.array_equal(net.losses(x, pandas.Series(y)), net.losses(x, y))
    with pytest.raises(errors.ShapeError):
        net.losses(x, pandas.DataFrame({"a": y, "b": y}))
    with pytest.raises(errors.DtypeError, match=r"np\.asarray"):
        net.forward(pandas.DataFrame(x))


ASK_LABELS = {
    "loss_and_grad": lambda net, x, y, active: net.loss_and_grad(x, y, None, active, "eval"),
    "gradient": lambda net, x, y, active: net.gradient(x, y, net.theta.copy(), active),
    "losses": lambda net, x, y, active: net.losses(x, y, active),
    "sample_grads": lambda net, x, y, active: net.sample_grads(x, y, active),
    "input_grad": lambda net, x, y, active: net.input_grad(x, y, active),
    "fisher": lambda net, x, y, active: importance.fisher(net, x, y, "empirical", active=active),
    "TrainingStep": lambda net, x, y, active: TrainingStep(
        net, Adam(), Adam().state(net.num_parameters, net.dtype, net.device), active=active
    ).queue(x, y, 1),
}


@pytest.mark.parametrize("verb", ASK_LABELS)
def test_a_label_out_of_play_is_named(net, x, y, verb):
    active = np.ones(K, bool)
    active[y[2]] = False
    before = net.device.get(net.theta).copy()
    with pytest.raises(errors.LabelError, match=f"{y[2]}.* out of play"):
        ASK_LABELS[verb](net, x, y, active)
    assert net.draws == 0 and np.array_equal(net.device.get(net.theta), before)
    active[:] = True
    ASK_LABELS[verb](net, x, y, active)


def test_targets_of_a_regression_are_looked_at_before_the_pass(x, untyped):
    net = Network([BatchNorm2d(), Linear(2)], (INPUTS,), "reference", loss="squared_error")
    x = x.astype("f")
    for targets, error in (
        (np.zeros((N, 2)), errors.DtypeError),
        (np.zeros(N, "f"), errors.ShapeError),
        ([[0.0, 0.0]] * N, errors.ShapeError),
    ):
        with pytest.raises(error, match="targets"):
            net.loss_and_grad(x, untyped(targets), mode="train")
    assert net.draws == 0


# ---- settings ------------------------------------------------------------------------------------


PLAIN = {"layers": [Linear(3)], "input_shape": (3,)}


@pytest.mark.parametrize(
    ("build", "given", "error"),
    [
        (Linear, (2.5,), errors.SettingError),
        (Linear, ("5",), errors.SettingError),
        (Linear, (True,), errors.SettingError),
        (Linear, (3, None), errors.UnknownNameError),
        (Linear, (3, ["relu"]), errors.UnknownNameError),
        (Linear, (3, "relu", np.inf), errors.SettingError),
        (Linear, (3, "leaky_relu", 1e-60), errors.SettingError),  # 0 in float32
        (Linear, (3, "leaky_relu", 1e39), errors.SettingError),  # infinite there
        (BatchNorm2d, {"eps": 1e-60}, errors.SettingError),
        (Linear, {"units": 3, "bias": 1}, errors.SettingError),
        (ComplexLinear, (0,), errors.SettingError),
        (ComplexLinear, {"units": 2, "real": 2}, errors.SettingError),
        (ComplexConv2d, {"filters": 2, "bias": True}, errors.SettingError),
        (Conv2d, (0,), errors.SettingError),
        (Conv2d, (3, (3, 3, 3)), errors.SettingError),
        (Conv2d, (3, 3.0), errors.SettingError),
        (MaxPool2d, (np.float64(2),), errors.SettingError),
        (AdaptiveAvgPool2d, (1, 0), errors.SettingError),
        (Dropout, ("half",), errors.SettingError),
        (Dropout, (np.nan,), errors.SettingError),
        (BatchNorm2d, {"eps": "small"}, errors.SettingError),
        (BatchNorm2d, {"statistics": None}, errors.UnknownNameError),
        (Sequential, ((Linear,),), errors.SettingError),
        (Residual, ((Linear(3), "relu"),), errors.SettingError),
        (Network, ([Linear], (3,)), errors.SettingError),
        (Network, (5, (3,)), errors.SettingError),
        (Network, (None, (3,)), errors.SettingError),
        (Network, ([Linear(3)], 5), errors.ShapeError),
        (Network, ([Linear(3)], ()), errors.ShapeError),
        (Network, ([Linear(3)], (0,)), errors.ShapeError),
        (Network, ([Linear(3)], (2.5,)), errors.ShapeError),
        (Network, ([Flatten(), Linear(3)], (0, 4, 1)), errors.ShapeError),
        (models.mlp, ((0, 5, 2),), errors.ShapeError),
        (Network, {**PLAIN, "dtype": None}, errors.SettingError),
        (Network, {**PLAIN, "dtype": "floaty"}, errors.SettingError),
        (Network, {**PLAIN, "dtype": np.int32}, errors.SettingError),
        (Network, {**PLAIN, "seed": 1.5}, errors.SettingError),
        (Network, {**PLAIN, "seed": "a"}, errors.SettingError),
        (Network, {**PLAIN, "init": None}, errors.UnknownNameError),
        (Network, {**PLAIN, "loss": 5}, errors.UnknownNameError),
        (Network, {**PLAIN, "loss": losses.Loss()}, errors.UnknownNameError),
        (Network, {**PLAIN, "backend": None}, errors.UnknownNameError),
        (Network, {**PLAIN, "backend": ["cpu"]}, errors.UnknownNameError),
    ],
)
def test_impossible_settings_are_named(build, given, error):
    with pytest.raises(error):
        build(**given) if isinstance(given, dict) else build(*given)


def test_what_is_plain_is_taken(untyped):
    net = untyped(Network)(Linear(3), (4,), "reference", np.float64, loss=losses.SquaredError())
    assert isinstance(net.layers[0], Layer) and net.loss_name == "squared_error"
    assert net.dtype == np.float64


def test_a_key_is_a_number_whoever_wrote_it():
    keys = [(3, -1, 2**63), (np.int8(3), np.int64(-1), np.uint64(2**63))]
    first, second = (generator(*key).random(3) for key in keys)
    assert np.array_equal(first, second)


def test_a_sparse_network_keeps_one_buffer_a_layer(backend, rng):
    net = Network([Linear(6), Linear(K)], (INPUTS,), backend, "float64")
    sparse = SparseNetwork(net)
    x = rng.normal(size=(40, INPUTS))
    sparse.forward(x)
    held = sparse.nbytes
    assert held == 40 * (6 + K) * 8
    for n in range(1, 40):
        whole, part = sparse.forward(x), sparse.forward(x[:n])
        np.testing.assert_allclose(net.device.get(part), net.device.get(whole)[:n], atol=1e-12)
    assert sparse.nbytes == held


@pytest.mark.parametrize("kind", [SGD(0.1), SGD(0.1, 0.9), Adam(), RMSprop(), Adadelta()])
def test_an_optimizer_looks_at_its_vectors(backend, kind, untyped):
    ops = get_backend(backend)
    put = ops.device.put
    theta, grad = put(np.ones(6)), put(np.ones(6))
    state = kind.state(6, np.float64, ops.device)
    for wrong in (put(np.ones(5)), put(np.ones((6, 1))), put(np.ones(1)), [1.0] * 6):
        with pytest.raises(errors.ShapeError, match="grad"):
            kind.step(ops, theta, wrong, state, 1)
        for name in state:
            with pytest.raises(errors.ShapeError, match=name):
                kind.step(ops, theta, grad, state | {name: wrong}, 1)
        with pytest.raises(errors.ShapeError, match="gain"):
            kind.step(ops, theta, grad, state, 1, Streams(gain=untyped(wrong)))
    with pytest.raises(errors.DtypeError, match="grad"):
        kind.step(ops, theta, put(np.ones(6, np.float32)), state, 1)
    with pytest.raises(errors.ShapeError, match="contiguous"):
        kind.step(ops, theta, put(np.ones(12))[::2], state, 1)
    with pytest.raises(errors.ShapeError, match="writes into it"):
        kind.step(ops, put(np.ones(12))[::2], grad, state, 1)
    assert (ops.device.get(theta) == 1).all()
    kind.step(ops, theta, grad, state, 1)
    assert (ops.device.get(theta) < 1).all()


def test_a_layout_looks_at_its_vector():
    net = Network([Linear(K)], (INPUTS,), "reference")
    with pytest.raises(errors.ShapeError, match="this layout's"):
        net.layout.view(np.zeros(net.num_parameters + 1), "0.bias")


@pytest.mark.parametrize("layers", [[Linear(10**18)], [Linear(10**4000)], [Rotation(), Linear(2)]])
def test_a_network_that_no_memory_could_hold_is_refused(layers, backend):
    with pytest.raises(errors.OutOfMemoryError, match="smaller layers"):
        Network(layers, (10**10,), backend)
