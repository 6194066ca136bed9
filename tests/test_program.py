"""Programs: what is recorded of a verb, that it does what the verb does, and what it needs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.kernels.spec import KERNELS
from weightspace.methods import fip, importance
from weightspace.nnlite import (
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
    Layer,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    Rotation,
    models,
    optim,
)
from weightspace.nnlite.program import Call, Place, Program, View, cost, record
from weightspace.nnlite.program.plan import Span, packed
from weightspace.nnlite.step import TrainingStep

IMAGE, N = (8, 8, 4), 6
NETS = {
    "mlp": ([Linear(9, "tanh"), Linear(5)], (7,)),
    "deep": ([Linear(9, "relu"), Linear(8, "sigmoid"), Linear(5, "leaky_relu"), Linear(3)], (7,)),
    "cnn": ([Conv2d(6, 3, padding="same", activation="relu"), MaxPool2d(2), Conv2d(4, 3, stride=2),
             AvgPool2d(1), Flatten(), Linear(3)], IMAGE),
    "norms": ([Conv2d(4, 3), BatchNorm2d(activation="relu"), Dropout(0.3), Flatten(), Linear(4)],
              IMAGE),
    "of the batch": ([BatchNorm2d(statistics="batch"), Flatten(), Linear(3)], IMAGE),
    "separable": ([Conv2d(4, 3, 2, ((0, 1), (1, 0)), "relu"), Conv2d(4, 3, 1, "same", groups=4),
                   Conv2d(6, 1, groups=2), Conv2d(4, 2, dilation=2), Flatten(), Linear(3)], IMAGE),
    "residual": ([Residual((Conv2d(4, 3, padding="same"), BatchNorm2d()), (Conv2d(4, 1),)),
                  Residual((Conv2d(4, 3, padding="same"),)), Flatten(), Linear(3)], IMAGE),
    "superposed": ([ContextLinear(9, "relu"), Rotation(), Context(), Linear(3)], (7,)),
    "superposed cnn": ([ContextConv2d(4, 3, activation="relu"), Flatten(), Linear(3)], IMAGE),
    "complex": ([ComplexLinear(6, "relu"), ComplexLinear(3, real=True)], (7,)),
    "complex cnn": ([ComplexConv2d(3, 3), ComplexFlatten(), ComplexLinear(3, real=True)], IMAGE),
}  # fmt: skip


def made(name, backend="reference", dtype="float64", loss="cross_entropy"):
    layers, shape = NETS[name]
    net = Network(layers, shape, backend, dtype, seed=3, loss=loss)
    rng = np.random.default_rng(5)
    for key, array in net.state.items():
        net.state[key] = (array + rng.uniform(0, 0.5, array.shape)).astype(dtype)
    return net


def batch(net, n=N, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *net.input_shape)).astype(net.dtype)
    if net.loss_name == "squared_error":
        return x, rng.normal(size=(n, net.num_outputs)).astype(net.dtype)
    return x, rng.integers(0, net.num_outputs, n)


def eager(net):
    """The network, whose verbs run as they are."""
    net.programs.get = lambda *_: None
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_a_replay_has_the_bits_of_the_verbs(backend, name, dtype):
    ours, plain = made(name, backend, dtype), eager(made(name, backend, dtype))
    x, y = batch(ours)
    rng = np.random.default_rng(1)
    v = rng.normal(size=ours.num_parameters).astype(dtype)
    u = rng.normal(size=(N, ours.num_outputs)).astype(dtype)
    active = np.arange(ours.num_outputs) <= y.max()
    for mode in ("train", "eval") if ours.moded else ("eval",):
        for ask in (
            lambda net, m: net.forward(x, m),
            lambda net, m: net.loss_and_grad(x, y, active=active, mode=m)[1],
            lambda net, m: net.jvp(x, v, m),
            lambda net, m: net.vjp(x, u, m),
            lambda net, m: net.losses(x, y, active),
        ):
            assert np.array_equal(ask(ours, mode), ask(plain, mode))
    assert all(np.array_equal(ours.state[key], plain.state[key]) for key in ours.state)
    assert ours.draws == plain.draws


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1), optim.SGD(0.1, 0.9), optim.Adam(),
                                       optim.RMSprop(), optim.Adadelta()], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", ["mlp", "norms", "residual", "complex cnn"])
def test_many_steps_in_one_call_are_those_steps(backend, name, optimizer):
    """On rows of all samples, with streams, and with draws and Adam's counts going on."""
    found = []
    for way in ("many", "one by one", "eager"):
        net = made(name, backend, "float32")
        if way == "eager":
            eager(net)
        x, y = batch(net, 40)
        rng = np.random.default_rng(2)
        vectors = rng.uniform(0.1, 1, (4, net.num_parameters)).astype("f")
        omega, anchor, gain, path = vectors
        streams = optim.Streams(omega, anchor, 0.3, path, gain)
        moments = optimizer.state(net.num_parameters, net.dtype)
        step = TrainingStep(net, optimizer, moments, streams)
        rows = rng.permutation(40)
        losses = []
        if step.many and way == "many":
            step.queue_many(x, y, rows[:24], np.array([8, 8, 8]), 1)
            step.queue_many(x, y, rows[24:], np.array([8, 5, 3]), 4)
            losses = step.read()
        else:
            for i, part in enumerate(np.split(rows, [8, 16, 24, 32, 37])):
                step.queue(x[part], y[part], i + 1)
                losses += step.read()
        kept = [*net.state.values(), *moments.values(), np.zeros(1)]
        state = np.concatenate([array.ravel() for array in kept])
        found.append((net.theta.copy(), path.copy(), state, net.draws, losses))
    for other in found[1:]:
        for one, same in zip(found[0][:4], other[:4], strict=True):
            assert np.array_equal(one, same)
        assert np.allclose(found[0][4], other[4], rtol=1e-14)


