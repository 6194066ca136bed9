"""From pixels to float: images as float32 in [0, 1], standardised if asked, colour by colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.errors import SettingError, check_name

# what a setting may say: a name of PRESETS, or (mean, deviation), each a number or one a channel
Normalise = str | Sequence[str] | Sequence[float | Sequence[float]] | None
Level = float | tuple[float, ...] | np.ndarray  # the same for all pixels, or repeated along them
Scaling = tuple[Level, Level] | None  # checked: subtract the first, divide by the second

PRESETS: dict[str, tuple[float | tuple[float, ...], float | tuple[float, ...]]] = {
    "mnist": (0.1307, 0.3081),
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "symmetric": (0.5, 0.5),  # 0..255 to [-1, 1]
}


def check_normalise(kind: str, given: Any, channels: int) -> Scaling:
    """`given` as (mean, deviation) for images of `channels` channels, or None.

    Each is a float, or a tuple of one float a channel where they differ. `given` may be a name of
    PRESETS, alone or in a list. Raises UnknownNameError for another name, SettingError unless all
    numbers are finite, the deviations above 0 and all inputs that they make finite in float32, and
    for a number of values that is not the number of channels.
    """
    if given is None:
        return None
    pair = given
    if isinstance(given, list | tuple) and len(given) == 1:  # what a command line makes of a word
        pair = given[0]
    if isinstance(pair, str):
        check_name("normalisation", pair, PRESETS)
        pair = PRESETS[pair]
    try:
        mean, deviation = (_level(values, channels) for values in pair)
        with np.errstate(all="ignore"):
            ends = (np.array([[0.0], [1.0]]) - mean) / deviation
            held = np.isfinite(np.float32(ends)).all()
            if not held or np.min(np.asarray(deviation, np.float32)) <= 0:
                raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise SettingError(
            f"the {kind} stream got normalise={given!r}; give (mean, deviation) of the pixels in "
            f"[0, 1], each a number or one a channel ({channels} in these images), all finite and "
            f"the deviations above 0, also in float32, or one of {', '.join(PRESETS)}, or None"
        ) from None
    return mean, deviation


def _level(values: Any, channels: int) -> float | tuple[float, ...]:
    """A finite number or one a channel, those that are all equal as one. Raises ValueError."""
    found = np.asarray(values, np.float64)
    if found.shape not in ((), (channels,)) or not np.isfinite(found).all():
        raise ValueError
    levels = tuple(found.ravel().tolist())
    return levels[0] if len(set(levels)) == 1 else levels


def reordered(scaling: Scaling, order: np.ndarray) -> Scaling:
    """The scaling of images whose flattened pixels (H*W*C,) were taken in `order`.

    Every pixel keeps the values of the channel it came from: its old place modulo C.
    """
    if scaling is None:
        return None
    mean, deviation = (
        level if isinstance(level, float) else np.asarray(level)[order % np.size(level)]
        for level in scaling
    )
    return mean, deviation


def to_float(images: np.ndarray, scaling: Scaling, flat: bool) -> np.ndarray:
    """uint8 images (N, H, W, C) as float32 in [0, 1], then scaled; flat: (N, H*W*C)."""
    x = images.reshape(len(images), -1) if flat else images
    x = np.multiply(x, np.float32(1 / 255), dtype=np.float32, order="C")
    if scaling is not None:
        mean, deviation = scaling
        rows = x.reshape(len(x), -1)  # a view: x is contiguous
        rows -= _along(mean, rows.shape[1])
        rows /= _along(deviation, rows.shape[1])
    return x


def black(scaling: Scaling, channels: int) -> np.ndarray:
    """What `to_float` makes of a black pixel, (channels,) float32: what lies outside an image."""
    return to_float(np.zeros((1, 1, 1, channels), np.uint8), scaling, flat=True)[0]


def _along(level: Level, pixels: int) -> Any:
    """`level` as float32: itself, or as a row (pixels,).

    NumPy broadcasts a whole row over an image many times faster than three values over a pixel.
    """
    if isinstance(level, float):
        return np.float32(level)
    return np.resize(np.asarray(level, np.float32), pixels)
