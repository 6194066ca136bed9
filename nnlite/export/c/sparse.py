"""A sparse network's forward pass as a program: its rows of entries are constants of it."""

from __future__ import annotations

import math

import numpy as np

from ....kernels.errors import DtypeError
from ...program.program import Program
from ...program.recorder import Tape
from ...sparse import SparseNetwork
from .parts import whole_network
from .predict import Forward, frozen, write_predict
from .unit import Unit


def forward_program(net: SparseNetwork) -> Program:
    """x -> outputs of the dense layers at the end of `net`, one sample, for the backend "c".

    Raises DtypeError for a network in float64.
    """
    if net.dtype != np.float32:
        raise DtypeError(f"an export got a sparse network in {net.dtype}; C is in float32")
    tape, get = Tape(), net.device.get
    now = tape.new((_inputs(net), 1), np.float32, "x", "x")
    for layer in net.layers:
        last = layer is net.layers[-1]
        name = "outputs" if last else f"{layer.name}.y"
        y = tape.new((layer.linear.units, 1), np.float32, name, name if last else "buffer")
        rows = [get(each).astype(kind) for each, kind in (
            (layer.starts, np.int32), (layer.columns, np.int32), (layer.values, np.float32)
        )]  # fmt: skip
        bias = None if layer.bias is None else get(layer.bias)
        tape.call(
            "sparse_dense_forward", now, *rows, bias, layer.linear._act, layer.linear.slope, y
        )
        now = y
    return tape.program("forward", 1, "c", "float32")


def _inputs(net: SparseNetwork) -> int:
    """Numbers that the first of the sparse layers takes."""
    return math.prod(net.input_shape) if net.head is None else net.head.num_outputs


def sparse(unit: Unit, net: SparseNetwork) -> tuple[int, int, int]:
    """Print a sparse network; returns the bytes of its buffers, inputs and outputs."""
    tail = Forward(unit, forward_program(net), "tail", {}, None, [])
    through, nbytes = ["tail"], tail.nbytes
    if net.head is not None:
        head = whole_network(net.head)
        through = ["head", "tail"]
        unit.arena.add("latents", "float", head.num_outputs, "what the sparse layers are given")
        first = frozen(unit, head, "head")
        first.write(unit.arena.nbytes)
        nbytes = max(nbytes, first.nbytes)
    tail.write(unit.arena.nbytes)
    inputs, outputs = math.prod(net.input_shape), net.layers[-1].linear.units
    write_predict(unit, inputs, outputs, through)
    return nbytes, inputs, outputs
