"""fold: a network without what only training needs, its layers fewer and its answers the same.

BatchNorm2d goes into the convolution or dense layer before it, an activation into whatever ends
without one, Dropout goes. What is left rounds otherwise, so bits differ; by how much, tests say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...kernels.errors import ModeError, SettingError
from ..layers import (
    Activation,
    BatchNorm2d,
    ContextConv2d,
    ContextLinear,
    Conv2d,
    Dropout,
    Layer,
    Linear,
    Residual,
    Sequential,
)
from ..net import Network

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """A layer with its own parameters and state by name, on the host; a Residual's lie in its
    paths."""

    layer: Layer
    arrays: Arrays
    body: tuple[Part, ...] = ()
    shortcut: tuple[Part, ...] = ()

    @property
    def name(self) -> str:
        """The layer's kind."""
        return type(self.layer).__name__


def fold(net: Network, contexts: bool = False) -> Network:
    """A new network of `net`'s answers in mode "eval": see above.

    contexts: fold the contexts that it has now, all of 1 and -1, into the weights, too. Raises
    ModeError for BatchNorm2d(statistics="batch"), SettingError for contexts that are not binary.
    """
    chain = Sequential(layers_of(folded(parts_of(net), contexts)))
    made = Network(
        chain.layers, net.input_shape, net.backend, str(net.dtype), net.seed, net.init,
        net.loss,
    )  # fmt: skip
    write_arrays(made, folded(parts_of(net), contexts))
    return made


def parts_of(net: Network, count: int | None = None) -> tuple[Part, ...]:
    """The first `count` layers of a network (None: all) as parts; a Sequential's are taken out."""
    host = net.layout.views(net.device.get(net.theta))
    arrays = {**host, **{name: net.device.get(array) for name, array in net.state.items()}}
    return _chained(net.layers[:count], arrays)


def _chained(layers: tuple[Layer, ...], arrays: Arrays) -> tuple[Part, ...]:
    found: list[Part] = []
    for number, layer in enumerate(layers):
        own = _below(arrays, str(number))
        if isinstance(layer, Sequential):
            found += _chained(layer.layers, own)
        elif isinstance(layer, Residual):
            paths = (_chained(path, _below(own, name)) for name, path in
                     (("body", layer.body), ("shortcut", layer.shortcut)))  # fmt: skip
            found.append(Part(layer, {}, *paths))
        else:
            found.append(Part(layer, own))
    return tuple(found)


def _below(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    """What is called "name.inner", by its inner name."""
    start = f"{name}."
    return {key[len(start) :]: a for key, a in arrays.items() if key.startswith(start)}


def folded(parts: tuple[Part, ...], contexts: bool = False) -> tuple[Part, ...]:
    """The parts that are left."""
    done: list[Part] = []
    for part in parts:
        now = _without_context(part) if contexts else part
        before = done[-1] if done else None
        layer = now.layer
        if isinstance(layer, Residual):
            paths = (folded(now.body, contexts), folded(now.shortcut, contexts))
            done.append(replace(now, body=paths[0], shortcut=paths[1]))
        elif isinstance(layer, Dropout):
            continue
        elif isinstance(layer, BatchNorm2d) and layer.statistics == "batch":
            raise ModeError(
                "BatchNorm2d(statistics='batch') takes its statistics from the batch and cannot be "
                "folded: use statistics='running'"
            )
        elif isinstance(layer, BatchNorm2d) and before is not None and _takes_norm(before.layer):
            done[-1] = _normed(before, now)
        elif isinstance(layer, Activation) and before is not None and _ends_bare(before.layer):
            activated: Any = replace(before.layer, activation=layer.name, slope=layer.slope)  # type: ignore[type-var]
            done[-1] = replace(before, layer=activated)
        else:
            done.append(now)
    return tuple(done)


def _takes_norm(layer: Layer) -> bool:
    return type(layer) in (Linear, Conv2d) and layer.activation == "identity"  # type: ignore[attr-defined]


def _ends_bare(layer: Layer) -> bool:
    """Whether an activation can be fused into a layer."""
    return (
        isinstance(layer, Linear | Conv2d | BatchNorm2d | Residual)
        and layer.activation == "identity"
    )


def affine_of(norm: Part) -> tuple[np.ndarray, np.ndarray]:
    """BatchNorm2d by its running statistics as y = factor x + shift, a channel each, in float64."""
    layer, arrays = norm.layer, norm.arrays
    assert isinstance(layer, BatchNorm2d)
    mean, var = (arrays[name].astype(np.float64) for name in ("mean", "var"))
    factor = 1 / np.sqrt(var + layer.eps)
    if layer.affine:
        factor = factor * arrays["weight"]
    shift = -mean * factor
    return factor, shift + arrays["bias"] if layer.affine else shift


def _normed(part: Part, norm: Part) -> Part:
    """A dense layer or convolution with the BatchNorm2d after it inside."""
    factor, shift = affine_of(norm)
    weight = part.arrays["weight"]
    wide = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    bias = part.arrays.get("bias", np.zeros(len(weight))) * factor + shift
    after: Any = norm.layer
    layer: Any = replace(
        part.layer,  # type: ignore[type-var]
        bias=True,
        activation=after.activation,
        slope=after.slope,
    )
    arrays = {"weight": wide.astype(weight.dtype), "bias": bias.astype(weight.dtype)}
    return Part(layer, arrays)


def _without_context(part: Part) -> Part:
    """A layer with a binary context as the plain one with the context in its weights, exactly."""
    layer = part.layer
    if not isinstance(layer, ContextLinear | ContextConv2d):
        return part
    context = part.arrays["context"]
    if not np.isin(context, (-1.0, 1.0)).all():
        raise SettingError(
            f"a {part.name}'s context is not binary: it can be folded into the weights where "
            "all of it is 1 or -1"
        )
    plain = Linear if isinstance(layer, ContextLinear) else Conv2d
    settings = {name: getattr(layer, name) for name in plain.__dataclass_fields__}
    arrays = {name: array for name, array in part.arrays.items() if name != "context"}
    return Part(plain(**settings), {**arrays, "weight": arrays["weight"] * context})


def layers_of(parts: tuple[Part, ...]) -> tuple[Layer, ...]:
    """The layers, a Residual's paths being what its part's are."""
    return tuple(
        replace(part.layer, body=layers_of(part.body), shortcut=layers_of(part.shortcut))
        if isinstance(part.layer, Residual)
        else part.layer
        for part in parts
    )


def write_arrays(net: Network, parts: tuple[Part, ...]) -> None:
    """Put the parts' arrays into a network of their layers."""
    views = net.layout.views(net.theta)
    for name, array in _named(parts, ""):
        (net.state if name in net.state else views)[name][...] = net.device.put(array)


def _named(parts: tuple[Part, ...], start: str) -> list[tuple[str, np.ndarray]]:
    found: list[tuple[str, np.ndarray]] = []
    for number, part in enumerate(parts):
        here = f"{start}{number}."
        found += [(here + name, array) for name, array in part.arrays.items()]
        found += _named(part.body, f"{here}body.") + _named(part.shortcut, f"{here}shortcut.")
    return found
