"""int8 networks: NumPy and C have the same bits, and what they say is near to what floats say."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from blobs import make_blobs
from exported import Device, restarted
from pages import check_page
from weightspace.kernels.c.library import STRICT
from weightspace.kernels.errors import NonFiniteError, SettingError, ShapeError
from weightspace.methods import Task, fit
from weightspace.nnlite import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
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
)
from weightspace.nnlite.export.c import Learning, export
from weightspace.nnlite.export.int8 import (
    Calibration,
    Quantised,
    export_int8,
    print_c,
    quantise,
)
from weightspace.nnlite.export.int8.operations import Dense
from weightspace.nnlite.export.int8.rounding import Grid
from weightspace.nnlite.export.int8.weights import weights_of
from weightspace.nnlite.optim import SGD

SETTINGS = {"backend": "reference", "seed": 3}
_BLOCK = Residual((Conv2d(6, 3, 1, 1, bias=False), BatchNorm2d(activation="relu")), ())
_CHANGE = Residual(
    (Conv2d(9, 3, 2, 1), BatchNorm2d()), (Conv2d(9, 1, 2),), activation="leaky_relu", slope=0.2
)
NETWORKS = {
    "mlp": lambda: models.mlp((19, 11, 6, 5), **SETTINGS),
    "one layer": lambda: models.mlp((5, 3), **SETTINGS),
    "activations": lambda: Network(
        [Linear(9, "tanh"), Linear(8, "sigmoid"), Linear(7, "leaky_relu", 0.2), Dropout(0.5),
         Activation("relu"), Linear(6), Activation("tanh"), Linear(4, bias=False)], (6,),
        **SETTINGS),
    "steep": lambda: Network([Linear(9, "leaky_relu", 3.0), Linear(4)], (6,), **SETTINGS),
    "strides": lambda: Network(
        [Conv2d(5, (5, 3), (2, 1), (0, 2), activation="relu"), MaxPool2d((3, 2), (2, 1), 1),
         Conv2d(4, 2, 2, activation="tanh"), Flatten(), Linear(3)], (13, 9, 2), **SETTINGS),
    "1 x 1": lambda: Network(
        [Conv2d(8, 1, activation="relu"), Conv2d(4, 1, 1, 1), Flatten()], (4, 5, 8), **SETTINGS),
    "pools": lambda: Network(
        [AvgPool2d((2, 3), (1, 2), 1), AvgPool2d(3, 2, 1, ceil_mode=True, count_padding=False),
         AdaptiveAvgPool2d(3, 2), MaxPool2d(2, 1, ((1, 0), (0, 1))), Conv2d(5, 2), GlobalAvgPool(),
         Linear(3)], (9, 8, 3), **SETTINGS),
    "norms": lambda: Network(
        [BatchNorm2d(), Sequential((Conv2d(6, 3, 1, 1), MaxPool2d(2))),
         BatchNorm2d(activation="relu"), _BLOCK, Residual((Conv2d(6, 1),), (), "tanh"), _CHANGE,
         GlobalAvgPool(), BatchNorm2d(affine=False), Linear(4)], (8, 8, 3), **SETTINGS),
    "groups": lambda: Network(
        [Conv2d(6, 3, 2, ((0, 1), (1, 0)), groups=2), Conv2d(6, 3, 1, 1, "relu", groups=6),
         Conv2d(12, 3, padding="same", dilation=2, groups=3), Flatten(), Linear(3)], (9, 8, 4),
        **SETTINGS),
    "wide": lambda: Network(
        [Linear(37, "relu"), Linear(7, "relu"), Linear(130)], (258,), **SETTINGS),
    "lenet5": lambda: models.lenet5(**SETTINGS),
}  # fmt: skip


def moved(net: Network) -> Network:
    """With statistics that are not those of the beginning, and some channels without weights."""
    restarted(net)
    for name, view in net.layout.views(net.theta).items():
        if name.endswith("weight") and view.ndim > 1 and len(view) > 6:
            view[5] = 0
    return net


def samples(net: Network, count: int = 40, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (scale * rng.normal(size=(count, *net.input_shape))).astype(np.float32)


def small(name: str) -> tuple[Network, Quantised]:
    net = moved(NETWORKS[name]())
    return net, quantise(net, samples(net))


@pytest.mark.parametrize("simd", [0, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_numpy_and_c_have_the_same_bits(name, simd, c_compiler):
    """For samples like those before and for ones that saturate; four products at a time, and two
    by an instruction, which is plain C here."""
    net, made = small(name)
    device = Device(print_c(made), ("-O2", f"-DWS_SIMD32={simd}"))
    for scale in (1.0, 30.0, 1e30):
        x = samples(net, 12, scale)
        y = made.predict(x)
        assert y.shape == (12, net.num_outputs)
        assert device.outputs(x, net.num_outputs).tobytes() == y.tobytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_integers_in_and_out(name, c_compiler):
    """predict_int8 is predict without its ends."""
    net, made = small(name)
    device = Device(print_c(made))
    q = np.random.default_rng(2).integers(-128, 128, (9, *net.input_shape)).astype(np.int8)
    found = np.empty((9, net.num_outputs), np.int8)
    for one, y in zip(q, found, strict=True):
        device.predict_int8(one, y)
    assert np.array_equal(found, made.predict_int8(q))
    assert np.array_equal(found, made.latents(made.input_grid.real(q)))


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_is_near_to_float(name):
    """A hundredth of the outputs' spread; three for six layers one after another."""
    net, made = small(name)
    x = samples(net)
    y = net.forward(x)
    assert np.sqrt(np.mean((made.predict(x) - y) ** 2)) < 0.03 * y.std() + 1e-6


