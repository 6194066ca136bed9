"""Cross-entropy with ignored labels and class weights, in every verb that asks the loss."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.methods import Task, accuracy, fit, importance
from weightspace.methods.attack import PGD
from weightspace.methods.base import TaskEnd
from weightspace.methods.memory import Memory
from weightspace.nnlite import Linear, Network, optim
from weightspace.nnlite.checkpoint import describe_network
from weightspace.nnlite.losses import CrossEntropy, get_loss
from weightspace.nnlite.step import TrainingStep

WEIGHTS = (0.5, 0.0, 3.0, 1.25)
SETTINGS = {
    "ignored": CrossEntropy(-100),
    "a class ignored": CrossEntropy(2),
    "weights": CrossEntropy(class_weights=WEIGHTS),
    "both": CrossEntropy(-100, WEIGHTS),
}
N, INPUTS, CLASSES = 21, 6, 4


def network(loss, backend="reference", dtype="float64"):
    layers = [Linear(5, "tanh"), Linear(CLASSES)]
    return Network(layers, (INPUTS,), backend, dtype, seed=3, loss=loss)


def batch(loss, dtype="float64"):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N, INPUTS)).astype(dtype), rng.integers(0, CLASSES, N)
    if loss.ignore_index == -100:
        y[2::3] = -100
    return x, y


def weights_of(loss, y):
    """Each sample's weight, by the definition."""
    table = dict(enumerate(loss.class_weights or np.ones(CLASSES)))
    return np.array([0.0 if label == loss.ignore_index else table[label] for label in y.tolist()])


# ---- what it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", SETTINGS.values(), ids=SETTINGS)
def test_every_sample_has_its_weight_and_the_mean_divides_by_their_sum(every_backend, loss):
    net, plain = network(loss, every_backend), network("cross_entropy", every_backend)
    (x, y), get = batch(loss), net.device.get
    weight, known = weights_of(loss, y), np.where(y == -100, 0, y)
    allowed = tolerance("float64", N)
    losses = weight * get(plain.losses(x, known))
    assert relative_error(get(net.losses(x, y)), losses) <= allowed
    each = weight[:, None] * get(plain.sample_grads(x, known))
    assert relative_error(get(net.sample_grads(x, y)), each) <= allowed
    inputs = weight[:, None] * get(plain.input_grad(x, known))
    assert relative_error(get(net.input_grad(x, y)), inputs) <= allowed
    mean, grad = net.loss_and_grad(x, y)
    assert abs(mean - losses.sum() / weight.sum()) <= allowed * mean
    assert relative_error(get(grad), each.sum(0) / weight.sum()) <= allowed
    fisher = get(importance.fisher(net, x, y, "empirical", batch=8))
    assert relative_error(fisher, (each**2).mean(0)) <= allowed


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("loss", SETTINGS.values(), ids=SETTINGS)
def test_against_torch(backend, loss, reduced):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    net, (x, y) = network(loss, backend), batch(loss)
    logits = torch.from_numpy(net.forward(x)).requires_grad_()
    settings = {"ignore_index": -1 if loss.ignore_index is None else loss.ignore_index}
    if loss.class_weights is not None:
        settings["weight"] = torch.tensor(loss.class_weights, dtype=torch.float64)
    way = "mean" if reduced else "none"
    theirs = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(y), reduction=way, **settings
    )
    (cotangent,) = torch.autograd.grad(theirs.sum(), logits)
    allowed = tolerance("float64", N)
    if not reduced:
        assert relative_error(net.losses(x, y), theirs.detach().numpy()) <= allowed
        return
    mean, grad = net.loss_and_grad(x, y)
    assert abs(mean - theirs.item()) <= allowed * mean
    expected = net.pull(net.trace(x), cotangent.numpy())
    assert relative_error(grad, expected) <= allowed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_one_change_no_bit(every_backend, dtype):
    loss = CrossEntropy(-100, (1,) * CLASSES)
    net, plain = network(loss, every_backend, dtype), network("cross_entropy", every_backend, dtype)
    x, y = batch(CrossEntropy(), dtype)
    (mean, grad), (expected, same) = (each.loss_and_grad(x, y) for each in (net, plain))
    assert mean == expected and bool((grad == same).all())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", SETTINGS.values(), ids=SETTINGS)
