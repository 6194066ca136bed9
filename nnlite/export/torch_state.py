"""torch's state_dict of a network, and a network's weights out of one, as safetensors.

Names are those of the torch module that has the network's layers; styles say which module that is:

- "sequential": an nn.Sequential of the layers in order, in which an activation that is fused here
  is a module of its own and counts: Linear, ReLU, Linear are "0.weight", "2.weight". A Residual is
  a module with the parts `body` and `shortcut`, both nn.Sequential: "2.body.0.weight".
- "torchvision": its names for residual networks ("conv1.weight", "layer2.0.bn1.weight",
  "layer2.0.downsample.0.weight", "fc.weight") and for VGG ("features.0.weight",
  "classifier.6.bias").

Filters are (O, C / groups, R, S) there. A dense layer behind a Flatten has its columns in the order
of torch's Flatten, (C, H, W). running_var is unbiased there as here and stays as it is;
num_batches_tracked is the network's `draws`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...kernels.errors import CheckpointError, SettingError, check_name
from ..checkpoint import describe_network
from ..files import write_whole
from ..layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    Residual,
    Sequential,
)
from ..layout import Shape
from ..net import Network, build_network
from .axes import channels_first, channels_last, columns_first

Path = str | os.PathLike[str]
KEY = "weightspace.network"
_COUNT = "num_batches_tracked"
_THEIRS = {"weight": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


class Place(NamedTuple):
    """An array here and there."""

    ours: str
    theirs: str
    order: np.ndarray | None  # where the last axis' columns there lie here; None: in the same place


def to_torch(net: Network, style: str = "sequential") -> dict[str, np.ndarray]:
    """The state_dict of `net` by torch's names: contiguous arrays of its dtype, counts int64 ().

    Raises UnknownNameError for another style, SettingError for layers that torch has not, or that
    are not those of the style.
    """
    found: dict[str, np.ndarray] = {}
    arrays = _arrays(net)
    for place in places(net, style):
        array = channels_first(net.device.get(arrays[place.ours]))
        found[place.theirs] = np.ascontiguousarray(
            array if place.order is None else array[..., place.order]
        )
        if place.ours.endswith(".var"):
            stem = place.theirs.removesuffix("running_var")
            found[stem + _COUNT] = np.array(net.draws, np.int64)
    return found


def from_torch(net: Network, state: Mapping[str, np.ndarray], style: str = "sequential") -> None:
    """Put a state_dict's arrays into `net`; the inverse of `to_torch`.

    Counts may be missing. Raises CheckpointError, changing nothing, where names, shapes or kinds of
    number do not fit; else as `to_torch`.
    """
    theirs = dict(state)
    draws = [int(theirs.pop(name).reshape(-1)[0]) for name in list(theirs)
             if name.endswith(_COUNT) and np.size(theirs[name]) == 1]  # fmt: skip
    arrays, found = _arrays(net), {}
    for place in places(net, style):
        if place.theirs not in theirs:
            raise CheckpointError(
                f"the state has no '{place.theirs}', which this network needs for {place.ours}; it "
                f"begins with {', '.join(sorted(state)[:4])}"
            )
        array = np.asarray(theirs.pop(place.theirs))
        turned = channels_last(array)
        shape = arrays[place.ours].shape
        if turned.shape != shape or array.dtype.kind != "f":
            raise CheckpointError(
                f"'{place.theirs}' is {array.dtype} {array.shape}; {place.ours} of this network is "
                f"{shape} here, floats"
            )
        if place.order is not None:
            turned = turned[..., np.argsort(place.order)]
        found[place.ours] = turned.astype(net.dtype)
    if theirs:
        raise CheckpointError(f"the network has nothing for {', '.join(sorted(theirs)[:4])}")
    if min(draws, default=0) < 0:
        raise CheckpointError(f"{_COUNT} is {min(draws)}; there are none below 0")
    for name, array in found.items():
        arrays[name][...] = net.device.put(array)
    if draws:
        net.draws = max(draws)


def save_torch(net: Network, path: Path, style: str = "sequential") -> None:
    """Write `to_torch` as safetensors, whole or not at all, with a description of the network.

    `safetensors.torch.load_file` reads it. Raises StorageError, or as `to_torch`.
    """
    from safetensors.numpy import save  # noqa: PLC0415  (keeps the import light)

    about = {"format": "pt", KEY: json.dumps(describe_network(net), sort_keys=True)}
    write_whole(path, save(to_torch(net, style), about))


def load_torch(
    path: Path, net: Network | None = None, style: str = "sequential", backend: str = "cpu"
) -> Network:
    """The network of a state_dict in safetensors: `net` with its arrays put in.

    net None: the network that `save_torch` described. Raises CheckpointError for a file that is no
    safetensors (a pickle is not read), that says nothing of its network, or that does not fit.
    """
    state, about = _read(path)
    if net is None:
        if KEY not in about:
            raise CheckpointError(
                f"{path} does not say which network it is of: name one (a model, widths or a file)"
            )
        try:
            net = build_network(json.loads(about[KEY]), backend, path)
        except (ValueError, TypeError, RecursionError, KeyError) as wrong:
            if isinstance(wrong, CheckpointError):
                raise
            raise CheckpointError(f"{path} describes its network in no way that is read") from None
    from_torch(net, state, style)
    return net


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file. Raises CheckpointError."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    try:
        with open(path, "rb") as file:
            if file.read(2) in (b"PK", b"\x80\x02"):
                raise CheckpointError(
                    f"{path} is a pickle, and nothing is unpickled: write it again with "
                    "safetensors.torch.save_file(module.state_dict(), ...)"
                )
        with safe_open(os.fspath(path), "np") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, (  # noqa: SIM118
                opened.metadata() or {}
            )
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as wrong:
        if isinstance(wrong, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not a readable safetensors file ({wrong})") from None


def _arrays(net: Network) -> dict[str, np.ndarray]:
    """Parameters and state by name, where they lie."""
    return {**net.layout.views(net.theta), **dict(net.state)}


# ---- names -------------------------------------------------------------------------------------

_Names = Iterator[tuple[str, str, Layer]]  # a layer's name here and there, and the layer


def places(net: Network, style: str = "sequential") -> list[Place]:
    """Where each array of `net` is in torch's state_dict. Raises as `to_torch`."""
    check_name("style of names", style, STYLES)
    names = {ours: theirs for ours, theirs, _ in STYLES[style](net.layers, "", "")}
    return list(_placed(net.layers, net.input_shape, "", names, None))


