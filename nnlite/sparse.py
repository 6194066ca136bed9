"""Sparse networks: what is left of a pruned network, kept and run as the weights that are not zero.

A parameter (O, ...) is kept as rows: how many entries each has, in which columns of (O, -1) they
stand, and their values; or whole, where that takes fewer bytes. Dense layers at the network's end
run on those rows (`sparse_dense_forward`); what comes before them, convolutions among it, is made
whole again in memory and runs dense. A sparse network answers, it does not learn.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..kernels.errors import CheckpointError, SettingError
from .checkpoint import check_state, describe_network, described, load_arrays, save_arrays
from .checks import check_input
from .layers import Linear
from .layout import Layout, Shape
from .net import Network, build_network
from .workspace import EachThread, Workspace

KIND = "sparse-network"
# a file may describe a network of so many bytes, or so many times its own: more is no pruned one
_WHOLE, _SPARSEST = 1 << 30, 10_000
Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Rows:
    """A matrix (O, width) by its entries that are not zero, row after row, on the host.

    starts (O + 1,) int32: where each row's entries begin; columns (E,) int32, rising within a row;
    values (E,).
    """

    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> Rows:
        """The entries of a matrix (O, width) that are not zero; NaN is none of these."""
        rows, columns = np.nonzero(matrix)
        starts = np.searchsorted(rows, np.arange(len(matrix) + 1))
        return cls(starts.astype(np.int32), columns.astype(np.int32), matrix[rows, columns])

    def whole(self, shape: tuple[int, int]) -> np.ndarray:
        """The matrix (O, width) they were taken from."""
        made = np.zeros(shape, self.values.dtype)
        made[np.repeat(np.arange(shape[0]), np.diff(self.starts)), self.columns] = self.values
        return made


@dataclass(frozen=True)
class _Layer:
    """A dense layer as its kernel takes it, on the device. name: of the layer in its network."""

    name: str
    linear: Linear
    starts: Any
    columns: Any
    values: Any
    bias: Any

    def forward(self, ops: Any, x: Any, y: Any) -> None:
        ops.sparse_dense_forward(
            x, self.starts, self.columns, self.values, self.bias, self.linear._act,
            self.linear.slope, y,
        )  # fmt: skip

    def parameters(self, get: Any) -> dict[str, Rows]:
        """Each parameter's rows, on the host."""
        weight = Rows(get(self.starts), get(self.columns), get(self.values))
        found = {f"{self.name}.weight": weight}
        if self.bias is not None:
            found[f"{self.name}.bias"] = Rows.of(get(self.bias)[None])
        return found


