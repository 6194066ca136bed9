"""Task space: do tasks that look alike disturb each other less? (Campbell et al. 2018)

Eight manipulations of MNIST and five regenerated sets, compared by their mean images; learnt apart,
in sequence and over and over in schemes of two and three, with and without Synaptic Intelligence;
and every ordered pair, first A, then B: what A loses, how long B takes, and which number that was
known before tells it best, pixels' correlation or interference measured in weight space.

The authors' sequence is a network of 784-3000-3000-10, Adadelta, batches of 256, five epochs a
task; their Synaptic Intelligence runs take Adam at 1e-3, which is the default here. Optimizer,
widths and steps are settings; the defaults are small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ....kernels.errors import SettingError, unknown_name
from ....methods import taskspace
from ....nnlite.checkpoint import save_arrays
from ...show.style import require
from ..lab import check_least
from ..study import Part, Row, Study, Work
from . import figures, tables
from .lab import COUNTS, PARTS, Lab, Settings, Stopwatch
from .pairs import pairs
from .schemes import iterative


def compare(work: Work) -> Iterator[Row]:
    """Mean images and how they correlate; nothing is trained."""
    lab, made = Lab(work), work.settings
    means = []
    for number, name in enumerate(made.sets):
        x, y = lab.tasks[name].load_train()
        means.append(taskspace.class_means(x, y, lab.classes))
        images = x.reshape(len(x), *lab.image_shape)
        ssim = taskspace.ssim_to_means(images, y, means[-1], made.ssim_images)
        yield {"kind": "ssim", "set": name, "values": ssim.tolist()}
        work.advance(number + 1, len(made.sets) + 1)
    whole = np.stack(means)
    shape = list(lab.image_shape)
    save_arrays(lab.file("means"), {"means": whole}, {"sets": list(made.sets), "shape": shape})
    for name, matrix in zip(made.sets, taskspace.digit_correlations(whole), strict=True):
        yield {"kind": "digits", "set": name, "matrix": matrix.round(5).tolist()}
    between = taskspace.task_correlations(whole)
    z = taskspace.standardised(between, "all")
    by_row = taskspace.standardised(between, "rows")
    for digit, matrix in enumerate(between):
        yield {
            "kind": "tasks", "digit": digit, "matrix": matrix.round(5).tolist(),
            "z_rows": by_row[digit].round(4).tolist(),
        }  # fmt: skip
    yield {
        "kind": "means", "sets": list(made.sets), "matrix": between.mean(axis=0).round(5).tolist(),
        "z": z.mean(axis=0).round(4).tolist(),
        "ssim": taskspace.ssim_between(whole, lab.image_shape).mean(axis=0).round(5).tolist(),
    }  # fmt: skip


def isolated(work: Work) -> Iterator[Row]:
    """Each set learnt alone by a new network, which is kept."""
    lab, made = Lab(work), work.settings
    lab.warm_up()
    for number, name in enumerate(made.sets):
        net, watch = lab.network(), Stopwatch()
        result = lab.learn(
            net, [lab.tasks[name]], made.steps, eval_every=made.every, observer=watch
        )
        net.save(lab.file(f"alone-{name}"))
        yield {
            "kind": "isolated", "set": name, "accuracy": float(result.R[0, 0]),
            "curve": watch.curve, "clock": watch.clock, "losses": [float(result.losses[-1])],
        }  # fmt: skip
        work.advance(number + 1, len(made.sets))


def sequence(work: Work) -> Iterator[Row]:
    """The naive sequence: R."""
    lab, made = Lab(work), work.settings
    result = lab.learn(lab.network(), [lab.tasks[name] for name in made.sequence], made.steps)
    yield {"kind": "sequence", "sets": list(made.sequence), "R": result.R.round(4).tolist()}


def parts(settings: Settings) -> Sequence[Part]:
    """The parts that the settings name, in the order of PARTS.

    Raises UnknownNameError for one that is none, SettingError for settings that lead nowhere,
    MissingExtraError for packages that only the figures would miss otherwise.
    """
    for name in settings.parts:
        if name not in PARTS:
            raise unknown_name("part of task-space", name, PARTS)
    if "pairs" in settings.parts and "isolated" not in settings.parts:
        raise SettingError("parts: 'pairs' starts from the networks of 'isolated'; name both")
    if not 0 < settings.threshold <= 1:
        raise SettingError(f"threshold={settings.threshold}: above 0, at most 1")
    check_least(settings, dict.fromkeys(COUNTS, 1))
    for key in ("sets", "schemes", "lams"):
        given = getattr(settings, key)
        if len(given) < 1 + (key == "sets") or len(set(given)) < len(given):
            raise SettingError(
                f"{key}={','.join(map(str, given)) or 'none'}: give different ones, at least "
                f"{'two' if key == 'sets' else 'one'}"
            )
    require("scipy", "analysis", "task-space")
    if "correlations" in settings.parts:
        require("scikit-image", "analysis", "structural similarity", "skimage")
    made = (compare, isolated, sequence, iterative, pairs)
    return [
        Part(name, run) for name, run in zip(PARTS, made, strict=True) if name in settings.parts
    ]


STUDY = Study(
    name="task-space",
    summary="tasks by their pixels' correlation and by interference: what is forgotten, and when",
    settings=Settings(),
    parts=parts,
    draw=figures.draw,
    tell=tables.tell,
    notes=tables.NOTES,
)
