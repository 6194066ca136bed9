"""Networks of convolutions and norms: counts, modes, checkpoints, resuming, and torch's numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.methods import EWC, MAS, SI, SIG, Interrupted, Naive, Observer, Task, fit
from weightspace.methods import importance as importances
from weightspace.nnlite import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    ComplexConv2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    models,
    optim,
)

COUNTS = {
    "fip_cnn": 1_476_548,
    "resnet20": 272_474,
    "reduced_resnet18": 1_109_240,
    "resnet18": 11_173_962,
    "vgg16_cifar": 14_728_266,
    "lenet5": 61_706,
    "zenke_cnn": 1_276_508,
}


@pytest.mark.parametrize("name", COUNTS)
def test_models_have_their_published_counts(name):
    assert getattr(models, name)(backend="reference").num_parameters == COUNTS[name]


def test_vgg16_has_its_published_count():
    """Counted from the shapes: its half a gigabyte of weights need not be drawn."""
    layers = models.vgg16_layers(10, (4096, 4096), 7, False)
    from weightspace.nnlite import Sequential

    shapes = Sequential(tuple(layers)).parameters((32, 32, 3)).values()
    assert sum(int(np.prod(shape)) for shape in shapes) == 134_301_514


def small(backend="reference", dtype="float64", statistics="running", seed=2) -> Network:
    norm = BatchNorm2d(statistics=statistics, activation="relu")
    block = Residual((Conv2d(8, 3, 1, 1, bias=False), BatchNorm2d(statistics=statistics)))
    layers = [Conv2d(8, 3, 1, 1), norm, block, MaxPool2d(2), Dropout(0.25), Flatten(), Linear(4)]
    return Network(layers, (8, 8, 2), backend, dtype, seed)


@pytest.fixture
def batch(rng):
    return rng.normal(size=(12, 8, 8, 2)), rng.integers(0, 4, 12)


# ---- modes ------------------------------------------------------------------------------------


def test_a_network_with_modes_must_be_told_which(backend, batch, untyped):
    x, y = batch
    with pytest.raises(errors.ModeError, match="mode='train'"):
        small(backend).loss_and_grad(x, y)
    with pytest.raises(errors.SettingError, match="'eval' or 'train'"):
        small(backend).trace(x, mode=untyped("training"))


def test_questions_change_nothing(backend, batch, rng):
    """Importances and all other questions leave running statistics and draws as they were."""
    x, y = batch
    net = small(backend)
    net.loss_and_grad(x, y, mode="train")
    before = {name: array.copy() for name, array in net.state.items()}
    draws = net.draws
    _ = net.forward(x), net.jvp(x, net.theta), net.vjp(x, np.ones((12, 4)))
    _ = net.sample_grads(x, y), net.input_grad(x, y), net.losses(x, y)
    _ = importances.fisher(net, x), importances.mas(net, x), importances.sig(net, x)
    assert net.draws == draws
    assert all(np.array_equal(net.state[name], before[name]) for name in before)


def test_training_follows_the_batch(backend, batch):
    x, y = batch
    net = small(backend)
    assert net.draws == 0
    net.loss_and_grad(x, y, mode="train")
    z = Network((*net.layers[:1], Flatten(), Linear(1)), (8, 8, 2), backend, "float64", 2)
    z.trace(x)
    maps = z._each.mine.scope.child("0").take("y", (12, 8, 8, 8)).reshape(-1, 8)
    assert relative_error(net.state["1.mean"], 0.1 * maps.mean(0)) <= tolerance("float64", 768)
    expected = 0.9 + 0.1 * maps.var(0, ddof=1)
    assert relative_error(net.state["1.var"], expected) <= tolerance("float64", 768)
    assert net.draws == 1


def test_per_sample_quantities_refuse_batch_statistics(backend, batch):
    x, y = batch
    net = small(backend)
    out = np.zeros(net.num_parameters)
    with pytest.raises(errors.ModeError, match="depends on the others"):
        net.accumulate(net.trace(x, "train"), np.ones((12, 4)), out, 2)
    with pytest.raises(errors.ModeError, match="statistics='running'"):
        small(backend, statistics="batch").sample_grads(x, y)
    with pytest.raises(errors.ModeError):
        importances.sig(small(backend, statistics="batch"), x)
    assert not out.any(), "nothing was half written"


def test_batch_statistics_keep_no_state(backend, batch):
    net = small(backend, statistics="batch")
    assert not net.state
    x, _ = batch
    alone = np.concatenate([net.forward(x[:6]), net.forward(x[6:])])
    assert not np.allclose(net.forward(x), alone), "samples depend on their batch"


def test_dropped_units_follow_from_seed_and_draw(backend, batch):
    x, y = batch
    first, again, other = (small(backend, seed=s) for s in (2, 2, 3))
    other.theta[:] = first.theta
    losses = [first.loss_and_grad(x, y, mode="train")[0] for _ in range(2)]
    assert losses == [again.loss_and_grad(x, y, mode="train")[0] for _ in range(2)]
    assert other.loss_and_grad(x, y, mode="train")[0] != losses[0]


# ---- methods, checkpoints, resuming -------------------------------------------------------------


def image_tasks(count=2):
    rng = np.random.default_rng(5)
    made = []
    for number in range(count):
        centres = rng.normal(0, 1, (4, 8, 8, 2))
        y = np.arange(48) % 4
        x = (centres[y] + rng.normal(0, 0.4, (48, 8, 8, 2))).astype("f")
        made.append(Task.from_arrays(f"images {number}", (x, y), (x[:20], y[:20])))
    return made


@pytest.mark.parametrize("method", [Naive, EWC, SI, MAS, SIG])
def test_every_method_learns_images(backend, method):
    net = small(backend, "float32")
    result = fit(net, image_tasks(), method(), optimizer=optim.Adam(5e-3), steps=25, batch_size=16)
    assert result.R[0, 0] > 0.9 and result.R[1, 1] > 0.9


class Stop(Observer):
    def stepped(self, step, task, loss):
        if step == 17:
            raise Interrupted


def test_a_stopped_run_with_norm_and_dropout_resumes_to_the_same_bits(tmp_path):
    def run(path, **more):
        net = small("reference", "float32")
        fit(net, image_tasks(), EWC(), optimizer=optim.Adam(1e-3), steps=12, batch_size=16,
            checkpoint=path, checkpoint_every=5, **more)  # fmt: skip

    run(tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tmp_path / "part", observer=Stop())
    run(tmp_path / "part", resume=True)
    assert (tmp_path / "part").read_bytes() == (tmp_path / "whole").read_bytes()


def test_augmentation_follows_from_the_step(tmp_path):
    seen = []

    def augment(x, key):
        seen.append(key)
        return x[:, ::-1]

    fit(small("reference", "float32"), image_tasks(), steps=3, batch_size=16, seed=4,
        augment=augment)  # fmt: skip
    assert seen == [(4, task, step) for task in (0, 1) for step in range(3)]


def test_nested_layers_and_state_come_back(tmp_path, batch):
    x, y = batch
    net = small("reference")
    net.loss_and_grad(x, y, mode="train")
    net.save(tmp_path / "net")
    back = Network.load(tmp_path / "net", "reference")
    assert back.layers == net.layers and back.draws == 1
    assert np.array_equal(back.forward(x), net.forward(x))
    twin = net.like()
    assert twin.loss_and_grad(x, y, mode="train")[0] == net.loss_and_grad(x, y, mode="train")[0]


def test_accumulate_memory_does_not_grow_with_samples(rng):
    """A Fisher over many samples holds what one batch holds."""
    net = small("reference")
    held = []
    for n in (40, 400):
        importances.fisher(net, rng.normal(size=(n, 8, 8, 2)), kind="sampled", batch=20)
        held.append(net.workspace.nbytes)
    assert held[0] == held[1]


def test_a_training_step_allocates_nothing_after_the_first(rng):
    """Of arrays: Python's own small objects come and go, a few kilobytes at a time."""
    import tracemalloc

    pytest.importorskip("numba", reason="the cpu backend's step, which needs numba")
    net = small("cpu", "float32")
    x, y = rng.normal(size=(64, 8, 8, 2)).astype("f"), rng.integers(0, 4, 64)
    grad = np.empty_like(net.theta)
    for _ in range(2):
        net.loss_and_grad(x, y, grad, mode="train")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        net.loss_and_grad(x, y, grad, mode="train")
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert most < 16_384 < x.nbytes, most


