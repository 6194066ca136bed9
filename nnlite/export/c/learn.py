"""Learning in C: a step, what ends a task, and the state that both move.

The trunk, if there is one, is constant: each sample of a batch goes through it alone, and what
comes out (its latents) is the batch of the tail, whose step is the engine's program. Gradient and
importances share one vector: no step is taken between the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

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
    frozen_state,
    frozen_weights,
    write_predict,
)
from .replay import joined, remember, remembered
from .store import store
from .text import identifier, number
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
        self.trunk = self._trunk() if trunk is None else trunk(unit)
        self.forward, self.known = self._tail(), self._known()
        self.step_program = self._statements(self._train())
        self.importance_program = self._importance()
        self.joined = None
        if learning.method == "replay":
            self.joined = self._statements(joined(self.net, learning.joining, learning.share))
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
            remembered(self)
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

    def _statements(self, program: Program) -> Statements:
        where = self._where()
        if self.learning.penalises:  # the first task has none to hold on to
            where |= {"omega": "held", "anchor": "anchor"}
        return Statements(program, where, self.unit.constants, "buffers")

    def touched(self, program: Program) -> list[str]:
        """The regions that a program's calls name."""
        there = {"grad" if place.name == "total" else place.name for place in program.places}
        return [name for name in self.unit.arena.regions if name in there]


def learn(
    unit: Unit, parts: Parts, learning: Learning, moving: Mapping[str, str],
    trunk: Callable[[Unit], Printed] | None = None,
) -> int:  # fmt: skip
    """Print predict, learn_step, end_task and what goes with them; returns the buffers' bytes.

    moving: the trunk's state that is in the arena, by name, and its region. trunk: prints it, where
    it is not the float one.
    """
    learner = Learner(unit, parts, learning, moving, trunk)
    at = unit.arena.nbytes
    if learner.trunk is not None:
        learner.trunk.write(at)
    learner.forward.write(at)
    if learner.known is not None:
        learner.known.write(at)
    unit.macro("BATCH", learning.batch, "samples in a learning step")
    unit.macro("PARAMETERS", learner.size, "that learn")
    _start(learner)
    _look(learner)
    if learner.joined is not None:
        remember(learner, learner.joined, declarations(learner, at, learner.joined), _through)
    _step(learner, at)
    _importance(learner, at)
    _end_task(learner)
    store(unit, learner.net.num_outputs)
    return learner.nbytes


def _start(learner: Learner) -> None:
    """start: everything as it was exported."""
    unit, net = learner.unit, learner.net
    begun = frozen_weights(unit, net, learner.parts.first)
    state = frozen_state(unit, net, learner.parts.first)
    body = [MEMORY, *learner.pointers("theta", "active", *_state_names(learner))]
    saved = unit.arena.nbytes
    body.append(f"memset(memory, 0, {saved}); /* zeros are floats of value 0 */")
    offsets = sorted(begun)
    for offset, after in zip(offsets, [*offsets[1:], net.num_parameters], strict=True):
        body.append(f"WS_COPY(theta + {offset}, {begun[offset]}, {4 * (after - offset)});")
    for name, array in state.items():
        nbytes = unit.arena[name].nbytes
        body.append(f"memcpy({identifier(name)}, {array}, {nbytes});")
    body.append(f"memset(active, 1, {net.num_outputs});")
    if "anchor" in unit.arena:
        body += [*learner.pointers("anchor"), f"memcpy(anchor, theta, {4 * net.num_parameters});"]
    if "gain" in unit.arena:
        body += _moving(learner, "0")
    unit.function(
        "void", "start", "void *arena", _declared_first(body),
        "Everything as it was exported. Call it once, before anything else, or restore.",
    )  # fmt: skip


def _declared_first(body: list[str]) -> list[str]:
    """C99 lets declarations stand anywhere; together they read better."""
    heads = [line for line in body if "*const" in line]
    return [*heads, *(line for line in body if line not in heads)]


