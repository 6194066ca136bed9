"""What layers on images share: pairs of whole numbers, and how many windows fit."""

from __future__ import annotations

from ...kernels.errors import SettingError, ShapeError
from ..layout import Shape
from ..settings import Limit, whole

Places = tuple[int, int]  # of rows and columns
Pair = int | Places  # as a layer may be given them


def pair(owner: str, what: str, given: Pair, least: int) -> tuple[int, int]:
    """`given` as (rows, columns). Raises SettingError for anything but whole numbers >= least."""
    try:
        rows, columns = given if isinstance(given, tuple | list) else (given, given)
        return whole(what, rows, Limit(least)), whole(what, columns, Limit(least))
    except (SettingError, ValueError):
        raise SettingError(
            f"{owner} got {what}={given!r:.80}; give a whole number of at least {least}, or a pair "
            "(rows, columns) of them"
        ) from None


def image(owner: str, input_shape: Shape) -> tuple[int, int, int]:
    """(H, W, C) of the samples. Raises ShapeError for samples that are no images."""
    if len(input_shape) != 3:
        raise ShapeError(
            f"{owner} got samples of shape {input_shape}; it takes images (height, width, channels)"
        )
    height, width, channels = input_shape
    return height, width, channels


def windows(
    owner: str, input_shape: Shape, size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int],
) -> tuple[int, int]:  # fmt: skip
    """Rows and columns of windows. Raises ShapeError where not one fits."""
    height, width, _ = image(owner, input_shape)
    rows = (height + 2 * padding[0] - size[0]) // stride[0] + 1
    columns = (width + 2 * padding[1] - size[1]) // stride[1] + 1
    if rows < 1 or columns < 1:
        raise ShapeError(
            f"{owner} got images of {height} x {width}; with padding {padding} a window of {size} "
            "does not fit into them once"
        )
    return rows, columns
