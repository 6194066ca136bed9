"""What a network keeps beside theta, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import numpy as np

from ..kernels.device import Device
from ..kernels.errors import SettingError, ShapeError, check_name, unknown_name
from .checks import check_array


class State(MutableMapping[str, np.ndarray]):
    """Arrays by name, which layers see where they lie: assigning one copies into it.

    Names neither come nor go; shapes and dtype stay. Raises UnknownNameError for another name,
    ShapeError or DtypeError for an array that does not fit, SettingError for what would remove one.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], dtype: np.dtype, device: Device) -> None:
        self._arrays, self._dtype, self._device = arrays, dtype, device

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        check_name("state", name, self._arrays)
        ours = self._arrays[name]
        if array is ours:  # `state[name] += ...` has changed it already
            return
        self._check(name, array)
        ours[...] = self._device.put(array)

    def _check(self, name: str, array: np.ndarray) -> None:
        check_array(array, f"state '{name}'", self._dtype, self._device)
        if array.shape != (shape := self._arrays[name].shape):
            raise ShapeError(f"state '{name}' has shape {shape}; it was given {array.shape}")

    def __delitem__(self, name: str) -> None:
        raise SettingError(f"state '{name}' belongs to a layer and cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def kept(self, prefix: str = "") -> dict[str, np.ndarray]:
        """A copy of each array, named `prefix` + its name: what `restore` puts back."""
        return {prefix + name: array.copy() for name, array in self.items()}

    def restore(self, kept: Mapping[str, np.ndarray], prefix: str = "") -> None:
        """Copy what `kept` gave, another network's state or a file's arrays, into every array.

        Raises UnknownNameError where one of them is missing, ShapeError or DtypeError where one
        does not fit; nothing is changed then.
        """
        for name in self:
            if prefix + name not in kept:
                raise unknown_name("kept state", prefix + name, kept)
            self._check(name, kept[prefix + name])
        for name in self:
            self[name] = kept[prefix + name]

    def __repr__(self) -> str:
        return f"State({dict(self._arrays)})"


def nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by dotted name as nested mappings: {"0.mean": a} -> {"0": {"mean": a}}."""
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        inner = found
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = array
    return found