def _state_names(learner: Learner) -> list[str]:
    return [name for name in learner.unit.arena.regions if name.startswith("state ")]


def _moving(learner: Learner, task: str) -> list[str]:
    """Let only the weights of `task` move."""
    unit = learner.unit
    unit.use("ws_let_move")
    return [
        *learner.pointers("owner", "gain"),
        f"ws_let_move(owner, (uint8_t)({task}), gain, {learner.size});",
    ]


def _look(learner: Learner) -> None:
    """predict, theta and classes."""
    unit, outputs = learner.unit, learner.net.num_outputs
    through = ["tail"] if learner.trunk is None else ["trunk", "tail"]
    write_predict(unit, learner.parts.inputs, outputs, through)
    if learner.known is not None:
        unit.use("ws_known")
        mask = f"ws_known(theta, owner, task + 1, grad, {learner.size});"
        unit.function(
            "void", "predict_task", "void *arena, int task, const float *x, float *y",
            _through(learner, 1, [mask, "{0}_known(memory, {1}, y);"],
                     learner.pointers("theta", "owner", "grad")),
            "PackNet: predict as task number `task` (from 0) knew to, without what later ones own.",
        )  # fmt: skip
    unit.function(
        "const float *", "theta", "const void *arena",
        [f"return (const float *)((const unsigned char *)arena + "
         f"{unit.arena['theta'].offset});"],
        "The parameters that learn, as they are now.",
    )  # fmt: skip
    unit.function(
        "void",
        "classes",
        "void *arena, const uint8_t *active",
        [MEMORY, f"memcpy(memory + {unit.arena['active'].offset}, active, {outputs});"],
        f"Let only some of the {outputs} classes be in play: 1, or 0 for one that is not.",
    )


def declarations(learner: Learner, at: int, statements: Statements) -> list[str]:
    """Declarations for a program's calls."""
    names = learner.touched(statements.program)
    lines = [
        f"unsigned char *const buffers = memory + {at};",
        *learner.pointers("counts", *(name for name in names if name != "counts")),
    ]
    if "omega" in statements.program:
        lines.append("const float *const held = counts[2] ? omega : NULL; /* of earlier tasks */")
    return [*lines, *statements.pointers()]


def _step(learner: Learner, at: int) -> None:
    """learn_step: the gradient, its mean loss, the optimizer's step."""
    unit, statements, batch = learner.unit, learner.step_program, learner.learning.batch
    program = statements.program
    update = program.update
    mean = program.calls[update - 1]
    losses, *total = [statements.view(each) for each in list(mean.views)[:-1]]
    averaged = f"ws_mean({', '.join([losses, *total, str(batch)])})"
    if total:
        averaged = averaged.replace("ws_mean", "ws_mean_of_weighted")
    unit.use(averaged.partition("(")[0])
    joining = (
        []
        if learner.joined is None
        else ["if (counts[5]) {", f"    {unit.prefix}_join(memory);", "}"]
    )
    lines = [
        *declarations(learner, at, statements),
        "float mean;",
        *statements.calls(0, update - 1),
        f"mean = {averaged};",
        *joining,
        "++counts[1];",
        "counts[3] = 0; /* an importance that was begun is lost: the gradient lies there */",
        "if (!(mean - mean == 0.0F)) {",
        "    return mean; /* not finite: nothing moves */",
        "}",
        "++counts[0];",
        *statements.calls(update),
        "return mean;",
    ]
    unit.use_of(statements)
    given = f"unsigned char *memory, const float *x, {learner.labels}"
    unit.function("static float", "step", given, lines, "a step on what the tail is given")
    unit.function(
        "float", "learn_step", f"void *arena, const float *x, {learner.labels}",
        _through(learner, batch, ["return {0}_step(memory, {1}, y);"]),
        f"One step on a batch of {batch} samples x with labels y; returns their mean loss, before "
        "the step. A loss that is not finite moves nothing.",
    )  # fmt: skip