def test_steps_end_where_a_loss_is_not_finite(backend):
    net = Network([Linear(3)], (4,), backend)
    x, y = batch(net, 40)
    x[17] = 3e38  # finite, but not what the layer makes of it
    adam = optim.Adam()
    moments = adam.state(net.num_parameters, net.dtype)
    step = TrainingStep(net, adam, moments)
    net.theta *= 10
    with np.errstate(all="ignore"):
        _queue_five(step, x, y)
    losses = step.read()
    assert len(losses) == 3
    assert np.isfinite(losses).tolist() == [True, True, False]
    assert np.isfinite(net.theta).all()  # the third update was left out


def test_a_small_batch_takes_its_turn(backend):
    """Its machine counts on and takes its rows where the other's end, and so the other way."""
    found = []
    for way in ("many", "one by one"):
        net = made("norms", backend, "float32")
        x, y = batch(net, 19)
        adam = optim.Adam()
        moments = adam.state(net.num_parameters, net.dtype)
        step = TrainingStep(net, adam, moments)
        rows = np.concatenate([np.random.default_rng(n).permutation(19) for n in range(3)])
        sizes = np.array(3 * [8, 8, 3])
        if step.many and way == "many":
            step.queue_many(x, y, rows, sizes, 1)
        else:
            for i, part in enumerate(np.split(rows, np.cumsum(sizes)[:-1])):
                step.queue(x[part], y[part], i + 1)
        found.append((net.theta.tobytes(), moments["v"].tobytes(), net.draws, step.read()))
    assert found[0] == found[1] and len(found[0][3]) == 9


def test_the_batch_whose_inputs_are_not_finite_is_named():
    net = Network([Linear(3)], (4,), "cpu")
    x, y = batch(net, 19)
    x[17] = np.nan
    adam = optim.Adam()
    step = TrainingStep(net, adam, adam.state(net.num_parameters, net.dtype))
    with pytest.raises(errors.NonFiniteError, match=r"1 of 3 inputs .* row 1\)"):
        step.queue_many(x, y, np.arange(19), np.array([8, 8, 3]), 1)
    assert len(step.read()) == 3


def _queue_five(step, x, y):
    if step.many:
        step.queue_many(x, y, np.arange(40), np.full(5, 8), 1)
    else:
        for i in range(3):
            step.queue(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8], i + 1)


def test_what_is_recorded_can_be_kept_and_told_apart():
    net = made("norms")
    one, other = (record(made("norms"), "train", 4, optimizer=optim.Adam()) for _ in range(2))
    assert one == other and one.hash == other.hash
    again = Program.from_plain(json.loads(json.dumps(one.plain())))
    assert again == one and again.hash == one.hash
    assert net.program("train", 4, optimizer=optim.SGD()).hash != one.hash
    assert net.program("gradient", 5).hash != net.program("gradient", 4).hash
    assert one.counters == ("draw", "step")
    assert "conv2d_forward(x[4x8x8x4], theta[4x3x3x4]" in str(one)


