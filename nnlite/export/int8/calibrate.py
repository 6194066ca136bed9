"""Calibration: which range each layer's numbers had on given samples, and the grid for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....kernels import get_backend
from ....kernels.codes import ACTIVATIONS
from ....kernels.errors import NonFiniteError, SettingError
from .rounding import Grid

# beyond these, f differs from its end by less than half of an int8 step of its own
FLAT = {"tanh": 4.0, "sigmoid": 8.0}
OWN = {"tanh": Grid(1 / 128, 0), "sigmoid": Grid(1 / 256, -128)}  # grids that need no samples


@dataclass(frozen=True)
class Calibration:
    """How ranges are read off samples.

    percentile: 100 takes the least and the largest value; less clips the share 1 - percentile / 100
    at both ends, which then stand at their clamped ends. Raises SettingError outside (50, 100].
    """

    percentile: float = 100.0

    def __post_init__(self) -> None:
        if not 50 < self.percentile <= 100:
            raise SettingError(
                f"Calibration got percentile={self.percentile!r}; it must lie in (50, 100], like "
                "99.9"
            )

    def grid(self, name: str, values: np.ndarray) -> Grid:
        """The grid for what `values` of the samples show. Raises NonFiniteError."""
        return Grid.over(*self._range(name, values))

    def of_activated(self, name: str, z: np.ndarray, activation: str, slope: float) -> Grid:
        """The grid for f(z). A relu that let nothing through gets room for -z.

        Its zero point is where the clamp stands, so that it stays a relu for other samples.
        """
        grid = self.grid(name, activated(z, activation, slope))
        if activation == "relu" and not (z > 0).any():
            return Grid.over(0.0, -self._range(name, z)[0])
        return grid

    def before(self, name: str, z: np.ndarray, activation: str) -> Grid:
        """The grid for z, of which a table takes f: no further than where f is flat."""
        low, high = self._range(name, z)
        end = FLAT[activation]
        return Grid.over(max(low, -end), min(high, end))

    def _range(self, name: str, values: np.ndarray) -> tuple[float, float]:
        if not np.isfinite(values).all():
            raise NonFiniteError(
                f"{name} of the network gives NaN or infinity for samples of the calibration; int8 "
                "has neither: look at the samples and at theta"
            )
        if self.percentile < 100:
            low, high = np.percentile(values, (100 - self.percentile, self.percentile))
            if low < high:
                return float(low), float(high)
        return float(values.min()), float(values.max())


def activated(z: np.ndarray, activation: str, slope: float) -> np.ndarray:
    """f(z), a new array."""
    y = np.empty_like(z)
    rows = z.reshape(len(z), -1)
    get_backend("reference").activation_forward(
        ACTIVATIONS[activation], slope, rows, y.reshape(rows.shape)
    )
    return y