class SparseNetwork:
    """A network's answers from its weights that are not zero.

    net: the pruned network; every exact zero of its theta is left out. Dense memory is kept for the
    layers alone that run dense. Any number of threads may ask at once. Raises SettingError for a
    network without a dense layer at its end, which would gain nothing.
    """

    def __init__(self, net: Network) -> None:
        split = len(net.layers)
        while split and type(net.layers[split - 1]) is Linear:
            split -= 1
        if split == len(net.layers):
            raise SettingError(
                f"the last layer is a {type(net.layers[-1]).__name__}; a sparse network has dense "
                "layers (Linear) at its end"
            )
        self.about, self.backend = describe_network(net), net.backend
        self.input_shape, self.dtype = net.input_shape, net.dtype
        self.ops, self.device = net.ops, net.device
        self.head = _part(net, split) if split else None
        host = net.device.get(net.theta)
        self.nonzeros, self.num_parameters = int(np.count_nonzero(host)), net.num_parameters
        views = net.layout.views(host)
        self.layers = [
            self._layer(str(at), layer, views)
            for at, layer in enumerate(net.layers)
            if at >= split and isinstance(layer, Linear)
        ]
        self._each = EachThread(partial(Workspace, self.dtype, self.device))

    def __reduce__(self) -> tuple[Any, ...]:
        return SparseNetwork, (self.to_network(),)

    def _layer(self, name: str, linear: Linear, views: dict[str, np.ndarray]) -> _Layer:
        rows, put = Rows.of(views[f"{name}.weight"]), self.device.put
        bias = put(views[f"{name}.bias"].copy()) if linear.bias else None
        return _Layer(name, linear, put(rows.starts), put(rows.columns), put(rows.values), bias)

    @property
    def sparsity(self) -> float:
        """The share of parameters that are zero."""
        return 1 - self.nonzeros / self.num_parameters

    @property
    def nbytes(self) -> int:
        """Bytes of the calling thread's buffers; they grow with the largest batch, and stay."""
        return self._each.mine.nbytes

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The outputs (N, K) for x (N, *input_shape), a new array. Raises what Network does."""
        if self.head is None:
            x = check_input(x, self.input_shape, self.dtype, self.device)
        else:
            x = self.head.trace(x).outputs
        now, workspace = self.device.put(x.T), self._each.mine
        for layer in self.layers:
            y = workspace.take((layer.name, "y"), (layer.linear.units, len(x)))
            layer.forward(self.ops, now, y)
            now = y
        return now.T.copy()

    def to_network(self) -> Network:
        """The ordinary network of the same answers, zeros and all: a new one, which can learn."""
        net = build_network(self.about, self.backend, "a sparse network")
        theta = np.zeros(net.num_parameters, net.dtype)
        views = net.layout.views(theta)
        for name, rows in self._parameters().items():
            views[name][...] = rows.whole(_matrix(views[name].shape)).reshape(views[name].shape)
        net.theta[...] = net.device.put(theta)
        net.state.restore(self._state())
        return net

    def _parameters(self) -> dict[str, Rows]:
        """Every parameter's rows, on the host, by its name in the network."""
        get, found = self.device.get, {}
        if self.head is not None:
            for name, view in self.head.layout.views(get(self.head.theta)).items():
                found[name] = Rows.of(view.reshape(_matrix(view.shape)))
        for layer in self.layers:
            found |= layer.parameters(get)
        return found

    def _state(self) -> dict[str, np.ndarray]:
        """Running statistics, on the host; dense layers have none."""
        state = self.head.state if self.head is not None else {}
        return {name: self.device.get(array) for name, array in state.items()}

    # ---- files -----------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write what is not zero to `path` (safetensors), whole or not at all.

        Raises StorageError.
        """
        chain, shape, _ = described(self.about, path)
        layout = Layout(chain.parameters(shape))
        arrays = {f"state.{name}": array for name, array in self._state().items()}
        for name, rows in self._parameters().items():
            arrays |= _packed(name, rows, layout.shape(name))
        save_arrays(path, arrays, {"kind": KIND, **self.about})

    @staticmethod
    def load(path: Path, backend: str = "cpu") -> SparseNetwork:
        """The network that `save` wrote. Raises CheckpointError for any other file."""
        arrays, about = load_arrays(path)
        if about.get("kind") != KIND:
            raise CheckpointError(
                f"{path} holds a '{about.get('kind')}', not a sparse network: Network.load reads "
                "a 'network'"
            )
        chain, shape, dtype = described(about, path)
        _check_packed(chain.parameters(shape), dtype, arrays, path)
        check_state(chain, shape, dtype, arrays, path)
        net = build_network(about, backend, path)
        theta = np.zeros(net.num_parameters, net.dtype)
        for name, view in net.layout.views(theta).items():
            view[...] = _unpacked(name, view.shape, net.dtype, arrays, path)
        net.theta = theta
        net.state.restore(arrays, "state.")
        return SparseNetwork(net)


def _matrix(shape: Shape) -> tuple[int, int]:
    """A parameter's shape as rows and their width; a bias is one row."""
    rows = shape[0] if len(shape) > 1 else 1
    return rows, math.prod(shape) // rows