def test_buffers_that_are_alive_together_lie_apart():
    rng = np.random.default_rng(0)
    for _ in range(50):
        begins = rng.integers(0, 20, 30)
        spans = {
            i: Span(int(size), int(first), int(first + long))
            for i, (size, first, long) in enumerate(
                zip(rng.integers(1, 5000, 30), begins, rng.integers(0, 9, 30), strict=True)
            )
        }
        offsets = packed(spans)
        for i, a in spans.items():
            for j, b in spans.items():
                together = a.first <= b.last and b.first <= a.last
                apart = offsets[i] + a.nbytes <= offsets[j] or offsets[j] + b.nbytes <= offsets[i]
                assert i == j or not together or apart
        alive = [sum(s.nbytes for s in spans.values() if s.first <= t <= s.last) for t in range(30)]
        top = max(offsets[i] + span.nbytes for i, span in spans.items())
        assert max(alive) <= top <= 1.5 * max(alive)


@pytest.mark.parametrize("name", NETS)
def test_every_buffer_is_written_before_it_is_read(name):
    """With an arena full of NaN between two replays, the answer is the same."""
    net = made(name)
    x, y = batch(net)
    first = net.loss_and_grad(x, y, mode="eval")[1].copy()
    net._each.mine.replays._arena[...] = 255  # NaN, in any dtype
    assert np.array_equal(net.loss_and_grad(x, y, mode="eval")[1], first)


def test_costs_are_those_of_the_contract():
    program = made("mlp").program("train", 6, optimizer=optim.Adam())
    calls = {call.kernel: cost(program, call) for call in program.calls}
    assert calls["mean_loss"].read == 6 * 8 and calls["mean_loss"].written == 8
    assert calls["dense_backward"].flops == 2 * 6 * 7 * 9  # the last one is of the first layer
    assert calls["adam_update"].read == 4 * 8 * (7 * 9 + 9 + 9 * 5 + 5)
    sizes = KERNELS["dense_forward"].sizes_of({"x": (6, 9), "w": (5, 9), "b": (5,), "y": (6, 5)})
    assert sizes == {"N": 6, "I": 9, "O": 5}
    adam = calls["adam_update"]
    assert adam.updated == adam.written and adam.touched == adam.read


def test_costs_count_every_number_of_an_image():
    """Elementwise kernels are given images as they are: all their axes count."""
    program = record(made("residual"), "jvp", 3)
    found = [call for call in program.calls if call.kernel.startswith("residual_")]
    assert {len(next(call.views).shape) for call in found} == {4}
    for call in found:
        assert cost(program, call).flops == 2 * math.prod(next(call.views).shape)


def test_costs_of_numpys_functions():
    whole, part = View(0, 0, (4, 6), (6, 1)), View(1, 0, (4,), (1,))
    places = (Place("a", "x", (4, 6), "float32", 0, 2), Place("b", "y", (4,), "float32", 0, 2))
    calls = (
        Call("numpy.add.reduce", (whole, (1,), part)),
        Call("numpy.copyto", (whole, part)),
        Call("numpy.negative", (whole, whole)),
    )
    program = Program("forward", 4, "reference", "float32", places, calls)
    assert [cost(program, call) for call in calls] == [
        (24, 96, 16, 0), (0, 16, 96, 0), (24, 96, 96, 96),
    ]  # fmt: skip


class Reads(Layer):
    """A layer that looks at a number."""

    def forward(self, k, p, x):
        return (x if x.sum() > 0 else -x), None

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        return dy

    def tangent(self, k, p, saved, tp, tx):
        return tx


class Remembers(Reads):
    """One that keeps what it needs in a buffer, and finds it there by luck."""

    def forward(self, k, p, x):
        k.ops.copy(x, k.take("kept", x.shape))
        return x, x.shape

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        dx = k.flow(dy.shape, dy)
        k.ops.add(k.take("kept", saved), dy, dx)
        return dx


@pytest.mark.parametrize(("layer", "why"), [(Reads(), "reads numbers"), (Remembers(), "kept' is")])
def test_what_cannot_be_recorded_runs_as_it_is(layer, why):
    net = Network([Linear(4), layer, Linear(3)], (5,), "reference", "float64")
    with pytest.raises(errors.RecordingError, match=why):
        net.program("gradient", 4)
    x, y = batch(net, 4)
    loss, grad = net.loss_and_grad(x, y)
    assert np.isclose(loss, net.losses(x, y).mean()) and np.isfinite(grad).all()
    assert net.plan(8) - net.plan(7) == net.plan(5) - net.plan(4) > 0
    step = TrainingStep(net, optim.SGD(), {})
    assert not step.many
    step.queue(x, y, 1)
    assert step.read() == [pytest.approx(loss)]


