"""Learning in C: theta as the engine's own methods move it; a state that survives power cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from exported import Device
from weightspace import methods
from weightspace.methods import importance
from weightspace.methods.base import TaskEnd
from weightspace.methods.si import consolidate
from weightspace.nnlite import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    models,
)
from weightspace.nnlite.export.c import Learning, export
from weightspace.nnlite.optim import SGD, Adadelta, Adam, RMSprop, Streams

SETTINGS = {"backend": "exact", "dtype": "float32", "seed": 3}
BATCH, STEPS, TASKS = 5, 6, 3
OPTIMIZERS = {
    "sgd": SGD(0.1), "momentum": SGD(0.05, 0.9), "adam": Adam(0.01), "rmsprop": RMSprop(),
    "adadelta": Adadelta(),
}  # fmt: skip


def cnn() -> Network:
    layers = [Conv2d(4, 3, 1, 1), BatchNorm2d(activation="relu"), MaxPool2d(2), Flatten(),
              Linear(8, "relu"), Dropout(0.25), Linear(4)]  # fmt: skip
    return Network(layers, (6, 6, 2), **SETTINGS)


def mlp() -> Network:
    return models.mlp((9, 7, 6, 4), **SETTINGS)


def batches(net: Network, count: int, size: int = BATCH, seed: int = 0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x = rng.normal(size=(size, *net.input_shape)).astype(np.float32)
        yield x, rng.integers(0, net.num_outputs, size)


class Engine:
    """A network that learns as `Learning` says, by the engine's kernels and its methods' sums."""

    def __init__(self, net: Network, learning: Learning) -> None:
        self.net, self.learning, self.count = net, learning, 0
        self.kind: Any = learning.fisher
        self.moments = learning.optimizer.state(net.num_parameters, net.dtype)
        self.streams: Any = Streams()
        self.start = net.theta.copy()
        if learning.method == "si":
            self.streams.path = np.zeros_like(net.theta)

    def step(self, x, y) -> float:
        loss, grad = self.net.loss_and_grad(x, y, mode="train")
        self.count += 1
        self.learning.optimizer.step(
            self.net.ops, self.net.theta, grad, self.moments, self.count, self.streams
        )
        return loss

    def end_task(self, x, y) -> None:
        net, learning, streams = self.net, self.learning, self.streams
        if learning.method == "si":
            streams.omega = consolidate(
                streams.path, net.theta - self.start, streams.omega, learning.xi, "sum"
            )
            streams.path[:], self.start = 0, net.theta.copy()
        else:
            found = (importance.fisher(net, x, y, self.kind, batch=1)
                     if learning.method == "ewc" else importance.mas(net, x, batch=1))  # fmt: skip
            streams.omega = found if streams.omega is None else streams.omega + found
        streams.anchor, streams.lam = net.theta.copy(), learning.strength


def labels(y: np.ndarray) -> np.ndarray:
    return y.astype(np.int32)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [mlp, cnn])
def test_steps_move_theta_as_the_engine_does(make, optimizer, c_compiler):
    net, learning = make(), Learning(batch=BATCH, optimizer=OPTIMIZERS[optimizer])
    device, engine = (
        Device(export(net, learning=learning)),
        Engine(net, learning),
    )
    device.start()
    for x, y in batches(net, STEPS):
        loss = device.learn_step(x, labels(y))
        assert loss == pytest.approx(engine.step(x, y), rel=1e-6)
    assert device.parameters(net.num_parameters).tobytes() == net.theta.tobytes()
    x, _ = next(batches(net, 1))
    assert device.outputs(x, 4).tobytes() == net.forward(x).tobytes()


@pytest.mark.parametrize("fisher", ["true", "empirical"])
@pytest.mark.parametrize("method", ["ewc", "mas", "si"])
@pytest.mark.parametrize("make", [mlp, cnn])
def test_penalties_are_the_methods_own(make, method, fisher):
    if fisher == "empirical" and method != "ewc":
        pytest.skip("a setting of EWC's")
    net = make()
    learning = Learning(
        batch=BATCH, optimizer=SGD(0.05, 0.9), method=method, lam=3.0, fisher=fisher
    )
    device, engine = Device(export(net, learning=learning)), Engine(net, learning)
    device.start()
    for task in range(TASKS):
        for x, y in batches(net, STEPS, seed=task):
            device.learn_step(x, labels(y))
            engine.step(x, y)
        xs, ys = next(batches(net, 1, 8, 100 + task))
        if method != "si":
            assert device.end_task() == 0  # nothing was measured
            for x, y in zip(xs, labels(ys), strict=True):
                device.importance(x, np.array([y]))
        assert device.end_task() == 1
        engine.end_task(xs, ys)
    assert device.parameters(net.num_parameters).tobytes() == net.theta.tobytes()


@pytest.mark.parametrize("make, tail", [(mlp, 1), (mlp, 2), (cnn, 1), (cnn, 2)])
def test_a_tail_learns_on_a_frozen_trunk(make, tail):
    net, learning = make(), Learning(tail, BATCH, SGD(0.05, 0.9))
    device = Device(export(net, learning=learning))
    before = net.theta.copy()
    device.start()
    able = sorted({int(name.split(".")[0]) for name in net.layout})
    first = net.layout.offset(next(n for n in net.layout if n.startswith(f"{able[-tail]}.")))
    grown = Tail(net, able[-tail])
    for x, y in batches(net, STEPS):
        device.learn_step(x, labels(y))
        grown.step(x, y, learning.optimizer)
    net.theta[first:] = grown.net.theta
    assert device.parameters(net.num_parameters - first).tobytes() == net.theta[first:].tobytes()
    assert not np.array_equal(before[first:], net.theta[first:])
    x, _ = next(batches(net, 1, seed=9))
    assert device.outputs(x, 4).tobytes() == net.forward(x).tobytes()


class Tail:
    """The last layers of a network, which learn on what the first ones give in mode "eval"."""

    def __init__(self, whole: Network, first: int) -> None:
        self.whole, self.first, shape = whole, first, whole.input_shape
        for layer in whole.layers[:first]:
            shape = layer.output_shape(shape)
        self.net = Network(whole.layers[first:], shape, **SETTINGS)
        self.net.theta[...] = whole.theta[-self.net.num_parameters :]
        self.moments, self.count = {}, 0

    def step(self, x, y, optimizer) -> None:
        latents = list(self.whole.activations(x))[self.first - 1]
        _, grad = self.net.loss_and_grad(np.ascontiguousarray(latents), y, mode="train")
        self.count += 1
        self.moments = self.moments or optimizer.state(len(grad), grad.dtype)
        optimizer.step(self.net.ops, self.net.theta, grad, self.moments, self.count)


def test_packnet_owns_what_the_method_owns():
    """The engine's PackNet, run by hand on the same batches."""
    net = mlp()
    learning = Learning(batch=BATCH, optimizer=SGD(0.1), method="packnet", prune=0.6)
    device = Device(export(net, learning=learning))
    device.start()
    method = methods.PackNet(prune=0.6, retrain=0.5)
    method.start(net, learning.optimizer)
    some = next(batches(net, 1))
    task = methods.Task.from_arrays("t", some, some)
    for number in range(TASKS):
        method.begin_task(net, number, task, STEPS)
        for step, (x, y) in enumerate(batches(net, STEPS, seed=number)):
            if step == STEPS // 2:
                device.prune()
            method.select(net, number, step)
            device.learn_step(x, labels(y))
            _, grad = net.loss_and_grad(x, y, mode="train")
            learning.optimizer.step(net.ops, net.theta, grad, {}, 1, method.streams())
        device.end_task()
        method.end_task(net, TaskEnd(number, task, some, 0))
        assert device.parameters(net.num_parameters).tobytes() == net.theta.tobytes(), number
    for number in range(TASKS - 1):
        method.select(net, number, None)  # as a test of that task sees it
        found = np.empty((len(some[0]), 4), np.float32)
        for one, outputs in zip(some[0], found, strict=True):
            device.predict_task(number, one, outputs)
        assert found.tobytes() == net.forward(some[0]).tobytes()


