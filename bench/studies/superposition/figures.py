"""Figures of superposition: `python -m weightspace.bench.studies.superposition.figures first|width RUNS... --out F`.

first: accuracy on the first task against steps (Cheung et al. 2019, Figs. 2, 3, 4b and 5); its
    numbers, means over the trials, are written beside it as .csv.
width: accuracy after the last task against the width of the hidden layers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from ....kernels.errors import CheckpointError, DataError, SettingError
from ....nnlite.files import write_whole
from ...runs.files import load
from ...runs.groups import group
from ...runs.tables import known_mean
from ...show.style import COLOURS, GRID, close, pyplot
from ...store.schema import read_lines

_PLAIN = ("naive", "standard")  # drawn in grey, whatever else there is
_MARKS = "osD^v"
Curves = dict[str, tuple[np.ndarray, np.ndarray]]  # label -> x (X,), accuracies (runs, X)


def readable(label: str) -> str:
    """The label of a line without what all of them say."""
    return label.replace("superposition kind=", "psp ").replace("onepower", "one power")


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each line; naive training is grey."""
    rest = [label for label in labels if label not in _PLAIN]
    return {
        label: COLOURS[6] if label in _PLAIN else COLOURS[rest.index(label) % 6] for label in labels
    }


# ---- runs ----------------------------------------------------------------------------------------


def first_task(folders: Sequence[Path]) -> Curves:
    """Accuracy on the first task at every evaluation, out of the runs' metrics.jsonl."""
    found: Curves = {}
    for one in group(load(*folders)).groups:
        events = [run.evaluations() for run in one.runs]
        steps = {tuple(e["step"] for e in event) for event in events}
        if len(steps) > 1:
            raise CheckpointError(
                f"metrics.jsonl of '{one.label}': trials of the same settings were tested at "
                "different steps, so one is damaged; do them again"
            )
        if steps:
            rows = np.array([[e["tasks"][0] for e in event] for event in events], float)
            found[one.label] = np.array(*steps), rows
    return found


def by_width(folders: Sequence[Path]) -> Curves:
    """Mean accuracy after the last task, by the first hidden layer's width.

    A line for each of the lines of a run; at a width it has the mean of its trials.
    """
    found: dict[str, dict[int, float]] = {}
    for one in group(load(*folders)).groups:
        if one.runs:
            width = one.runs[0].config["hidden"][0]
            mean = known_mean([summary["acc"] for summary in one.finished])[0]
            points = found.setdefault(one.about["method"], {})
            if width in points:
                raise SettingError(
                    f"'{one.label}' is not the only line of its name with {width} units: draw runs "
                    "that differ in their width alone"
                )
            points[width] = mean
    return {
        label: (np.array(sorted(points)), np.array([[points[w] for w in sorted(points)]]))
        for label, points in found.items()
    }


def _draw_lines(axes: Any, curves: Curves, marker: str | None) -> None:
    """Means as lines with their names, standard errors as bands."""
    shades = colours(list(curves))
    for label, (x, rows) in curves.items():
        mean = rows.mean(axis=0)
        axes.plot(x, mean, color=shades[label], lw=1.8, marker=marker, ms=4, label=readable(label))
        if len(rows) > 1:
            error = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
            axes.fill_between(x, mean - error, mean + error, color=shades[label], alpha=0.2, lw=0)


def _as_csv(curves: Curves) -> str:
    """A row an evaluation: its step, and each line's mean over its trials, in percent."""
    means = {label: dict(zip(x.tolist(), r.mean(axis=0), strict=True)) for label, (x, r) in
             curves.items()}  # fmt: skip
    rows = [",".join(["step", *means])]
    for step in sorted(set().union(*means.values())):
        found = (f"{100 * m[step]:.2f}" if step in m else "" for m in means.values())
        rows.append(",".join([str(step), *found]))
    return "\n".join(rows) + "\n"