def test_questions_that_no_program_answers(backend):
    net = made("mlp", backend)
    with pytest.raises(errors.UnknownNameError, match="gradient"):
        net.program("gradiant", 4)
    with pytest.raises(errors.SettingError, match="batch"):
        net.program("gradient", 0)
    with pytest.raises(errors.SettingError, match="mode"):
        net.forward(batch(net)[0], "test")  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["lenet5", "fip_cnn", "zenke_cnn", "resnet20"])
def test_a_plan_is_what_a_step_holds(model):
    """The arena and nothing beside it."""
    net = getattr(models, model)(backend="reference")
    shape = (3, *net.input_shape)
    rng = np.random.default_rng(0)
    net.loss_and_grad(rng.normal(size=shape).astype("f"), np.zeros(3, np.int64), mode="train")
    state = sum(array.nbytes for array in net.state.values())
    held = net._each.mine.replays._arena.nbytes + 2 * net.theta.nbytes + state
    assert net.plan(3) == held and net.workspace.nbytes == 0


def test_two_trainers_of_one_network_keep_their_moments(backend):
    """They share a program, and in a thread its replay."""
    found = []
    for together in (True, False):
        net, adam = made("mlp", backend, "float32"), optim.Adam()
        x, y = batch(net)
        moments = [adam.state(net.num_parameters, net.dtype) for _ in range(2)]
        steps = [TrainingStep(net, adam, own) for own in moments]
        start = net.theta.copy()
        order = [0, 1, 0, 1, 0, 1] if together else [0, 0, 0, 1, 1, 1]
        counts = [0, 0]
        kept = [start.copy(), start.copy()]
        for who in order:
            net.theta = kept[who]
            counts[who] += 1
            steps[who].queue(x, y * who, counts[who])
            steps[who].read()
            kept[who] = net.theta.copy()
        found.append((kept, moments))
    for who in range(2):
        assert np.array_equal(found[0][0][who], found[1][0][who])
        assert np.array_equal(found[0][1][who]["m"], found[1][1][who]["m"])


@pytest.mark.parametrize("name", ["deep", "cnn", "norms", "residual", "superposed", "complex cnn"])
def test_importances_and_metric_products_by_program(backend, name):
    ours, plain = made(name, backend), eager(made(name, backend))
    x, y = batch(ours, 11)
    active = np.arange(ours.num_outputs) <= y.max()
    for ask in (
        lambda net: importance.fisher(net, x, active=active, batch=4),
        lambda net: importance.fisher(net, x, y, "empirical", active=active, batch=4),
        lambda net: importance.mas(net, x, active=active, batch=4),
    ):
        assert np.array_equal(ask(ours), ask(plain))
    v = np.random.default_rng(0).normal(size=ours.num_parameters)
    found, product = ours._replay("metric", 11), np.empty_like(v)
    assert found
    ours._run(found, "eval", {"x": x, "v": v, "active": ours.mask(), "product": product})
    assert np.allclose(product, 11 * fip.Metric(plain, x).product(v), rtol=1e-12, atol=1e-14)


def test_a_plan_of_more_than_there_is_follows_from_a_few():
    net = models.fip_cnn(backend="reference")
    few = net.plan(1000) - net.plan(999)
    assert net.plan(10**12) == pytest.approx(10**12 * few, rel=0.01)


def test_networks_of_one_architecture_share_programs_and_others_do_not():
    first, second = (models.mlp((4, 6, 3), backend="reference", seed=seed) for seed in (1, 2))
    first.loss_and_grad(*batch(first))
    known = first.programs._known
    assert second.programs._known is known and ("gradient", N, (("mode", "eval"),)) in known
    for different in (
        models.mlp((4, 6, 3), "tanh", backend="reference"),
        models.mlp((4, 6, 3), backend="reference", dtype="float64"),
        Network([Linear(6, "relu"), Linear(3)], (4,), "reference", loss="squared_error"),
    ):
        assert different.programs._known is not known
    falling = [Network([Dropout(0.5), Linear(3)], (4,), "reference", seed=seed) for seed in (1, 2)]
    assert falling[0].programs._known is not falling[1].programs._known
    one, other = (net.forward(np.ones((9, 4), "f"), "train") for net in falling)
    assert not np.array_equal(one, other)
