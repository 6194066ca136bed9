"""Sequential and Residual: layers made of layers, whose verbs chain those of their parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ...kernels.errors import SettingError, ShapeError
from ..checks import settle
from ..layout import Shape
from ..workspace import Scope
from .activation import Activated, curvature, slope_of
from .base import Layer, Start, Views, layers_of

_NOTHING: dict[str, Any] = {}


class _Composite(Layer):
    """A layer of parts, which have names: what it is made of is what they are, as "name.inner"."""

    def _shaped(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        """Each part with its name and the shape it is given."""
        raise NotImplementedError

    @property
    def _named(self) -> Iterable[tuple[str, Layer]]:
        """Each part with its name, where no shape is known."""
        raise NotImplementedError

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        return {
            f"{name}.{inner}": shape
            for name, part, given in self._shaped(input_shape)
            for inner, shape in part.parameters(given).items()
        }

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        return {
            f"{name}.{inner}": start
            for name, part, given in self._shaped(input_shape)
            for inner, start in part.state(given).items()
        }

    def moded(self) -> bool:
        return any(part.moded() for _, part in self._named)

    def couples(self, mode) -> bool:
        return any(part.couples(mode) for _, part in self._named)

    def initialise(self, rng, p, init) -> None:
        for name, part in self._named:
            part.initialise(rng, p.get(name, _NOTHING), init)


@dataclass(frozen=True)
class Sequential(_Composite):
    """Layers one after another. Its parts are named by their numbers: "0.weight", "1.bias", ..."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", layers_of("Sequential", self.layers))

    @cached_property
    def _named(self) -> tuple[tuple[str, Layer], ...]:
        return tuple((str(index), layer) for index, layer in enumerate(self.layers))

    def _shaped(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        for name, layer in self._named:
            yield name, layer, input_shape
            input_shape = layer.output_shape(input_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def _first(self, p: Views, want_dx: bool) -> int:
        """The number of the first layer that a way back must reach: nobody asks those before it."""
        if want_dx:
            return 0
        learning = (number for number, (name, _) in enumerate(self._named) if name in p)
        return next(learning, len(self.layers))

    def forward(self, k, p, x):
        kept = []
        for name, layer in self._named:
            x, saved = layer.forward(k.child(name), p.get(name, _NOTHING), x)
            kept.append(saved)
        return x, tuple(kept)

    def outputs(self, k: Scope, p: Views, x: np.ndarray) -> Iterator[np.ndarray]:
        """Each part's output in turn, of one pass of which nothing else is kept."""
        for name, layer in self._named:
            x, _ = layer.forward(k.child(name), p.get(name, _NOTHING), x)
            yield x

    def backward(self, k, p, saved, dy: Any, dp, beta=1.0, want_dx=True):
        first = self._first(p, want_dx)
        for number in reversed(range(first, len(self.layers))):
            name, layer = self._named[number]
            part = None if dp is None else dp.get(name)
            dy = layer.backward(
                k.child(name), p.get(name, _NOTHING), saved[number], dy, part, beta,
                want_dx or number > first,
            )  # fmt: skip
        return dy if want_dx else None

    def tangent(self, k, p, saved, tp, tx):
        for (name, layer), kept in zip(self._named, saved, strict=True):
            part = None if tp is None else tp.get(name)
            tx = layer.tangent(k.child(name), p.get(name, _NOTHING), kept, part, tx)
        return tx

    def forward_tangent(self, k, p, x, tp, tx):
        for name, layer in self._named:
            part = None if tp is None else tp.get(name)
            x, tx = layer.forward_tangent(k.child(name), p.get(name, _NOTHING), x, part, tx)
        return x, tx

    def tangents(self, k, p, saved, tp, tx, count):
        for (name, layer), kept in zip(self._named, saved, strict=True):
            part = None if tp is None else tp.get(name)
            tx = layer.tangents(k.child(name), p.get(name, _NOTHING), kept, part, tx, count)
        return tx

    def second(self, k, p, saved, tp, tx, txx):
        for (name, layer), kept in zip(self._named, saved, strict=True):
            part = None if tp is None else tp.get(name)
            tx, txx = layer.second(k.child(name), p.get(name, _NOTHING), kept, part, tx, txx)
        return tx, txx

    def signal(self, k, p, saved, out) -> None:
        for (name, layer), kept in zip(self._named, saved, strict=True):
            if name in p:
                layer.signal(k.child(name), p[name], kept, out[name])

    def walk_back(self, k, p, out, saved, dy: Any, visit, want_dx=True):
        first = self._first(p, want_dx)
        for number in reversed(range(first, len(self.layers))):
            name, layer = self._named[number]
            dy = layer.walk_back(
                k.child(name), p.get(name, _NOTHING), out.get(name, _NOTHING), saved[number], dy,
                visit, want_dx or number > first,
            )  # fmt: skip
        return dy if want_dx else None


class Saved(NamedTuple):
    """What Residual's forward pass leaves for its other verbs."""

    y: np.ndarray
    body: tuple[Any, ...]
    shortcut: tuple[Any, ...]


@dataclass(frozen=True)
class Residual(_Composite, Activated):
    """y = f(body(x) + shortcut(x)) (He et al. 2015); an empty shortcut hands x through.

    f by name as in Linear. Raises ShapeError where the two paths end in different shapes.
    """

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()
    activation: str = "relu"
    slope: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", layers_of("Residual", self.body))
        object.__setattr__(self, "shortcut", layers_of("Residual", self.shortcut))
        if not self.body:
            raise SettingError("a Residual needs at least one layer in its body; it got none")
        settle(self, slope=slope_of(self.activation, self.slope))

    @cached_property
    def _paths(self) -> dict[str, Sequential]:
        return {"body": Sequential(self.body), "shortcut": Sequential(self.shortcut)}

    @property
    def _named(self) -> Iterable[tuple[str, Layer]]:
        return self._paths.items()

    def _shaped(self, input_shape: Shape) -> Iterator[tuple[str, Layer, Shape]]:
        for name, path in self._paths.items():
            yield name, path, input_shape

    def output_shape(self, input_shape: Shape) -> Shape:
        body, shortcut = (path.output_shape(input_shape) for path in self._paths.values())
        if body != shortcut:
            raise ShapeError(
                f"a Residual's body turns {input_shape} into {body}, its shortcut into {shortcut}; "
                "they are added, so they must be equal: give the shortcut a layer that does it"
            )
        return body

    def _both(self, k, p, verb, *arguments):
        """`verb` of body and shortcut."""
        return [
            getattr(path, verb)(k.child(part), p.get(part, _NOTHING), *arguments)
            for part, path in self._paths.items()
        ]

    def forward(self, k, p, x):
        (y1, body), (y2, shortcut) = self._both(k, p, "forward", x)
        y = k.take("y", y1.shape)
        k.ops.residual_forward(y1, y2, self._act, self.slope, y)
        return y, Saved(y, body, shortcut)

    def _join(self, k, back, dz):
        """dx from both paths' cotangents; back(part) pulls dz through one of them."""
        first = back("shortcut")
        if first is not None and self.shortcut:  # the body's way back takes its buffer
            aside = k.take("aside", first.shape)
            k.ops.copy(first, aside)
            first = aside
        second = back("body")
        if second is None:
            return None
        dx = k.flow(second.shape, second)
        k.ops.add(second, first, dx)
        return dx

    def _pulled_apart(self, k, saved, dy):
        dz = k.take("dz", dy.shape)  # its own: both paths read it
        k.ops.activation_backward(self._act, self.slope, saved.y, dy, dz)
        return dz

    def backward(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        dz = self._pulled_apart(k, saved, dy)

        def back(part):
            own = None if dp is None else dp.get(part)
            kept = getattr(saved, part)
            return self._paths[part].backward(
                k.child(part), p.get(part, _NOTHING), kept, dz, own, beta, want_dx
            )

        return self._join(k, back, dz)

    def walk_back(self, k, p, out, saved, dy, visit, want_dx=True):
        dz = self._pulled_apart(k, saved, dy)

        def back(part):
            views, own, kept = p.get(part, _NOTHING), out.get(part, _NOTHING), getattr(saved, part)
            return self._paths[part].walk_back(k.child(part), views, own, kept, dz, visit, want_dx)

        return self._join(k, back, dz)

    def tangent(self, k, p, saved, tp, tx):
        if tx is not None:  # its own: both paths read it
            own = k.take("tx", tx.shape)
            k.ops.copy(tx, own)
            tx = own
        moved = []
        for part, path in self._paths.items():
            direction = None if tp is None else tp.get(part)
            kept = getattr(saved, part)
            t = path.tangent(k.child(part), p.get(part, _NOTHING), kept, direction, tx)
            if part == "body" and t is not None and self.shortcut:  # the shortcut takes its buffer
                aside = k.take("taside", t.shape)
                k.ops.copy(t, aside)
                t = aside
            moved.append(t)
        still = [t for t in moved if t is not None]
        if not still:
            return None
        ty = k.flow(saved.y.shape, still[0])
        if len(still) == 1:
            k.ops.activation_backward(self._act, self.slope, saved.y, still[0], ty)
        else:
            one, other = still
            k.ops.residual_tangent(saved.y, one, other, self._act, self.slope, ty)
        return ty

    def second(self, k, p, saved, tp, tx, txx):
        orders = zip(*(
            path.second(
                k.child(part), p.get(part, _NOTHING), getattr(saved, part),
                None if tp is None else tp.get(part), tx, txx,
            )
            for part, path in self._paths.items()
        ), strict=True)  # fmt: skip
        tz, tzz = (sum(t for t in order if t is not None) for order in orders)
        bend = curvature(self.activation, saved.y)
        ty = self._moved(k, saved, tz)
        tyy = self._moved(k, saved, tzz)
        if bend is not None and ty is not None:
            tyy = bend * tz * tz if tyy is None else tyy + bend * tz * tz
        return ty, tyy

    def _moved(self, k, saved, tz):
        """f'(y) tz, an array of its own; None for a tz that is the number 0."""
        if not isinstance(tz, saved.y.__class__):
            return None
        ty = tz.copy()
        k.ops.activation_backward(self._act, self.slope, saved.y, tz, ty)
        return ty

    def signal(self, k, p, saved, out) -> None:
        for part, path in self._paths.items():
            if part in p:
                path.signal(k.child(part), p[part], getattr(saved, part), out[part])
