"""What one export takes on each emulated target here: `weightspace export --report`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

from ...kernels.errors import CompileError, EmulatorError
from ...nnlite.export.c import Exported
from . import memory, stack
from .session import Program, Script
from .targets import TARGETS, Target
from .toolchain import missing

NAME = "net"  # what the harness calls
PREDICT, STEP = "net_predict", "net_learn_step"


@dataclass(frozen=True)
class Weight:
    """Bytes of flash (weights and code), arena and stack as predicted, and instructions (on AVR
    cycles) of an answer and of a learning step; reason: why there are none."""

    target: str
    flash: int = 0
    arena: int = 0
    stack: int | None = None
    answer: float | None = None
    step: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Sizes:
    """Of what is exported: numbers in a sample, classes, samples in a step (0: learns nothing)."""

    inputs: int
    outputs: int
    batch: int = 0


def weigh(made: Exported, sizes: Sizes) -> Iterator[Weight]:
    """A line a bare target whose tools are here, in the table's order.

    made: exported under the name "net". What does not fit a target says so.
    """
    for target in TARGETS.values():
        if target.bare and not missing(target):
            with tempfile.TemporaryDirectory() as folder:
                yield _on(target, made, sizes, Path(folder))


def _on(target: Target, made: Exported, sizes: Sizes, folder: Path) -> Weight:
    found = Weight(target.name, arena=made.arena_bytes)
    _, source = made.write(folder)
    try:
        program = Program(target, [source], folder / "harness")
        frames = stack.functions(program.elf)
        deepest = [stack.deepest(frames, name) for name in (PREDICT, STEP) if name in frames]
        alone = memory.of_network(target, [source], folder / "alone")
        found = replace(
            found, flash=alone.flash, stack=max((d for d in deepest if d is not None), default=None)
        )
        answer, step = _counted(program, sizes)
        return replace(found, answer=answer, step=step)
    except (CompileError, EmulatorError) as error:
        said = str(error).splitlines()
        told = next((line for line in said if "rror: " in line or "overflowed" in line), said[-1])
        return replace(found, reason=told.rpartition(": ")[2][:70])


def _counted(program: Program, sizes: Sizes) -> tuple[float, float | None]:
    """Instructions of an answer, and of a step where there is one, on samples of some kind."""
    x = np.random.default_rng(0).random((max(sizes.batch, 1), sizes.inputs), np.float32)
    script = Script(sizes.inputs, sizes.outputs, sizes.batch).predict(x[:1])
    if sizes.batch:
        script.learn(x[None], np.zeros((1, sizes.batch), np.int32))
    answer, *steps = (each["work"] for each in program.ask(script))
    return answer, steps[0] if steps else None


def table(weights: list[Weight], flash_of_weights: int) -> Table:
    """What was measured, as a table."""
    shown = Table(box=None, title="on emulated targets", title_justify="left")
    for column in ("target", "flash", "beside weights", "arena", "stack", "an answer", "a step"):
        shown.add_column(column, justify="left" if column == "target" else "right")
    for each in weights:
        if each.reason:
            continue
        shown.add_row(
            each.target, f"{each.flash:,}", f"{each.flash - flash_of_weights:,}",
            f"{each.arena:,}", "" if each.stack is None else f"{each.stack:,}",
            *("" if work is None else f"{work:,.0f}" for work in (each.answer, each.step)),
        )  # fmt: skip
    return shown
