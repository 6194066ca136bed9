"""`weightspace report`: any set of runs as one self-contained HTML page."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from ..show.page import fill_template, image, list_html, table_html, write_html
from ..show.source import images_of, sourced
from .files import CONFIG, Run, load
from .groups import Group, group
from .tables import (
    HEADS,
    SHOWN,
    Line,
    aggregate,
    best,
    clock,
    continual,
    kept,
    left_out,
    measured_more,
    percent,
    strength,
)  # fmt: skip


def _table(lines: Sequence[Line]) -> str:
    top = best(lines)
    rows = ["<tr>" + "".join(f"<th>{head}</th>" for head in HEADS) + "</tr>"]
    for line in lines:
        cells = [
            line.title,
            strength(line),
            *(percent(line, key) for key in SHOWN),
            kept(line),
            clock(line),
        ]
        style = ' class="best"' if line.mean["acc"] == top else ""
        rows.append(
            f"<tr{style}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        )
    return "<table>" + "".join(rows) + "</table>"


_MEANT = {
    "min_acc": "min-ACC: the least accuracy on each old task during the tasks after it. WC-ACC: "
    "the last task's accuracy and min-ACC, weighed by tasks (De Lange et al. 2023). gap: what old "
    "tasks lose and find again during a later one. All as often as was looked.",
    "calibration_error": "ECE: accuracy against confidence, 15 bins (Guo et al. 2017), after the "
    "last task, the mean over tasks.",
    "operations": "Tflop: 10^12 floating-point operations of all training steps; own: of the "
    "passes that the method makes besides, - where they are not counted.",
}


def _continual(lines: Sequence[Line]) -> str:
    table = continual(lines)
    return "" if table is None else table_html(table)


def notes(lines: Sequence[Line]) -> list[str]:
    """What the columns mean and what each method's lambda multiplies."""
    said = [
        "ACC: mean accuracy over all tasks after the last. BWT: how later tasks changed earlier "
        "ones. FWT: accuracy before learning a task, above the untrained network's. Forget: mean "
        "drop from a task's best. Intrans: accuracy that a task, when new, lacked against joint "
        "training. Kept: what the method stores between tasks.",
    ]
    known = measured_more(lines)
    said += [text for key, text in _MEANT.items() if key in known]
    trials = max(line.trials for line in lines)
    if trials > 1:
        fewer = [f"{line.method}: {line.trials}" for line in lines if line.trials < trials]
        but = f" ({', '.join(fewer)})" if fewer else ""
        said.append(f"Mean ± standard error over {trials} trials{but}.")
    left = [f"{line.method}: {out}" for line in lines if (out := left_out(line))]
    if left:
        said.append(f"Left out of means: {', '.join(left)}.")
    told = ", ".join(line.method for line in lines if line.asks_task)
    if told:
        said.append(f"Told in tests which task it is, where the others are not: {told}.")
    conventions = {line.settings["name"]: line.convention for line in lines}
    return said + [f"{name}: {convention}." for name, convention in conventions.items()]


def failures(groups: Sequence[Group]) -> list[str]:
    """A line for each run that came to nothing, with its error."""
    return [
        f"{group.label}, seed {run.summary['seed']}: {run.summary['error']}"
        for group in groups
        for run in group.failed
    ]


def _run_block(label: str, run: Run) -> str:
    text = html.escape((run.folder / CONFIG).read_text(encoding="utf-8"))
    acc = run.summary["acc"]
    said = "not measured" if acc is None else f"{100 * acc:.2f} %"
    title = f"{label}, seed {run.summary['seed']}: ACC {said}"
    pictures = image(run.folder / "figures/accuracy.png", "accuracy of each task over time")
    pictures += image(run.folder / "figures/matrix.png", "accuracy matrix")
    return (
        f"<details><summary>{html.escape(title)}</summary><div>"
        f'<div class="pair">{pictures}</div><pre>{text}</pre></div></details>'
    )


def _extras(runs: Sequence[Run]) -> str:
    """Figures that only some runs have, by their hooks: those of the first."""
    pictures = [
        image(path, path.stem)
        for run in runs[:1]
        for path in sorted((run.folder / "figures").glob("*.png"))
        if path.stem not in ("accuracy", "matrix")
    ]
    return "<h2>Also measured</h2>" + "".join(pictures) if pictures else ""


def _section(title: str, picture: Path | None) -> str:
    """A figure under its title, if there is one."""
    return "" if picture is None else f"<h2>{title}</h2>" + image(picture, title.lower())


def from_runs(runs: Iterable[Run], command: str) -> AbstractContextManager[None]:
    """Figures that are saved inside say the images and seeds of `runs`, and the command."""
    known = [run.summary for run in runs if not run.failed]
    return sourced(
        (images_of(summary["stream"]) for summary in known),
        (summary["seed"] for summary in known),
        command,
    )


def write_report(folders: Sequence[Path], target: Path, command: str = "") -> Path:
    """One HTML page of all runs in or under `folders`. command: what its figures say made them.

    Raises StorageError where none is finished, CheckpointError for a damaged one.
    """
    from .figures import compare, trade_off
    from .pareto import draw_pareto

    grouped = group(load(*folders))
    groups = grouped.groups
    runs = [run for one in groups for run in one.runs]
    summaries = [run.summary for run in runs]
    lines = aggregate(groups)
    with from_runs(runs, command):
        picture = compare(groups, target.parent / "figures" / "compare.png")
        traded = trade_off(groups, target.parent / "figures" / "trade-off.png")
        costs = draw_pareto(lines, target.parent / "figures" / "pareto.png")
    streams = list(dict.fromkeys(s["stream"] for s in summaries))
    sizes = (
        f"{_listed(s['parameters'] for s in summaries)} parameters; "
        f"backend {', '.join(sorted({s['backend'] for s in summaries}))}; "
        f"{_listed(s['steps'] for s in summaries)} steps a run"
    )
    body = fill_template(
        "report.html",
        table=_table(lines) + _continual(lines),
        notes="<br>".join(html.escape(note) for note in (*notes(lines), *grouped.notes)),
        comparison=_pictured("methods compared", picture) + _section("What it costs", costs),
        extras=_section("Kept and learnt", traded) + _extras(runs)
        + list_html("Came to nothing", failures(groups)),
        runs="".join(_run_block(one.label, run) for one in groups for run in one.runs),
    )  # fmt: skip
    title = ", ".join(dict.fromkeys(s["experiment"] for s in summaries))
    return write_html(target, title, [*streams, sizes], body, summaries[0]["versions"])


def _pictured(alt: str, picture: Path | None) -> str:
    return "" if picture is None else image(picture, alt)


def _listed(counts: Iterable[int]) -> str:
    """Counts, each once."""
    return ", ".join(f"{count:,}" for count in sorted(set(counts)))