def _percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def draw_first(folders: Sequence[Path], path: Path, title: str = "", turn: int = 0) -> Path:
    """Accuracy on the first task against steps, and as .csv; a faint line every `turn` steps."""
    plt = pyplot()
    curves = first_task(folders)
    write_whole(path.with_suffix(".csv"), _as_csv(curves))
    figure, axes = plt.subplots(figsize=(8.5, 4.2))
    last = max(int(x[-1]) for x, _ in curves.values())
    few = len(next(iter(curves.values()))[0]) <= 30
    _draw_lines(axes, curves, "o" if few else None)
    for at in range(turn, last + 1, turn) if turn else ():
        axes.axvline(at, color=GRID, lw=1.4, zorder=0)
    _percent(axes.yaxis)
    axes.grid(axis="x", visible=False)
    axes.set(xlabel="training steps", ylabel="test accuracy", xlim=(0, last), ylim=(0, 1.0))
    axes.set_title(title or "Accuracy on the first task during training")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    return close(plt, figure, path)


def draw_width(folders: Sequence[Path], path: Path, title: str = "", turn: int = 0) -> Path:
    """Accuracy after the last task against the width; `turn` is not for this figure."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    curves = by_width(folders)
    _draw_lines(axes, curves, "o")
    _width_axis(axes, sorted({int(w) for x, _ in curves.values() for w in x}))
    _percent(axes.yaxis)
    axes.set(ylabel="accuracy, mean over all tasks")
    axes.set_title(title or "After the last task, by width")
    axes.legend(fontsize=9)
    return close(plt, figure, path)


def _width_axis(axes: Any, widths: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xlabel("units in a hidden layer")


# ---- capacity ------------------------------------------------------------------------------------


class Noise(TypedDict):
    """A line of psp_capacity's file: noise over signal of so many models in so many units."""

    ask: Literal["noise"]
    kind: str
    width: int
    models: int
    weights: float
    aligned: float


class Capacity(TypedDict):
    """So many tasks trained in place."""

    ask: Literal["capacity"]
    kind: str
    width: int
    tasks: int
    reset: bool
    accuracy: float


class Stored(TypedDict):
    """So many models stored after they were trained."""

    ask: Literal["stored"]
    kind: str
    width: int
    models: int
    accuracy: float


def draw_capacity(source: Path, folder: Path) -> list[Path]:
    """The figures that the lines of psp_capacity's file have numbers for."""
    hint = "write it anew: python -m weightspace.bench.studies.superposition.capacity"
    lines = read_lines(source, Noise | Capacity | Stored, hint, DataError)
    made = []
    for ask, draw in (("noise", draw_noise), ("capacity", draw_trained)):
        if any(line["ask"] == ask for line in lines):
            made.append(draw(lines, folder / f"{ask}.png"))
    return made


def _mean(lines: Sequence[dict[str, Any]], x: str, y: str) -> tuple[list[float], list[float]]:
    places = sorted({line[x] for line in lines})
    return places, [float(np.mean([e[y] for e in lines if e[x] == place])) for place in places]