MAIN = """
#include "net.h"
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    void *arena = malloc(NET_ARENA_BYTES);
    float *x = malloc(NET_INPUTS * sizeof *x), *y = malloc(NET_OUTPUTS * sizeof *y);
    while (fread(x, sizeof *x, NET_INPUTS, stdin) == NET_INPUTS) {
        net_predict(arena, x, y);
        fwrite(y, sizeof *y, NET_OUTPUTS, stdout);
    }
    free(arena);
    free(x);
    free(y);
    return 0;
}
"""


@pytest.mark.parametrize("simd", [0, 1])
@pytest.mark.parametrize("name", ["activations", "steep", "strides", "pools", "norms", "groups"])
def test_sanitizers_find_nothing(name, simd, tmp_path):
    """In arrays of just their sizes, for ordinary samples, huge ones and NaN."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc and its sanitizers")
    net, made = small(name)
    _, source = print_c(made).write(tmp_path)
    main, program = tmp_path / "main.c", tmp_path / "main"
    main.write_text(MAIN)
    command = ["gcc", *STRICT, "-O1", "-g", "-fsanitize=address,undefined", f"-DWS_SIMD32={simd}",
               "-fno-sanitize-recover=all", str(source), str(main), "-o", str(program)]  # fmt: skip
    subprocess.run(command, check=True)
    x = np.concatenate([samples(net, 3, scale) for scale in (1.0, 1e30)])
    x[-1].flat[::2] = np.nan
    done = subprocess.run([program], input=x.tobytes(), capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
    assert done.stdout == made.predict(x).tobytes()


def test_accuracy_stays():
    train, test = make_blobs(0, 400), make_blobs(0, 400)
    net = Network([Linear(16, "relu"), Linear(4)], train[0].shape[1:], **SETTINGS)
    fit(net, Task.from_arrays("blobs", train, test), steps=200)
    made = quantise(net, train[0][:100])
    right = [(f(test[0]).argmax(axis=1) == test[1]).mean() for f in (net.forward, made.predict)]
    assert right[0] > 0.9
    assert right[1] > right[0] - 0.01


# ---- zero points and ranges ----------------------------------------------------------------------


@pytest.mark.parametrize("ends", [(-3.0, 1.0), (0.0, 5.0), (-2.0, 0.0), (0.0, 0.0), (4.0, 9.0)])
def test_zero_is_on_every_grid(ends):
    grid = Grid.over(*ends)
    assert grid.real(grid.quantised(np.zeros(1))) == 0
    real = np.linspace(ends[0], ends[1], 100).astype(np.float32)
    assert np.abs(grid.real(grid.quantised(real)) - real).max() <= grid.scale * 0.5001


def test_a_layer_that_was_silent_stays_a_relu():
    """It gave 0 for every sample of the calibration; another wakes it, and it clamps others."""
    net = Network([Linear(3, "relu"), Linear(2)], (4,), **SETTINGS)
    views = net.layout.views(net.theta)
    views["0.weight"][...], views["0.bias"][...] = 0.5, -0.5
    x = np.full((5, 4), -1.0, np.float32)
    x[np.arange(4), np.arange(4)] = 1.0
    made = quantise(net, x)
    layer, hidden = made.operations[0], made.tensors[1].grid
    assert isinstance(layer, Dense)
    assert layer.ends.low == layer.ends.zero == hidden.zero == -128
    for value, y in ((1.0, 1.5), (-1.0, 0.0)):
        q = made.input_grid.quantised(np.full((1, 4), value))
        assert np.allclose(hidden.real(layer.run(q)), y, atol=0.02)


@pytest.mark.parametrize("value", [0.0, 1.0, -1e-30, 1e30])
def test_samples_that_are_all_alike(value):
    net = moved(NETWORKS["mlp"]())
    x = np.full((5, 19), value, np.float32)
    made = quantise(net, x)
    y = net.forward(x)
    assert np.abs(made.predict(x) - y).max() <= 0.02 * np.abs(y).max()


def test_layers_without_weights_give_their_biases():
    net = Network([Linear(6, "relu"), Linear(4)], (5,), **SETTINGS)
    for name, view in net.layout.views(net.theta).items():
        view[...] = 0 if name.endswith("weight") else np.linspace(-3, 7, view.size)
    made, x = quantise(net, samples(net)), samples(net, 5)
    assert np.abs(made.predict(x) - net.forward(x)).max() <= made.output_grid.scale * 0.51


def test_percentiles_clip():
    net = NETWORKS["mlp"]()
    x = samples(net, 500)
    x[0] *= 100
    whole, most = quantise(net, x), quantise(net, x, Calibration(99.0))
    assert most.input_grid.scale < whole.input_grid.scale / 10
    better = [np.abs(made.predict(x[1:]) - net.forward(x[1:])).mean() for made in (whole, most)]
    assert better[1] < better[0] / 2


# ---- trunks, contexts, refusals ------------------------------------------------------------------


def test_a_trunk_gives_latents_for_a_float_tail():
    net = moved(NETWORKS["norms"]())
    trunk = quantise(net, samples(net), count=4)
    x = samples(net, 8)
    latents = trunk.latents(x)
    (*_, before) = (y for _, y in zip(range(4), net.activations(x), strict=False))
    assert latents.dtype == np.int8
    assert latents.shape == before.shape
    assert np.abs(trunk.output_grid.real(latents) - before).max() < 0.1 * np.abs(before).max()


@pytest.mark.parametrize("method", ["naive", "ewc", "replay"])
def test_a_float_tail_learns_on_an_int8_trunk(method):
    """As the tail alone learns from the latents; a memory of bytes loses nothing of these."""
    layers = [Conv2d(4, 3), BatchNorm2d(activation="relu"), Flatten(), Linear(6, "relu"), Linear(4)]
    net = moved(Network(layers, (5, 5, 2), **SETTINGS))
    learning = Learning(2, 5, SGD(0.1), method, memories=8)
    x, rng = samples(net, 30), np.random.default_rng(6)
    y = rng.integers(0, 4, 30).astype(np.int32)
    both = Device(export_int8(net, x, "net", learning))
    trunk, tail = quantise(net, x, count=3), Network(layers[3:], (36,), **SETTINGS)
    tail.theta[...] = net.theta[-tail.num_parameters :]
    alone = Device(export(tail, "net", replace(learning, tail=None)))
    latents = trunk.predict(x)
    for device in (both, alone):
        device.start()
    for given in range(0, 30, 5):
        rows = slice(given, given + 5)
        if method == "replay":
            for row in range(given, given + 5):
                for device, a in ((both, x), (alone, latents)):
                    device.remember(a[row], int(y[row]))
        losses = both.learn_step(x[rows], y[rows]), alone.learn_step(latents[rows], y[rows])
        assert losses[0] == losses[1]
    assert (
        both.parameters(tail.num_parameters).tobytes()
        == alone.parameters(tail.num_parameters).tobytes()
    )
    assert both.outputs(x, 4).tobytes() == alone.outputs(latents, 4).tobytes()
    assert not np.array_equal(both.parameters(tail.num_parameters), tail.theta)


def test_what_learns_is_float():
    mlp = NETWORKS["mlp"]()
    for learning in (Learning(), Learning(3)):
        with pytest.raises(SettingError, match="what learns is float"):
            export_int8(mlp, samples(mlp), "net", learning)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_binary_contexts_are_folded_into_weights(kind):
    layers = {
        "linear": ([ContextLinear(8, "relu"), ContextLinear(3)], (6,)),
        "conv": ([ContextConv2d(4, 3), Flatten(), Linear(3)], (5, 5, 2)),
    }
    net = Network(*layers[kind], **SETTINGS)
    rng = np.random.default_rng(4)
    x = samples(net)
    answers = []
    for _ in range(2):
        for name in net.state:
            net.state[name] = rng.choice(np.array([-1, 1], np.float32), net.state[name].shape)
        answers.append((made := quantise(net, x)).predict(x))
        assert np.abs(answers[-1] - net.forward(x)).max() < 6 * made.output_grid.scale
    assert not np.allclose(*answers, atol=0.1)
    net.state["0.context"][...] = 0.5
    with pytest.raises(SettingError, match=f"{type(net.layers[0]).__name__}'s context is not"):
        quantise(net, x)


def test_what_has_no_int8_is_refused_by_name():
    net = Network([Rotation(), Linear(3)], (4,), **SETTINGS)
    with pytest.raises(SettingError, match="a Rotation has no int8 form"):
        quantise(net, samples(net))
    with pytest.raises(SettingError, match="nothing to put into int8"):
        quantise(Network([Flatten()], (2, 2, 1), **SETTINGS), np.ones((3, 2, 2, 1), np.float32))
    mlp = NETWORKS["mlp"]()
    for wrong in (samples(mlp, 0), np.zeros((3, 4), np.float32)):
        with pytest.raises(ShapeError):
            quantise(mlp, wrong)
    with pytest.raises(ShapeError, match="takes"):
        quantise(mlp, samples(mlp)).predict(np.zeros((3, 4), np.float32))
    with pytest.raises(SettingError, match="percentile"):
        Calibration(20.0)
    mlp.layout.view(mlp.theta, "1.bias")[0] = np.nan
    with pytest.raises(NonFiniteError, match=r"1\.Linear"):
        quantise(mlp, samples(mlp))


def test_sums_that_int32_cannot_hold_are_refused():
    grid = Grid(1.0, -128)
    with pytest.raises(SettingError, match="int32"):
        weights_of("wide", np.ones((1, 70_000)), np.zeros(1), grid, grid)
    weights_of("fits", np.ones((1, 60_000)), np.zeros(1), grid, grid)
    with pytest.raises(SettingError, match="int32"):
        weights_of("steep", np.ones((1, 60_000)), np.zeros(1), grid, grid, steep=3.0)


def test_a_quantised_network_does_not_change():
    _, made = small("mlp")
    for operation in made.operations:
        for array in operation.arrays().values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_the_page_of_docs_is_true(capsys):
    """Its Python runs, and prints what it says."""
    check_page("int8.md", capsys, 6)