@pytest.mark.parametrize("latents", [None, (-4.0, 4.0)])
@pytest.mark.parametrize("tail", [None, 1])
def test_replay_remembers_a_uniform_choice_and_helps(tail, latents):
    """Two tasks with opposite labels for one half of the space each: memories keep the first."""
    net = models.mlp((6, 12, 2), **SETTINGS)
    rng = np.random.default_rng(0)
    made = {}
    for method in ("naive", "replay"):
        learning = Learning(tail, 8, SGD(0.2), method, memories=20, latents=latents)
        device = Device(export(net, method, learning=learning))
        device.start()
        for task in range(2):
            for _ in range(200):
                x, y = first_or_second(rng, task, 8)
                device.learn_step(x, labels(y))
                if method == "replay" and task == 0:
                    for one, label in zip(x, labels(y), strict=True):
                        device.remember(one, int(label))
        x, y = first_or_second(np.random.default_rng(9), 0, 400)
        made[method] = (device.outputs(x, 2).argmax(axis=1) == y).mean()
    assert made["replay"] > made["naive"] + 0.1, made


@pytest.mark.parametrize("latents", [None, (-5.0, 5.0)])
def test_a_memory_keeps_each_sample_s_own_classes(latents):
    """Tasks with two classes each: a sample of the first has no share in the classes of the second,
    and its loss is finite while only those are in play."""
    net = models.mlp((6, 12, 4), **SETTINGS)
    learning = Learning(None, 8, SGD(0.1), "replay", memories=24, latents=latents)
    device, rng = Device(export(net, learning=learning)), np.random.default_rng(3)
    device.start()
    for task in range(2):
        device.classes(np.repeat([task == 0, task == 1], 2).astype(np.uint8))
        for _ in range(150):
            x = rng.normal(size=(8, 6)).astype(np.float32)
            y = (x[:, task] > 0) + 2 * task
            assert np.isfinite(device.learn_step(x, labels(y)))
            for one, label in zip(x, labels(y), strict=True):
                device.remember(one, int(label))
    assert np.isfinite(device.parameters(net.num_parameters)).all()
    x = rng.normal(size=(300, 6)).astype(np.float32)
    found = device.outputs(x, 4)[:, :2].argmax(axis=1)
    assert (found == (x[:, 0] > 0)).mean() > 0.9


