"""Whole networks, methods and checkpoints on CUDA sources, run by the host launcher.

Small networks: the launcher runs one thread after another. What is checked is what a GPU would
get: the same numbers as the reference, the same bits whether a step is captured or not, and no
traffic between host and device inside the training loop.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from weightspace import methods
from weightspace.kernels import get_backend
from weightspace.kernels.errors import DtypeError, LabelError, OutOfMemoryError, ShapeError
from weightspace.methods.correlation import ImportanceProbe
from weightspace.methods.fit import Observer
from weightspace.nnlite import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    Sequential,
    check_layer,
)
from weightspace.nnlite.optim import Adam

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="the host launcher compiles CUDA sources with g++"
)

MLP = (Linear(9, "tanh"), Linear(8, "leaky_relu"), Linear(4))
IMAGES = (
    Conv2d(5, 3, padding="same", bias=False),
    BatchNorm2d(activation="relu"),
    MaxPool2d(2),
    Residual((Conv2d(6, 3, stride=2, padding=1), BatchNorm2d()), (Conv2d(6, 1, stride=2),)),
    AvgPool2d(2),
    Flatten(),
    Linear(4),
)
KINDS = {"mlp": (MLP, (12,)), "images": (IMAGES, (8, 8, 3))}


def pair(kind: str, dtype: str = "float64", **settings) -> tuple[Network, Network]:
    """The same network on the host launcher and on the reference."""
    layers, shape = KINDS[kind]
    return tuple(  # type: ignore[return-value]
        Network(layers, shape, backend=backend, dtype=dtype, seed=3, **settings)
        for backend in ("cuda-host", "reference")
    )


def batch(net: Network, n: int = 7, seed: int = 0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *net.input_shape)).astype(net.dtype)
    return x, rng.integers(0, net.num_outputs, n)


def close(found, expected, allowed=1e-11):
    expected = np.asarray(expected)
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() <= allowed * max(scale, 1e-30)


@pytest.mark.parametrize("kind", KINDS)
def test_every_verb_agrees_with_the_reference(kind):
    ours, theirs = pair(kind)
    get = ours.device.get
    x, y = batch(ours)
    rng = np.random.default_rng(1)
    v, u = rng.normal(size=ours.num_parameters), rng.normal(size=(len(x), ours.num_outputs))
    assert (get(ours.theta) == theirs.theta).all()
    for mode in ("train", "eval"):
        (loss, grad), (loss2, grad2) = (n.loss_and_grad(x, y, mode=mode) for n in (ours, theirs))
        assert abs(loss - loss2) <= 1e-12
        close(get(grad), grad2)
        close(get(ours.jvp(x, v, mode)), theirs.jvp(x, v, mode))
        close(get(ours.vjp(x, u, mode)), theirs.vjp(x, u, mode))
    for name in ours.state:
        close(get(ours.state[name]), theirs.state[name])
    close(get(ours.forward(x)), theirs.forward(x))
    close(get(ours.sample_grads(x, y)), theirs.sample_grads(x, y))
    close(get(ours.input_grad(x, y)), theirs.input_grad(x, y))


def test_layers_keep_every_identity():
    shortcut = Residual((Conv2d(3, 3, padding=1), BatchNorm2d()), (Conv2d(3, 1),))
    check_layer(Linear(5, "tanh"), (6,), backend="cuda-host")
    check_layer(Sequential((shortcut, MaxPool2d(2))), (4, 4, 2), backend="cuda-host")


@pytest.mark.parametrize("kind", KINDS)
def test_importances_agree_with_the_reference(kind):
    ours, theirs = pair(kind)
    x, y = batch(ours, 9)
    for measure in (
        lambda net: methods.importance.fisher(net, x, kind="true"),
        lambda net: methods.importance.fisher(net, x, kind="sampled", batch=4),
        lambda net: methods.importance.fisher(net, x, y, kind="empirical"),
        lambda net: methods.importance.mas(net, x),
        lambda net: methods.importance.mas(net, x, "logits", np.array([1, 1, 0, 1], bool)),
        lambda net: methods.importance.sig(net, x),
    ):
        close(ours.device.get(measure(ours)), measure(theirs))


def test_a_device_array_is_taken_as_it_is():
    ours, theirs = pair("mlp")
    x, y = batch(ours)
    put = ours.device.put
    loss, _ = ours.loss_and_grad(put(x), put(y))
    assert abs(loss - theirs.loss_and_grad(x, y)[0]) <= 1e-12


def test_wrong_input_is_named():
    ours, _ = pair("mlp", "float32")
    x, y = batch(ours)
    with pytest.raises(DtypeError, match="astype"):
        ours.forward(x.astype(np.float64))
    with pytest.raises(LabelError, match="outputs"):
        ours.loss_and_grad(x, y + 9)
    with pytest.raises(ShapeError, match="memory of 'cuda-host'"):
        ours.loss_and_grad(x, y, np.empty(ours.num_parameters, np.float32))


def test_a_bad_label_on_the_device_shows_in_the_loss():
    ours, _ = pair("mlp", "float32")
    x, y = batch(ours)
    y[2] = 77
    loss, _ = ours.loss_and_grad(x, ours.device.put(y))
    assert np.isnan(loss)


def test_want_of_memory_says_what_was_planned(monkeypatch):
    ours, _ = pair("mlp", "float32")
    x, y = batch(ours, 64)

    def full(*_):
        raise OutOfMemoryError("the GPU has no room")

    monkeypatch.setattr(type(ours.device), "empty", full)
    asked = rf"no room.*64 samples asks for {ours.plan(64) / 2**20:.1f} MiB \(plan\(64\)\)"
    with pytest.raises(OutOfMemoryError, match=asked):
        ours.loss_and_grad(x, y)


METHODS = [
    methods.Naive(),
    methods.Joint(),
    methods.EWC(lam=5.0, penalty="separate"),
    methods.EWC(lam=5.0),
    methods.EWC(lam=5.0, penalty="merged", samples=50, stabilised=True),
    methods.SI(lam=0.5),
    methods.SI(lam=0.5, gradient="total", clamp="task"),
    methods.SIG(lam=0.5),
    ImportanceProbe(lam=0.5),
    methods.MAS(lam=0.5),
    methods.WVA(lam=0.5),
    methods.GEM(memories=20),
    methods.AGEM(memories=20, batch=16),
    methods.Replay(memories=20),
    methods.DERPP(memories=20),
    methods.LwF(),
    methods.XdG(),
    methods.PackNet(),
]


def learn(backend: str, tasks, method, **settings):
    net = Network((Linear(16, "relu"), Dropout(0.2), Linear(4)), (12,), backend, "float64", seed=1)
    result = methods.fit(
        net, tasks, method, optimizer=Adam(1e-2), batch_size=32, seed=4, **settings
    )
    return net, result


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.name} {getattr(m, 'penalty', '')}")
def test_every_method_learns_as_on_the_reference(method, blob_tasks):
    settings = {"epochs": 3, "eval_every": 5}
    ours, result = learn("cuda-host", blob_tasks, method, **settings)
    theirs, expected = learn("reference", blob_tasks, method, **settings)
    close(ours.device.get(ours.theta), theirs.theta, 1e-8)
    np.testing.assert_allclose(result.losses, expected.losses, rtol=1e-8)
    assert (result.R == expected.R).all()
    assert ours.draws == theirs.draws


def test_a_captured_step_gives_the_bits_of_a_plain_one(blob_tasks):
    class Watching(methods.Naive):
        """A hook that changes nothing keeps steps from being captured."""

        def adjust(self, net, grad):
            pass

    captured, plain = (
        learn("cuda-host", blob_tasks, m, epochs=3)[0] for m in (methods.Naive(), Watching())
    )
    assert (captured.device.get(captured.theta) == plain.device.get(plain.theta)).all()


@pytest.mark.parametrize("hooked", [False, True])
def test_batches_from_the_host_may_be_new_arrays_each_time(blob_tasks, hooked):
    """A captured step reads its batch where the first one lay."""

    class Watching(methods.Naive):
        def adjust(self, net, grad):
            pass

    method = Watching() if hooked else methods.Naive()

    def run(backend):
        def augment(x, key):
            host = np.array(x) if backend == "reference" else x.get()
            return host + 0.01 * key[2]

        return learn(backend, blob_tasks[:1], method, epochs=4, augment=augment)[0]

    ours, theirs = run("cuda-host"), run("reference")
    close(ours.device.get(ours.theta), theirs.theta, 1e-8)


def test_a_stopped_run_goes_on_to_the_same_bits(blob_tasks, tmp_path):
    class Stop(Observer):
        def saved(self, step):
            if step == 6:
                raise KeyboardInterrupt

    whole, _ = learn("cuda-host", blob_tasks, methods.EWC(lam=5.0), epochs=3)
    keep = {"checkpoint": tmp_path / "run.safetensors", "checkpoint_every": 6, "epochs": 3}
    with pytest.raises(KeyboardInterrupt):
        learn("cuda-host", blob_tasks, methods.EWC(lam=5.0), observer=Stop(), **keep)
    resumed, _ = learn("cuda-host", blob_tasks, methods.EWC(lam=5.0), resume=True, **keep)
    assert (resumed.device.get(resumed.theta) == whole.device.get(whole.theta)).all()


def test_a_network_moves_between_backends_by_file(tmp_path):
    ours = pair("images")[0]
    x, y = batch(ours)
    ours.loss_and_grad(x, y, mode="train")
    ours.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors", "reference")
    close(again.forward(x), ours.device.get(ours.forward(x)))
    assert again.draws == ours.draws == 1
    assert Network.load(tmp_path / "net.safetensors", "cuda-host").num_parameters


def test_the_training_loop_moves_no_data(blob_tasks, monkeypatch):
    """Between the start of a task and its end only the epoch's order and the losses travel."""
    device = type(get_backend("cuda-host").device)
    moved: dict[str, list[int]] = {"put": [], "get": []}
    for name, sizes in moved.items():
        plain = getattr(device, name)

        def count(self, array, plain=plain, name=name, sizes=sizes):
            if name == "get" or isinstance(array, np.ndarray):
                sizes.append(array.nbytes)
            return plain(self, array)

        monkeypatch.setattr(device, name, count)
    learn("cuda-host", blob_tasks[:1], methods.Naive(), epochs=1)
    once = {name: list(sizes) for name, sizes in moved.items()}
    for sizes in moved.values():
        sizes.clear()
    learn("cuda-host", blob_tasks[:1], methods.Naive(), epochs=11)
    orders = 10 * blob_tasks[0].train_size * 8
    assert sum(moved["put"]) - sum(once["put"]) == orders
    assert len(moved["get"]) - len(once["get"]) <= 1  # 44 losses are read as one array