def test_the_cpu_gives_the_bits_of_exact(loss, dtype):
    x, y = batch(loss, dtype)
    (mean, grad), (expected, same) = (
        network(loss, name, dtype).loss_and_grad(x, y) for name in ("cpu", "exact")
    )
    assert mean == expected and np.array_equal(grad, same)


def test_where_nothing_counts_loss_and_gradient_are_zero(every_backend):
    net, (x, y) = network(CrossEntropy(-100), every_backend), batch(CrossEntropy())
    y[:] = -100
    mean, grad = net.loss_and_grad(x, y)
    assert mean == 0 and not bool(grad.any())
    assert not bool(net.losses(x, y).any())
    weightless = network(CrossEntropy(class_weights=WEIGHTS), every_backend)
    assert weightless.loss_and_grad(x, np.ones(N, np.int64))[0] == 0  # class 1 weighs 0


def test_an_ignored_sample_counts_whatever_its_outputs_and_the_classes_in_play(every_backend):
    """Of class 0, not in play, a loss is infinite: that of an ignored sample must not be NaN."""
    net, (x, y) = network(CrossEntropy(-100), every_backend), batch(CrossEntropy())
    active = np.array([False, True, True, True])
    y[y == 0] = -100
    counted = y != -100
    mean, grad = net.loss_and_grad(x, y, active=active)
    expected, same = net.loss_and_grad(x[counted], y[counted], active=active)
    assert abs(mean - expected) <= tolerance("float64", N) * expected
    assert relative_error(net.device.get(grad), net.device.get(same)) <= tolerance("float64", N)


def test_kernels_divide_by_nothing_as_by_infinity(ops):
    x, y, mean = np.array([[1.0, -2.0]], "f"), np.full((1, 2), np.nan, "f"), np.full(1, np.nan)
    ops.divide(x, np.zeros(1), y)
    assert not y.any()
    ops.weighted_mean(np.zeros(3, "f"), np.zeros(1), mean)
    assert mean[0] == 0


# ---- steps, programs, files ---------------------------------------------------------------------


@pytest.mark.parametrize("loss", [SETTINGS["both"], SETTINGS["a class ignored"]], ids=str)
def test_steps_many_one_by_one_and_by_hand_are_the_same(backend, loss):
    x, y = batch(loss, "float32")
    rows, adam, found = np.random.default_rng(1).permutation(20), optim.Adam(0.05), []
    for way in ("many", "one by one", "by hand"):
        net = network(loss, backend, "float32")
        moments = adam.state(net.num_parameters, net.dtype)
        step, losses = TrainingStep(net, adam, moments), []
        if way == "many" and step.many:
            step.queue_many(x, y, rows, np.full(5, 4), 1)
            losses = step.read()
        for i in range(0 if losses else 5):
            part = rows[4 * i : 4 * i + 4]
            if way == "by hand":
                told, grad = net.loss_and_grad(x[part], y[part])
                adam.step(net.ops, net.theta, grad, moments, i + 1)
                losses.append(told)
            else:
                step.queue(x[part], y[part], i + 1)
                losses += step.read()
        found.append((losses, net.theta.tobytes()))
    assert found[0] == found[1] == found[2]


def test_a_step_is_captured_on_a_device(gpu):
    loss, found = SETTINGS["both"], []
    x, y = batch(loss, "float32")
    for backend in (gpu, "exact"):
        net, sgd = network(loss, backend, "float32"), optim.SGD(0.1)
        step, losses = TrainingStep(net, sgd, {}), []
        for count in (1, 2, 3):
            step.queue(x, y, count)
            losses += step.read()
        found.append((losses, net.device.get(net.theta).copy()))
    allowed = tolerance("float32", N)
    assert np.allclose(found[0][0], found[1][0], rtol=allowed)
    assert relative_error(found[0][1], found[1][1]) <= allowed


def test_programs_hold_the_settings():
    net = network(SETTINGS["both"])
    program = net.program("train", 8, optimizer=optim.SGD())
    (call,) = (call for call in program.calls if call.kernel == "label_weights")
    assert -100 in call.arguments
    assert any(place.values == WEIGHTS for place in program.places)
    assert program.calls[program.update - 1].kernel == "weighted_mean"
    other = network(SETTINGS["weights"]).program("train", 8, optimizer=optim.SGD())
    assert program.hash != other.hash  # not one program for networks of both losses


