"""The errors of the host launcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import WeightspaceError


class Report(NamedTuple):
    """One finding about a kernel: its kind ("race"), where ("dense.cu:31") and what happened."""

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"[{self.kind}] {self.where}: {self.text}"


class KernelFault(WeightspaceError, RuntimeError):  # noqa: N818 - faults are what it reports
    """A kernel did what a GPU forbids or leaves undefined, or was launched out of limits."""

    def __init__(self, kernel: str, reports: Sequence[Report]) -> None:
        super().__init__(f"{kernel}: " + "\n  ".join(str(report) for report in reports))
        self.kernel, self.reports = kernel, list(reports)


class ArgumentError(WeightspaceError, TypeError):
    """An argument of a launch is not what the kernel's signature asks for."""


class CaptureError(WeightspaceError, RuntimeError):
    """Something was done during a capture that would break the capture of a CUDA graph."""
