"""Superposition: contexts, models in and out, and what training under contexts must keep."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels.errors import SettingError, UnknownNameError
from weightspace.kernels.spec import relative_error
from weightspace.methods import Naive, Superposition, Task, contexts, fit
from weightspace.nnlite import (
    AvgPool2d,
    BatchNorm2d,
    ComplexConv2d,
    ComplexLinear,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    models,
)
from weightspace.nnlite.optim import Adam

KINDS = tuple(contexts.KINDS)
LAYERS = (Linear(20, "relu"), Linear(16, "tanh"), Linear(4))


def network(layers=LAYERS, shape=(12,), dtype="float64", backend="cpu") -> Network:
    return Network(layers, shape, backend=backend, dtype=dtype, seed=5)


def test_contexts_of_ones_are_the_plain_network_bit_for_bit(backend, rng, blob_tasks):
    plain = network(dtype="float32", backend=backend)
    net = Superposition("binary").wrap(plain)
    for context in net.state.values():
        context[...] = 1
    x, y = rng.normal(size=(9, 12)).astype("f"), rng.integers(0, 4, 9)
    v = rng.normal(size=net.num_parameters).astype("f")
    assert net.num_parameters == plain.num_parameters
    assert (net.forward(x) == plain.forward(x)).all()
    assert (net.jvp(x, v) == plain.jvp(x, v)).all()
    for ours, theirs in zip(net.loss_and_grad(x, y), plain.loss_and_grad(x, y), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_retrieved_model_answers_as_under_its_context(kind, rng):
    method = Superposition(kind)
    net = method.wrap(network())
    x = rng.normal(size=(6, 12))
    for number in (0, 3):
        method.select(net, number, None)
        expected = net.forward(x)
        assert relative_error(method.retrieve(number).forward(x), expected) <= 1e-12


def test_a_retrieved_convolutional_model_answers_as_under_its_context(rng):
    layers = (Conv2d(6, 3, 1, 1, "relu"), Conv2d(5, 3, 2), Flatten(), Linear(4))
    method = Superposition("binary")
    net = method.wrap(network(layers, (8, 8, 3)))
    x = rng.normal(size=(3, 8, 8, 3))
    method.select(net, 2, None)
    assert relative_error(method.retrieve(2).forward(x), net.forward(x)) <= 1e-12


@pytest.mark.parametrize("kind", ["complex", "onepower"])
def test_a_superposed_complex_cnn_keeps_its_models_apart(kind, rng):
    pooled = (Conv2d(6, 3, 1, 1, "relu"), MaxPool2d(2), Conv2d(5, 3, 2), GlobalAvgPool(), Linear(4))
    flat = (Conv2d(6, 3, 1, 1, "relu"), AvgPool2d(2), Conv2d(5, 3, 2), Flatten(), Linear(4))
    for layers in (pooled, flat):
        method = Superposition(kind)
        net = method.wrap(network(layers, (8, 8, 3)))
        x = rng.normal(size=(3, 8, 8, 3))
        answers = []
        for number in (1, 2):
            method.select(net, number, None)
            answers.append(net.forward(x))
            back = method.retrieve(number)
            assert relative_error(back.forward(x), answers[-1]) <= 1e-12
        assert relative_error(*answers) > 0.1
        method.store([back])
        method.select(net, 0, None)
        assert relative_error(net.forward(x), answers[-1]) <= 1e-12


def test_a_complex_convolution_is_numpys(rng):
    """y = x * (c W) in complex numbers, on the whole image at once."""
    net = Network([ComplexConv2d(3, (4, 5)), Flatten()], (4, 5, 4), dtype="float64")
    c, w = net.state["0.context"], net.layout.view(net.theta, "0.weight")
    c[...] = rng.normal(size=c.shape)
    x = rng.normal(size=(6, 4, 5, 4))
    kernel = (w[:, 0] + 1j * w[:, 1]) * (c[0] + 1j * c[1])
    expected = np.einsum("nhwc,ohwc->no", x[..., :2] + 1j * x[..., 2:], kernel)
    found = net.forward(x)
    assert relative_error(found, np.concatenate([expected.real, expected.imag], axis=1)) <= 1e-13


def test_a_complex_convolution_of_one_pixel_is_the_dense_layer(rng):
    conv = Network([ComplexConv2d(3, 1, activation="tanh"), Flatten()], (1, 1, 8), "reference",
                   "float64")  # fmt: skip
    dense = Network([ComplexLinear(3, "tanh"), Flatten()], (2, 4), "reference", "float64")
    conv.theta[...] = dense.theta
    x, u = rng.normal(size=(5, 8)), rng.normal(size=(2, 5, 6))
    pictures, planes = x.reshape(5, 1, 1, 8), x.reshape(5, 2, 4)
    for power in (0, 1, 2):  # 0: the absolute signal
        found = []
        for net, given in ((conv, pictures), (dense, planes)):
            found.append(np.zeros(net.num_parameters))
            if power:
                net.accumulate(net.trace(given), u, found[-1], power)
            else:
                net.signal(net.trace(given), found[-1])
        assert relative_error(*found) <= 1e-13


def test_every_convolution_of_a_resnet_but_the_first_gets_a_context():
    net = Superposition("binary", first=False).wrap(models.resnet20())
    contexts = [name for name in net.state if name.endswith("context")]
    weights = [n for n in net.layout if n.endswith("weight") and len(net.layout.shape(n)) in (2, 4)]
    assert len(contexts) == len(weights) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_follow_from_seed_layer_and_number_alone(kind):
    first, second = Superposition(kind), Superposition(kind)
    one, two = first.wrap(network()), second.wrap(network())
    first.select(one, 7, None)
    first.select(one, 2, None)
    second.select(two, 2, None)
    for name in one.state:
        assert (one.state[name] == two.state[name]).all()
    names = [name for name in one.state if name.endswith("context")]
    assert not np.array_equal(one.state[names[0]].ravel()[:12], one.state[names[1]].ravel()[:12])


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_turn_but_do_not_stretch(kind):
    method = Superposition(kind)
    net = method.wrap(network())
    method.select(net, 3, None)
    for context in net.state.values():
        if kind in ("binary",):
            assert set(np.unique(context)) <= {-1.0, 1.0}
        elif kind in ("complex", "onepower"):
            assert (
                relative_error(context[0] ** 2 + context[1] ** 2, np.ones(context.shape[1])) < 1e-12
            )
        else:
            assert relative_error(context @ context.T, np.eye(len(context))) < 1e-12


def test_a_kind_is_one_record(monkeypatch, rng):
    """Signs of size 2 at no cost, entered in the table alone: every use of a kind follows."""
    signs = contexts.KINDS["binary"]
    toy = signs._replace(
        draw=lambda *given: 2 * signs.draw(*given), inverse=lambda c: 1 / c, kept=lambda shape: 0
    )
    monkeypatch.setitem(contexts.KINDS, "toy", toy)
    method = Superposition("toy")
    net, other, x = method.wrap(network()), network(), rng.normal(size=(6, 12))
    assert (abs(net.state["0.context"]) == 2).all() and method.persistent_bytes() == 0
    assert relative_error(method.retrieve(0).forward(x), net.forward(x)) <= 1e-12
    other.initialise(9)
    stored, given = (n.layout.view(n.theta, "0.weight") for n in (method.store([other]), other))
    assert relative_error(abs(stored), abs(given) / 2) <= 1e-12
    assert relative_error(method.retrieve(0).forward(x), other.forward(x)) <= 1e-12


def test_powers_of_one_context():
    method = Superposition("onepower")
    net = method.wrap(network())
    turned = []
    for number in (1, 2, 3):
        method.select(net, number, None)
        c = net.state["0.context"]
        turned.append(c[0] + 1j * c[1])
    assert relative_error(np.abs(turned[1] - turned[0] ** 2), np.zeros(12)) < 1e-12
    assert relative_error(np.abs(turned[2] - turned[0] * turned[1]), np.zeros(12)) < 1e-12


@pytest.mark.parametrize(
    ("kind", "per_task"),
    # M of each layer, summed: 12, 20 and 16 inputs; Table 1 of the paper
    [("binary", 48), ("complex", 48), ("onepower", 3), ("rotation", 144 + 400 + 256),
     ("rotation-block", 144 + 400 + 256), ("permutation", 48)],
)  # fmt: skip
def test_what_a_task_costs_is_table_1(kind, per_task):
    method = Superposition(kind)
    method.wrap(network())
    none = np.zeros((0, 12)), np.zeros(0, int)
    bytes_of, nothing = {}, Task("nothing", lambda: none, lambda: none)
    for task in (0, 1, 4):
        method.begin_task(method.network, task, nothing, 1)
        method.select(method.network, 7, None)  # a test of a task to come: nothing is kept for it
        bytes_of[task] = method.persistent_bytes()
    assert bytes_of[1] - bytes_of[0] == 8 * per_task
    assert bytes_of[4] - bytes_of[0] == 4 * 8 * per_task
    once = 48 if kind == "onepower" else 0  # the phases whose powers the contexts are
    assert bytes_of[0] == 8 * (once + per_task)


def test_schedules_by_step():
    method = Superposition("complex", schedule="step", every=100, period=10)
    assert [method.number(0, step) for step in (0, 99, 100, 950, 1000)] == [0, 0, 1, 9, 0]
    assert method.number(3, None) == 0
    assert Superposition().number(3, 77) == 3


def test_a_mixed_context_lies_between_its_neighbours():
    plain = Superposition("complex", schedule="step", every=1, period=4)
    mixed = Superposition("complex", schedule="step", every=1, period=4, mix=True)
    net = plain.wrap(network())
    other = mixed.wrap(network())
    phases = []
    for step in (3, 0, 1):
        plain.select(net, 0, step)
        c = net.state["0.context"]
        phases.append(np.arctan2(c[1], c[0]))
    mixed.select(other, 0, 0)
    c = other.state["0.context"]
    expected = np.mean(phases, axis=0)
    assert relative_error(np.stack([np.cos(expected), np.sin(expected)]), c) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_models_stored_after_the_fact_come_back_with_noise(kind, rng):
    """One stored model comes back exactly; of three, each is disturbed by the other two."""
    wide = (Linear(200, "relu"), Linear(4))
    method = Superposition(kind)
    method.wrap(network(wide, (300,)))
    if kind in ("complex", "onepower"):
        trained = []
        for seed in range(3):
            other = method.retrieve(0).like()
            other.initialise(seed + 50)
            trained.append(other)
    else:
        trained = [Network(wide, (300,), dtype="float64", seed=seed + 50) for seed in range(3)]
    x = rng.normal(size=(5, 300))
    method.store(trained[:1])
    assert relative_error(method.retrieve(0).forward(x), trained[0].forward(x)) < 1e-10
    method.store(trained)
    for number, model in enumerate(trained):
        back = method.retrieve(number)
        ours, theirs = (net.layout.view(net.theta, "0.weight") for net in (back, model))
        cosine = (ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert 0.4 < cosine < 0.75  # 1 / sqrt(3) for contexts that have nothing in common


@pytest.mark.parametrize("kind", ["binary", "complex", "rotation"])
def test_later_tasks_disturb_less_than_without_contexts(kind, blob_tasks):
    wide = (Linear(256, "relu"), Linear(4))

    def kept(method):
        net = Network(wide, (12,), seed=2)
        result = fit(net, blob_tasks, method, optimizer=Adam(3e-3), epochs=20, batch_size=32)
        return result.acc

    assert kept(Superposition(kind)) > kept(Naive()) + 0.02


def test_a_stopped_run_goes_on_to_the_same_bits(blob_tasks, tmp_path):
    from weightspace.methods import Observer

    class Stop(Observer):
        def saved(self, step):
            if step == 22:
                raise KeyboardInterrupt

    def run(method, **more):
        fit(network(), blob_tasks, method, epochs=4, batch_size=32, **more)
        return method.network.theta

    for learned in (False, True):
        make = {"kind": "binary", "schedule": "step", "every": 4, "period": 3, "learned": learned}
        whole = run(Superposition(**make))
        keep = {"checkpoint": tmp_path / f"{learned}.safetensors", "checkpoint_every": 6}
        with pytest.raises(KeyboardInterrupt):
            run(Superposition(**make), observer=Stop(), **keep)
        assert (run(Superposition(**make), resume=True, **keep) == whole).all()


def test_learned_contexts_move_and_come_back(blob_tasks):
    method = Superposition("binary", learned=True)
    net = fit(network(), blob_tasks, method, epochs=2, batch_size=32).network
    assert net is method.network and net.num_parameters > network().num_parameters
    method.select(net, 0, None)
    context = net.layout.view(net.theta, "0.context").copy()
    assert np.abs(np.abs(context) - 1).max() > 1e-4  # trained away from the signs
    method.select(net, 1, None)
    method.select(net, 0, None)
    assert (net.layout.view(net.theta, "0.context") == context).all()


def test_what_cannot_have_contexts_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'binary'"):
        Superposition("binarry")
    with pytest.raises(SettingError, match="complex"):
        Superposition("binary", mix=True)
    images = (Conv2d(4), GlobalAvgPool(), Linear(3))
    for layer in (BatchNorm2d(), Residual((Conv2d(3, 3, 1, 1),))):
        with pytest.raises(SettingError, match=type(layer).__name__):
            Superposition("complex").wrap(network((layer, *images), (8, 8, 3)))
    with pytest.raises(SettingError, match="ends in a Linear"):
        Superposition("complex").wrap(network(images[:-1], (8, 8, 3)))
    with pytest.raises(SettingError, match="binary"):
        Superposition("rotation").wrap(network(images, (8, 8, 3)))
