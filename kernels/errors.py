"""Every error weightspace raises on purpose: one family, so a caller can catch it whole.

Each message says three things: what was given, what was expected, and what to do about it.
This is the lowest module of the project; all other parts import their errors from here.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


class WeightspaceError(Exception):
    """The base of all errors raised deliberately by weightspace."""


class ShapeError(WeightspaceError, ValueError):
    """An array's shape does not fit the network, kernel or file it was given to."""


class DtypeError(WeightspaceError, TypeError):
    """An array's dtype is not the one the network or kernel was built for."""


class LabelError(WeightspaceError, ValueError):
    """A label lies outside the classes the network or data set has."""


class NonFiniteError(WeightspaceError, ValueError):
    """Input data holds NaN or infinity."""


class DivergedError(WeightspaceError, ArithmeticError):
    """Training reached a loss that is not finite; the message names the step."""


class StaleError(WeightspaceError, RuntimeError):
    """`saved` of an older forward pass was used after a newer one overwrote its buffers."""


class ModeError(WeightspaceError, RuntimeError):
    """A quantity was asked for in a mode in which it is not defined."""


class RecordingError(WeightspaceError, TypeError):
    """A layer does what no program can hold: it reads numbers, or calls more than ufuncs."""


class LayerError(WeightspaceError, AssertionError):
    """A layer breaks one of the identities that `nnlite.check_layer` proves."""


class CheckpointError(WeightspaceError, ValueError):
    """A checkpoint is damaged, incomplete, or was written for something else."""


class DataError(WeightspaceError, ValueError):
    """A data file is truncated, has the wrong magic number, or contradicts its companion."""


class DataFileError(DataError):
    """A data set's own files are damaged, or another set's: no setting mends that."""


class DataNotFoundError(WeightspaceError, FileNotFoundError):
    """A data set is in none of the places where it was looked for."""


class StorageError(WeightspaceError, OSError):
    """A file could not be written (full or read-only disk); nothing was half-written."""


class UnknownNameError(WeightspaceError, KeyError):
    """A preset, method, backend or key is not known; the message suggests the nearest."""

    def __str__(self) -> str:  # KeyError would print the repr, quotes and all
        return str(self.args[0]) if self.args else ""


class SettingError(WeightspaceError, ValueError):
    """A setting's value is outside what it may be."""


class DeviceError(WeightspaceError, RuntimeError):
    """There is no GPU that can be used, or its driver or compiler does not answer."""


class OutOfMemoryError(WeightspaceError, MemoryError):
    """A device has no room for what was asked."""


class WorkerError(WeightspaceError, RuntimeError):
    """Worker processes cannot be reached, or end again and again before their work is done."""


class CompileError(WeightspaceError, RuntimeError):
    """The host's compiler refused a kernel's source; the message is the compiler's."""


class MissingCompilerError(WeightspaceError, OSError):
    """There is no compiler on this machine to make kernels with."""


class MissingToolError(WeightspaceError, OSError):
    """A program that is needed is not installed; the message names the package that brings it."""


class EmulatorError(WeightspaceError, RuntimeError):
    """A program did not run to its end on the machine it was built for."""


class MissingExtraError(WeightspaceError, ImportError):
    """An optional package is absent; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package '{package}', which is not installed: "
            f"pip install 'weightspace[{extra}]'"
        )
        self.package, self.extra = package, extra


def check_name(kind: str, given: object, known: Collection[str]) -> None:
    """Raise UnknownNameError unless `given` is one of the names `known`."""
    if not isinstance(given, str) or given not in known:
        raise unknown_name(kind, given, known)


def unknown_name(kind: str, given: object, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a name that is not known, with the nearest known one as a hint."""
    choices = sorted(known)
    if not isinstance(given, str):
        of = type(given).__name__
        return UnknownNameError(f"a {kind} is asked for by name, not a {of}: {', '.join(choices)}")
    near = difflib.get_close_matches(given, choices, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UnknownNameError(f"unknown {kind} '{given}'.{hint} Known: {', '.join(choices)}")
