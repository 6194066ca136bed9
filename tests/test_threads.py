"""One network asked from several Python threads, and several questions open in one of them."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import importance
from weightspace.nnlite import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    SparseNetwork,
)

K = 4


@pytest.fixture
def backend(host_backend) -> str:
    return host_backend


NETS = {
    "dense": ([Linear(70, "relu"), Linear(30, "tanh"), Linear(K)], (20,)),
    "images": (
        [
            Conv2d(9, 3, 1, 1, "relu"), BatchNorm2d(), MaxPool2d(2), Dropout(0.5), Flatten(),
            Linear(K),
        ],
        (8, 8, 3),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def often():
    """Threads take turns every 10 us: what can be torn, is."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def made(kind="dense", backend="reference", seed=3) -> Network:
    layers, shape = NETS[kind]
    return Network(layers, shape, backend, "float64", seed=seed)


def batches(net, count=40):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, count)
    return [
        (rng.normal(size=(n, *net.input_shape)), rng.integers(0, K, n), rng.normal(size=(n, K)))
        for n in sizes
    ]


QUESTIONS = {
    "forward": lambda net, x, y, u: net.forward(x),
    "jvp": lambda net, x, y, u: net.jvp(x, net.theta),
    "vjp": lambda net, x, y, u: net.vjp(x, u),
    "sample_grads": lambda net, x, y, u: net.sample_grads(x, y),
    "loss_and_grad": lambda net, x, y, u: net.loss_and_grad(x, y, mode="eval")[1],
    "input_grad": lambda net, x, y, u: net.input_grad(x, y),
    "fisher": lambda net, x, y, u: importance.fisher(net, x),
    "activations": lambda net, x, y, u: np.concatenate(
        [a.reshape(len(x), -1) for a in net.activations(x)], axis=1
    ),
}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_any_number_of_threads_get_the_right_answers(backend, kind, question):
    net, ask = made(kind, backend), QUESTIONS[question]
    given = batches(net, 12 if backend == "cuda-host" else 40)
    get = net.device.get
    alone = [get(ask(net, *one)).copy() for one in given]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: get(ask(net, *one)), given))
    for one, expected in zip(found, alone, strict=True):
        assert np.array_equal(one, expected)


def test_a_sparse_network_is_asked_from_several_threads(backend):
    net = made("images", backend)
    net.theta[:10] = 0
    sparse, given = SparseNetwork(net), batches(net, 12)
    alone = [net.device.get(sparse.forward(x)).copy() for x, *_ in given]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: net.device.get(sparse.forward(one[0])), given))
    assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))


def test_passes_in_mode_train_take_turns():
    """Every pass has a draw of its own, and each moves the running statistics once."""
    net, given = made("images"), batches(made("images"), 60)
    given = [(x, y) for x, y, _ in given if len(x) > 1]
    with ThreadPoolExecutor(6) as pool:
        losses = list(pool.map(lambda one: net.loss_and_grad(*one, mode="train")[0], given))
    assert net.draws == len(given)
    assert np.isfinite(losses).all()
    first = made("images")
    first.trace(given[0][0], "train")
    same = made("images")
    with ThreadPoolExecutor(6) as pool:  # equal batches: the order of the passes is of no matter
        list(pool.map(lambda _: same.trace(given[0][0], "train"), range(30)))
    step = first.state["1.mean"]
    expected = step / 0.1 * (1 - 0.9**30)
    np.testing.assert_allclose(same.state["1.mean"], expected, rtol=1e-9)


def test_two_generators_of_activations_do_not_mix():
    net = made("images")
    (a, *_), (b, *_) = batches(net, 2)
    apart = [[y.copy() for y in net.activations(x)] for x in (a, b)]
    mixed = []
    for one, other in zip(net.activations(a), net.activations(b), strict=True):
        net.forward(b)  # nor does a pass between
        mixed.append((one, other))
    for (one, other), first, second in zip(mixed, *apart, strict=True):
        assert np.array_equal(one, first) and np.array_equal(other, second)
    kept = list(net.activations(a)), list(net.activations(b))  # arrays of their own
    for rows, expected in zip(kept, apart, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(rows, expected, strict=True))


def test_activations_look_at_their_input_at_once():
    with pytest.raises(errors.ShapeError):
        made().activations(np.zeros((3, 7)))