# ---- against torch ------------------------------------------------------------------------------

TORCH = {
    "fip_cnn": {"outputs": 7, "input_shape": (14, 14, 1)},
    "lenet5": {"input_shape": (32, 32, 3)},
    "resnet20": {"input_shape": (12, 12, 3)},
    "zenke_cnn": {"outputs": 9, "input_shape": (16, 16, 3)},
    "reduced_resnet18": {"outputs": 5, "input_shape": (8, 8, 3)},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TORCH)
def test_models_agree_with_torch(name, dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    pytest.importorskip("numba", reason="compares the cpu backend, which needs numba")
    from weightspace.bench.speed.torch_twin import flat, parameters_of, to_torch, twin

    rng = np.random.default_rng(0)
    net = getattr(models, name)(dtype=dtype, init="he_normal", **TORCH[name])
    for running in net.state.values():
        running[...] += rng.uniform(0, 1, running.shape).astype(dtype)
    theirs = twin(net)
    x = rng.normal(size=(6, *net.input_shape)).astype(dtype)
    y = rng.integers(0, net.num_outputs, 6)
    # some twenty layers, each a sum of some hundred terms; in float32 with Winograd's digit less
    allowed = tolerance(dtype, 20_000)
    drops = any(isinstance(layer, Dropout) for layer in net.layers)
    for mode in ("eval",) if drops else ("eval", "train"):
        theirs.train(mode == "train")
        outputs = theirs(to_torch(x))
        loss = torch.nn.functional.cross_entropy(outputs, torch.from_numpy(y))
        expected = flat(torch.autograd.grad(loss, parameters_of(theirs)))
        found_loss, found = net.loss_and_grad(x, y, mode=mode)
        assert abs(found_loss - loss.item()) <= allowed * max(1, abs(loss.item())), mode
        assert relative_error(found, expected) <= allowed, mode


# ---- bad settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Conv2d(0), errors.SettingError, "at least 1"),
        (lambda: Conv2d(4, 0), errors.SettingError, "size=0"),
        (lambda: replace(Conv2d(4), size=(3, 3, 3)), errors.SettingError, "pair"),
        (lambda: replace(Conv2d(4), stride=1.5), errors.SettingError, "stride=1.5"),
        (
            lambda: replace(Conv2d(4), padding=((0, 1), (1, 2, 3))),
            errors.SettingError,
            "top, bottom",
        ),
        (lambda: Conv2d(4, padding=((0, -1), (0, 0))), errors.SettingError, "top, bottom"),
        (lambda: Conv2d(4, dilation=0), errors.SettingError, "dilation"),
        (lambda: Conv2d(4, groups=3), errors.SettingError, "4 filters and groups=3"),
        (lambda: Conv2d(4, groups=0), errors.SettingError, "groups"),
        (lambda: Conv2d(4, groups=4).output_shape((5, 5, 6)), errors.ShapeError, "6 channels"),
        (lambda: Conv2d(4, dilation=3).output_shape((5, 5, 6)), errors.ShapeError, "dilation"),
        (lambda: ComplexConv2d(4, groups=2), errors.SettingError, "groups"),
        (lambda: Conv2d(4, padding="sme"), errors.UnknownNameError, "same"),
        (lambda: Conv2d(4, activation="rleu"), errors.UnknownNameError, "relu"),
        (lambda: MaxPool2d(2, padding=2), errors.SettingError, "less than"),
        (lambda: MaxPool2d(2, padding=((0, 0), (2, 1))), errors.SettingError, "less than"),
        (
            lambda: replace(MaxPool2d(2), padding=((0, 1), 1)),
            errors.SettingError,
            r"\(top, bottom\)",
        ),
        (lambda: MaxPool2d(2, padding=((0, -1), (0, 1))), errors.SettingError, "at least 0"),
        (lambda: replace(MaxPool2d(2), ceil_mode=1), errors.SettingError, "True or False"),
        (lambda: replace(AvgPool2d(2), count_padding="no"), errors.SettingError, "count_padding"),
        (
            lambda: Network([MaxPool2d(5, padding=1), Flatten()], (2, 9, 1)),
            errors.ShapeError,
            "fit",
        ),
        (lambda: MaxPool2d(300), errors.SettingError, "65,535"),
        (lambda: AvgPool2d(0), errors.SettingError, "size=0"),
        (lambda: AdaptiveAvgPool2d(0, 3), errors.SettingError, "at least 1"),
        (lambda: BatchNorm2d(momentum=0), errors.SettingError, "momentum"),
        (lambda: BatchNorm2d(statistics="none"), errors.UnknownNameError, "running"),
        (lambda: Dropout(1.0), errors.SettingError, r"rate is 1\.0"),
        (lambda: Residual(()), errors.SettingError, "at least one layer"),
        (lambda: Network([Conv2d(3)], (9,)), errors.ShapeError, "images"),
        (lambda: Network([Conv2d(3, 9)], (8, 8, 1)), errors.ShapeError, "does not fit"),
        (lambda: Network([Conv2d(3)], (8, 8, 1)), errors.ShapeError, "flat"),
        (
            lambda: Network([Residual((Conv2d(3),)), GlobalAvgPool()], (8, 8, 1)),
            errors.ShapeError,
            "equal",
        ),
    ],
)
def test_bad_settings_are_named(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_one_value_has_no_variance(backend):
    net = Network([BatchNorm2d(), Linear(2)], (3,), backend, "float64")
    with pytest.raises(errors.ShapeError, match="at least two samples"):
        net.trace(np.ones((1, 3)), "train")