def draw_noise(lines: Sequence[dict[str, Any]], path: Path) -> Path:
    """Noise over signal of retrieved weights by number of models, of outputs by width."""
    plt = pyplot()
    mine = [line for line in lines if line["ask"] == "noise"]
    kinds = list(dict.fromkeys(line["kind"] for line in mine))
    widest = max(line["width"] for line in mine)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), gridspec_kw={"wspace": 0.28})
    shades = colours(kinds)
    fixed = 8
    for number, kind in enumerate(kinds):
        of = [line for line in mine if line["kind"] == kind]
        look = {"color": shades[kind], "marker": _MARKS[number % 5], "ms": 7, "ls": "", "mew": 1.4,
                "mfc": "none", "label": readable(kind)}  # fmt: skip
        left.plot(*_mean([e for e in of if e["width"] == widest], "models", "weights"), **look)
        right.plot(*_mean([e for e in of if e["models"] == fixed], "width", "aligned"), **look)
    counts = np.geomspace(2, max(line["models"] for line in mine), 50)
    widths = sorted({line["width"] for line in mine})
    left.plot(counts, np.sqrt(counts - 1), color="#000000", lw=1.2, label=r"$\sqrt{K-1}$")
    right.plot(widths, np.sqrt((fixed - 1) / np.array(widths)), color="#000000", lw=1.2,
               label=r"$\sqrt{(K-1)/M}$")  # fmt: skip
    right.plot(widths, np.sqrt((fixed - 1) / 2 / np.array(widths)), color="#000000", lw=1.2,
               ls=(0, (4, 3)), label=r"$\sqrt{(K-1)/2M}$, real part")  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel="models stored, K", ylabel="noise / signal")
    counts_there = sorted({line["models"] for line in mine})
    _plain_ticks(left, counts_there, (1, 2, 3, 4, 6))
    right.set(xscale="log", yscale="log", xlabel="inputs of the layer, M", ylabel="noise / signal")
    _plain_ticks(right, widths, (0.1, 0.2, 0.3))
    left.set_title(f"Retrieved weights, {widest} inputs")
    right.set_title(f"Outputs for aligned inputs, {fixed} models")
    left.legend(fontsize=9)
    right.legend(fontsize=9)
    return close(plt, figure, path)


def _plain_ticks(axes: Any, x: Sequence[float], y: Sequence[float]) -> None:
    axes.minorticks_off()
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_yticks(y, [f"{value:g}" for value in y])


def draw_trained(lines: Sequence[dict[str, Any]], path: Path) -> Path:
    """Mean accuracy on the tasks so far against their number, a panel a kind, a line a width."""
    plt = pyplot()
    mine = [line for line in lines if line["ask"] in ("capacity", "stored")]

    def in_place(kind: str, reset: bool) -> Callable[[dict[str, Any]], bool]:
        return lambda e: e["ask"] == "capacity" and (e["kind"], e["reset"]) == (kind, reset)

    lines_of = [(e["kind"], e["reset"]) for e in mine if e["ask"] == "capacity"]
    panels = [
        (_title(kind, reset), "tasks", in_place(kind, reset))
        for kind, reset in sorted(set(lines_of), key=lambda of: (of[0] != "naive", of[1]))
    ]
    if any(e["ask"] == "stored" for e in mine):
        panels.append(("Stored afterwards, binary", "models", lambda e: e["ask"] == "stored"))
    figure, row = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 4), sharey=True,
                               squeeze=False, gridspec_kw={"wspace": 0.08})  # fmt: skip
    widths = sorted({e["width"] for e in mine})
    shades = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(widths)))
    for axes, (title, x, wanted) in zip(row[0], panels, strict=True):
        for width, shade in zip(widths, shades, strict=True):
            of = [e for e in mine if wanted(e) and e["width"] == width]
            axes.plot(*_mean(of, x, "accuracy"), color=shade, lw=1.8, marker="o", ms=3,
                      label=f"{width} units")  # fmt: skip
        axes.set(xlabel="tasks learnt" if x == "tasks" else "models stored", ylim=(0, 1))
        axes.set_title(title)
        axes.xaxis.get_major_locator().set_params(integer=True)
    _percent(row[0][0].yaxis)
    row[0][0].set_ylabel("mean accuracy on them")
    row[0][0].legend(fontsize=9, loc="lower left")
    return close(plt, figure, path)


def _title(kind: str, reset: bool) -> str:
    """The title of a panel."""
    name = "No contexts" if kind == "naive" else f"In place, {readable(kind)}"
    return name if reset else f"{name}, Adam kept"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m weightspace.bench.studies.superposition.figures"
    )
    parser.add_argument("figure", choices=("first", "width"))
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--out", type=Path, required=True, help="a .png file")
    parser.add_argument("--title", default="")
    parser.add_argument("--turn", type=int, default=0, help="steps of a full turn or a task")
    given = parser.parse_args(arguments)
    draw = {"first": draw_first, "width": draw_width}[given.figure]
    print(draw(given.runs, given.out, given.title, given.turn))


if __name__ == "__main__":
    main()
