"""Matching units of two networks, and networks whose units stand in another order.

scores (U, V) say how alike unit i of one network and unit j of the other are: their correlation
(signed, as Li et al. 2015 have it), or their mutual information. Semi-matching gives each i its
best j, which others may have, too; bipartite matching gives each its own, so that the sum is
largest. A bipartite mean cannot be above the semi-matching one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..kernels.errors import MissingExtraError, SettingError, ShapeError
from ..nnlite import Network
from ..nnlite.layers import (
    Activation,
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
)

CHANNELWISE = (Activation, AdaptiveAvgPool2d, AvgPool2d, Dropout, GlobalAvgPool, MaxPool2d)


class Matching(NamedTuple):
    """Each unit's partner (U,), -1 where it has none, and their score (U,), NaN for none."""

    partner: np.ndarray
    score: np.ndarray

    def mean(self) -> float:
        """The mean score of those that have a partner."""
        return float(self.score[self.partner >= 0].mean())

    def order(self) -> np.ndarray:
        """The units that have a partner, best first."""
        found = np.argsort(-self.score, kind="stable")
        return found[self.partner[found] >= 0]


def semi_matching(scores: np.ndarray) -> Matching:
    """Each unit's best: the arg-max of its row, whoever else has it."""
    _check(scores)
    partner = scores.argmax(axis=1)
    return Matching(partner, scores[np.arange(len(scores)), partner].astype(np.float64))


def bipartite_matching(scores: np.ndarray) -> Matching:
    """The one-to-one matching of largest sum, exactly; the surplus of the longer side has none."""
    _check(scores)
    try:
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scipy", "analysis", "bipartite matching") from None
    rows, columns = linear_sum_assignment(scores, maximize=True)
    partner, score = np.full(len(scores), -1), np.full(len(scores), np.nan)
    partner[rows], score[rows] = columns, scores[rows, columns]
    return Matching(partner, score)


def _check(scores: np.ndarray) -> None:
    if scores.ndim != 2 or not scores.size or not np.isfinite(scores).all():
        raise ShapeError(
            f"units are matched by finite scores (U, V), got an array of shape {scores.shape}"
            + ("" if np.isfinite(scores).all() else " with NaN or infinity")
        )


# ---- networks in another order -------------------------------------------------------------------


def permute(net: Network, orders: Mapping[int, Any]) -> Network:
    """A second network that answers alike, its hidden units in other orders.

    orders: by number in `net.layers` of a Conv2d or Linear; unit i of the result is unit
    orders[layer][i] of `net`. What is per unit moves along (bias, BatchNorm2d and its running
    statistics; a depthwise Conv2d in between), and the columns of the next Conv2d or Linear. Mode
    "eval" is meant: Dropout draws by place.

    Raises SettingError for a layer whose units cannot be moved (the outputs, those that a Residual,
    context or group of channels ties to their places), ShapeError for what is no permutation.
    """
    twin = net.like()
    for layer, order in orders.items():
        _permute_layer(twin, layer, np.asarray(order))
    return twin


def _permute_layer(net: Network, made: int, order: np.ndarray) -> None:
    if not 0 <= made < len(net.layers) or type(net.layers[made]) not in (Conv2d, Linear):
        raise SettingError(f"layer {made} is no Conv2d or Linear: it has no units to be moved")
    if getattr(net.layers[made], "groups", 1) > 1:
        raise SettingError(
            f"the units of layer {made} cannot be moved: each sees the channels of its own group"
        )
    shapes = _shapes(net)
    units = shapes[made][-1]
    if order.shape != (units,) or not np.array_equal(np.sort(order), np.arange(units)):
        raise ShapeError(f"layer {made} has {units} units; give a permutation of 0..{units - 1}")
    _take(net, made, order, axis=0)
    places = order  # where each feature of the current layer's output was
    for index in range(made + 1, len(net.layers)):
        layer = net.layers[index]
        depthwise = type(layer) is Conv2d and layer.groups == layer.filters == len(places)
        if type(layer) in (Conv2d, Linear) and getattr(layer, "groups", 1) == 1:
            return _take(net, index, places, axis=-1)
        if isinstance(layer, BatchNorm2d) or depthwise:
            _take(net, index, places, axis=0)
        elif isinstance(layer, Flatten):
            count = int(np.prod(shapes[index])) // len(places)
            places = (np.arange(count)[:, None] * len(places) + places).ravel()
        elif not isinstance(layer, CHANNELWISE):
            raise SettingError(
                f"the units of layer {made} cannot be moved: layer {index}, a "
                f"{type(layer).__name__}, ties them to their places"
            )
    raise SettingError(f"layer {made} gives the outputs, whose order is the classes'")


def _shapes(net: Network) -> list[tuple[int, ...]]:
    """The shape of each layer's output."""
    shapes, shape = [], net.input_shape
    for layer in net.layers:
        shape = layer.output_shape(shape)
        shapes.append(shape)
    return shapes


def _take(net: Network, index: int, order: np.ndarray, axis: int) -> None:
    """Put a layer's parameters and state in order: by units (axis 0) or by inputs (axis -1)."""
    order = net.device.put(order)
    arrays = [net.layout.view(net.theta, name) for name in net.layout if _of(name, index)]
    arrays += [array for name, array in net.state.items() if _of(name, index)]
    for array in arrays:
        if axis == 0:
            array[...] = array[order]
        elif array.ndim > 1:  # a bias has no inputs
            array[...] = array[..., order]


def _of(name: str, index: int) -> bool:
    return name.startswith(f"{index}.")
