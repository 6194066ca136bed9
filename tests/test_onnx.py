"""ONNX out and in: onnxruntime's outputs are the network's, there and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weightspace import methods
from weightspace.kernels.errors import CheckpointError, SettingError, ShapeError
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.nnlite import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Context,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    Sequential,
    models,
)

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnxruntime")

from weightspace.nnlite.export.onnx import (  # noqa: E402
    check_onnx,
    read_onnx,
    write_int8,
    write_onnx,
)
from weightspace.nnlite.export.onnx.check import outputs  # noqa: E402

B: Any = {"backend": "reference"}


def moved(net: Network) -> Network:
    """`net` with scales and statistics that are not as in the beginning."""
    rng = np.random.default_rng(3)
    net.theta += rng.normal(0, 0.02, net.theta.shape).astype(net.dtype)
    for name, array in net.state.items():
        low, high = (0.5, 1.5) if name.endswith("var") else (-0.3, 0.3)
        if not name.endswith("context"):
            array[...] = rng.uniform(low, high, array.shape)
    return net


def images(*layers: Layer, shape=(9, 8, 2)) -> Network:
    """A network of layers on small images, and a dense one at the end."""
    flat = len(Sequential(layers).output_shape(shape)) == 1
    ends = [Linear(4)] if flat else [Flatten(), Linear(4)]
    return moved(Network([*layers, *ends], shape, "reference"))


def inputs(net: Network, count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *net.input_shape)).astype("float32")


# what comes back as the very same network
KEPT = {
    "mlp": lambda: moved(models.mlp((20, 16, 5), "leaky_relu", 0.2, **B)),
    "tanh, sigmoid": lambda: moved(Network(
        [Linear(7, "tanh"), Linear(6, "sigmoid", bias=False), Linear(3)], (5,), "reference")),
    "lenet5": lambda: moved(models.lenet5(**B)),
    "resnet": lambda: moved(models.resnet((4, 6), 2, 5, (12, 12, 2), **B)),
    "stride, padding": lambda: images(Conv2d(3, (3, 2), (2, 1), (1, 0)), MaxPool2d(3, 2, 1)),
    "uneven padding": lambda: images(Conv2d(3, 3, 2, ((1, 0), (0, 2)))),
    "dilation, groups": lambda: images(Conv2d(6, 3, dilation=2, groups=2, activation="relu")),
    "depthwise": lambda: images(Conv2d(2, 3, 1, 1, groups=2, bias=False), BatchNorm2d()),
    "mean pool": lambda: images(AvgPool2d(3, 2)),
    "padded mean": lambda: images(AvgPool2d(3, 2, 1, count_padding=False)),
    "padded mean with zeros": lambda: images(AvgPool2d(3, 2, ((1, 0), (0, 1)))),
    "uneven max": lambda: images(MaxPool2d(3, 2, ((1, 0), (0, 1)))),
    "global mean": lambda: images(Conv2d(3), GlobalAvgPool()),
    "one place": lambda: images(AdaptiveAvgPool2d(1, 1), Conv2d(3, 1)),
    "norm of flat samples": lambda: images(Flatten(), BatchNorm2d(activation="tanh")),
    "residual without relu": lambda: images(
        Residual((Conv2d(2, 3, 1, 1), Residual((Conv2d(2, 1),))), activation="identity")),
}  # fmt: skip
# what is written, but is read as something else, or not at all
CHANGED = {
    "fip-cnn": lambda: moved(models.fip_cnn(5, (12, 12, 2), **B)),
    "statistics of the batch": lambda: moved(
        models.resnet((3, 4), 1, 3, (8, 8, 2), False, "batch", **B)),
    "norm of a batch, flat": lambda: images(Flatten(), BatchNorm2d(statistics="batch")),
    "parts of unequal size": lambda: images(AdaptiveAvgPool2d(4, 3)),
    "parts of equal size": lambda: images(AdaptiveAvgPool2d(3, 4)),
    "repeated pixels": lambda: images(AdaptiveAvgPool2d(11, 2)),
    "max that hangs over": lambda: images(MaxPool2d(3, 2, 1, ceil_mode=True), shape=(8, 8, 2)),
    "mean that hangs over": lambda: images(AvgPool2d(3, 2, 1, True), shape=(8, 8, 2)),
    "mean of pixels that hangs over": lambda: images(
        AvgPool2d(3, 2, 1, True, False), shape=(8, 8, 2)),
    "context": lambda: images(Context(), Conv2d(3), Context(), Flatten(), Context()),
    "ends flat": lambda: moved(Network([Conv2d(3), Flatten()], (5, 6, 2), "reference")),
    "dropout": lambda: images(Conv2d(3), Dropout(0.4), Flatten(), Activation("relu")),
    "within": lambda: images(Sequential((Conv2d(3), BatchNorm2d()))),
    "flat residual": lambda: images(Flatten(), Residual((Activation("tanh"),))),
    "residual of flattened": lambda: images(
        Residual((Flatten(), Linear(144)), (Flatten(),), "identity")),
    **{
        f"{kind} contexts{of}": lambda kind=kind, net=net: _superposed(kind, net)
        for kind, of, net in (
            ("binary", "", lambda: models.mlp((20, 16, 5), **B)),
            ("rotation", "", lambda: models.mlp((20, 16, 5), **B)),
            ("complex", "", lambda: models.mlp((20, 16, 5), **B)),
            ("binary", " of filters", lambda: models.lenet5(**B)),
            ("complex", " of filters", lambda: models.lenet5(**B)),
        )
    },
}  # fmt: skip


def _superposed(kind: str, plain) -> Network:
    """The contexts of task 2."""
    method = methods.Superposition(kind)
    net = method.wrap(moved(plain()))
    method.select(net, 2, None)
    return net


@pytest.mark.parametrize("name", [*KEPT, *CHANGED])
def test_onnxruntime_answers_alike(name, tmp_path):
    """onnx finds the file valid, and onnxruntime's outputs are the network's."""
    net = {**KEPT, **CHANGED}[name]()
    write_onnx(net, tmp_path / "net.onnx")
    check_onnx(net, tmp_path / "net.onnx", inputs(net))
    ops = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert not {"Transpose", "Dropout"} & ops
    if not any(name.startswith(word) for word in ("statistics", "norm of a batch")):
        write_onnx(net, tmp_path / "folded.onnx", fold=True, opset=13)
        check_onnx(net, tmp_path / "folded.onnx", inputs(net))


@pytest.mark.parametrize("name", KEPT)
def test_there_and_back(name, tmp_path):
    net = KEPT[name]()
    write_onnx(net, tmp_path / "net.onnx")
    found = read_onnx(tmp_path / "net.onnx", "reference")
    assert found.net.layers == net.layers
    assert found.net.input_shape == net.input_shape
    assert np.array_equal(found.net.theta, net.theta)
    assert all(np.array_equal(found.net.state[key], net.state[key]) for key in net.state)
    assert found.notes == ()


def test_a_file_says_what_it_holds(tmp_path):
    net = models.lenet5(**B)
    write_onnx(net, tmp_path / "a.onnx")
    write_onnx(net.like(), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    model = onnx.load(tmp_path / "a.onnx")
    assert model.producer_name == "weightspace"
    about = {one.key: one.value for one in model.metadata_props}
    net.theta[0] += 1
    write_onnx(net, tmp_path / "b.onnx")
    other = {one.key: one.value for one in onnx.load(tmp_path / "b.onnx").metadata_props}
    assert about["weightspace.sha256"] != other["weightspace.sha256"]
    assert about["weightspace.input"] == "NCHW"


def test_what_is_not_written(tmp_path):
    class Odd(Activation):
        pass

    net = Network([Linear(3)], (4,), "reference")
    with pytest.raises(SettingError, match="opset 18"):
        write_onnx(net, tmp_path / "net.onnx", opset=18)
    with pytest.raises(SettingError, match="layer 0 is a Other, which has no ONNX"):
        write_onnx(Network([Other(), Linear(3)], (4,), "reference"), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


class Other(Layer):
    """A layer that nothing knows."""

    def forward(self, k, p, x):
        return x, None


def test_another_networks_file_is_found_out(tmp_path):
    net = models.mlp((6, 5, 4), **B)
    write_onnx(net, tmp_path / "net.onnx")
    net.theta += 0.1
    with pytest.raises(CheckpointError, match="gives other outputs"):
        check_onnx(net, tmp_path / "net.onnx", inputs(net))


# ---- 8 bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet", "padded mean", "uneven max"])
def test_8_bits_are_near(name, tmp_path):
    """Within a few steps of the outputs' own range; whole numbers where they were floats."""
    net = KEPT[name]()
    x = inputs(net, 300)
    write_int8(net, tmp_path / "net.onnx", x)
    onnx.checker.check_model(tmp_path / "net.onnx", full_check=True)
    expected = net.forward(x)
    (found,) = outputs(tmp_path / "net.onnx", x)
    assert relative_error(found, expected) <= 0.06
    kinds = {one.data_type for one in onnx.load(tmp_path / "net.onnx").graph.initializer
             if one.name.endswith("weight")}  # fmt: skip
    assert kinds == {onnx.TensorProto.INT8}


