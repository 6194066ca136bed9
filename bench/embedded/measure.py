"""Measuring an exported network on a target: one `Row` of predicting, one of each way to learn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...kernels.errors import CompileError, EmulatorError, MissingToolError, RecordingError
from ...nnlite import Network
from ...nnlite.export.c import Learning, export
from ...nnlite.export.c.parts import cut
from ...nnlite.export.int8 import print_c, quantise
from . import memory, stack
from .models import Trained, as_floats, multiply_adds, weights_bytes
from .session import Program, Script
from .targets import Target
from .toolchain import missing

OWN = "weightspace"
# Results without fma: the largest difference over the largest number that was expected.
ROUNDING = 1e-5
_TOO_LARGE = (
    "overflowed", "will not fit", "is too large", "objects too large", "implicitly truncated",
)  # fmt: skip
_FOLDER = re.compile(r"/\S*/")  # of this run
_LARGE = 200  # samples at a time where what is given lies in flash

Agreement = Literal["bits", "rounding", "other arithmetic", "wrong"]


@dataclass
class Row:
    """What was measured of a model, made into C by `maker`, on a target.

    operation: "predict", "predict int8" or "learn HOW". status: "measured"; "absent" (a tool, a
    kernel), "too large" (for the target) or "failed", with a reason. Sizes are in bytes: weights;
    flash, with weights and all that is called; statics, memory beside the arena; arena and stack as
    they were predicted, and as far as they were touched. work: instructions or cycles (`counts`) of
    an answer or a step of `batch` samples. agreement: with the engine, over so many samples or
    steps; difference: the largest. asks: what the C file asks of others, by name.
    """

    model: str
    target: str
    maker: str
    operation: str
    status: str = "measured"
    reason: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    weights: int = 0
    flash: int | None = None
    statics: int | None = None
    arena: int | None = None
    arena_touched: int | None = None
    stack: int | None = None
    stack_touched: int | None = None
    counts: str = "nothing"
    work: float | None = None
    batch: int = 1
    samples: int = 0
    agreement: str = ""
    difference: float | None = None
    accuracy: float | None = None
    asks: tuple[str, ...] = ()

    @property
    def overhead(self) -> int | None:
        """Bytes of flash beside the weights."""
        return None if self.flash is None else self.flash - self.weights

    @property
    def each(self) -> float | None:
        """Instructions or cycles per multiply-add of an answer, for each sample of a step."""
        return None if self.work is None else self.work / (self.batch * self.multiply_adds)


def begin(trained: Trained, target: Target, maker: str, operation: str) -> Row:
    """A row with what is known before."""
    return Row(
        trained.model.name, target.name, maker, operation, counts=target.counts,
        parameters=trained.net.num_parameters, multiply_adds=multiply_adds(trained.net),
    )  # fmt: skip


def _why(line: str) -> bool:
    """Whether a line of a linker or compiler says that something does not fit."""
    return any(said in line for said in _TOO_LARGE)


def guarded(row: Row, fill: Any, target: Target) -> Row:
    """The row as `fill(row)` leaves it, or with the reason why it could not."""
    if reason := missing(target):
        row.status, row.reason = "absent", reason
        return row
    try:
        fill(row)
    except (RecordingError, MissingToolError) as error:
        row.status, row.reason = "absent", str(error)
    except CompileError as error:
        large = _why(str(error))
        row.status = "too large" if large else "failed"
        said = str(error).splitlines()
        told = [line for line in said if _why(line) or "rror:" in line or "undefined" in line]
        row.reason = _FOLDER.sub("", (told or said[-1:])[0])
    except EmulatorError as error:
        row.status, row.reason = "failed", str(error)
    return row


# ---- predicting ---------------------------------------------------------------------------------


def predict(trained: Trained, target: Target, folder: Path, most: int) -> Row:
    """Answers to `most` test images, their bits, and what an answer takes."""

    def fill(row: Row) -> None:
        made = export(trained.net)
        _, source = made.write(folder)
        row.weights, row.arena = made.weights_bytes, made.arena_bytes
        wanted = trained.net.forward(trained.samples(trained.images[:most]))
        program = Program(target, [source], folder / "harness")
        of_predict(row, trained, program, wanted, target.fma)

    return guarded(begin(trained, target, OWN, "predict"), fill, target)


def predict_int8(trained: Trained, target: Target, folder: Path, most: int) -> Row:
    """The same in int8, whose bits are to be those of NumPy on every target.

    work is that of predict_int8, without the floats at its ends: a sensor gives whole numbers.
    """

    def fill(row: Row) -> None:
        small = quantise(trained.net, trained.samples(trained.seen))
        made = print_c(small)
        _, source = made.write(folder)
        row.weights, row.arena = weights_bytes(trained.net, 1), made.arena_bytes
        program = Program(target, [source], folder / "harness")
        samples = trained.samples(trained.images[:most])
        of_predict(row, trained, program, small.predict(samples), exact=True)
        given = small.input_grid.quantised(samples[0]).ravel()
        script = Script(trained.inputs, trained.net.num_outputs).count_int8(given, 3)
        row.work = program.ask(script)[0]["work"]

    return guarded(begin(trained, target, OWN, "predict int8"), fill, target)


def of_predict(
    row: Row, trained: Trained, program: Program, wanted: np.ndarray, exact: bool
) -> None:
    """Fill the row with what the program answers for the first test images, and takes.

    wanted (N, ...): what it should answer, to the bit if `exact`.
    """
    images = trained.images[: len(wanted)]
    found, row.work = answers(program, images, trained.net.num_outputs)
    row.samples = len(images)
    row.agreement, row.difference = agreement(found, wanted.reshape(found.shape), exact)
    row.accuracy = float((found.argmax(axis=1) == trained.labels[: len(images)]).mean())
    first = as_floats(images[0])
    script = Script(trained.inputs, trained.net.num_outputs).stack(first).arena()
    deep, touched = program.ask(script)
    _weigh(row, program, deep["stack"], touched["arena"], "net_predict")


def answers(program: Program, images: np.ndarray, outputs: int) -> tuple[np.ndarray, float | None]:
    """The outputs (N, outputs) for images (N, pixels) uint8, and what one of them takes."""
    step = _LARGE if program.target.text else len(images)
    parts, work = [], []
    for at in range(0, len(images), step):
        script = Script(images.shape[1], outputs).predict(images[at : at + step])
        (answer,) = program.ask(script)
        parts.append(answer["outputs"])
        work.append(answer["work"])
    counted = program.target.counts != "nothing"
    sizes = [len(part) for part in parts]
    return np.concatenate(parts), float(np.average(work, weights=sizes)) if counted else None


def agreement(found: np.ndarray, wanted: np.ndarray, exact: bool) -> tuple[Agreement, float]:
    """How numbers from a target agree with those wanted, and the largest difference.

    exact: whether other bits are wrong; where not, they may differ by ROUNDING.
    """
    difference = float(np.abs(found - wanted).max(initial=0.0))
    if np.array_equal(found.view(np.int32), wanted.astype(np.float32).view(np.int32)):
        return "bits", difference
    near = difference <= ROUNDING * float(np.abs(wanted).max(initial=0.0))
    return ("rounding" if near and not exact else "wrong"), difference


def _weigh(row: Row, program: Program, deep: int, touched: tuple[int, int], function: str) -> None:
    """Memory, predicted and touched. Raises EmulatorError where the arena was not enough."""
    if not touched[1]:
        raise EmulatorError(
            f"{row.model} on {row.target} writes outside its arena of {row.arena} bytes"
        )
    target = program.target
    row.arena_touched = touched[0]
    if target.bare:  # elsewhere nothing holds the frames that a compiler tells to account
        row.stack = stack.deepest(stack.functions(program.elf), function)
        row.stack_touched = deep
    sizes = memory.of_network(
        target, program.sources, program.folder / "alone", program.defines, program.strict
    )
    row.flash = sizes.flash
    row.statics = sizes.ram if target.bare else None  # with an operating system, gaps come in
    row.asks = tuple(memory.asked_for(program.elf))


# ---- learning -----------------------------------------------------------------------------------


def learn(trained: Trained, target: Target, folder: Path, how: str, steps: int) -> Row:
    """`steps` learning steps, theta after them, and what a step takes."""
    learning = trained.model.learnings[how]

    def fill(row: Row) -> None:
        made = export(trained.net, learning=learning)
        _, source = made.write(folder)
        row.weights, row.arena = made.weights_bytes, made.arena_bytes
        _of_learning(row, trained, Program(target, [source], folder / "harness"), learning, steps)

    return guarded(begin(trained, target, OWN, f"learn {how}"), fill, target)


def _of_learning(
    row: Row, trained: Trained, program: Program, learning: Learning, steps: int
) -> None:
    images, labels = batches(trained, learning.batch, steps)
    wanted = steps_here(trained.net, learning, images, labels)
    script = Script(trained.inputs, trained.net.num_outputs, learning.batch, wanted.size)
    script.learn(images, labels).theta().save_and_restore().theta()
    script.learn_stack(as_floats(images[0]), labels[0]).arena()
    learned, theta, saved, again, deep, touched = program.ask(script)
    row.samples, row.work, row.batch = steps, learned["work"], learning.batch
    row.agreement, row.difference = agreement(theta["theta"], wanted, program.target.fma)
    if not saved["done"] or not np.array_equal(theta["theta"], again["theta"]):
        raise EmulatorError(f"{row.model} on {row.target} does not restore what it saved")
    _weigh(row, program, deep["stack"], touched["arena"], "net_learn_step")


def batches(trained: Trained, batch: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Test images (steps, batch, pixels) uint8 and labels (steps, batch), again and again."""
    rows = np.arange(steps * batch) % len(trained.images)
    return (
        trained.images[rows].reshape(steps, batch, -1),
        trained.labels[rows].reshape(steps, batch),
    )


def steps_here(
    net: Network, learning: Learning, images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """The parameters that learn, (P,), after the same steps by the engine."""
    trunk, tail = None, net.like()
    if learning.tail is not None:
        trunk, tail, _ = cut(net, learning.tail, net.backend)
    grad = np.empty_like(tail.theta)
    state = learning.optimizer.state(tail.num_parameters, tail.dtype)
    for count, (rows, y) in enumerate(zip(images, labels, strict=True), start=1):
        x = as_floats(rows).reshape(-1, *net.input_shape)
        latents = x if trunk is None else trunk.forward(x).copy()
        tail.loss_and_grad(latents.reshape(-1, *tail.input_shape), y, out=grad)
        learning.optimizer.step(tail.ops, tail.theta, grad, state, count)
    return tail.theta


def worst(rows: Sequence[Row]) -> int:
    """The exit status: 1 where something is wrong or failed."""
    return int(any(row.status == "failed" or row.agreement == "wrong" for row in rows))
