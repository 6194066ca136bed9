"""What an operation can be done on: a ReLU MLP, a tanh MLP on squared error, one convolution, a
convolutional network, a superposed MLP (`superposed`), or the factors of a dense product
(`products`).

| size | network |
|---|---|
| 784-300-100-10x64 | the widths of an MLP, and the batch |
| tanh-4-32-16-4x10000 | the same, tanh between its layers, trained on squared error |
| conv32-32@16x64 | 3x3, padding 1, stride 1, no bias: 32 to 32 maps of 16 x 16, batch 64 |
| resnet20x128, fip-cnnx128 | a network of `nnlite.models` by name, and the batch |

Each kind knows its parameters' shapes, the operations it has, and how to draw a problem's arrays.
Parameters lie in theta as everywhere in weightspace: a dense weight is (out, in), a convolution's
(O, R, S, C); images are NHWC. nnlite is imported where it is used: a peer that is asked about an
MLP does without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from ....nnlite import Network

OFF_KINK = np.float32(4.0)  # standard deviations of what a norm puts out
KINK_MARGIN = 2e-5  # far above float32's error of a unit's input, far below its size
Arrays = dict[str, np.ndarray]
Shape = tuple[int, ...]

_FORWARD = ("forward-1", "forward-32", "forward-256")


def draw_normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers in float32."""
    return rng.standard_normal(shape, dtype=np.float32)


class Kind:
    """What the kinds share: parameters of known shapes, one after another in theta.

    table: the name under which a peer's module lists its operations for this kind. work: which
    peers are asked (`PeerSpec.work`).
    """

    table: ClassVar[str]
    work: ClassVar[str] = "networks"
    operations: ClassVar[tuple[str, ...]]

    @property
    def name(self) -> str:
        """The size without its batch, e.g. "784-300-100-10"."""
        raise NotImplementedError

    def size(self, n: int) -> str:
        """The size's name with `n` samples, e.g. "784-300-100-10x64"."""
        return f"{self.name}x{n}"

    def shapes(self) -> list[Shape]:
        """The shape of each parameter, in theta's order."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, n: int) -> Arrays:
        """The arrays of a problem with `n` samples, in float32 (labels int64)."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """K: the classes, or a convolution's filters."""
        return self.shapes()[-1][0]

    @cached_property
    def num_parameters(self) -> int:
        """P."""
        return sum(math.prod(shape) for shape in self.shapes())

    def views(self, vector: np.ndarray) -> list[np.ndarray]:
        """Views of each parameter into a vector of length P."""
        found, at = [], 0
        for shape in self.shapes():
            size = math.prod(shape)
            found.append(vector[at : at + size].reshape(shape))
            at += size
        return found


