"""Accuracy per second of two tasks: `python -m weightspace.bench.fip_figures RUNS... --out F.png`.

Both tasks' mean accuracy while the second is learnt, against the seconds of training: what a step
that costs several metric products buys. Seconds are the run's, spread evenly over its steps of the
second task; evaluation is in them for all methods alike.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .runs import load_summaries
from .style import COLOURS, close, pyplot

Line = tuple[np.ndarray, np.ndarray]  # seconds (S,), mean accuracy of both tasks (S,)


def _line(summary: dict[str, Any], naive: float) -> Line:
    """Of one run. naive: seconds of a first task's step, which is the same for all methods."""
    lines = (Path(summary["folder"]) / "metrics.jsonl").read_text().splitlines()
    events = [line for line in map(json.loads, lines) if line["kind"] == "accuracy"]
    later = [e for e in events if e["task"] == 1]
    steps = summary["steps"] // 2
    each = (summary["seconds"] - naive * steps) / steps
    seconds = np.array([(e["step"] - steps) * each for e in later])
    return seconds, np.array([np.mean(e["tasks"]) for e in later])


def lines(folders: Sequence[Path]) -> dict[str, Line]:
    """The first trial of each method in runs of two tasks. Raises StorageError where none is."""
    found: dict[str, dict[str, Any]] = {}
    for summary in load_summaries(list(folders)):
        if len(summary["tasks"]) == 2:
            found.setdefault(summary["method"], summary)
    least = min(summary["seconds"] / summary["steps"] for summary in found.values())
    return {label: _line(summary, least) for label, summary in found.items()}


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
