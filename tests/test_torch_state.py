"""Weights as torch's state_dict and back, against torch's own modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weightspace.kernels.errors import CheckpointError, SettingError
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.nnlite import (
    Activation,
    BatchNorm2d,
    ContextLinear,
    Conv2d,
    Flatten,
    Linear,
    Network,
    models,
)
from weightspace.nnlite.export.torch_state import (
    from_torch,
    load_torch,
    places,
    save_torch,
    to_torch,
)

B: Any = {"backend": "reference"}
SMALL: Any = {"input_shape": (12, 12, 2), **B}
ZOO = {
    "mlp": lambda: models.mlp((12, 8, 5), "tanh", **B),
    "lenet-300-100": lambda: models.lenet_300_100(**B),
    "lenet5": lambda: models.lenet5(**B),
    "fip-cnn": lambda: models.fip_cnn(5, **SMALL),
    "fip-cnn of batches": lambda: models.fip_cnn(5, statistics="batch", **SMALL),
    "zenke-cnn": lambda: models.zenke_cnn(5, input_shape=(16, 16, 2), **B),
    "resnet": lambda: models.resnet((4, 6), 2, 5, **SMALL),
    "resnet without affine": lambda: models.resnet((4, 6), 1, 5, affine=False, **SMALL),
    "vgg16": lambda: models.vgg16(3, (6,), 2, **{**B, "input_shape": (32, 32, 3)}),
    "vgg16-cifar": lambda: models.vgg16_cifar(3, **B),
    "norm of flat samples": lambda: Network(
        [Conv2d(3, 3, dilation=2, groups=3), Flatten(), Activation("relu"), BatchNorm2d(),
         Linear(4)],
        (9, 7, 3), "reference",
    ),
}  # fmt: skip


def moved(net: Network) -> Network:
    """`net` with biases, scales and statistics that are not as in the beginning."""
    rng = np.random.default_rng(3)
    net.theta += rng.normal(0, 0.02, net.theta.shape).astype(net.dtype)
    for name, array in net.state.items():
        low, high = (0.5, 1.5) if name.endswith("var") else (-0.3, 0.3)
        array[...] = rng.uniform(low, high, array.shape)
    net.draws = 7
    return net


@pytest.mark.parametrize("name", ZOO)
def test_there_and_back(name, tmp_path):
    net = moved(ZOO[name]())
    save_torch(net, tmp_path / "state.safetensors")
    other = load_torch(tmp_path / "state.safetensors", backend="reference")
    assert np.array_equal(other.theta, net.theta)
    assert all(np.array_equal(other.state[key], net.state[key]) for key in net.state)
    assert other.layers == net.layers
    assert other.draws == (7 if net.state else 0)


def _twin(net):
    """A torch module by the names of the style "sequential", with torch's own Flatten."""
    torch_twin = pytest.importorskip(
        "weightspace.bench.speed.torch_twin", reason="torch is not installed: pip install torch"
    )
    import torch

    module = torch_twin.chain(net.layers, net.input_shape)
    for number, layer in enumerate(module):
        if type(layer).__name__ == "_Flatten":
            module[number] = torch.nn.Flatten()
    state = {key: torch.from_numpy(array) for key, array in to_torch(net).items()}
    module.load_state_dict(state, strict=True)
    return module


def _calm(net: Network) -> Network:
    """The network with no unit dropped: torch draws others."""
    from dataclasses import replace

    given: Any = net.layers
    layers = [replace(one, rate=0.0) if hasattr(one, "rate") else one for one in given]
    calm = Network(layers, net.input_shape, "reference")
    calm.theta, calm.draws = net.theta, net.draws
    calm.state.restore(net.state)
    return calm


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", ZOO)
def test_torch_answers_alike(name, mode):
    """Outputs of both modes; after a pass in mode "train" the running statistics, too."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    net = _calm(moved(ZOO[name]()))
    module = _twin(net).train(mode == "train")
    x = np.random.default_rng(0).normal(size=(6, *net.input_shape)).astype("float32")
    given = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))
    with torch.no_grad():
        theirs = module(given).numpy()
    allowed = tolerance("float32", 4096)
    assert relative_error(net.forward(x, mode), theirs) <= allowed
    back = {key: value.numpy() for key, value in module.state_dict().items()}
    other = moved(ZOO[name]()).like()
    from_torch(other, back)
    for key, array in net.state.items():
        assert relative_error(other.state[key], array) <= allowed, key
    if net.state:
        assert other.draws == 7 + (mode == "train")


def test_names_are_torchvisions():
    """As torchvision 0.28 prints them."""
    net = models.resnet18(backend="reference")
    theirs = {place.theirs for place in places(net, "torchvision")}
    assert {
        "conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer1.1.bn2.bias",
        "layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_mean",
        "layer4.1.conv2.weight", "fc.weight", "fc.bias",
    } <= theirs  # fmt: skip
    assert len(theirs) == 102  # of 122 entries, 20 count batches
    vgg = {place.theirs for place in places(models.vgg16(**B), "torchvision")}
    assert {
        "features.0.weight",
        "features.28.bias",
        "classifier.0.weight",
        "classifier.6.bias",
    } <= vgg
    assert len(vgg) == 32
    normed = {place.theirs for place in places(models.vgg16(batch_norm=True, **B), "torchvision")}
    assert {"features.1.running_mean", "features.40.weight"} <= normed
    with pytest.raises(SettingError, match="neither"):
        to_torch(models.lenet5(**B), "torchvision")


def test_what_does_not_fit_changes_nothing():
    net = models.lenet5(**B)
    state, before = to_torch(net), net.theta.copy()
    missing = {key: value for key, value in state.items() if key != "0.bias"}
    wrong = {**state, "0.weight": state["0.weight"][:, :, :2]}
    whole = {**state, "0.bias": state["0.bias"].astype(np.int64)}
    more = {**state, "99.weight": state["0.bias"]}
    for given, says in ((missing, r"no '0.bias'"), (wrong, "'0.weight' is float32"),
                        (whole, "'0.bias' is int64"), (more, "nothing for 99.weight")):  # fmt: skip
        shifted = {key: value + 1 for key, value in given.items()}
        with pytest.raises(CheckpointError, match=says):
            from_torch(net, shifted)
        assert np.array_equal(net.theta, before)
    with pytest.raises(SettingError, match="ContextLinear"):
        to_torch(Network([ContextLinear(3)], (4,), "reference"))


def test_arrays_are_contiguous():
    """safetensors' writer for NumPy stores others as if they were in C order."""
    assert all(array.flags.c_contiguous for array in to_torch(models.lenet5(**B)).values())


def test_files_that_are_none(tmp_path):
    path = tmp_path / "state"
    for data, says in ((b"PK\x03\x04rest", "unpickled"), (b"", "not a readable"),
                       (b"\x08\0\0\0\0\0\0\0{}", "not a readable")):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=says):
            load_torch(path)
    from safetensors.numpy import save_file

    save_file(to_torch(models.mlp((4, 3), **B)), path)
    with pytest.raises(CheckpointError, match="does not say which"):
        load_torch(path)
    assert load_torch(path, models.mlp((4, 3), seed=1, **B)).num_parameters == 15
