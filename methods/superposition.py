"""Parameter superposition (Cheung, Terekhov, Chen, Agrawal & Olshausen 2019): many models in one.

W = sum over models of W_k C_k^-1, and asking for model k is to multiply the input by its context:
y = W (C_k x) = W_k x + what the others leave, which is small because contexts are nearly
orthogonal. Trained in place: each task's context is set while the task is learnt and tested.

| kind           | context of a layer with M inputs            | kept for each task more |
|----------------|---------------------------------------------|-------------------------|
| binary         | signs, M; of a convolution's kernel, R S C  | M                       |
| complex        | phases uniform in (-pi, pi], M or R S C     | M                       |
| onepower       | the k-th power of one vector of phases      | 1                       |
| rotation       | an orthogonal matrix (Haar), M x M          | M^2                     |
| rotation-block | blocks of at most 64 on the diagonal        | 64 M                    |
| permutation    | an order of the features                    | M                       |

The last column is Table 1 of the paper, in numbers (theirs for the first four).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from ..kernels.errors import SettingError
from ..nnlite import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    ComplexConv2d,
    ComplexFlatten,
    ComplexLinear,
    Context,
    ContextConv2d,
    ContextLinear,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Network,
    Residual,
    Rotation,
    Sequential,
)
from ..nnlite.init import generator
from ..nnlite.layout import Shape
from .base import Method
from .linear import orthogonal, product
from .settings import COUNT, limited

Kind = Literal["binary", "complex", "onepower", "rotation", "rotation-block", "permutation"]
Schedule = Literal["task", "step"]
_TURNED = ("rotation", "rotation-block", "permutation")
_COMPLEX = ("complex", "onepower")
_BLOCK = 64
# Layers that do to the real and the imaginary parts alike what they do to real numbers.
_ALIKE = (Activation, AdaptiveAvgPool2d, AvgPool2d, Flatten, GlobalAvgPool, MaxPool2d)
_KEY = 0x5095  # contexts have random streams of their own


@dataclass
class Superposition(Method):
    """All tasks in the weights of one network, each under its own contexts.

    schedule "task": task t has context number t. "step": the number grows by one every `every`
    steps and begins anew after `period` of them (the paper's rotating images: 100 and 10; "Fast": 1
    and 1000); tests then use number 0. mix: a context is the mean of its neighbours' phases and its
    own ("Local Mix"; complex kinds with schedule "step").
    first: whether the first layer has a context, too (the authors' ResNet leaves it out).
    learned: contexts begin as drawn and are trained (binary, dense layers), each kept when another
    takes its place; their moments are shared.

    network: what `wrap` made, and `fit` trains. Contexts follow from the network's seed, the layer
    and their number alone. Raises SettingError for settings or layers that have no context of this
    kind.
    """

    name = "superposition"
    convention = "one set of weights for all tasks, inputs of each layer multiplied by contexts"
    on_host = frozenset({"number"})  # that of the context which is set
    asks_task = True
    limits = limited(every=COUNT, period=COUNT)
    kind: Kind = "binary"
    schedule: Schedule = "task"
    every: int = 100
    period: int = 10
    mix: bool = False
    first: bool = True
    learned: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mix and (self.kind not in _COMPLEX or self.schedule != "step"):
            raise SettingError("mix=true needs a complex kind and schedule='step'")
        if self.learned and self.kind != "binary":
            raise SettingError(f"learned contexts are binary ones to begin with, not {self.kind}")

    # ---- the network ---------------------------------------------------------------------------

    def wrap(self, net: Network) -> Network:
        """A network of the same weights with contexts at its layers, set to number 0.

        Complex kinds have twice the weights, drawn from the seed of `net`.
        """
        layers = _Inserter(self).all(net.layers)
        made = Network(
            layers, net.input_shape, net.backend, str(net.dtype), net.seed, net.init, net.loss_name
        )
        if self.kind not in _COMPLEX:
            for theirs, ours in _pairs(made, net):
                theirs[...] = ours
        self._plain, self.network = net, made
        self._set(made, 0)
        return made

    def select(self, net: Network, task: int, step: int | None) -> None:
        self._set(net, self.number(task, step))

    def number(self, task: int, step: int | None) -> int:
        """The number of the context for a step of a task; step None: for its test."""
        if self.schedule == "task":
            return task
        return 0 if step is None else step // self.every % self.period

    @property
    def _at(self) -> int:
        return int(self.arrays["number"][0]) if "number" in self.arrays else -1

    def _set(self, net: Network, number: int) -> None:
        before = self._at
        if number == before:
            return
        for place, (name, target) in enumerate(self._targets(net)):
            if self.learned and before >= 0:
                self.arrays[f"{name} {before}"] = target.copy()
            kept = self.arrays.get(f"{name} {number}")
            drawn = self.context(net.seed, place, target.shape, number) if kept is None else kept
            target[...] = net.device.put(drawn.astype(net.dtype))
        self.arrays["number"] = np.array([number])

    def _targets(self, net: Network) -> Iterator[tuple[str, np.ndarray]]:
        """Each layer's context, where the layer reads it."""
        if self.learned:
            yield from ((n, v) for n, v in net.layout.views(net.theta).items() if is_context(n))
        else:
            yield from ((n, a) for n, a in net.state.items() if is_context(n))

    def context(self, seed: int, place: int, shape: Shape, number: int) -> np.ndarray:
        """Context `number`, of `shape`, of the layer that has the `place`-th context; float64."""

        def draw(number: int) -> np.random.Generator:
            return generator(seed, _KEY + place, number)

        if self.kind == "binary":
            return draw(number).integers(0, 2, shape) * 2.0 - 1.0
        if self.kind in _TURNED:
            return _turn(self.kind, seed, _KEY + place, number, shape[0])
        phases = self._phases(draw, int(np.prod(shape[1:])), number)
        return np.stack([np.cos(phases), np.sin(phases)]).reshape(shape)

    def _phases(self, draw: Callable, size: int, number: int) -> np.ndarray:
        def of(number: int) -> np.ndarray:
            if self.kind == "onepower":
                return number * draw(0).uniform(-np.pi, np.pi, size)
            return draw(number).uniform(-np.pi, np.pi, size)

        if not self.mix:
            return of(number)
        around = ((number + offset) % self.period for offset in (-1, 0, 1))
        return np.mean([of(neighbour) for neighbour in around], axis=0)

    def persistent_bytes(self) -> int:
        """Bytes of the contexts in use so far, as Table 1 counts them."""
        count = self._at + 1 if self.schedule == "task" else self.period
        return sum(self.numbers_kept(target.shape) for _, target in self._targets(self.network)) * (
            count * self.network.dtype.itemsize
        )

    def numbers_kept(self, shape: Shape) -> int:
        """Numbers that one more context of a layer adds to what must be kept (Table 1)."""
        match self.kind:
            case "onepower":
                return 1
            case "rotation":
                return shape[0] * shape[1]
            case "rotation-block":
                return sum(size * size for size in _blocks(shape[0]))
            case "permutation":
                return shape[0]
            case "complex":
                return int(np.prod(shape[1:]))
        return int(np.prod(shape))

    # ---- models in and out -----------------------------------------------------------------------

    def retrieve(self, number: int) -> Network:
        """Model `number` as a network of its own, which needs no context.

        Of a complex kind: a complex network whose contexts are 1.
        """
        net = self.network
        plain = self._plain.like() if self.kind not in _COMPLEX else net.like()
        self._set(net, number)
        contexts = self._current(net)
        if self.kind in _COMPLEX:
            plain.initialise(plain.seed)  # contexts are 1 again
        for (ours, theirs), context in self._weights(plain, net, contexts):
            ours[...] = plain.device.put(
                _fold(self.kind, net.device.get(theirs), context).astype(plain.dtype)
            )
        return plain

    def store(self, models: Sequence[Network]) -> Network:
        """The superposition of trained models: weights summed under contexts 0, 1, ...

        Other parameters (biases) and statistics are the models' mean. Complex kinds take the
        complex networks that `retrieve` gives. The result is what `wrap` gave, filled.
        """
        net = self.network
        net.theta[...] = 0
        for number, model in enumerate(models):
            self._set(net, number)
            contexts = self._current(net)
            for (mine, whole), context in self._weights(model, net, contexts):
                given = model.device.get(mine)
                if context is None:
                    added = given / len(models)
                else:
                    added = _unfold(self.kind, given, context)
                whole[...] += net.device.put(added.astype(net.dtype))
        self._set(net, 0)
        return net

    def _current(self, net: Network) -> list[np.ndarray]:
        """The contexts that are set, in float64."""
        return [net.device.get(target).astype(np.float64) for _, target in self._targets(net)]

    def _weights(self, plain: Network, net: Network, contexts: list[np.ndarray]):
        """((a parameter of plain, the same of net), its layer's context or None), in order."""
        rest = iter(contexts)
        pending = {}
        names = [n for n in net.layout if not is_context(n)]
        owners = [n for n, _ in self._targets(net)]
        for context_name in owners:
            pending[_weight_of(context_name, names)] = next(rest)
        for (ours, theirs), name in zip(_pairs(plain, net), names, strict=True):
            yield (ours, theirs), pending.get(name)


def is_context(name: str) -> bool:
    """Whether `name`, of a state or a parameter, is a layer's context."""
    return name.rsplit(".", 1)[-1] == "context"


def _weight_of(context: str, names: Sequence[str]) -> str:
    """The weight that a context belongs to: its own layer's, or that of the layer behind it."""
    own = context.removesuffix("context") + "weight"
    if own in names:
        return own
    *path, number, _ = context.split(".")
    return ".".join([*path, str(int(number) + 1), "weight"])


def _pairs(a: Network, b: Network) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The parameters of two networks that differ in their contexts alone, side by side."""
    ours, theirs = (
        [view for name, view in net.layout.views(net.theta).items() if not is_context(name)]
        for net in (a, b)
    )
    yield from zip(ours, theirs, strict=True)


def _fold(kind: str, weight: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    """W C: what the weights are to inputs that no context has touched."""
    if c is None:
        return weight
    if kind in _TURNED:
        return product(weight, c)
    if kind in _COMPLEX:
        re, im = weight[:, 0], weight[:, 1]
        return np.stack([re * c[0] - im * c[1], re * c[1] + im * c[0]], axis=1)
    return weight * c


def _unfold(kind: str, weight: np.ndarray, c: np.ndarray) -> np.ndarray:
    """W C^-1, for contexts that turn but do not stretch."""
    if kind in _TURNED:
        return product(weight, c.T)
    if kind in _COMPLEX:
        return _fold(kind, weight, np.stack([c[0], -c[1]]))
    return weight * c


# ---- contexts that are matrices ------------------------------------------------------------------


def _haar(rng: np.random.Generator, size: int) -> np.ndarray:
    """An orthogonal matrix, uniform over all of them (Haar): the draw of scipy.stats.ortho_group.

    Of a Gaussian matrix's Q R, R's diagonal above 0 (Mezzadri 2007), whatever threads a BLAS has.
    """
    return np.ones((1, 1)) if size == 1 else orthogonal(rng.normal(size=(size, size)))


def _blocks(size: int) -> list[int]:
    return [min(_BLOCK, size - lo) for lo in range(0, size, _BLOCK)]


def _block_haar(rng: np.random.Generator, size: int) -> np.ndarray:
    whole = np.zeros((size, size))
    lo = 0
    for block in _blocks(size):
        whole[lo : lo + block, lo : lo + block] = _haar(rng, block)
        lo += block
    return whole


def _permutation(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.eye(size)[rng.permutation(size)]


@lru_cache(maxsize=32)  # of ten tasks and three layers all; drawing one takes longer than a step
def _turn(kind: str, seed: int, place: int, number: int, size: int) -> np.ndarray:
    return _TURNS[kind](generator(seed, place, number), size)


_TURNS = {"rotation": _haar, "rotation-block": _block_haar, "permutation": _permutation}


# ---- layers with contexts ------------------------------------------------------------------------


class _Inserter:
    """Rewrites layers, first to last, so that each has its context."""

    def __init__(self, method: Superposition) -> None:
        self.method = method
        self.begun = method.first  # whether the layer that goes without has passed
        self.complex = False  # whether images are complex by now

    def all(self, layers: Sequence[Layer]) -> tuple[Layer, ...]:
        made: list[Layer] = []
        for index, layer in enumerate(layers):
            made += self._one(layer, last=index == len(layers) - 1)
        return tuple(made)

    def _one(self, layer: Layer, last: bool) -> list[Layer]:
        if self.method.kind in _COMPLEX:
            return self._complex(layer, last)
        if isinstance(layer, Sequential):
            return [replace(layer, layers=self.all(layer.layers))]
        if isinstance(layer, Residual):
            body, shortcut = self.all(layer.body), self.all(layer.shortcut)
            return [replace(layer, body=body, shortcut=shortcut)]
        if not isinstance(layer, Linear | Conv2d):
            return [layer]
        return self._with_context(layer)

    def _with_context(self, layer: Linear | Conv2d) -> list[Layer]:
        if isinstance(layer, ContextLinear | ContextConv2d):
            raise SettingError("this network has contexts already")
        if not self.begun:
            self.begun = True
            return [layer]
        if isinstance(layer, Conv2d):
            return [self._kernel(layer)]
        if self.method.kind in _TURNED:
            return [Rotation(), layer]
        if self.method.learned:
            return [Context(), layer]
        return [ContextLinear(layer.units, layer.activation, layer.slope, layer.bias)]

    def _kernel(self, layer: Conv2d) -> Layer:
        if self.method.kind != "binary" or self.method.learned:
            raise SettingError(
                "contexts of convolutions are frozen binary ones: kind='binary', learned=false"
            )
        return ContextConv2d(
            layer.filters, layer.size, layer.stride, layer.padding, layer.activation, layer.slope,
            layer.bias,
        )  # fmt: skip

    def _complex(self, layer: Layer, last: bool) -> list[Layer]:
        if isinstance(layer, Linear):
            return [ComplexLinear(layer.units, layer.activation, layer.slope, real=last)]
        if last:
            raise SettingError("a complex network ends in a Linear layer, which becomes real there")
        if isinstance(layer, Conv2d):
            real, self.complex = not self.complex, True
            return [
                ComplexConv2d(
                    layer.filters, layer.size, layer.stride, layer.padding, layer.activation,
                    layer.slope, real_input=real,
                )
            ]  # fmt: skip
        if self.complex and isinstance(layer, Flatten):
            return [ComplexFlatten()]
        if self.complex and isinstance(layer, GlobalAvgPool):
            return [layer, ComplexFlatten()]
        if isinstance(layer, _ALIKE):
            return [layer]
        raise SettingError(
            f"complex contexts are for dense and convolutional layers; {type(layer).__name__} has "
            "no complex counterpart here: use kind='binary'"
        )
