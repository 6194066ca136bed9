"""What layers on images share: pairs of whole numbers, zeros around, and how many windows fit."""

from __future__ import annotations

from ...kernels.errors import SettingError, ShapeError
from ..layout import Shape
from ..settings import Limit, whole

Places = tuple[int, int]  # of rows and columns
Pair = int | Places  # as a layer may be given them
Sides = tuple[Places, Places]  # (top, bottom), (left, right)


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


def around(owner: str, given: Pair | Sides) -> Places | Sides:
    """Zeros around an image, (rows, columns), or ((top, bottom), (left, right)) where these differ.

    Raises SettingError for anything but whole numbers >= 0.
    """
    if not isinstance(given, tuple | list) or not any(isinstance(s, tuple | list) for s in given):
        return pair(owner, "padding", given, 0)  # type: ignore[arg-type]
    try:
        rows, columns = (pair(owner, "padding", (*side,), 0) for side in given)  # type: ignore[misc]
    except (SettingError, TypeError, ValueError):
        raise SettingError(
            f"{owner} got padding={given!r:.80}; give a whole number of at least 0, a pair (rows, "
            "columns) of them, or two pairs ((top, bottom), (left, right))"
        ) from None
    alike = rows[0] == rows[1] and columns[0] == columns[1]
    return (rows[0], columns[0]) if alike else (rows, columns)


def sides(padding: Places | Sides) -> Sides:
    """What `around` gave, as ((top, bottom), (left, right))."""
    rows, columns = ((p, p) if isinstance(p, int) else p for p in padding)
    return rows, columns


def image(owner: str, input_shape: Shape) -> tuple[int, int, int]:
    """(H, W, C) of the samples. Raises ShapeError for samples that are no images."""
    if len(input_shape) != 3:
        raise ShapeError(
            f"{owner} got samples of shape {input_shape}; it takes images (height, width, channels)"
        )
    height, width, channels = input_shape
    return height, width, channels


def windows(
    owner: str, input_shape: Shape, size: Places, stride: Places, padding: Places | Sides,
    dilation: Places = (1, 1), ceil_mode: bool = False,
) -> Places:  # fmt: skip
    """Rows and columns of windows. Raises ShapeError where not one fits.

    ceil_mode: a last window may hang over the end, if it begins inside the image or the padding
    before it.
    """
    height, width, _ = image(owner, input_shape)
    rows, columns = (
        _count(long, (taps - 1) * apart + 1, step, side, ceil_mode)
        for long, side, taps, apart, step in zip(
            (height, width), sides(padding), size, dilation, stride, strict=True
        )
    )
    if rows < 1 or columns < 1:
        spread = f" and dilation {dilation}" if dilation != (1, 1) else ""
        raise ShapeError(
            f"{owner} got images of {height} x {width}; with padding {padding}{spread} a window of "
            f"{size} does not fit into them once"
        )
    return rows, columns


def _count(length: int, size: int, stride: int, padding: Places, ceil_mode: bool) -> int:
    before, after = padding
    room = before + length + after - size
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= before + length else count