@dataclass(frozen=True)
class Mlp(Kind):
    """Linear, ReLU, Linear, ..., trained on cross-entropy.

    Arrays: theta, v, omega, anchor (P,), x (N, widths[0]), y (N,) and u (N, K).
    """

    activation: ClassVar[str] = "relu"
    loss: ClassVar[str] = "cross_entropy"
    table: ClassVar[str] = "OPERATIONS"
    operations: ClassVar[tuple[str, ...]] = (
        "train-step-adam", "train-step-sgd", "train-100-adam", *_FORWARD, "fisher-empirical",
        "fisher-true", "mas", "jvp", "vjp", "gram", "si-step",
    )  # fmt: skip

    widths: tuple[int, ...]

    @property
    def name(self) -> str:
        return "-".join(map(str, self.widths))

    def layers(self) -> Iterator[tuple[int, int]]:
        """(in, out) of each layer."""
        return zip(self.widths[:-1], self.widths[1:], strict=True)

    def shapes(self) -> list[Shape]:
        return [shape for i, o in self.layers() for shape in ((o, i), (o,))]

    def split(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Views (weight (out, in), bias (out,)) of each layer into a vector of length P."""
        views = self.views(vector)
        return list(zip(views[::2], views[1::2], strict=True))

    @property
    def outputs(self) -> int:
        return self.widths[-1]

    def draw(self, rng: np.random.Generator, n: int) -> Arrays:
        """He-scaled weights, with biases that keep every unit off its kink.

        Biases are moved a little, so that no unit's input lies within `KINK_MARGIN` of zero:
        rounding in float32 would decide which side of ReLU's kink it is on, and peers would differ
        by whole derivatives without either being wrong.
        """
        count, k = self.num_parameters, self.outputs
        theta = draw_normal(rng, count)
        for (i, _), (weight, bias) in zip(self.layers(), self.split(theta), strict=True):
            np.multiply(weight, np.float32(np.sqrt(2.0 / i)), out=weight)
            np.multiply(bias, np.float32(0.1), out=bias)
        x = draw_normal(rng, n, self.widths[0])
        self._clear_kinks(theta, x)
        return {
            "theta": theta,
            "x": x,
            "y": rng.integers(0, k, n),
            "u": draw_normal(rng, n, k),
            "v": draw_normal(rng, count),
            "omega": np.abs(draw_normal(rng, count)),
            "anchor": theta + np.float32(0.01) * draw_normal(rng, count),
        }

    def _clear_kinks(self, theta: np.ndarray, x: np.ndarray) -> None:
        """Raise the biases of hidden units, in place, until `draw`'s promise holds."""
        x = x.astype(np.float64)
        for weight, bias in self.split(theta)[:-1]:
            products = x @ weight.T.astype(np.float64)
            while (close := (np.abs(products + bias) < KINK_MARGIN).any(axis=0)).any():
                bias[close] += np.float32(2 * KINK_MARGIN)
            x = np.maximum(products + bias, 0.0)


@dataclass(frozen=True)
class Regression(Mlp):
    """Linear, tanh, Linear, ..., trained on 1/2 ||f - y||^2, the mean over the samples.

    With 4-32-16-4 and 10,000 samples a step it is SimpleChains.jl's own example (there of matrix
    exponentials; here numbers are drawn). Arrays: as an Mlp's, but y is (N, K).
    """

    activation: ClassVar[str] = "tanh"
    loss: ClassVar[str] = "squared_error"
    table: ClassVar[str] = "REGRESSIONS"
    operations: ClassVar[tuple[str, ...]] = ("train-step-adam", "train-100-adam", *_FORWARD)

    @property
    def name(self) -> str:
        return f"{self.activation}-{super().name}"

    def draw(self, rng: np.random.Generator, n: int) -> Arrays:
        return super().draw(rng, n) | {"y": draw_normal(rng, n, self.outputs)}


@dataclass(frozen=True)
class Convolution(Kind):
    """One 3x3 convolution of stride 1 and padding 1, without bias.

    Arrays: x (N, H, H, C), w (O, 3, 3, C), dy (N, H, H, O).
    """

    table: ClassVar[str] = "CONVOLUTIONS"
    operations: ClassVar[tuple[str, ...]] = ("conv-forward", "conv-forward-backward", "conv-fisher")

    channels: int
    filters: int
    side: int

    @property
    def name(self) -> str:
        return f"conv{self.channels}-{self.filters}@{self.side}"

    def shapes(self) -> list[Shape]:
        return [(self.filters, 3, 3, self.channels)]

    def draw(self, rng: np.random.Generator, n: int) -> Arrays:
        scale = np.float32(np.sqrt(2.0 / (9 * self.channels)))
        return {
            "x": draw_normal(rng, n, self.side, self.side, self.channels),
            "w": scale * draw_normal(rng, *self.shapes()[0]),
            "dy": draw_normal(rng, n, self.side, self.side, self.filters),
        }


def _models() -> Mapping[str, Callable[..., Network]]:
    """The networks that can be named, each a function of the settings of a Network."""
    from ....nnlite import models

    return {
        "resnet20": lambda **settings: models.resnet20(10, **settings),
        "fip-cnn": lambda **settings: models.fip_cnn(20, **settings),
        "lenet5": lambda **settings: models.lenet5(10, **settings),
    }


NAMES = ("resnet20", "fip-cnn", "lenet5")


@lru_cache(maxsize=4)
def _template(name: str) -> Network:
    return _without_dropout(_models()[name](backend="reference"), backend="reference")


def _without_dropout(given: Network, **settings: Any) -> Network:
    """The same network with all its units: no two libraries would drop the same ones."""
    from ....nnlite import Network
    from ....nnlite.layers import Dropout

    layers = [replace(one, rate=0.0) if isinstance(one, Dropout) else one for one in given.layers]
    return Network(layers, given.input_shape, **settings)


@dataclass(frozen=True)
class ConvNet(Kind):
    """A network of `nnlite.models`, its dropout switched off.

    Arrays: theta, v (P,), x (N, H, W, C), y (N,), and state (S,): the running mean and variance of
    each BatchNorm2d in turn.
    """

    table: ClassVar[str] = "NETWORKS"
    operations: ClassVar[tuple[str, ...]] = (
        "train-step-sgd", *_FORWARD, "fisher-empirical", "jvp", "gram",
    )  # fmt: skip

    network: str

    @property
    def name(self) -> str:
        return self.network

    @property
    def template(self) -> Network:
        """The network on the `reference` backend in float32; only its shape may be used."""
        return _template(self.network)

    def build(self, theta: np.ndarray, state: np.ndarray, **settings: Any) -> Network:
        """It as weightspace's Network, holding theta (P,) and state (S,)."""
        net = _without_dropout(self.template, **settings)
        self.restore(net, theta, state)
        return net

    def restore(self, net: Network, theta: np.ndarray, state: np.ndarray) -> None:
        """Copy theta (P,) and state (S,) into a network that `build` made."""
        put = net.device.put
        net.theta[:] = put(theta)
        at = 0
        for array in net.state.values():
            array[...] = put(state[at : at + array.size])
            at += array.size

    def shapes(self) -> list[Shape]:
        layout = self.template.layout
        return [layout.shape(name) for name in layout]

    @property
    def outputs(self) -> int:
        return self.template.num_outputs

    def draw(self, rng: np.random.Generator, n: int) -> Arrays:
        """Weights as a Network draws them; norms that keep units off their kinks; sane statistics.

        A batch has millions of units, too many to move each off its kink as in an MLP: of those
        near zero, rounding would put some on the other side in every peer. So the norms' shifts
        are +-`OFF_KINK`, channels in turn open and shut, alike in all layers so that residual sums
        stay off the kink as well. (Measured, ResNet-20, batch 64, shifts around 0 instead: right
        peers are off by 5e-3 in a JVP, and by 0.16 in three training steps.)

        Running statistics drawn blindly would let signals grow from block to block until the
        softmax is one-hot: they are those of sixteen samples, changed by up to a tenth.
        """
        template = self.template
        theta = template.theta.copy()
        for weight, bias in self._norms(theta):
            weight[:] = 1.0 + 0.1 * draw_normal(rng, weight.size)
            bias[:] = 0.1 * draw_normal(rng, bias.size)
            bias[::2] += OFF_KINK
            bias[1::2] -= OFF_KINK
        x = draw_normal(rng, n, *template.input_shape)
        return {
            "theta": theta,
            "x": x,
            "y": rng.integers(0, self.outputs, n),
            "v": theta.std() * draw_normal(rng, theta.size),
            "state": self._statistics(theta, draw_normal(rng, 16, *template.input_shape), rng),
        }

    def _norms(self, theta: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Views of weight and bias (C,) of each BatchNorm2d in theta: the weights are vectors."""
        layout = self.template.layout
        for name in layout:
            owner, _, part = name.rpartition(".")
            if part == "weight" and len(layout.shape(name)) == 1:
                yield layout.view(theta, name), layout.view(theta, f"{owner}.bias")

    def _statistics(self, theta: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The running statistics (S,) in float32; variances are positive."""
        zero = np.zeros(sum(array.size for array in self.template.state.values()))
        net = self.build(theta, zero, backend="reference", dtype="float64")
        net.forward(x.astype(np.float64), mode="train")
        parts = []
        for array in net.state.values():  # of 0, a pass keeps a tenth of the batch's own (momentum)
            parts.append(10.0 * array * (1.0 + 0.1 * rng.uniform(-1.0, 1.0, array.shape)))
        return np.concatenate([*parts, zero[:0]]).astype(np.float32)  # there may be none
