"""The packages of the extra `onnx`, asked for where they are needed."""

from __future__ import annotations

from typing import Any

from ....kernels.errors import MissingExtraError


def onnx(needed_for: str) -> Any:
    """The package onnx. Raises MissingExtraError where it is not installed."""
    try:
        import onnx as package  # noqa: PLC0415  (optional)
    except ImportError:
        raise MissingExtraError("onnx", "onnx", needed_for) from None
    return package


def onnxruntime(needed_for: str) -> Any:
    """The package onnxruntime. Raises MissingExtraError where it is not installed."""
    try:
        import onnxruntime as package  # noqa: PLC0415  (optional)
    except ImportError:
        raise MissingExtraError("onnxruntime", "onnx", needed_for) from None
    return package
