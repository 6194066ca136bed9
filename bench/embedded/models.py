"""What is measured: networks for small machines, trained for a moment on MNIST."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ...kernels import available
from ...kernels.errors import DataNotFoundError, check_name
from ...kernels.spec import KERNELS
from ...nnlite import Network, models
from ...nnlite.export.c import Learning
from ...nnlite.init import generator
from ...nnlite.layers import Conv2d, Flatten, Linear, MaxPool2d
from ...nnlite.optim import SGD, Adam
from ...nnlite.program import View, record
from ..data import load

SEEN = 1000  # training images that int8 is calibrated by
_PRODUCTS = ("dense_forward", "superposed_forward", "conv2d_forward")


@dataclass(frozen=True)
class Model:
    """A network of images of `side` x `side` pixels, one channel; learnings: how it is to learn."""

    name: str
    side: int
    make: Callable[..., Network]
    learnings: dict[str, Learning] = field(default_factory=dict)


def _cnn(**settings: object) -> Network:
    """Two convolutions 3x3 of 8 and 16 maps, each with pooling, and a linear layer."""
    layers = [
        Conv2d(8, 3, padding=1, activation="relu"), MaxPool2d(2),
        Conv2d(16, 3, padding=1, activation="relu"), MaxPool2d(2),
        Flatten(), Linear(10),
    ]  # fmt: skip
    return Network(layers, input_shape=(28, 28, 1), **settings)  # type: ignore[arg-type]


_ALL = Learning(None, 8, SGD(0.05))
_TAIL = Learning(1, 1, SGD(0.01))

MODELS = {
    model.name: model
    for model in (
        Model("784-64-10", 28, lambda **s: models.mlp((784, 64, 10), **s),
              {"all": _ALL, "tail:1": _TAIL}),
        Model("cnn-8-16", 28, _cnn, {"tail:1": _TAIL}),
        Model("49-16-10", 7, lambda **s: models.mlp((49, 16, 10), **s), {"tail:1": _TAIL}),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A network (float32), test images (N, pixels) uint8 with their labels (N,), and some of the
    images that it was trained with."""

    model: Model
    net: Network
    images: np.ndarray
    labels: np.ndarray
    seen: np.ndarray

    @property
    def inputs(self) -> int:
        """Numbers in a sample."""
        return self.images.shape[1]

    def samples(self, images: np.ndarray) -> np.ndarray:
        """Images as the network takes them, (N, *input_shape), from 0 to 1; (N, pixels) if flat."""
        return as_floats(images).reshape(-1, *self.net.input_shape)


def as_floats(images: np.ndarray) -> np.ndarray:
    """x / 255 in float32: one division, rounded once, as the targets do it."""
    return images.astype(np.float32) / np.float32(255)


def find(names: Iterable[str] | None) -> list[Model]:
    """The models of these names; None: all. Raises UnknownNameError."""
    wanted = list(MODELS if names is None else names)
    for name in wanted:
        check_name("model for small machines", name, MODELS)
    return [model for name, model in MODELS.items() if name in wanted]


def train(model: Model, data_dir: str | None = None, most: int = 20_000, seed: int = 0) -> Trained:
    """The model after one pass, in batches of 32 with Adam, over `most` images of MNIST.

    Where MNIST is not on this machine, over those of mnist-demo. Raises MissingExtraError then.
    """
    try:
        data = load("mnist", data_dir)
    except DataNotFoundError:
        data = load("mnist-demo")
    backend = "cpu" if "cpu" in available() else "reference"
    net = model.make(backend=backend, dtype="float32", seed=seed)
    images = smaller(data.train_x[:most], model.side)
    x = as_floats(images).reshape(-1, *net.input_shape)
    adam, grad = Adam(3e-3), np.empty_like(net.theta)
    state = adam.state(net.num_parameters, net.dtype)
    order = generator(seed).permutation(len(x))
    for count, at in enumerate(range(0, len(x) - 31, 32), start=1):
        rows = order[at : at + 32]
        net.loss_and_grad(x[rows], data.train_y[rows], out=grad)
        adam.step(net.ops, net.theta, grad, state, count)
    seen = images[order[:SEEN]]
    return Trained(model, net, smaller(data.test_x, model.side), data.test_y, seen)


def smaller(images: np.ndarray, side: int) -> np.ndarray:
    """Images (N, H, W, 1) uint8 as (N, side * side) uint8: means of squares, rounded."""
    count, height = images.shape[:2]
    step = height // side
    squares = images.reshape(count, side, step, side, step).astype(np.float64)
    return np.rint(squares.mean(axis=(2, 4))).astype(np.uint8).reshape(count, side * side)


def multiply_adds(net: Network) -> int:
    """Multiplications, each with its addition, of an answer for one sample: those of products."""
    total = 0
    for call in record(net, "forward", 1).calls:
        if call.kernel in _PRODUCTS:
            given = dict(zip(KERNELS[call.kernel].axes, call.arguments, strict=True))
            weight, answer = given["w"], given["y"]
            assert isinstance(weight, View) and isinstance(answer, View)
            total += math.prod(weight.shape[1:]) * math.prod(answer.shape)
    return total


def weights_bytes(net: Network, size: int = 4) -> int:
    """Bytes of weights of `size` bytes each; what is no matrix (biases) has four in any case."""
    shapes = [net.layout.shape(name) for name in net.layout]
    counts = [(math.prod(shape), len(shape)) for shape in shapes]
    return sum(count * (size if rank > 1 else 4) for count, rank in counts)
