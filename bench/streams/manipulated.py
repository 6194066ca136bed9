"""Manipulated: the eight versions of MNIST of Campbell, Kieras, Kruger & Tao (2018).

The definitions follow the authors' published code where the text leaves them open: flips, rotation
and swap start from the colour-inverted image, so those sets share a bright background, and
correlate with one another and against the original. `invbot` ("invert the bottom") inverts rows
1..14 in their code, which is the top half; rows="name" takes the name at its word.

The sets of Larochelle et al. (2007) that the paper puts beside them may stand in the same order,
regenerated: see that module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...kernels.errors import check_name, unknown_name
from ...methods.tasks import Scenario, Stream
from ...nnlite.settings import ANY, whole
from ..data import Dataset
from . import regenerated
from .common import (
    Normalise,
    Transforms,
    check_normalise,
    check_scenario,
    listed,
    make_stream,
    make_task,
)

# the order of the authors' naive sequence
ORDER = ("orig", "rot90", "fliplr", "flipud", "check", "inv", "cutud", "invbot")
ALL = (*ORDER, *regenerated.CAMPBELL)  # the thirteen of the paper's figure 12


def _invert(x: np.ndarray) -> np.ndarray:
    return 255 - x


def _checkerboard(x: np.ndarray) -> np.ndarray:
    """Every other pixel inverted: those whose row and column are both even or both odd."""
    out = x.copy()
    for start in (0, 1):
        out[:, start::2, start::2] = 255 - x[:, start::2, start::2]
    return out


def _swap(x: np.ndarray) -> np.ndarray:
    """Top and bottom halves of the inverted image exchanged."""
    half = x.shape[1] // 2
    return _invert(np.concatenate([x[:, half:], x[:, :half]], axis=1))


def _invert_half(x: np.ndarray, top: bool) -> np.ndarray:
    half = x.shape[1] // 2
    rows = slice(0, half) if top else slice(half, None)
    out = x.copy()
    out[:, rows] = 255 - x[:, rows]
    return out


def manipulations(rows: str = "code") -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The eight transforms of uint8 images (N, H, W, C), by name."""
    return {
        "orig": lambda x: x,
        "rot90": lambda x: np.rot90(_invert(x), axes=(1, 2)),
        "fliplr": lambda x: _invert(x)[:, :, ::-1],
        "flipud": lambda x: _invert(x)[:, ::-1],
        "check": _checkerboard,
        "inv": _invert,
        "cutud": _swap,
        "invbot": lambda x: _invert_half(x, top=rows == "code"),
    }


def make(
    dataset: Dataset,
    scenario: Scenario,
    order: Sequence[str] = ORDER,
    rows: str = "code",
    seed: int = 0,
    normalise: Normalise = None,
    flat: bool = True,
) -> Stream:
    """The manipulated and regenerated sets named in `order`, one a task.

    seed: of what is random about regenerated ones. Raises UnknownNameError, SettingError.
    """
    check_scenario("manipulated", scenario, ("domain",))
    scaling = check_normalise("manipulated", normalise, dataset.input_shape[-1])
    if rows not in ("code", "name"):
        raise unknown_name("choice of rows", str(rows), ("code", "name"))
    seed = whole("the manipulated stream's seed", seed, ANY)
    known: dict[str, Transforms] = {**manipulations(rows)}
    for name in regenerated.NAMES:
        made = regenerated.Regenerated(name, seed)
        known[name] = made.train, made.test
    order = [str(name) for name in listed("manipulated", "order", order)]
    for name in order:
        check_name("manipulation", name, known)
    tasks = [make_task(name, dataset, known[name], scaling, flat) for name in order]
    settings: dict[str, Any] = {"order": order, "rows": rows, "normalise": scaling}
    if set(order) & set(regenerated.NAMES):
        settings["seed"] = seed  # the others know no chance, and keep the hash they always had
    return make_stream("manipulated", scenario, dataset, tasks, dataset.num_classes, flat, settings)