def first_or_second(rng, task, count):
    x = rng.normal(size=(count, 6)).astype(np.float32)
    x[:, 0] = abs(x[:, 0]) * (1 if task == 0 else -1) + (1 if task == 0 else -1)
    y = (x[:, 1] > 0).astype(np.int64)
    return x, y if task == 0 else 1 - y


def test_contexts_are_set_by_task():
    method = methods.Superposition("binary")
    net = method.wrap(mlp())
    contexts = [method.contexts(net, number) for number in range(3)]
    for learning in (None, Learning(batch=BATCH), Learning(1, BATCH)):
        device = Device(export(net, learning=learning, contexts=contexts))
        if learning is not None:
            device.start()
        x, _ = next(batches(net, 1))
        for number in (2, 0, 1):
            assert device.task(number) == 1
            method._set(net, number)
            assert device.outputs(x, 4).tobytes() == net.forward(x).tobytes()
        assert device.task(3) == 0
        assert device.task(-1) == 0


def test_a_loss_that_is_not_finite_moves_nothing():
    net = mlp()
    device = Device(export(net, learning=Learning(batch=BATCH)))
    device.start()
    x, y = next(batches(net, 1))
    x[2, 3] = np.inf
    assert not np.isfinite(device.learn_step(x, labels(y)))
    assert device.parameters(net.num_parameters).tobytes() == net.theta.tobytes()


def test_classes_out_of_play_have_no_share():
    net = mlp()
    device = Device(export(net, learning=Learning(batch=BATCH, optimizer=SGD(0.1))))
    device.start()
    active = np.array([True, True, False, False])
    device.classes(active.view(np.uint8))
    x, y = next(batches(net, 1))
    device.learn_step(x, labels(y % 2))
    _, grad = net.loss_and_grad(x, y % 2, active=active, mode="train")
    SGD(0.1).step(net.ops, net.theta, grad, {}, 1)
    assert device.parameters(net.num_parameters).tobytes() == net.theta.tobytes()


# ---- power cuts ----------------------------------------------------------------------------------


def learned(method="si"):
    net = mlp()
    learning = Learning(batch=BATCH, optimizer=Adam(0.01), method=method, memories=6)
    device = Device(export(net, learning=learning))
    device.start()
    return (
        net,
        device,
        np.random.default_rng(1).integers(0, 256, slot_bytes(device), dtype=np.uint8),
    )


def slot_bytes(device) -> int:
    line = next(li for li in device.made.header.splitlines() if "NET_SAVE_BYTES" in li)
    return int(line.split()[-1])


def test_what_was_saved_goes_on_as_if_nothing_had_been():
    net, device, slots = learned()
    some = list(batches(net, 4 * STEPS))
    for x, y in some[:STEPS]:
        device.learn_step(x, labels(y))
    device.end_task()
    device.save(slots)
    for x, y in some[STEPS:]:
        device.learn_step(x, labels(y))
    expected = device.parameters(net.num_parameters)
    device.arena[:] = 77
    assert device.restore(slots) == 1
    for x, y in some[STEPS:]:
        device.learn_step(x, labels(y))
    assert device.parameters(net.num_parameters).tobytes() == expected.tobytes()


def test_a_write_cut_short_at_any_byte_loses_nothing():
    net, device, slots = learned()
    states = []
    for x, y in batches(net, 3):
        device.learn_step(x, labels(y))
        before = slots.copy()
        device.save(slots)
        states.append(device.parameters(net.num_parameters))
        if len(states) < 2:
            continue
        for at in range(0, len(slots), 7):  # what was written up to here, then the power went
            torn = np.where(np.arange(len(slots)) < at, slots, before)
            device.arena[:] = 0
            assert device.restore(torn) == 1
            found = device.parameters(net.num_parameters).tobytes()
            assert found in (states[-1].tobytes(), states[-2].tobytes())
        assert device.restore(slots) == 1


@pytest.mark.parametrize("method", ["si", "replay", "packnet"])
def test_any_bytes_are_restored_or_refused(method):
    """Random ones, and saved ones with a byte changed: never a stray access, and never accepted."""
    net, device, slots = learned(method)
    rng = np.random.default_rng(2)
    assert device.restore(slots) == 0
    for x, y in batches(net, 2):
        device.learn_step(x, labels(y))
        if method == "replay":
            device.remember(x[0], int(y[0]))
    for _ in range(2):
        device.save(slots)
    good = slots.copy()
    for _ in range(300):
        spoiled = good.copy()
        for half in (0, len(slots) // 2):  # a byte of each slot
            at = half + int(rng.integers(len(slots) // 2))
            spoiled[at] ^= int(rng.integers(1, 256))
        before = device.arena.copy()
        assert device.restore(spoiled) == 0
        assert (device.arena == before).all()
    assert device.restore(good) == 1
