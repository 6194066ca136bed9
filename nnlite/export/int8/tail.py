"""A network in int8 up to its last layers, which learn in float: `export_int8`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ....kernels.errors import SettingError
from ...net import Network
from ..c.export import Exported, export
from ..c.learning import Learning
from ..c.parts import cut
from .calibrate import Calibration
from .print_c import Int8Forward, print_c
from .quantise import quantise
from .rounding import HIGH, LOW


def export_int8(
    net: Network,
    samples: np.ndarray,
    name: str = "net",
    learning: Learning | None = None,
    calibration: Calibration | None = None,
) -> Exported:
    """`net` as C in int8; with learning (of a tail), all that is before the tail.

    samples (N, *input_shape): to calibrate by. A memory of latents holds the int8 that the trunk
    gives, as bytes. Raises SettingError for learning of all layers, which are all float then, and
    what `quantise` and `c.export` raise.
    """
    if learning is None:
        return print_c(quantise(net, samples, calibration), name)
    first = 0 if learning.tail is None else cut(net, learning.tail).first
    if first == 0:
        raise SettingError(
            "all layers of this network learn, and what learns is float: export it without int8, "
            "or let a tail of fewer layers learn"
        )
    trunk = quantise(net, samples, calibration, count=first)
    grid = trunk.output_grid
    if learning.method == "replay":  # a byte of the memory is then an int8 of the trunk
        ends = (grid.scale * (LOW - grid.zero), grid.scale * (HIGH - grid.zero))
        learning = replace(learning, latents=ends)
    return export(net, name, learning, trunk=lambda unit: Int8Forward(unit, trunk, "trunk"))
