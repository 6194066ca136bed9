"""CUDA kernels on the CPU: g++ compiles the very same .cu text, and a checker can watch it run.

`HostDevice` stands in for a GPU: see docs/cuda-on-host.md for what it catches and what it cannot.
Nothing here needs CUDA; it needs g++ and Linux on x86-64 or aarch64.
"""

from ..errors import CompileError, MissingCompilerError
from .array import DeviceArray
from .device import HostDevice
from .errors import (
    ArgumentError,
    CaptureError,
    KernelFault,
    Report,
)

__all__ = [
    "ArgumentError",
    "CaptureError",
    "CompileError",
    "DeviceArray",
    "HostDevice",
    "KernelFault",
    "MissingCompilerError",
    "Report",
]
