"""Permuted: every task shuffles the pixels in its own fixed way (Goodfellow 2013; Zenke 2017)."""

from __future__ import annotations

import numpy as np

from ...methods.tasks import Scenario, Stream
from ...nnlite.init import generator
from ...nnlite.settings import ANY, flag, whole
from ..data import Dataset
from .common import (
    TASKS,
    Normalise,
    check_normalise,
    check_scenario,
    make_stream,
    make_task,
    reordered,
)


def make(
    dataset: Dataset,
    scenario: Scenario,
    num_tasks: int = 10,
    seed: int = 0,
    identity_first: bool = True,
    normalise: Normalise = None,
    flat: bool = True,
) -> Stream:
    """`num_tasks` permutations of the pixels, drawn here and now from Philox(seed).

    identity_first: the first task is the data as it is. Raises SettingError.
    """
    check_scenario("permuted", scenario, ("domain",))
    num_tasks = whole("the permuted stream's num_tasks", num_tasks, TASKS)
    seed = whole("the permuted stream's seed", seed, ANY)
    scaling = check_normalise("permuted", normalise, dataset.input_shape[-1])
    pixels = int(np.prod(dataset.input_shape))
    orders = [generator(seed, 0x9E, task).permutation(pixels) for task in range(num_tasks)]
    if flag("the permuted stream's identity_first", identity_first):
        orders[0] = np.arange(pixels)

    def shuffle(order: np.ndarray):
        def transform(images: np.ndarray) -> np.ndarray:
            flattened = images.reshape(len(images), -1)
            return np.take(flattened, order, axis=1).reshape(images.shape)

        return transform

    tasks = [
        make_task(f"permutation {i}", dataset, shuffle(order), reordered(scaling, order), flat)
        for i, order in enumerate(orders)
    ]
    settings = {"normalise": scaling}
    return make_stream(
        "permuted", scenario, dataset, tasks, dataset.num_classes, flat, settings, orders
    )