def test_a_pass_belongs_to_the_thread_that_ran_it():
    net = made()
    x, _, u = batches(net, 1)[0]
    with ThreadPoolExecutor(1) as pool:
        saved = pool.submit(net.trace, x).result()
        with pytest.raises(errors.StaleError, match="thread"):
            net.pull(saved, u)
        pool.submit(net.pull, saved, u).result()
    with pytest.raises(errors.StaleError):  # nor to another network, of equally many passes
        other = made()
        other.trace(x)
        net.trace(x)
        net.pull(other.trace(x), u)


def test_a_thread_that_ends_frees_its_buffers():
    net = made()
    kept = []

    def ask():
        net.trace(batches(net, 1)[0][0])
        net.forward(batches(net, 1)[0][0])
        kept.extend(map(weakref.ref, (net.workspace, net._each.mine.replays)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert [ref() for ref in kept] == [None, None]
    before = net.workspace.nbytes
    net.trace(batches(net, 1)[0][0])
    assert net.workspace.nbytes > before


def test_a_network_is_freed_when_nobody_has_it():
    gc.collect()
    gc.disable()  # no cycle keeps its buffers for a later collection
    try:
        net = made()
        net.forward(batches(net, 1)[0][0])
        gone = weakref.ref(net.workspace)
        del net
        assert gone() is None
    finally:
        gc.enable()


def copies(net):
    yield copy.copy(net)
    yield copy.deepcopy(net)
    yield pickle.loads(pickle.dumps(net))
    yield net.like()


def test_copies_answer_alike_and_share_nothing(backend):
    net = made("images", backend)
    x, y, _ = batches(net, 3)[2]
    net.loss_and_grad(x, y, mode="train")
    get = net.device.get
    expected = get(net.forward(x)).copy()
    for twin in copies(net):
        assert type(twin) is Network and twin.layers == net.layers
        assert twin.draws == net.draws == 1
        assert np.array_equal(get(twin.forward(x)), expected)
        twin.theta[:] = twin.theta * 2
        twin.state["1.mean"][...] = twin.state["1.mean"] + 1
        assert not np.array_equal(get(twin.forward(x)), expected)
        assert np.array_equal(get(net.forward(x)), expected)
    sparse = pickle.loads(pickle.dumps(SparseNetwork(net)))
    assert np.array_equal(get(sparse.forward(x)), get(SparseNetwork(net).forward(x)))


def test_assigning_theta_moves_the_network(backend, tmp_path):
    net, other = made("images", backend), made("images", backend, seed=8)
    x, *_ = batches(net, 1)[0]
    get = net.device.get
    given = get(other.theta).copy()
    net.theta = given
    assert np.array_equal(get(net.forward(x)), get(other.forward(x)))
    given[:] = 0  # a copy
    assert np.array_equal(get(net.forward(x)), get(other.forward(x)))
    net.theta += 0.5
    other.theta[:] = other.theta + 0.5
    assert np.array_equal(get(net.forward(x)), get(other.forward(x)))
    mean = np.full(get(net.state["1.mean"]).shape, 0.25)
    net.state["1.mean"] = mean
    other.state["1.mean"][...] = net.device.put(mean)
    assert np.array_equal(get(net.forward(x)), get(other.forward(x)))


@pytest.mark.parametrize(
    ("assign", "error"),
    [
        (lambda net: setattr(net, "theta", np.zeros(3)), errors.ShapeError),
        (lambda net: setattr(net, "theta", net.theta.astype("f")), errors.DtypeError),
        (lambda net: setattr(net, "theta", [0.0] * net.num_parameters), errors.ShapeError),
        (lambda net: setattr(net, "state", {}), errors.SettingError),
        (lambda net: setattr(net, "layers", ()), errors.SettingError),
        (lambda net: setattr(net, "loss", "squared_error"), errors.SettingError),
        (lambda net: setattr(net, "dtype", "float32"), errors.SettingError),
        (lambda net: setattr(net, "mask", np.ones(K, bool)), errors.SettingError),
        (lambda net: setattr(net, "seed", 4), errors.SettingError),
        (lambda net: net.state.__setitem__("1.maen", np.zeros(9)), errors.UnknownNameError),
        (lambda net: net.state.__setitem__("1.mean", np.zeros(8)), errors.ShapeError),
        (lambda net: net.state.pop("1.mean"), errors.SettingError),
        (lambda net: setattr(net, "draws", 1.5), errors.SettingError),
    ],
)
def test_an_assignment_that_would_do_nothing_is_refused(assign, error):
    net = made("images")
    before = net.theta.copy()
    with pytest.raises(error):
        assign(net)
    assert np.array_equal(net.theta, before) and set(net.state) == {"1.mean", "1.var"}
