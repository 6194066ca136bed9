"""Launches of what moves pictures and picks samples; the meaning is in `reference.images`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import BY_PACK, Family, Source, c_type, contiguous

# Rows are copied in units of so many bytes, the largest that fit.
UNITS = {16: "unsigned, 4", 8: "unsigned, 2", 4: "unsigned, 1", 1: "unsigned char, 1"}

SOURCE = Source("images.cu", {"shift_flip": BY_PACK, "gather_rows": tuple(UNITS.values())})


class Images(Family):
    """Launches of images.cu."""

    def shift_flip(self, x: Any, down: Any, across: Any, flip: Any, outside: Any, y: Any) -> None:
        contiguous(x, down, across, flip, outside, y)
        n, height, width, channels = x.shape
        pack = self.pack(x, y)
        self.over_rows(
            f"shift_flip<{c_type(x)}, {pack}>", n * height, width * channels // pack,
            np.int32(height), np.int32(width), np.int32(channels), x, down, across, flip, outside,
            y,
        )  # fmt: skip

    def gather_rows(self, x: Any, rows: Any, out: Any) -> None:
        """Rows that x does not have become NaN, or -1: nobody looks at `rows` here."""
        contiguous(x, rows, out)
        size = out.nbytes // max(len(out), 1)
        ends = size | self.device.address(x) | self.device.address(out)
        unit = next(unit for unit in UNITS if ends % unit == 0)
        self.over_rows(
            f"gather_rows<{UNITS[unit]}>", len(out), size // unit, np.int64(len(x)), x, rows, out
        )
