"""Rotated: every task turns the images by its own angle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.errors import MissingExtraError, SettingError
from ...methods.tasks import Scenario, Stream
from ..data import Dataset
from .common import (
    Normalise,
    Transform,
    check_normalise,
    check_scenario,
    listed,
    make_stream,
    make_task,
    whole,
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


def _degrees(setting: str, given: Any) -> float:
    try:
        angle = float(given)
    except (TypeError, ValueError):
        angle = math.nan
    if not math.isfinite(angle):
        raise SettingError(f"a rotated stream got {given!r} in {setting}; give finite degrees")
    return angle


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
        num_tasks = whole("rotated", "num_tasks", num_tasks, least=1)
        top = _degrees("max_angle", max_angle)
        angles = [top * i / num_tasks for i in range(num_tasks)]
    else:
        angles = [_degrees("angles", angle) for angle in listed("rotated", "angles", angles)]

    def turner(degrees: float) -> Transform:
        return lambda images: rotate(images, degrees)

    tasks = [
        make_task(f"{angle:g} degrees", dataset, turner(angle), scaling, flat) for angle in angles
    ]
    settings = {"angles": angles, "normalise": scaling}
    return make_stream("rotated", scenario, dataset, tasks, dataset.num_classes, flat, settings)
