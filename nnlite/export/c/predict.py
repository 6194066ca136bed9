"""Forward in C: a network, or a trunk and then a tail, one sample at a time."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Protocol

from ....kernels.errors import ModeError
from ...net import Network
from ...program import Program, record
from .calls import FLASH, Statements
from .parts import numbered
from .text import identifier
from .unit import Unit

MEMORY = "unsigned char *const memory = (unsigned char *)arena;"


def frozen_weights(unit: Unit, net: Network, first: int = 0) -> dict[int, str]:
    """Constant arrays of a network's parameters: offset in theta -> name. first: the number of its
    first layer in the whole network."""
    found = {}
    for name in net.layout:
        values = net.layout.view(net.theta, name)
        array = unit.constants.add(numbered(name, first), values, "float", FLASH)
        found[net.layout.offset(name)] = array
    return found


def frozen_state(
    unit: Unit, net: Network, first: int = 0, without: Container[str] = ()
) -> dict[str, str]:
    """Constant arrays of what persists beside theta: place in a program -> name."""
    found = {}
    for name, values in net.state.items():
        if name in without:
            continue
        array = unit.constants.add(numbered(name, first), values, "float")
        found[f"state {name}"] = array
    return found


def check_alone(net: Network) -> None:
    """Raise ModeError for a network that answers for a batch only."""
    if net.chain.couples("eval"):
        raise ModeError(
            "BatchNorm2d(statistics='batch') takes its statistics from the batch, and exported C "
            "sees one sample at a time: use statistics='running'"
        )


class Printed(Protocol):
    """A forward pass that is printed when the place of its buffers is known: `nbytes` of them."""

    nbytes: int

    def write(self, buffers: int) -> None: ...


class Forward:
    """The static function `PREFIX_name(memory, x, y)` of a forward pass.

    where: what the program's places are in C, weights as `Statements` takes them; declared: lines
    before, which say what `where` names.
    """

    def __init__(self, unit: Unit, program: Program, name: str, where: dict[str, str],
                 weights: dict[int, str] | None, declared: list[str]) -> None:  # fmt: skip
        self.unit, self.name, self._declared = unit, name, declared
        told = {"x": "x", "outputs": "y", **where}
        self._statements = Statements(
            program, told, unit.constants, "buffers", weights, unit.winograd
        )
        self.nbytes = self._statements.nbytes

    def write(self, buffers: int) -> None:
        """Print it, its buffers from this byte of the arena on."""
        at = [f"unsigned char *const buffers = memory + {buffers};"] if self.nbytes else []
        calls, pointers = self._statements.calls(), self._statements.pointers()
        self.unit.use_of(self._statements)
        head = [*at, *self._declared, *pointers] or ["(void)memory;"]
        self.unit.function(
            "static void", self.name, "unsigned char *memory, const float *x, float *y",
            [*head, *calls], "forward, one sample",
        )  # fmt: skip


def frozen(
    unit: Unit, net: Network, name: str, first: int = 0, moving: Mapping[str, str] | None = None
) -> Forward:
    """The forward pass of a network whose numbers are constants but for the state `moving`: its
    name -> its region. first: the number of its first layer in the whole network."""
    check_alone(net)
    moving = moving or {}
    state = frozen_state(unit, net, first, without=moving)
    where = {f"state {one}": identifier(region) for one, region in moving.items()}
    declared = [
        f"{unit.arena[region].kind} *const {identifier(region)} = {unit.arena[region].pointer};"
        for region in moving.values()
    ]
    program = record(net, "forward", 1)
    return Forward(unit, program, name, state | where, frozen_weights(unit, net, first), declared)


def write_predict(unit: Unit, inputs: int, outputs: int, through: list[str]) -> None:
    """`PREFIX_predict`, of the functions `through`, one after another (the last gives y)."""
    lines, given = [MEMORY], "x"
    for name in through[:-1]:
        region = unit.arena["latents"]
        lines.insert(1, f"float *const latents = {region.pointer};")
        lines.append(f"{unit.prefix}_{name}(memory, {given}, latents);")
        given = "latents"
    lines.append(f"{unit.prefix}_{through[-1]}(memory, {given}, y);")
    unit.function(
        "void", "predict", "void *arena, const float *x, float *y", lines,
        f"y ({outputs}) = the network's outputs for one sample x ({inputs}).",
    )  # fmt: skip
