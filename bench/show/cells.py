"""A table of numbers as coloured cells with the numbers in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .style import INK

_DARK = 0.6  # of the range: numbers on darker cells are white


def cells(
    ax: Any, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], colours: str,
    limits: tuple[float, float], form: str = "", size: float = 7, upright: bool = False,
) -> Any:  # fmt: skip
    """Draw values (rows, columns) on `ax`; the image, for a scale.

    form: how numbers are written into cells, "" for not at all; NaN stays empty. upright: names of
    columns are not turned.
    """
    image = ax.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(range(len(columns)), columns, rotation=0 if upright else 90, fontsize=size)
    ax.set_yticks(range(len(rows)), rows, fontsize=size)
    middle = sum(limits) / 2 if limits[0] < 0 else limits[0]
    for (row, column), value in np.ndenumerate(values):
        if form and np.isfinite(value):
            dark = abs(value - middle) > _DARK * (limits[1] - middle)
            text = form.format(value)
            text = text.lstrip("-") if float(text) == 0 else text
            ax.text(column, row, text, ha="center", va="center", fontsize=size - 0.5,
                    color="white" if dark else INK)  # fmt: skip
    return image
