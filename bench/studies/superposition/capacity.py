"""How many models fit into one: `python -m weightspace.bench.studies.superposition.capacity`.

Three questions, a JSON line an answer, and two figures (Cheung et al. 2019, sections 2 and 3):

noise     K random models are stored after the fact; how far is a retrieved one from the original?
stored    K trained models are stored after the fact; what is the accuracy of a retrieved one?
capacity  one network learns task after task under contexts; accuracy by width and number of tasks

The last is the curve that the paper leaves open.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....methods import Method, Naive, Stream, Superposition, accuracy, fit
from ....methods.linear import product
from ....nnlite import Linear, Network, models
from ....nnlite.init import generator
from ....nnlite.optim import Adam
from ... import data, streams

KINDS = ("binary", "complex", "onepower", "rotation", "permutation")
COUNTS = (2, 4, 8, 16, 32)
WIDTHS = (64, 128, 256, 512)
NOISE_WIDTHS = (64, 256, 1024)
OUTPUTS = 64
Line = dict[str, Any]


# ---- noise of what is retrieved ------------------------------------------------------------------


def noise(kind: str, width: int, count: int, seed: int = 0) -> Line:
    """Noise over signal of a model retrieved out of `count` random ones of one layer.

    weights: |retrieved - stored| / |stored|; sqrt(count - 1) is expected, whatever the width.
    aligned: the same of each unit's output when the input is its own weights, as it nearly is for a
    unit that answers: sqrt((count - 1) / width), and of complex kinds 1 / sqrt(2) of that, since
    this is the real part. random: for inputs that know nothing of the weights, where the signal is
    no larger than the noise of one model: sqrt(count - 1) again.
    """
    method = Superposition(kind)  # type: ignore[arg-type]
    plain = Network((Linear(OUTPUTS, bias=False),), (width,), seed=seed)
    method.wrap(plain)
    like = method.retrieve(0)
    stored = []
    for number in range(count):
        other = like.like()
        other.initialise(1000 * (seed + 1) + number)
        stored.append(other)
    method.store(stored)
    ours, theirs = (np.float64(net.theta).reshape(OUTPUTS, -1) for net in (method.retrieve(0),
                                                                           stored[0]))  # fmt: skip
    wrong = ours - theirs
    x = generator(seed, 0xA11, width).normal(size=(256, wrong.shape[1]))
    return {
        "ask": "noise", "kind": kind, "width": width, "models": count, "seed": seed,
        "weights": _rms(wrong) / _rms(theirs),
        "aligned": _rms((wrong * theirs).sum(axis=1)) / _rms((theirs**2).sum(axis=1)),
        "random": _rms(product(x, wrong.T)) / _rms(product(x, theirs.T)),
    }  # fmt: skip


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def ask_noise(seeds: int) -> Iterator[Line]:
    """By the number of models at the widest, then by width at eight models."""
    grid = [(NOISE_WIDTHS[-1], count) for count in COUNTS]
    grid += [(width, 8) for width in NOISE_WIDTHS[:-1]]
    for kind in KINDS:
        for width, count in grid:
            for seed in range(seeds):
                yield noise(kind, width, count, seed)


# ---- trained models, stored after the fact -------------------------------------------------------


def mlp(stream: Stream, width: int, seed: int) -> Network:
    """Two hidden layers of `width`, torch's default weights."""
    return models.mlp((*stream.input_shape, width, width, stream.num_classes), seed=seed)


def ask_stored(
    stream: Stream, widths: Sequence[int], steps: int, kind: str = "binary", seed: int = 0
) -> Iterator[Line]:
    """Models trained alone, one a task, then summed: mean accuracy of those that come back."""
    for width in widths:
        trained = []
        for number, task in enumerate(stream):
            net = mlp(stream, width, seed + number)
            fit(net, [task], Naive(), optimizer=Adam(), steps=steps, seed=seed)
            trained.append(net)
        for count in range(1, len(trained) + 1):
            yield {
                "ask": "stored", "kind": kind, "width": width, "models": count, "seed": seed,
                "accuracy": stored_accuracy(stream, trained[:count], kind),
            }  # fmt: skip


def stored_accuracy(stream: Stream, trained: Sequence[Network], kind: str) -> float:
    """Mean accuracy of real `trained` models (one a task) after they were stored together."""
    method = Superposition(kind)  # type: ignore[arg-type]
    method.wrap(trained[0].like())
    method.store(trained)
    found = [
        accuracy(method.retrieve(number), *stream.tasks[number].load_test())
        for number in range(len(trained))
    ]
    return float(np.mean(found))


# ---- trained in place ----------------------------------------------------------------------------


def ask_capacity(
    stream: Stream,
    widths: Sequence[int],
    kinds: Sequence[str],
    steps: int,
    seed: int = 0,
    reset: bool = True,
) -> Iterator[Line]:
    """Mean accuracy on the tasks learnt so far, after each task, by kind ("naive": none).

    reset: whether Adam begins anew with each task. Where it does not, its second moment, small at
    the end of a short task, lets the first steps of the next be several times lr.
    """
    for kind in kinds:
        for width in widths:
            method: Method = Naive() if kind == "naive" else Superposition(kind)  # type: ignore[arg-type]
            net = mlp(stream, width, seed)
            result = fit(
                net, stream, method, optimizer=Adam(), steps=steps, seed=seed,
                reset_optimizer=reset,
            )  # fmt: skip
            for count in range(1, len(stream) + 1):
                seen = result.R[count - 1, :count]
                yield {
                    "ask": "capacity", "kind": kind, "width": width, "tasks": count, "seed": seed,
                    "reset": reset, "accuracy": float(seen.mean()), "first": float(seen[0]),
                    "last": float(seen[-1]),
                }  # fmt: skip


# ---- the command ---------------------------------------------------------------------------------


def _answers(given: argparse.Namespace) -> Iterator[Line]:
    asked = given.ask or ("noise", "stored", "capacity")
    if "noise" in asked:
        yield from ask_noise(given.seeds)
    if set(asked) == {"noise"}:
        return
    images = data.load(given.data, given.data_dir).limited(given.train_limit, given.test_limit)

    def permuted(tasks: int) -> Stream:
        return streams.build("permuted", images, "domain", num_tasks=tasks, seed=0)

    if "stored" in asked:
        yield from ask_stored(permuted(min(given.tasks, 10)), given.widths, given.steps)
    if "capacity" in asked:
        stream = permuted(given.tasks)
        yield from ask_capacity(
            stream, given.widths, given.kinds, given.steps, reset=not given.keep_moments
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask, write the lines as they come, and draw what is in the file."""
    from .figures import draw_capacity

    parser = argparse.ArgumentParser(
        prog="python -m weightspace.bench.studies.superposition.capacity"
    )
    parser.add_argument("--ask", action="append", choices=("noise", "stored", "capacity"))
    parser.add_argument("--out", type=Path, default=Path("runs/psp-capacity"), help="a folder")
    parser.add_argument("--data", default="mnist-demo")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--train-limit", type=int)
    parser.add_argument("--test-limit", type=int, default=2000)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--kinds", nargs="+", default=("naive", "binary"))
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--keep-moments", action="store_true", help="Adam is never reset")
    parser.add_argument("--seeds", type=int, default=3, help="trials of the noise")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "capacity.jsonl"
    with path.open("a") as file:
        for line in _answers(given):
            file.write(json.dumps(line) + "\n")
            file.flush()
    for figure in draw_capacity(path, given.out):
        print(figure)


if __name__ == "__main__":
    main()
