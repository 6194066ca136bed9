"""Learning in C: a step, what ends a task, and the state that both move.

The trunk, if there is one, is constant: each sample of a batch goes through it alone, and what
comes out (its latents) is the batch of the tail, whose step is the engine's program. Gradient and
importances share one vector: no step is taken between the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .learner import Learner, declarations, declared_first, through
from .learning import Learning
from .parts import Parts
from .predict import (
    MEMORY,
    Printed,
    frozen_state,
    frozen_weights,
    write_predict,
)
from .remember import remember
from .store import store
from .text import identifier, number
from .unit import Unit


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
        first = unit.count
        learner.trunk.write(at)
        unit.freeze(first)
    learner.forward.write(at)
    if learner.known is not None:
        learner.known.write(at)
    unit.macro("BATCH", learning.batch, "samples in a learning step")
    unit.macro("PARAMETERS", learner.size, "that learn")
    _start(learner)
    _look(learner)
    if learner.joined is not None:
        head = declarations(learner, at, learner.joined, without=("active",))
        remember(learner, learner.joined, head)
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
        "void", "start", "void *arena", declared_first(body),
        "Everything as it was exported. Call it once, before anything else, or restore.",
    )  # fmt: skip


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
    way = ["tail"] if learner.trunk is None else ["trunk", "tail"]
    write_predict(unit, learner.parts.inputs, outputs, way)
    if learner.known is not None:
        unit.use("ws_known")
        mask = f"ws_known(theta, owner, task + 1, grad, {learner.size});"
        unit.function(
            "void", "predict_task", "void *arena, int task, const float *x, float *y",
            through(learner, 1, [mask, "{0}_known(memory, {1}, y);"],
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
        through(learner, batch, ["return {0}_step(memory, {1}, y);"]),
        f"One step on a batch of {batch} samples x with labels y; returns their mean loss, before "
        "the step. A loss that is not finite moves nothing.",
    )  # fmt: skip


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
        through(learner, 1, ["{0}_add(memory, {1}" + (", y" if asks else "") + ");"]),
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
        declared_first([MEMORY, *learner.pointers("counts"), *body, "++counts[2];", "return 1;"]),
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
        declared_first([*body, *loops, *moving, "counts[4] = 1;"]),
        "PackNet: of the weights that are free, the share with the smallest magnitudes becomes 0 "
        "and stays free; the rest is this task's, and alone goes on learning until end_task.",
    )  # fmt: skip