def test_what_was_silent_in_calibration_goes_on_rectifying(tmp_path):
    """A rectifier that only saw numbers below 0 stays one."""
    net = models.mlp((3, 4, 2), **B)
    net.theta[...] = 1
    write_int8(net, tmp_path / "net.onnx", -np.ones((8, 3), "float32"))
    assert np.allclose(outputs(tmp_path / "net.onnx", -np.ones((2, 3)))[0], 1)
    ops = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert "Relu" in ops


def test_samples_must_fit(tmp_path):
    net = models.mlp((3, 4, 2), **B)
    for samples, wrong in ((np.zeros((4, 2)), ShapeError), (np.zeros((0, 3)), ShapeError),
                           (np.full((2, 3), np.nan), SettingError)):  # fmt: skip
        with pytest.raises(wrong, match="samples to calibrate by"):
            write_int8(net, tmp_path / "net.onnx", samples)


# ---- other software's files --------------------------------------------------------------------


@pytest.mark.parametrize("dynamo", [False, True])
def test_torchs_files(dynamo, tmp_path):
    """Weights in a file beside the model, a bias of its own, a Dropout that does nothing."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    if dynamo:
        pytest.importorskip("onnxscript", reason="torch's newer exporter needs onnxscript")
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1, groups=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, 1, 2, 2, groups=4), torch.nn.LeakyReLU(0.1),
        torch.nn.MaxPool2d(3, 2, 1), torch.nn.AvgPool2d(3, 1, 1), torch.nn.Flatten(),
        torch.nn.Dropout(0.3), torch.nn.Linear(128, 16), torch.nn.Tanh(), torch.nn.Linear(16, 5),
        torch.nn.Softmax(-1),
    ).eval()  # fmt: skip
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype("float32")
    given = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    path = tmp_path / "net.onnx"
    torch.onnx.export(module, (given,), path, dynamo=dynamo, verbose=False)
    net, notes = read_onnx(path, "reference")
    assert (path.with_name("net.onnx.data")).exists() == dynamo
    assert len(notes) == 1
    assert "Softmax" in notes[0]
    theirs = module[:-1](given).detach().numpy()
    assert relative_error(net.forward(x), theirs) <= tolerance("float32", 600)
