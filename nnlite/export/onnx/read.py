"""read_onnx: a model file as a Network, its images turned from (C, H, W) to (H, W, C).

The graph is walked from its input on. Where two nodes read a value, both ways are followed to the
Add in which they meet: a Residual.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from ....kernels.errors import CheckpointError, WeightspaceError
from ...layers import Residual
from ...net import Network
from .file import Contents, Node, read_contents, refused
from .graph import Value
from .operators import ENDS, RULES, SUM, Arrays, Chain, take

_DEPTH = 40  # of residual blocks within residual blocks


class Imported(NamedTuple):
    """A network that was read, and what is to be told of it."""

    net: Network
    notes: tuple[str, ...]


def read_onnx(path: str | os.PathLike[str], backend: str = "cpu") -> Imported:
    """The network in an ONNX file, in float32, or float64 where all of its weights are.

    Images are (N, C, H, W) there and (N, H, W, C) here. BatchNormalization's variance is taken as
    it is. Raises CheckpointError for a file that is damaged, or whose nodes are more than layers of
    this library one after another with residual sums: it names the node; MissingExtraError without
    the package onnx.
    """
    contents = read_contents(path)
    for node in contents.nodes:
        if node.op not in RULES and node.op not in ENDS and node.op != SUM:
            known = ", ".join(sorted([*RULES, *ENDS, SUM, "Constant"]))
            raise refused(node, f"is an operator that is not read; those that are: {known}")
    chain = _Walk(contents).whole()
    sample = _ours(contents.shape)
    wide = {array.dtype for each in chain.arrays for array in each.values()} == {np.dtype("f8")}
    try:
        net = Network(chain.layers, sample, backend, "float64" if wide else "float32")
    except WeightspaceError as wrong:
        raise CheckpointError(f"{path} is no network that can be built here: {wrong}") from None
    named = {
        f"{number}.{name}": array
        for number, arrays in enumerate(chain.arrays)
        for name, array in arrays.items()
    }
    for name, view in net.layout.views(net.theta).items():
        view[...] = net.device.put(named[name].astype(net.dtype))
    for name in net.state:
        net.state[name] = named[name].astype(net.dtype)
    return Imported(net, tuple(chain.notes))


def _ours(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


class _Walk:
    """A way through the nodes of a file, which takes each of them once."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._taken: set[int] = set()
        self._readers: dict[str, list[Node]] = {}
        for node in contents.nodes:
            for name in node.inputs:
                if name and name not in contents.constants:
                    self._readers.setdefault(name, []).append(node)

    def whole(self) -> Chain:
        """All nodes as one chain."""
        start = Value(self._contents.input, _ours(self._contents.shape))
        chain, join = self._follow(self._chain(start), None, 0)
        if join is not None:
            raise refused(join, "adds what does not come from one value")
        left = [node for node in self._contents.nodes if id(node) not in self._taken]
        if left:
            raise refused(left[0], "is on no way from the input to the output")
        if chain.value.order is not None:
            raise CheckpointError(
                "the outputs are a flattened image, whose columns would come in another order: end "
                "the model in a dense layer"
            )
        return chain

    def _chain(self, value: Value) -> Chain:
        return Chain(value, self._contents.constants)

    def _sum(self, node: Node) -> bool:
        """Whether a node adds two values, neither of them a constant."""
        constant = self._contents.constants
        return node.op == SUM and not any(name in constant for name in node.inputs)

    def _follow(self, chain: Chain, first: Node | None, depth: int) -> tuple[Chain, Node | None]:
        """Go on from `chain`, by `first` if given, to the output or a sum of two values."""
        while True:
            name = chain.value.name
            readers = [first] if first is not None else self._readers.get(name, [])
            first = None
            if name == self._contents.output:
                if readers:
                    raise refused(readers[0], "reads what is the output already")
                return chain, None
            if not readers:
                raise CheckpointError(f"nothing reads '{name}', which is not the output")
            if len(readers) == 1:
                (node,) = readers
                if self._sum(node):
                    return chain, node
                self._take(node)
                take(chain, node, node.outputs[0] == self._contents.output)
            else:
                self._fork(chain, readers, depth)

    def _take(self, node: Node) -> None:
        if id(node) in self._taken or not node.outputs or not node.outputs[0]:
            raise refused(node, "is met twice, or has no output: the file is damaged")
        self._taken.add(id(node))

    def _fork(self, chain: Chain, readers: list[Node], depth: int) -> None:
        """Two ways from one value to the sum in which they meet."""
        names = ", ".join(f"'{node.name}' ({node.op})" for node in readers)
        if len(readers) != 2 or depth >= _DEPTH:
            raise CheckpointError(
                f"{names} read '{chain.value.name}'; two ways that meet in an Add are read, not "
                f"{len(readers)}, and {_DEPTH} within one another at most"
            )
        ways = [self._way(chain.value, node, depth) for node in readers]
        joins = [join for _, join in ways]
        join = joins[0]
        if join is None or joins[1] is not join:
            raise CheckpointError(f"the ways from '{chain.value.name}' by {names} never meet")
        self._take(join)
        (body, shortcut) = (way for way, _ in ways)
        if join.inputs[0] == shortcut.value.name:
            body, shortcut = shortcut, body
        if not body.layers:
            body, shortcut = shortcut, body
        if not body.layers:
            raise refused(join, "adds a value to itself")
        if not _alike(body.value.order, shortcut.value.order):
            raise refused(join, "adds flattened images to samples in another order")
        chain.notes += [*body.notes, *shortcut.notes]
        arrays = _prefixed("body", body) | _prefixed("shortcut", shortcut)
        chain.add(join, _residual(join, body, shortcut), arrays)

    def _way(self, value: Value, node: Node, depth: int) -> tuple[Chain, Node | None]:
        return self._follow(self._chain(value), node, depth + 1)


def _alike(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two orders of columns are one."""
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _residual(join: Node, body: Chain, shortcut: Chain) -> Residual:
    try:
        return Residual(tuple(body.layers), tuple(shortcut.layers), activation="identity")
    except WeightspaceError as wrong:
        raise refused(join, f"cannot be had: {wrong}") from None


def _prefixed(path: str, chain: Chain) -> Arrays:
    return {
        f"{path}.{number}.{name}": array
        for number, arrays in enumerate(chain.arrays)
        for name, array in arrays.items()
    }
