"""Accuracy per second of two tasks: `python -m weightspace.bench.runs.per_second RUNS... --out F.png`.

Both tasks' mean accuracy while the second is learnt, against the seconds of training: what a step
that costs several metric products buys. Seconds are the median trial's, less what the first task
took (as in the quickest run), spread evenly; evaluation is in them for all methods alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...kernels.errors import StorageError
from ..show.style import COLOURS, close, pyplot
from .files import Run, load
from .groups import group

Line = tuple[np.ndarray, np.ndarray]  # seconds (S,), mean accuracy of both tasks (S,)


def _line(trials: Sequence[Run], first: float) -> Line:
    """Of one method: mean accuracies, and the median trial's seconds, for a machine that is shared.

    first: seconds of a step of the first task, which all methods take alike.
    """
    found = [[e for e in run.evaluations() if e["task"] == 1] for run in trials]
    steps = trials[0].summary["steps"] // 2
    each = float(np.median([run.summary["seconds"] for run in trials])) / steps - first
    seconds = np.array([(e["step"] - steps) * each for e in found[0]])
    means = [[np.mean(np.array(e["tasks"], float)) for e in events] for events in found]
    return seconds, np.mean(means, axis=0)


def lines(folders: Sequence[Path]) -> dict[str, Line]:
    """Each method's line in runs of two tasks. Raises StorageError where there is no run."""
    runs = [run for run in load(*folders) if not run.failed and len(run.summary["tasks"]) == 2]
    if not runs:
        raise StorageError(f"no finished run of two tasks in {', '.join(map(str, folders))}")
    first = min(run.summary["seconds"] / run.summary["steps"] for run in runs)
    return {one.label: _line(one.runs, first) for one in group(runs).groups}


def draw(folders: Sequence[Path], target: Path) -> Path:
    """Write the figure."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for colour, (label, (seconds, accuracy)) in zip(COLOURS, lines(folders).items(), strict=False):
        axes.plot(seconds, 100 * accuracy, "-o", ms=3.5, color=colour, label=label)
    axes.set_xlabel("seconds of training on the second task")
    axes.set_ylabel("mean accuracy of both tasks, %")
    axes.set_title("What a second buys")
    axes.legend()
    return close(plt, figure, target)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    print(draw(asked.runs, asked.out))


if __name__ == "__main__":
    main()
