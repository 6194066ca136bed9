"""Activations of networks as statistics: which units there are, and their moments over data.

A unit is an output of a Conv2d or Linear (or a map that a Residual ends in), read after the
BatchNorm2d, activation and dropout (off, in mode "eval") that follow it and before what pools or
flattens it. A convolution's unit is a map: its values at all positions of all images are so many
samples of one variable (Li et al. 2015). Nothing is kept of a batch but its moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from ..kernels.errors import SettingError, ShapeError, check_name
from ..nnlite import Network
from ..nnlite.init import generator
from ..nnlite.layers import Activation, BatchNorm2d, Conv2d, Dropout, Linear, Residual
from .ensemble import Ensemble
from .evaluate import parts
from .importance import ROOM
from .moments import Moments
from .settings import whole

Pool = Literal["positions", "mean"]
_MAKES = (Conv2d, Linear, Residual)
_KEEPS = (Activation, BatchNorm2d, Dropout)  # a unit goes on through these


class Units(NamedTuple):
    """A row of units: `name` ("conv1", "fc2", "block3"), made by layer `made`, read after `read`.

    Both are numbers in `net.layers`. units: how many. positions: values of each an image.
    """

    name: str
    made: int
    read: int
    units: int
    positions: int


def unit_layers(net: Network) -> list[Units]:
    """The rows of units of `net`, first to last; the last are its outputs."""
    found: list[Units] = []
    numbers: dict[str, int] = {}
    shape = net.input_shape
    for index, layer in enumerate(net.layers):
        shape = layer.output_shape(shape)
        if isinstance(layer, _MAKES):
            kind = _kind(layer)
            numbers[kind] = numbers.get(kind, 0) + 1
            places = int(np.prod(shape[:-1]))
            found.append(Units(f"{kind}{numbers[kind]}", index, index, shape[-1], places))
        elif isinstance(layer, _KEEPS) and found and found[-1].read == index - 1:
            found[-1] = found[-1]._replace(read=index)
    return found


def _kind(layer: object) -> str:
    if isinstance(layer, Residual):
        return "block"
    return "conv" if isinstance(layer, Conv2d) else "fc"


def unit_rows(net: Network, x: np.ndarray, layers: Sequence[Units]) -> list[np.ndarray]:
    """Of one pass over x (N, *input_shape): each layer's values (N, positions, units), copies."""
    wanted = {layer.read for layer in layers}
    kept = {
        index: y.reshape(len(y), -1, y.shape[-1]).copy()
        for index, y in enumerate(net.activations(x))
        if index in wanted
    }
    return [kept[layer.read] for layer in layers]


def moments(
    nets: Sequence[Network],
    x: np.ndarray,
    layers: Sequence[Units] | None = None,
    order: np.ndarray | None = None,
    pool: Pool = "positions",
) -> list[Moments]:
    """Each layer's moments over x (N, *input_shape), of the units of all `nets` side by side.

    For two networks of U units the columns are the first's, then the second's: `correlation()` has
    the within-net blocks on its diagonal, the between-net block beside them. order (N,): the images
    as all but the first network see them, for a null in which no two see the same. pool: "mean"
    takes each map's mean over positions, one row an image.

    Raises SettingError, ShapeError or UnknownNameError for networks and settings that do not fit.
    """
    check_name("pool", pool, get_args(Pool))
    if layers is None:
        layers = unit_layers(nets[0]) if nets else []
    check_alike(nets, layers)
    total = [Moments.nothing(len(nets) * layer.units) for layer in layers]
    for pieces in _batches(nets, x, layers, order):
        for number, rows in enumerate(pieces):
            flat = [_pooled(part, pool) for part in rows]
            joined = flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
            total[number] = total[number].merge(Moments.of(joined, nets[0].ops))
    return total


def layer_moments(net: Network, x: np.ndarray) -> tuple[Moments, list[slice]]:
    """Moments of all units of one network together, and each layer's columns among them.

    Layers differ in their positions, so a map is its mean over them: one row an image.
    """
    layers = unit_layers(net)
    total = Moments.nothing(sum(layer.units for layer in layers))
    for pieces in _batches([net], x, layers, None):
        rows = np.concatenate([_pooled(part, "mean") for (part,) in pieces], axis=1)
        total = total.merge(Moments.of(rows, net.ops))
    ends = np.cumsum([layer.units for layer in layers]).tolist()
    return total, [slice(hi - layer.units, hi) for hi, layer in zip(ends, layers, strict=True)]


def sample(
    nets: Sequence[Network],
    x: np.ndarray,
    layers: Sequence[Units],
    positions: int = 4,
    seed: int = 0,
    order: np.ndarray | None = None,
) -> list[list[np.ndarray]]:
    """Values (R, units) of each layer and network, at up to `positions` places drawn an image.

    The same places for all networks: for estimates that need the values themselves. Raises
    SettingError for fewer than one position.
    """
    whole("positions", positions)
    check_alike(nets, layers)
    rng = generator(seed, 0x5A3)
    parts: list[list[list[np.ndarray]]] = [[[] for _ in nets] for _ in layers]
    get = nets[0].device.get
    for pieces in _batches(nets, x, layers, order):
        for kept, rows in zip(parts, pieces, strict=True):
            n, places = rows[0].shape[:2]
            drawn = rng.permuted(np.tile(np.arange(places), (n, 1)), axis=1)[:, :positions]
            for mine, values in zip(kept, rows, strict=True):
                host = get(values)[np.arange(n)[:, None], drawn]
                mine.append(host.reshape(-1, host.shape[-1]))
    return [[np.concatenate(mine) for mine in kept] for kept in parts]


def check_alike(nets: Sequence[Network], layers: Sequence[Units]) -> None:
    """Raise SettingError unless all `nets`, one or more, have these rows of units."""
    if not nets:
        raise SettingError("units of no network at all; give one or more")
    for net in nets:
        own = unit_layers(net)
        if not layers or any(layer not in own for layer in layers):
            raise SettingError(
                "units are compared layer by layer: networks of one architecture are needed, got "
                f"{[(layer.name, layer.units) for layer in own]} where "
                f"{[(layer.name, layer.units) for layer in layers]} were asked for"
            )


def _batches(
    nets: Sequence[Network], x: np.ndarray, layers: Sequence[Units], order: np.ndarray | None
) -> Iterator[list[list[np.ndarray]]]:
    """[layer][network] -> values (n, positions, units), batch by batch."""
    if not len(x) or (order is not None and np.shape(order) != (len(x),)):
        given = "" if order is None else f" in an order of shape {np.shape(order)}"
        raise ShapeError(f"{len(x)} inputs{given}: give at least one, and a place for each")
    for mine in parts(Ensemble(nets).nets, len(x), 200, ROOM):
        other = x[mine] if order is None else x[order[mine]]
        each = [unit_rows(net, other if k else x[mine], layers) for k, net in enumerate(nets)]
        yield [list(rows) for rows in zip(*each, strict=True)]


def _pooled(values: np.ndarray, pool: Pool) -> np.ndarray:
    """Values (n, positions, units) as rows."""
    if pool == "mean":
        return values.astype(np.float64).mean(axis=1)
    return values.reshape(-1, values.shape[-1])
