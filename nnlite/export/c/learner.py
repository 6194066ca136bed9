"""Learner: the tail of a network and all that it needs to learn, while its C is printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping

from ...net import Network
from ...program import record
from ...program.program import Program
from .calls import Statements
from .learning import Learning
from .parts import Parts
from .predict import (
    MEMORY,
    Forward,
    Printed,
    check_alone,
    frozen,
)
from .replay import joined, remembered
from .text import identifier
from .unit import Unit


class Learner:
    """The tail of a network and all that it needs to learn, while they are printed."""

    def __init__(
        self, unit: Unit, parts: Parts, learning: Learning, moving: Mapping[str, str],
        trunk: Callable[[Unit], Printed] | None = None,
    ) -> None:  # fmt: skip
        self.unit, self.parts, self.learning, self.moving = unit, parts, learning, moving
        self.net: Network = parts.tail
        self.size = self.net.num_parameters
        self.latents = math.prod(self.net.input_shape)
        self._regions()
        unit.learns = True  # what is learned lies in memory
        self.trunk = self._trunk() if trunk is None else trunk(unit)
        self.forward, self.known = self._tail(), self._known()
        self.step_program = self._statements(self._train())
        self.importance_program = self._importance()
        self.joined = None
        if learning.method == "replay":
            self.joined = self._statements(
                joined(self.net, learning.share / learning.joining), active="own"
            )
        programs = (self.trunk, self.forward, self.step_program, self.importance_program,
                    self.joined)  # fmt: skip
        self.nbytes = max(each.nbytes for each in programs if each is not None)

    # ---- memory --------------------------------------------------------------------------------

    def _regions(self) -> None:
        add, learning = self.unit.arena.add, self.learning
        add("counts", "uint32_t", 8, "steps, draws, tasks, samples of an importance, ...", True)
        add("theta", "float", self.size, "the parameters", True)
        for name in learning.optimizer.state(1, self.net.dtype):
            add(name, "float", self.size, "the optimizer's", True)
        if learning.penalises:
            add("omega", "float", self.size, "importances", True)
            add("anchor", "float", self.size, "the weights that are held on to", True)
        if learning.method == "si":
            add("path", "float", self.size, "-g dtheta, added up", True)
        if learning.method == "packnet":
            add("owner", "uint8_t", self.size, "each weight's task, 0: free", True)
            add("gain", "float", self.size, "1: may move")
        for name, values in self.net.state.items():
            add(f"state {name}", "float", values.size, "", True)
        add("active", "uint8_t", self.net.num_outputs, "the classes in play", True)
        if learning.method == "replay":
            remembered(add, learning, self.latents, self.net.num_outputs)
        add("grad", "float", self.size, "the gradient, or importances while they are added up")
        if self.parts.trunk is not None:
            rows = max(learning.batch, 1)
            add("latents", "float", rows * self.latents, "what the trunk makes of a batch")

    @property
    def labels(self) -> str:
        """The parameter for a batch's labels, or targets."""
        kind = "int32_t" if self.net.loss_name == "cross_entropy" else "float"
        return f"const {kind} *y"

    def pointers(self, *names: str) -> list[str]:
        """Declarations of regions as pointers."""
        found = []
        for name in names:
            region = self.unit.arena[name]
            found.append(f"{region.kind} *const {identifier(name)} = {region.pointer};")
        return found

    def _where(self) -> dict[str, str]:
        """What the tail's places are called in C."""
        found = {name: identifier(name) for name in self.unit.arena.regions}
        return {**found, "total": "grad", "x": "x", "y": "y", "step": "counts[0]",
                "draw": "(uint64_t)counts[1]"}  # fmt: skip

    # ---- programs ------------------------------------------------------------------------------

    def _trunk(self) -> Printed | None:
        trunk = self.parts.trunk
        return None if trunk is None else frozen(self.unit, trunk, "trunk", 0, self.moving)

    def _tail(self) -> Forward:
        check_alone(self.net)
        program = record(self.net, "forward", 1)
        named = self.pointers(*self.touched(program))
        return Forward(self.unit, program, "tail", self._where(), None, named)

    def _known(self) -> Forward | None:
        """The tail with what an earlier task knew, which lies where the gradient does."""
        if self.learning.method != "packnet":
            return None
        program = record(self.net, "forward", 1)
        named = [each if each != "theta" else "grad" for each in self.touched(program)]
        where = {**self._where(), "theta": "grad"}
        return Forward(self.unit, program, "known", where, None, self.pointers(*named))

    def _train(self) -> Program:
        learning, streams = self.learning, []
        if learning.penalises:
            streams += ["omega", "anchor"]
        if learning.method == "si":
            streams.append("path")
        if learning.method == "packnet":
            streams.append("gain")
        return record(
            self.net, "train", learning.batch, optimizer=learning.optimizer,
            streams=tuple(streams), lam=learning.strength if learning.penalises else 0.0,
        )  # fmt: skip

    def _importance(self) -> Statements | None:
        if self.learning.method == "ewc":
            return self._statements(record(self.net, "fisher", 1, kind=self.learning.fisher))
        if self.learning.method == "mas":
            return self._statements(record(self.net, "mas", 1))
        return None

    def _statements(self, program: Program, **other: str) -> Statements:
        where = {**self._where(), **other}
        if self.learning.penalises:  # the first task has none to hold on to
            where |= {"omega": "held", "anchor": "anchor"}
        unit = self.unit
        return Statements(program, where, unit.constants, "buffers", None, unit.winograd)

    def touched(self, program: Program) -> list[str]:
        """The regions that a program's calls name."""
        there = {"grad" if place.name == "total" else place.name for place in program.places}
        return [name for name in self.unit.arena.regions if name in there]


def declarations(
    learner: Learner, at: int, statements: Statements, without: Container[str] = ()
) -> list[str]:
    """Declarations for a program's calls, but for the regions `without`."""
    names = [name for name in learner.touched(statements.program) if name not in without]
    lines = [f"unsigned char *const buffers = memory + {at};", *learner.pointers("counts", *names)]
    if "omega" in statements.program:
        lines.append("const float *const held = counts[2] ? omega : NULL; /* of earlier tasks */")
    return [*lines, *statements.pointers()]


def through(
    learner: Learner, batch: int, last: list[str], declared: list[str] | None = None
) -> list[str]:
    """`last`, with the prefix as {0}, and as {1} what the tail is given for x: what comes out of
    the trunk. declared: what `last` needs."""
    unit, head = learner.unit, [MEMORY, *(declared or [])]
    given = "x" if learner.trunk is None else "latents"
    end = [line.replace("{0}", unit.prefix).replace("{1}", given) for line in last]
    if learner.trunk is None:
        return [*head, *end]
    head += learner.pointers("latents")
    if batch == 1:
        return [*head, f"{unit.prefix}_trunk(memory, x, latents);", *end]
    row, out = f"x + n * {learner.parts.inputs}", f"latents + n * {learner.latents}"
    walk = [
        f"for (n = 0; n < {batch}; ++n) {{",
        f"    {unit.prefix}_trunk(memory, {row}, {out});",
        "}",
    ]
    return [*head, "int n;", *walk, *end]


def declared_first(body: list[str]) -> list[str]:
    """C99 lets declarations stand anywhere; together they read better."""
    heads = [line for line in body if "*const" in line]
    return [*heads, *(line for line in body if line not in heads)]