def _placed(
    layers: tuple[Layer, ...], shape: Shape, path: str, names: Mapping[str, str], order: Any
) -> Iterator[Place]:
    for number, layer in enumerate(layers):
        name = f"{path}{number}"
        kept = [*layer.parameters(shape), *layer.state(shape)]
        if isinstance(layer, Sequential):
            yield from _placed(layer.layers, shape, f"{name}.", names, order)
        elif isinstance(layer, Residual):
            for part, inside in (("body", layer.body), ("shortcut", layer.shortcut)):
                yield from _placed(inside, shape, f"{name}.{part}.", names, order)
        elif kept and (type(layer) not in (Conv2d, Linear, BatchNorm2d) or name not in names):
            raise SettingError(
                f"layer {name} is a {type(layer).__name__}, for which this style has no name in "
                "torch; style='sequential' has one for convolutions, dense layers and norms"
            )
        else:
            for own in kept:
                turned = order if len(shape) == 1 and not (
                    isinstance(layer, Linear) and own == "bias") else None  # fmt: skip
                yield Place(f"{name}.{own}", f"{names[name]}.{_THEIRS[own]}", turned)
        if isinstance(layer, Flatten) and len(shape) == 3:
            order = columns_first(shape)
        elif isinstance(layer, Linear):
            order = None
        shape = layer.output_shape(shape)


def _sequential(layers: tuple[Layer, ...], ours: str, theirs: str) -> _Names:
    """Numbers in an nn.Sequential, activations counting, too."""
    at = 0
    for number, layer in enumerate(layers):
        name, called = f"{ours}{number}", f"{theirs}{at}"
        if isinstance(layer, Sequential):
            yield from _sequential(layer.layers, f"{name}.", f"{called}.")
        elif isinstance(layer, Residual):
            yield from _sequential(layer.body, f"{name}.body.", f"{called}.body.")
            yield from _sequential(layer.shortcut, f"{name}.shortcut.", f"{called}.shortcut.")
        else:
            yield name, called, layer
            at += getattr(layer, "activation", "identity") != "identity"
        at += 1


def _torchvision(layers: tuple[Layer, ...], ours: str, theirs: str) -> _Names:
    """torchvision's ResNet or VGG."""
    if any(isinstance(layer, Residual) for layer in layers):
        yield from _resnet(layers)
        return
    kinds = [type(layer) for layer in layers]
    if AdaptiveAvgPool2d not in kinds[:-1] or kinds[kinds.index(AdaptiveAvgPool2d) + 1] != Flatten:
        raise SettingError("style 'torchvision' is for residual networks and VGG; this is neither")
    cut = kinds.index(AdaptiveAvgPool2d)
    yield from _sequential(layers[:cut], "", "features.")
    for name, called, layer in _sequential(layers[cut + 2 :], "", "classifier."):
        yield f"{int(name) + cut + 2}", called, layer


def _resnet(layers: tuple[Layer, ...]) -> _Names:
    """The stem, blocks by stage and number, and the dense layer at the end."""
    stage, block = 1, 0
    for number, layer in enumerate(layers):
        if isinstance(layer, Residual):
            if block and any(getattr(one, "stride", 1) != (1, 1) for one in layer.shortcut[:1]):
                stage, block = stage + 1, 0
            yield from _block(layer, str(number), f"layer{stage}.{block}.")
            block += 1
        elif isinstance(layer, Conv2d | BatchNorm2d):
            yield str(number), "conv1" if isinstance(layer, Conv2d) else "bn1", layer
        elif isinstance(layer, Linear):
            yield str(number), "fc", layer
        elif not isinstance(layer, GlobalAvgPool):
            raise SettingError(
                f"layer {number} is a {type(layer).__name__}, which torchvision's residual "
                "networks have not: style='sequential'"
            )


def _block(layer: Residual, ours: str, theirs: str) -> _Names:
    counts = {"conv": 0, "bn": 0}
    for number, part in enumerate(layer.body):
        kind = "conv" if isinstance(part, Conv2d) else "bn"
        counts[kind] += 1
        yield f"{ours}.body.{number}", f"{theirs}{kind}{counts[kind]}", part
    for number, part in enumerate(layer.shortcut):
        yield f"{ours}.shortcut.{number}", f"{theirs}downsample.{number}", part


STYLES: dict[str, Callable[[tuple[Layer, ...], str, str], _Names]] = {
    "sequential": _sequential,
    "torchvision": _torchvision,
}
