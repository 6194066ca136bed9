"""The numbers of which exp and log are made: one home for all backends that compute them so.

x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) - 1 is a polynomial. ln x = e ln 2 + 2 atanh(s), a
series in s^2. Every number is rounded to the dtype before it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LN2 = math.log(2.0)
LOG2E = math.log2(math.e)
MIDDLE = math.sqrt(0.5)  # log splits x into m 2^e with m from here to twice here


@dataclass(frozen=True)
class Series:
    """What exp and log need in one dtype; the fields are plain Python floats.

    high + low = ln 2, and high is so short that n * high is exact. Adding `magic` rounds to a whole
    number that then stands in the lowest bits: no conversion to an integer, which NaN has none of.
    """

    digits: int  # bits of the fraction
    bias: int  # of the exponent
    high: float
    low: float
    magic: float
    least: float  # below this, exp is 0
    most: float  # above this, it is infinite
    polynomial: tuple[float, ...]  # (exp(r) - 1 - r) / r^2, the highest power first
    logarithm: tuple[float, ...]  # atanh(s) / s - 1 in s^2, as many terms as tell, the last first


FLOAT32 = Series(
    23, 127, 0.693359375, -2.12194440e-4, 1.5 * 2**23, -104.0, 89.0,
    # minimax on |r| <= ln 2 / 2, as in Moshier's Cephes library
    (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
     5.0000001201e-1),
    tuple(1 / k for k in range(11, 1, -2)),
)  # fmt: skip
FLOAT64 = Series(
    52, 1023, 6.93147180369123816490e-01, 1.90821492927058770002e-10, 1.5 * 2**52, -746.0, 710.0,
    tuple(1 / math.factorial(k) for k in range(13, 1, -1)),
    tuple(1 / k for k in range(25, 1, -2)),
)  # fmt: skip
