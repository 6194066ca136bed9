"""Rotated: every task turns the images by its own angle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.errors import MissingExtraError
from ...methods.tasks import Scenario, Stream
from ...nnlite.settings import real, whole
from ..data import Dataset
from .common import (
    TASKS,
    Normalise,
    Transform,
    check_normalise,
    check_scenario,
    listed,
    make_stream,
    make_task,
)


def rotate(images: np.ndarray, degrees: float) -> np.ndarray:
    """uint8 images (N, H, W, C) turned counter-clockwise, bilinear, 0 outside."""
    if degrees % 360 == 0:
        return images
    try:
        from scipy.ndimage import rotate as turn
    except ImportError:
        raise MissingExtraError("scipy", "demo", "a rotated stream") from None
    turned = turn(images.astype(np.float32), degrees, axes=(1, 2), reshape=False, order=1)
    return np.clip(np.rint(turned), 0, 255).astype(np.uint8)


def make(
    dataset: Dataset,
    scenario: Scenario,
    num_tasks: int = 10,
    max_angle: float = 180.0,
    angles: Sequence[float] | None = None,
    normalise: Normalise = None,
    flat: bool = True,
) -> Stream:
    """Tasks at `angles` (degrees), or at num_tasks even steps from 0 up to, not to, max_angle.

    Rotated pixels are rounded back to whole numbers of 0..255. Raises SettingError.
    """
    check_scenario("rotated", scenario, ("domain",))
    scaling = check_normalise("rotated", normalise, dataset.input_shape[-1])
    if angles is None:
        num_tasks = whole("the rotated stream's num_tasks", num_tasks, TASKS)
        top = real("the rotated stream's max_angle", max_angle)
        angles = [top * i / num_tasks for i in range(num_tasks)]
    else:
        name = "the rotated stream's angles"
        angles = [real(name, angle) for angle in listed("rotated", "angles", angles)]

    def turner(degrees: float) -> Transform:
        return lambda images: rotate(images, degrees)

    tasks = [
        make_task(f"{angle:g} degrees", dataset, turner(angle), scaling, flat) for angle in angles
    ]
    settings = {"angles": angles, "normalise": scaling}
    return make_stream("rotated", scenario, dataset, tasks, dataset.num_classes, flat, settings)
