"""What is kept of a finished run: metrics.jsonl, accuracy.csv, figures and summary.json."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ...methods import Result
from ...nnlite.files import write_whole
from ..show.plain import plain

LOSS_EVERY = 20  # steps between the losses that metrics.jsonl keeps


def write_run(folder: Path, result: Result, summary: dict[str, Any]) -> None:
    """metrics.jsonl, accuracy.csv, figures and, last, summary.json: its presence means finished."""
    write_whole(folder / "metrics.jsonl", metrics_lines(result))
    write_whole(folder / "accuracy.csv", accuracy_csv(result))
    from .figures import accuracy_curves, accuracy_matrix

    title = f"{summary['method']}, seed {summary['seed']}"
    accuracy_curves(result.history, result.task_names, title, folder / "figures/accuracy.png")
    accuracy_matrix(result.R, result.task_names, title, folder / "figures/matrix.png")
    write_whole(folder / "summary.json", json.dumps(plain(summary), indent=1) + "\n")


def metrics_lines(result: Result) -> str:
    """One JSON line an evaluation and every LOSS_EVERY-th loss, in the order of the steps."""
    events: list[tuple[int, int, dict[str, Any]]] = []
    for step in range(LOSS_EVERY, len(result.losses) + 1, LOSS_EVERY):
        events.append((step, 0, {"kind": "loss", "step": step, "loss": result.losses[step - 1]}))
    for e in result.history:
        line = {"kind": "accuracy", "step": e.step, "task": e.task, "tasks": e.accuracies.tolist()}
        events.append((e.step, 1, line))
    events.sort(key=lambda event: event[:2])
    return "".join(json.dumps(plain(line)) + "\n" for *_, line in events)


def accuracy_csv(result: Result) -> str:
    """R as a table: a row after each task, a column a task, and the untrained network first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["test accuracy after learning", *result.task_names])
    writer.writerow(["(nothing)", *map(_short, result.baseline)])
    for name, row in zip(result.task_names, result.R, strict=True):
        writer.writerow([name, *map(_short, row)])
    return text.getvalue()


def _short(value: float) -> str:
    return f"{value:.6g}"
