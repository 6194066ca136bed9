"""The `cuda` backend: CUDA C through CuPy. `kernels.reference` says what each kernel means.

One object holds all kernels, as methods with the reference's names and arguments. The same object
over `kernels.cuda_host.HostDevice` is the backend `cuda-host`: the same sources on the CPU.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from . import activations, context, conv, dense, images, losses, norm, pool, sparse, update
from .launch import Launcher, Source

SOURCES: tuple[Source, ...] = (
    activations.SOURCE,
    dense.SOURCE,
    context.SOURCE,
    *conv.SOURCES,
    losses.SOURCE,
    norm.SOURCE,
    pool.SOURCE,
    sparse.SOURCE,
    images.SOURCE,
    update.SOURCE,
)


class CudaOps(
    activations.Activations,
    dense.Dense,
    context.Context,
    conv.Conv,
    losses.Losses,
    norm.Norm,
    pool.Pool,
    sparse.Sparse,
    images.Images,
    update.Updates,
):
    """All kernels on one device. NAME: the backend's."""

    def __init__(self, device: Any) -> None:
        super().__init__(device, Launcher(device, SOURCES))
        self.NAME = device.name


@cache
def gpu() -> CudaOps:
    """The kernels on the current GPU. Raises DeviceError where none answers."""
    from .device import CupyDevice  # noqa: PLC0415  (imports CuPy)

    return CudaOps(CupyDevice())


@cache
def host() -> CudaOps:
    """The kernels on the CPU, compiled by g++: slow, checked, for study and tests."""
    from ..cuda_host import HostDevice  # noqa: PLC0415

    return CudaOps(HostDevice())
