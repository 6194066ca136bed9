"""Devices for the launcher's tests, which need g++."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from weightspace.kernels.cuda_host import HostDevice, MissingCompilerError
from weightspace.kernels.cuda_host.build import MODES, compiler

HERE = Path(__file__).parent
ORDERS = (0, 1, 2, 7)


@pytest.fixture(autouse=True)
def needs_compiler() -> None:
    try:
        compiler()
    except MissingCompilerError as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=MODES)
def device(request) -> HostDevice:
    """A device in each mode, with threads in the order of a plain loop."""
    return HostDevice(request.param, 0)


@pytest.fixture(params=[(mode, order) for mode in MODES for order in ORDERS], ids=str)
def any_device(request) -> HostDevice:
    """A device in each mode and in several orders of threads."""
    return HostDevice(*request.param)


@pytest.fixture(scope="session")
def kernel() -> Callable[..., Any]:
    """kernel(filename, name): a kernel of this folder, for any device; files are read once."""
    files: dict[str, Any] = {}
    templates = {
        "clean.cu": ("product<float, 8>", "product<double, 4>"),
        "functions.cu": ("mathematics<float>", "mathematics<double>"),
    }

    def find(filename: str, name: str) -> Any:
        if filename not in files:
            source = (HERE / filename).read_text()
            names = templates.get(filename, ())
            files[filename] = HostDevice().module(source, (), names, filename)
        return files[filename].get_function(name)

    return find


@pytest.fixture
def values() -> Callable[..., np.ndarray]:
    """values(shape, dtype): the same numbers in each test."""

    def draw(shape: Any, dtype: Any = np.float32) -> np.ndarray:
        rng = np.random.default_rng(7)
        if np.dtype(dtype).kind == "f":
            return rng.standard_normal(shape).astype(dtype)
        return rng.integers(0, 100, shape).astype(dtype)

    return draw
