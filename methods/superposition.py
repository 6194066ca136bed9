"""Parameter superposition (Cheung, Terekhov, Chen, Agrawal & Olshausen 2019): many models in one.

W = sum over models of W_k C_k^-1, and asking for model k is to multiply the input by its context:
y = W (C_k x) = W_k x + what the others leave, which is small because contexts are nearly
orthogonal. Trained in place: each task's context is set while the task is learnt and tested.

The kinds of context, and what a task more costs under each, are the table in `contexts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..kernels.errors import SettingError, check_name
from ..nnlite import Network
from ..nnlite.layout import Shape
from .base import MANY, Method
from .contexts import KINDS, Kind, draw, is_context
from .settings import COUNT, limited
from .tasks import Task

Schedule = Literal["task", "step"]


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
    kind: str = "binary"
    schedule: Schedule = "task"
    every: int = 100
    period: int = 10
    mix: bool = False
    first: bool = True
    learned: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._begun = 0  # tasks
        check_name("superposition.kind", self.kind, KINDS)
        if self.mix and not (self._kind.complex and self.schedule == "step"):
            raise SettingError("mix=true needs a complex kind and schedule='step'")
        if self.learned and not self._kind.learns:
            raise SettingError(f"learned contexts are binary ones to begin with, not {self.kind}")

    @property
    def _kind(self) -> Kind:
        return KINDS[self.kind]

    # ---- the network ---------------------------------------------------------------------------

    def wrap(self, net: Network) -> Network:
        """A network of the same weights with contexts at its layers, set to number 0.

        Complex kinds have twice the weights, drawn from the seed of `net`.
        """
        layers = self._kind.layers(self.first, self.learned).all(net.layers)
        made = Network(
            layers, net.input_shape, net.backend, str(net.dtype), net.seed, net.init, net.loss
        )
        if not self._kind.complex:
            for theirs, ours in _pairs(made, net):
                theirs[...] = ours
        self._plain, self.network = net, made
        self._set(made, 0)
        return made

    def begin_task(self, net: Network, index: int, task: Task, steps: int) -> None:
        self._begun = index + 1

    def select(self, net: Network, task: int, step: int | None) -> None:
        self._set(net, self.number(task, step))

    def steady(self, task: int, step: int) -> int:
        return MANY if self.schedule == "task" else self.every - step % self.every

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
        around = ((number + offset) % self.period for offset in (-1, 0, 1))
        return draw(self._kind, seed, place, tuple(around) if self.mix else (number,), shape)

    def contexts(self, net: Network, number: int) -> dict[str, np.ndarray]:
        """The contexts `number` of a superposed network, by the name of the state that holds each.

        Not of learned ones, which are parameters.
        """
        return {
            name: self.context(net.seed, place, target.shape, number)
            for place, (name, target) in enumerate(self._targets(net))
        }

    def persistent_bytes(self) -> int:
        """Bytes of the contexts of the tasks so far, as Table 1 counts them, powers' base too."""
        count, kind = self._begun if self.schedule == "task" else self.period, self._kind
        shapes = [target.shape for _, target in self._targets(self.network)]
        kept = sum(kind.once(shape) + count * kind.kept(shape) for shape in shapes)
        return kept * self.network.dtype.itemsize

    # ---- models in and out -----------------------------------------------------------------------

    def retrieve(self, number: int) -> Network:
        """Model `number` as a network of its own, which needs no context.

        Of a complex kind: a complex network whose contexts are 1.
        """
        net, kind = self.network, self._kind
        plain = net.like() if kind.complex else self._plain.like()
        self._set(net, number)
        if kind.complex:
            plain.initialise(plain.seed)  # contexts are 1 again
        for (ours, theirs), context in self._weights(plain):
            stored = net.device.get(theirs)
            folded = stored if context is None else kind.fold(stored, context)
            ours[...] = plain.device.put(folded.astype(plain.dtype))
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
            for (mine, whole), context in self._weights(model):
                given = model.device.get(mine)
                if context is None:
                    added = given / len(models)
                else:
                    added = self._kind.fold(given, self._kind.inverse(context))
                whole[...] += net.device.put(added.astype(net.dtype))
        self._set(net, 0)
        return net

    def _weights(self, plain: Network):
        """((a parameter of plain, the same of `network`), its context or None), in order.

        The contexts are those that are set, in float64.
        """
        net = self.network
        names = [name for name in net.layout if not is_context(name)]
        contexts = {
            _weight_of(name, names): net.device.get(target).astype(np.float64)
            for name, target in self._targets(net)
        }
        for pair, name in zip(_pairs(plain, net), names, strict=True):
            yield pair, contexts.get(name)


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
