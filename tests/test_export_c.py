"""A network as C: predictions to the bit, refusals, and what the files promise."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from exported import Device, restarted
from pages import check_page
from weightspace.kernels.c.library import STRICT
from weightspace.kernels.errors import DtypeError, ModeError, NonFiniteError, SettingError
from weightspace.nnlite import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    SparseNetwork,
    models,
)
from weightspace.nnlite.export.c import Learning, export
from weightspace.nnlite.optim import Adam

SETTINGS = {"backend": "exact", "dtype": "float32", "seed": 3}
_BLOCK = Residual((Conv2d(6, 3, 1, 1, bias=False), BatchNorm2d(activation="relu")), ())
NETWORKS = {
    "mlp": lambda: models.mlp((19, 11, 6, 5), **SETTINGS),
    "one layer": lambda: models.mlp((5, 3), **SETTINGS),
    "activations": lambda: Network(
        [Linear(9, "tanh"), Linear(8, "sigmoid"), Linear(7, "leaky_relu", 0.2), Dropout(0.5),
         Activation("relu"), Linear(4, bias=False)], (6,), **SETTINGS),
    "strides": lambda: Network(
        [Conv2d(5, (5, 3), (2, 1), (0, 2), activation="relu"), MaxPool2d((3, 2), (2, 1), 1),
         Conv2d(4, 2, 2, activation="tanh"), Flatten(), Linear(3)], (13, 9, 2), **SETTINGS),
    "winograd": lambda: Network(
        [Conv2d(16, 3, 1, 1, activation="relu"), Conv2d(16, 3, 1, 1), AvgPool2d(2), Flatten(),
         Linear(3)], (12, 12, 16), **SETTINGS),
    "norms": lambda: Network(
        [Conv2d(6, 3, 1, 1, bias=False), BatchNorm2d(activation="relu"), _BLOCK, GlobalAvgPool(),
         Linear(4)], (8, 8, 3), **SETTINGS),
    "lenet5": lambda: models.lenet5(**SETTINGS),
}  # fmt: skip


def samples(net: Network, count: int = 7) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, *net.input_shape)).astype(np.float32)


@pytest.mark.parametrize("kind", NETWORKS)
def test_predictions_have_the_engines_bits(kind, c_compiler):
    net = restarted(NETWORKS[kind]())
    device, x = Device(export(net)), samples(net)
    assert device.outputs(x, net.num_outputs).tobytes() == net.forward(x).tobytes()


def test_convolutions_may_go_directly():
    """Which is faster on a device, and rounds otherwise than Winograd's way."""
    net = NETWORKS["winograd"]()
    x = samples(net)
    plain = Network(net.layers, net.input_shape, "c-direct", "float32", 3)
    found = Device(export(net, winograd=False)).outputs(x, net.num_outputs)
    assert found.tobytes() == plain.forward(x).tobytes()
    assert found.tobytes() != net.forward(x).tobytes()
    np.testing.assert_allclose(found, net.forward(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dense", "image"])
def test_a_trunk_in_flash_compiles_on_avr(name, tmp_path):
    """Its kernels read flash, the tail's memory: each is there for what calls it, and no other."""
    layers = [Linear(5, "relu"), Linear(4, "tanh"), Linear(3)]
    if name == "image":
        layers = [Conv2d(4, 3, padding=1, activation="relu"), MaxPool2d(2), Flatten(), *layers]
    net = Network(layers, (4, 4, 2) if name == "image" else (6,), **SETTINGS)
    made = export(net, learning=Learning(tail=1))
    trunk = made.source[made.source.index("static void net_trunk") :]
    assert "WS_TRUNK(ws_dense_forward)(" in trunk[: trunk.index("\n}")]
    assert "#define WS_TRUNK(name) name\n" in made.source
    assert made.source.count("static void ws_dense_forward_flash(") == 1
    assert "ws_exp_flash" not in made.source  # which reads no weights
    if shutil.which("avr-gcc") is None:
        pytest.skip("needs avr-gcc: apt install gcc-avr avr-libc")
    _, source = made.write(tmp_path)
    words = ["avr-gcc", "-mmcu=atmega1284p", *STRICT, "-O2", "-c", source.name]
    subprocess.run(words, cwd=tmp_path, check=True)


def test_a_sparse_network_is_exported_as_sparse():
    net = models.mlp((19, 11, 6, 5), **SETTINGS)
    net.theta[np.random.default_rng(0).random(net.num_parameters) < 0.9] = 0
    thin = SparseNetwork(net)
    made, x = export(thin), samples(net)
    assert made.weights_bytes < export(net).weights_bytes / 2
    expected = thin.forward(x)
    assert Device(made).outputs(x, 5).tobytes() == expected.tobytes()


def test_memory_is_known_before_anything_is_compiled():
    net = models.mlp((19, 11, 6, 5), **SETTINGS)
    made = export(net, "tiny")
    assert f"#define TINY_ARENA_BYTES {made.arena_bytes}" in made.header
    assert made.arena_bytes == sum(-(-4 * units // 8) * 8 for units in (11, 6))
    assert made.weights_bytes == 4 * net.num_parameters


def test_the_header_is_one_of_cplusplus_too(tmp_path):
    made = export(models.mlp((5, 3), **SETTINGS), learning=Learning())
    header, _ = made.write(tmp_path)
    (tmp_path / "main.cpp").write_text(f'#include "{header.name}"\nint main() {{ return 0; }}\n')
    subprocess.run(["g++", "-Wall", "-Werror", "-pedantic", "-c", "main.cpp"], cwd=tmp_path,
                   check=True)  # fmt: skip


def test_nothing_is_asked_of_a_library(tmp_path):
    """Neither the heap nor libm: memcpy and memset alone."""
    net = restarted(NETWORKS["norms"]())
    _, source = export(net, learning=Learning(optimizer=Adam())).write(tmp_path)
    subprocess.run(["gcc", *STRICT, "-O2", "-c", source.name], cwd=tmp_path, check=True)
    said = subprocess.run(["nm", "-u", "net.o"], cwd=tmp_path, capture_output=True, text=True,
                          check=True)  # fmt: skip
    wanted = {line.split()[-1] for line in said.stdout.splitlines()}
    assert wanted <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


@pytest.mark.parametrize("wrong", ["Net", "2nd", "a-b", "", "int", "x" * 40])
def test_names_that_are_none_in_c_are_refused(wrong):
    with pytest.raises(SettingError, match="name"):
        export(models.mlp((5, 3), **SETTINGS), wrong)


def test_refusals():
    with pytest.raises(DtypeError, match="float32"):
        export(models.mlp((5, 3), backend="exact", dtype="float64"))
    ill = models.mlp((5, 3), **SETTINGS)
    ill.theta[2] = np.nan
    with pytest.raises(NonFiniteError):
        export(ill)
    batch = Network([Linear(4), BatchNorm2d(statistics="batch"), Linear(2)], (3,), **SETTINGS)
    with pytest.raises(ModeError, match="batch"):
        export(batch)
    with pytest.raises(SettingError, match="at most 1"):
        export(models.mlp((5, 3), **SETTINGS), learning=Learning(tail=2))


def test_the_page_of_docs_is_true(capsys):
    check_page("export.md", capsys, 4)