def _through(
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


def _importance(learner: Learner, at: int) -> None:
    """importance: one sample's part of what end_task takes the mean of."""
    statements, unit = learner.importance_program, learner.unit
    if statements is None:
        return
    asks = "y" in statements.program
    given = f", {learner.labels}" if asks else ""
    lines = [
        *declarations(learner, at, statements),
        "if (counts[3]++ == 0) {",
        f"    memset(grad, 0, {4 * learner.size});",
        "}",
        *statements.calls(),
    ]
    unit.use_of(statements)
    unit.function(
        "static void", "add", f"unsigned char *memory, const float *x{given}", lines,
        "powers of one sample's gradients, added where the gradient lies",
    )  # fmt: skip
    unit.function(
        "void", "importance", f"void *arena, const float *x{given}",
        _through(learner, 1, ["{0}_add(memory, {1}" + (", y" if asks else "") + ");"]),
        "Between a task's last step and end_task, for as many of its samples as you like: the "
        f"exact {learner.learning.method} importance is their mean.",
    )  # fmt: skip


def _end_task(learner: Learner) -> None:
    """end_task: what a method keeps of a task."""
    unit, learning, size = learner.unit, learner.learning, learner.size
    body: list[str] = []
    if learning.method in ("ewc", "mas"):
        unit.use("ws_add_importance")
        body = [
            *learner.pointers("theta", "omega", "anchor", "grad"),
            "if (counts[3] == 0) {",
            "    return 0; /* nothing was measured */",
            "}",
            f"ws_add_importance(theta, grad, counts[3], counts[2] == 0, omega, anchor, {size});",
            "counts[3] = 0;",
        ]
    elif learning.method == "si":
        unit.use("ws_add_path")
        xi = number(learning.xi)
        body = [
            *learner.pointers("theta", "omega", "anchor", "path"),
            f"ws_add_path(theta, {xi}, counts[2] == 0, path, omega, anchor, {size});",
        ]
    elif learning.method == "packnet":
        body = ["if (!counts[4]) {", f"    {unit.prefix}_prune(arena);", "}", "counts[4] = 0;",
                *_moving(learner, "0")]  # fmt: skip
        _prune(learner)
    says = {
        "ewc": " EWC: omega += the mean of importance(), and the anchor moves here.",
        "mas": " MAS: omega += the mean of importance(), and the anchor moves here.",
        "si": " SI: omega += path / (moved^2 + xi), and the anchor moves here.",
        "packnet": " PackNet: prune, if that is still to do; the next task has what is free.",
    }.get(learning.method, "")
    unit.function(
        "int", "end_task", "void *arena",
        _declared_first([MEMORY, *learner.pointers("counts"), *body, "++counts[2];", "return 1;"]),
        "A task has ended: 1, or 0 if importance() was not asked before, where it must be." + says,
    )  # fmt: skip


def _prune(learner: Learner) -> None:
    """prune: a task's weights are told from those that it gives back."""
    unit, net = learner.unit, learner.net
    unit.use("ws_share_out")
    body = [MEMORY, *learner.pointers("counts", "theta", "owner"),
            "const uint8_t task = (uint8_t)(counts[2] + 1);"]  # fmt: skip
    loops: list[str] = []
    for name in net.layout:
        lo, shape = net.layout.offset(name), net.layout.shape(name)
        count = math.prod(shape)
        share = number(learner.learning.prune if len(shape) > 1 else 0.0, "double")
        loops.append(f"ws_share_out(theta + {lo}, owner + {lo}, {share}, task, {count});")
    moving = [line.replace("(uint8_t)(0)", "task") for line in _moving(learner, "0")
              if "owner =" not in line]  # fmt: skip
    unit.function(
        "void", "prune", "void *arena",
        _declared_first([*body, *loops, *moving, "counts[4] = 1;"]),
        "PackNet: of the weights that are free, the share with the smallest magnitudes becomes 0 "
        "and stays free; the rest is this task's, and alone goes on learning until end_task.",
    )  # fmt: skip
