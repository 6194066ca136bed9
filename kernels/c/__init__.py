"""The kernels in C99, as they are exported: the bits of `exact` in float32 where there is an fma.

Every kernel is one static function in a `.c` file of its family, with the contract's arguments and
then the sizes (`signature`); `sources` reads them, `library` compiles them here and calls them, so
that they are a backend for tests and study. nnlite/export prints programs with them.
No heap, no globals, no C library but memcpy.
"""

from .library import Ops


def host() -> Ops:
    """The backend `c` on this machine."""
    return Ops()


def direct() -> Ops:
    """The same with every convolution summed directly, never by Winograd's way."""
    return Ops(winograd=False)
