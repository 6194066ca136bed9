"""int8: networks in whole numbers, by a scheme that is written down (docs/int8.md).

`quantise` makes a `Quantised` of a network and samples to calibrate by: `rounding` has the rule
that NumPy and C share to the bit, `calibrate` the ranges, `operations` what there is to compute,
`print_c` writes it as C, `tail` with layers after it that learn in float. A new layer needs a line
in `quantise.LOWERED`.
"""

from .calibrate import Calibration
from .print_c import print_c
from .quantise import quantise
from .quantised import Quantised
from .tail import export_int8

__all__ = ["Calibration", "Quantised", "export_int8", "print_c", "quantise"]
