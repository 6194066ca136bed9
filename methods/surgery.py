"""Surgery on hidden units: smaller networks out of one, and one out of two.

A row of hidden units is made by a Conv2d or Linear, may pass a BatchNorm2d and what works channel
by channel, and is read by the next Conv2d or Linear: a unit is a row of the first's weight, a value
of each norm between, and some columns of the last's. Rows are named by number in `net.layers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..kernels.errors import SettingError, ShapeError
from ..nnlite import Network
from ..nnlite.layers import BatchNorm2d, Conv2d, Flatten, Layer, Linear
from .matching import CHANNELWISE


class HiddenRow(NamedTuple):
    """A row of `units`: the layer that makes it, the norms between, the layer that reads it."""

    made: int
    norms: tuple[int, ...]
    read: int
    units: int


def hidden_rows(net: Network) -> list[HiddenRow]:
    """The rows of hidden units, first to last.

    Raises SettingError for a network in which a unit cannot be taken from its place (Residual,
    groups of channels).
    """
    found: list[HiddenRow] = []
    made, units = -1, 0
    norms: list[int] = []
    for index, layer in enumerate(net.layers):
        if type(layer) in (Conv2d, Linear) and getattr(layer, "groups", 1) == 1:
            if made >= 0:
                found.append(HiddenRow(made, tuple(norms), index, units))
            made, norms, units = index, [], _units(layer)
        elif isinstance(layer, BatchNorm2d):
            norms.append(index)
        elif not isinstance(layer, (*CHANNELWISE, Flatten)):
            raise SettingError(
                f"units of this network cannot be taken out: layer {index}, a "
                f"{type(layer).__name__}, ties them to their places"
            )
    return found


def _units(layer: Layer) -> int:
    return int(getattr(layer, "filters", 0) or getattr(layer, "units", 0))


def resized(net: Network, units: Mapping[int, int]) -> Network:
    """A fresh network like `net` whose rows `units` (by the layer that makes them) are as large."""
    layers = list(net.layers)
    for made, count in units.items():
        key = "filters" if isinstance(layers[made], Conv2d) else "units"
        layers[made] = replace(layers[made], **{key: int(count)})  # type: ignore[type-var]
    return Network(
        layers, net.input_shape, backend=net.backend, dtype=str(net.dtype), seed=net.seed,
        init=net.init, loss=net.loss,
    )  # fmt: skip


def columns(net: Network, row: HiddenRow, theta: np.ndarray | None = None) -> np.ndarray:
    """The reader's weight as (O, positions, units), sharing memory with theta (or another (P,)).

    positions: of a kernel's taps, or where maps were flattened of the pixels.
    """
    weight = net.layout.view(net.theta if theta is None else theta, f"{row.read}.weight")
    return weight.reshape(len(weight), -1, row.units)


def cut(net: Network, kept: Mapping[int, np.ndarray]) -> Network:
    """A network of the units `kept` alone: of each row named (by the layer that makes it), in the
    order given. It answers as `net` does where the other units' outputs are taken for 0.

    Raises SettingError for layers that make no row of hidden units, ShapeError for units that are
    not there, are named twice, or none at all.
    """
    rows = {row.made: row for row in hidden_rows(net)}
    for made, units in kept.items():
        if made not in rows:
            raise SettingError(f"layer {made} makes no hidden units; {sorted(rows)} do")
        given = np.asarray(units)
        inside = given.ndim == 1 and len(given) and 0 <= given.min() <= given.max()
        if not inside or given.max() >= rows[made].units or len(set(given.tolist())) < len(given):
            raise ShapeError(
                f"units {given.tolist()!s:.60} of layer {made}: give one or more of "
                f"0..{rows[made].units - 1}, each once"
            )
    small = resized(net, {made: len(units) for made, units in kept.items()})
    arrays = dict(_arrays(net))
    for made, units in kept.items():
        arrays = {name: _chosen(name, array, rows[made], units) for name, array in arrays.items()}
    _put(small, arrays)
    return small


def _arrays(net: Network) -> Iterator[tuple[str, np.ndarray]]:
    """Parameters and state by name, on the host."""
    get = net.device.get
    yield from ((name, get(array)) for name, array in net.layout.views(net.theta).items())
    yield from ((name, get(array)) for name, array in net.state.items())


def _put(net: Network, arrays: Mapping[str, np.ndarray]) -> None:
    put = net.device.put
    for name, view in net.layout.views(net.theta).items():
        view[...] = put(arrays[name].reshape(view.shape))
    for name in net.state:
        net.state[name] = put(arrays[name].astype(net.dtype))


def _chosen(name: str, array: np.ndarray, row: HiddenRow, units: np.ndarray) -> np.ndarray:
    """What is left of a named array when a row has those units alone."""
    layer = int(name.partition(".")[0])
    if layer in (row.made, *row.norms):
        return array[units]
    if layer == row.read and array.ndim > 1:
        return array.reshape(len(array), -1, row.units)[:, :, units]
    return array


def join(a: Network, b: Network) -> Network:
    """One network of the hidden units of both, side by side: first those of `a`, then those of `b`.

    Between hidden rows it is block-diagonal (each unit sees its own network), and its outputs are
    the mean of both networks' logits. Mode "eval" is meant. Raises SettingError for networks that
    differ in more than the sizes of their hidden rows.
    """
    rows, others = hidden_rows(a), hidden_rows(b)
    twin = resized(b, {row.made: row.units for row in rows}) if len(rows) == len(others) else None
    if twin is None or not rows or twin.layers != a.layers or a.input_shape != b.input_shape:
        raise SettingError(
            "networks are joined that differ in the sizes of their hidden rows alone: got layers "
            f"{[type(layer).__name__ for layer in a.layers]} and "
            f"{[type(layer).__name__ for layer in b.layers]}"
        )
    sums = {r.made: r.units + o.units for r, o in zip(rows, others, strict=True)}
    both, theirs = resized(a, sums), dict(_arrays(b))
    reads = {row.read: (row, other) for row, other in zip(rows, others, strict=True)}
    last = rows[-1].read
    _put(both, {name: _joined(name, array, theirs[name], reads, last)
                for name, array in _arrays(a)})  # fmt: skip
    return both


def _joined(
    name: str, ours: np.ndarray, theirs: np.ndarray,
    reads: Mapping[int, tuple[HiddenRow, HiddenRow]], last: int,
) -> np.ndarray:  # fmt: skip
    """A named array of both networks: rows below one another, columns side by side."""
    layer = int(name.partition(".")[0])
    if layer not in reads or ours.ndim == 1:
        return (ours + theirs) / 2 if layer == last else np.concatenate([ours, theirs])
    row, other = reads[layer]
    left, right = (one.reshape(len(one), -1, r.units)
                   for one, r in ((ours, row), (theirs, other)))  # fmt: skip
    if layer == last:
        return np.concatenate([left, right], axis=2) / 2
    above = np.concatenate([left, np.zeros((*left.shape[:2], other.units), left.dtype)], axis=2)
    below = np.concatenate([np.zeros((*right.shape[:2], row.units), right.dtype), right], axis=2)
    return np.concatenate([above, below])


def fold(
    net: Network, row: HiddenRow, dropped: np.ndarray, onto: np.ndarray, slope: np.ndarray,
    offset: np.ndarray,
) -> None:  # fmt: skip
    """Let units stand for others, in place: output[dropped] is taken for slope output[onto] +
    offset (all (D,)), a constant where a kernel does not reach over the edge of an image.

        W[:, :, onto] += slope W[:, :, dropped]    bias += sum over positions of offset W[dropped]

    and the dropped units' columns become 0: `cut` may take them out. Raises SettingError where the
    reader has no bias to take an offset.
    """
    put, name = net.device.put, f"{row.read}.bias"
    w = columns(net, row)
    if name in net.layout:
        bias = net.layout.view(net.theta, name)
        bias += (w[:, :, dropped].sum(axis=1) * put(offset.astype(net.dtype))).sum(axis=1)
    elif np.any(offset):
        raise SettingError(f"layer {row.read} has no bias, which the offsets would go into")
    for unit, other, factor in zip(dropped.tolist(), onto.tolist(), slope.tolist(), strict=True):
        w[:, :, other] += net.dtype.type(factor) * w[:, :, unit]
    w[:, :, dropped] = 0


def width_for(net: Network, parameters: int) -> dict[int, int]:
    """Sizes of the hidden rows, all by one factor, that come closest to so many parameters.

    Raises SettingError for fewer than one unit a row takes.
    """
    rows = hidden_rows(net)

    def sizes(factor: float) -> dict[int, int]:
        return {row.made: max(1, round(factor * row.units)) for row in rows}

    low, high = 0.0, 1.0
    while resized(net, sizes(high)).num_parameters < parameters:
        high *= 2
    if resized(net, sizes(low)).num_parameters > parameters:
        raise SettingError(f"{parameters} parameters are less than one unit a row takes")
    while high - low > 0.25 / max(row.units for row in rows):
        middle = (low + high) / 2
        below = resized(net, sizes(middle)).num_parameters < parameters
        low, high = (middle, high) if below else (low, middle)
    return min(
        (sizes(low), sizes(high)),
        key=lambda one: abs(resized(net, one).num_parameters - parameters),
    )