def _part(net: Network, count: int) -> Network:
    """The first `count` layers as a network of their own, with their parameters and state."""
    part = Network(
        net.layers[:count], net.input_shape, net.backend, str(net.dtype), net.seed, net.init,
        net.loss_name,
    )  # fmt: skip
    part.theta[...] = net.theta[: part.num_parameters]
    part.state.restore(net.state)
    return part


def _smallest(largest: int) -> type[np.unsignedinteger]:
    """The unsigned type of fewest bytes that holds 0..largest."""
    return next(t for t in (np.uint8, np.uint16, np.uint32) if largest <= np.iinfo(t).max)


def _packed(name: str, rows: Rows, shape: Shape) -> dict[str, np.ndarray]:
    """A parameter's arrays in a file: its rows, or all of it where that is fewer bytes."""
    counts = np.diff(rows.starts)
    kept = {
        f"counts.{name}": counts.astype(_smallest(int(counts.max(initial=0)))),
        f"columns.{name}": rows.columns.astype(_smallest(_matrix(shape)[1] - 1)),
        f"values.{name}": rows.values,
    }
    whole = math.prod(shape) * rows.values.itemsize
    if sum(array.nbytes for array in kept.values()) < whole:
        return kept
    return {f"theta.{name}": rows.whole(_matrix(shape)).reshape(shape)}


def _check_packed(
    parameters: dict[str, Shape], dtype: np.dtype, arrays: dict[str, np.ndarray], path: Path
) -> None:
    """Raise CheckpointError for arrays that cannot be those parameters, making none."""
    for name, shape in parameters.items():
        if f"theta.{name}" in arrays:
            _found(arrays, f"theta.{name}", dtype, path, shape)
        else:
            _found(arrays, f"counts.{name}", None, path, (_matrix(shape)[0],))
    whole = sum(map(math.prod, parameters.values())) * dtype.itemsize
    if whole > max(_WHOLE, _SPARSEST * sum(array.nbytes for array in arrays.values())):
        raise CheckpointError(
            f"{path} describes a network of {whole >> 20} MiB, of which it holds next to nothing"
        )


def _unpacked(
    name: str, shape: Shape, dtype: np.dtype, arrays: dict[str, np.ndarray], path: Path
) -> np.ndarray:
    """The parameter that `_packed` gave these arrays. Raises CheckpointError for others."""
    if f"theta.{name}" in arrays:
        return _found(arrays, f"theta.{name}", dtype, path, shape)
    height, width = _matrix(shape)
    counts = _found(arrays, f"counts.{name}", None, path, (height,)).astype(np.int64)
    entries = (int(counts.sum()),)
    columns = _found(arrays, f"columns.{name}", None, path, entries).astype(np.int64)
    values = _found(arrays, f"values.{name}", dtype, path, entries)
    # places that rise are named once each, and a kernel may trust them
    flat = np.repeat(np.arange(height), counts) * width + columns
    if (columns >= width).any() or (np.diff(flat) <= 0).any():
        raise CheckpointError(f"{path} is damaged: {name} has columns outside its rows' order")
    starts = np.concatenate([[0], np.cumsum(counts)])
    rows = Rows(starts.astype(np.int32), columns.astype(np.int32), values)
    return rows.whole((height, width)).reshape(shape)


def _found(
    arrays: dict[str, np.ndarray], name: str, dtype: np.dtype | None, path: Path, shape: Shape
) -> np.ndarray:
    """The array `name` of a file; dtype None: whole numbers. Raises CheckpointError."""
    found = arrays.get(name)
    if found is not None:
        of_kind = found.dtype.kind == "u" if dtype is None else found.dtype == dtype
        if of_kind and found.shape == tuple(shape):
            return found
    has = "nothing" if found is None else f"{found.dtype} {found.shape}"
    raise CheckpointError(
        f"{path} does not fit its own description: {name} should be {dtype or 'whole numbers'} "
        f"{tuple(shape)}, it has {has}"
    )
