"""check_onnx: what onnx says of a model file, and onnxruntime's outputs beside the network's."""

from __future__ import annotations

import os

import numpy as np

from ....kernels.errors import CheckpointError
from ....kernels.spec import relative_error, tolerance
from ...net import Network
from ..axes import channels_first
from .packages import onnx, onnxruntime


def check_onnx(net: Network, path: str | os.PathLike[str], x: np.ndarray) -> float:
    """The largest relative difference between the file's outputs and those of `net` for x.

    x (N, *input_shape), as `net` takes it. Raises MissingExtraError; CheckpointError for a file
    that onnx finds invalid, or whose outputs differ by more than the tolerance for the longest sum
    in the network.
    """
    package = onnx("checking ONNX")
    try:
        package.checker.check_model(os.fspath(path), full_check=True)
    except (package.checker.ValidationError, ValueError, RuntimeError) as wrong:
        raise CheckpointError(f"{path} is not valid ONNX: {wrong}") from None
    expected = net.device.get(net.forward(x))
    error = relative_error(outputs(path, x)[0], expected)
    allowed = tolerance("float32", longest_sum(net))
    if not error <= allowed:
        raise CheckpointError(
            f"{path} gives other outputs than the network: they differ by {error:.2g} of the "
            f"largest, {allowed:.2g} is allowed; write it again"
        )
    return error


def longest_sum(net: Network) -> int:
    """Terms of the longest sum on the way through `net`: all its layers' rows one after another."""
    rows = [net.layout.shape(name) for name in net.layout if name.endswith("weight")]
    return max(1, sum(int(np.prod(shape[1:])) for shape in rows))


def outputs(path: str | os.PathLike[str], x: np.ndarray) -> list[np.ndarray]:
    """onnxruntime's outputs of a model file for x, (N, H, W, C) or (N, I), on one core."""
    runtime = onnxruntime("running ONNX")
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    session = runtime.InferenceSession(
        os.fspath(path), settings, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: channels_first(x.astype(np.float32))})