def test_settings_go_with_the_network(tmp_path):
    net = network(SETTINGS["both"])
    net.save(tmp_path / "a")
    for other in (
        Network.load(tmp_path / "a", "reference"), net.like(), copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
    ):  # fmt: skip
        assert other.loss == net.loss
    assert describe_network(net)["loss"] == {
        "name": "cross_entropy", "ignore_index": -100, "class_weights": [0.5, 0.0, 3.0, 1.25]
    }  # fmt: skip
    assert describe_network(network("cross_entropy"))["loss"] == "cross_entropy"
    assert describe_network(network(CrossEntropy()))["loss"] == "cross_entropy"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda of: of.CrossEntropy(1.5), "ignore_index"),
        (lambda of: of.CrossEntropy(2**40), "ignore_index"),
        (lambda of: of.CrossEntropy(class_weights=(1, -1)), "at least 0"),
        (lambda of: of.CrossEntropy(class_weights=(1, np.nan)), "finite"),
        (lambda of: of.CrossEntropy(class_weights=(0, 0)), "all 0"),
        (lambda of: of.CrossEntropy(class_weights="ab"), "sequence"),
        (lambda of: of.CrossEntropy(class_weights=()), "sequence"),
        (lambda of: network(of.CrossEntropy(class_weights=(1, 2))), "2 numbers"),
        (lambda of: get_loss({"name": "cross_entropy", "weight": 1}), "weight"),
        (lambda of: get_loss({"name": "squared_error", "ignore_index": 1}), "none"),
    ],
)
def test_bad_settings_are_named(untyped, build, message):
    from weightspace.nnlite import losses

    with pytest.raises(errors.SettingError, match=message):
        build(untyped(losses))


# ---- methods ------------------------------------------------------------------------------------


def test_accuracy_is_of_the_samples_that_count(backend):
    net, (x, y) = network(SETTINGS["both"], backend), batch(SETTINGS["both"])
    counted = y != -100
    expected = np.mean(net.forward(x).argmax(1)[counted] == y[counted])
    assert accuracy(net, x, y, batch=4) == expected
    with pytest.raises(errors.ShapeError, match="ignores all"):
        accuracy(net, x, np.full(N, -100))


def test_labels_that_are_neither_a_class_nor_ignored_are_named():
    net, (x, y) = network(CrossEntropy(-100)), batch(CrossEntropy(-100))
    y[0] = 4
    with pytest.raises(errors.LabelError, match="or be -100"):
        net.loss_and_grad(x, y)
    y[0] = -100
    with pytest.raises(errors.LabelError, match=r"0\.\.3"):  # a method that needs a class for each
        PGD(0.1).run(net, x, y)


def test_fit_learns_from_what_counts(backend):
    """The samples that are ignored might as well not be there, in batches as large as all."""
    net, loss = network(CrossEntropy(-100), backend), CrossEntropy(-100)
    x, y = batch(loss)
    counted, found = y != -100, []
    for rows in (slice(None), counted):
        twin, task = net.like(), Task.from_arrays("one", (x[rows], y[rows]), (x, y))
        fit(twin, [task], "naive", optimizer=optim.SGD(0.1), epochs=3, batch_size=N)
        found.append(twin.theta)
    assert relative_error(found[0], found[1]) <= tolerance("float64", 10 * N)
    with pytest.raises(errors.ShapeError, match="ignores all"):
        fit(net, [Task.from_arrays("one", (x, y), (x, np.full(N, -100)))], "naive", epochs=1)


@pytest.mark.parametrize("loss", SETTINGS.values(), ids=SETTINGS)
def test_a_memory_takes_the_mean_as_the_loss_does(backend, loss):
    net, (x, y) = network(loss, backend), batch(loss)
    memory, task = Memory({}), Task.from_arrays("one", (x, y), (x, y))
    memory.add(net, TaskEnd(0, task, (x, y), seed=5, device=net.device), N)
    out = np.empty(net.num_parameters)
    memory.loss_gradient(net, slice(3, 15), out)
    stored = memory.arrays["memory.x"][3:15], memory.arrays["memory.y"][3:15]
    assert relative_error(out, net.loss_and_grad(*stored)[1]) <= tolerance("float64", N)
