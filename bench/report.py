"""`weightspace report`: any set of runs as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from ..nnlite.files import write_whole
from .runs import load_summaries
from .tables import HEADS, SHOWN, Line, aggregate, percent, size, strength


def fill_template(name: str, **parts: str) -> str:
    """The template `name`, "page.html" or what goes into one, with its parts filled in."""
    folder = resources.files(__package__) / "templates"
    style = (folder / "style.css").read_text()
    return Template((folder / name).read_text()).substitute(parts, style=style)


def write_html(
    target: Path, title: str, lead: Sequence[str], body: str, versions: Mapping[str, str]
) -> Path:
    """A page of its own at `target`: plain text for title, lead (a paragraph each) and versions."""
    page = fill_template(
        "page.html",
        title=html.escape(title),
        lead="".join(f'<p class="lead">{html.escape(text)}</p>' for text in lead),
        body=body,
        versions=html.escape(", ".join(f"{name} {v}" for name, v in versions.items())),
    )
    write_whole(target, page)
    return target


def image(path: Path, alt: str) -> str:
    """A PNG inside the page itself, or nothing if there is none."""
    if not path.is_file():
        return ""
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">'


def _table(lines: Sequence[Line]) -> str:
    best = max((line.mean["acc"] for line in lines if line.method != "joint"), default=math.nan)
    rows = ["<tr>" + "".join(f"<th>{head}</th>" for head in HEADS) + "</tr>"]
    for line in lines:
        cells = [
            line.method,
            strength(line),
            *(percent(line, key) for key in SHOWN),
            size(line.kept_bytes),
            f"{line.mean['seconds']:.1f}",
        ]
        style = ' class="best"' if line.mean["acc"] == best else ""
        rows.append(
            f"<tr{style}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
        )
    return "<table>" + "".join(rows) + "</table>"


def notes(lines: Sequence[Line]) -> list[str]:
    """What the columns mean and what each method's lambda multiplies."""
    said = [
        "ACC: mean accuracy over all tasks after the last. BWT: how later tasks changed earlier "
        "ones. FWT: accuracy before learning a task, above the untrained network's. Forget: mean "
        "drop from a task's best. Intrans: accuracy that a task, when new, lacked against joint "
        "training. Kept: what the method stores between tasks.",
    ]
    trials = max(line.trials for line in lines)
    if trials > 1:
        said.append(f"Mean ± standard error over {trials} trials.")
    told = ", ".join(line.method for line in lines if line.asks_task)
    if told:
        said.append(f"Told in tests which task it is, where the others are not: {told}.")
    conventions = {line.settings["name"]: line.convention for line in lines}
    return said + [f"{name}: {convention}." for name, convention in conventions.items()]


def _run_block(summary: dict[str, Any]) -> str:
    folder = Path(summary["folder"])
    config = folder / "config.toml"
    text = html.escape(config.read_text()) if config.is_file() else ""
    title = f"{summary['method']}, seed {summary['seed']}: ACC {100 * summary['acc']:.2f} %"
    pictures = image(folder / "figures/accuracy.png", "accuracy of each task over time") + image(
        folder / "figures/matrix.png", "accuracy matrix"
    )
    return (
        f"<details><summary>{html.escape(title)}</summary><div>"
        f'<div class="pair">{pictures}</div><pre>{text}</pre></div></details>'
    )


def _extras(summaries: Sequence[dict[str, Any]]) -> str:
    """Figures that only some runs have: the correlation surfaces."""
    pictures = [
        image(Path(s["folder"]) / "figures" / f"{kind}.png", f"{kind} correlations")
        for s in summaries[:1]
        for kind in ("pearson", "spearman")
    ]
    return "<h2>Correlation of importances</h2>" + "".join(pictures) if any(pictures) else ""


def _section(title: str, picture: Path | None) -> str:
    """A figure under its title, if there is one."""
    return "" if picture is None else f"<h2>{title}</h2>" + image(picture, title.lower())


def write_report(folders: Sequence[Path], target: Path) -> Path:
    """One HTML page of all finished runs in or under `folders`. Raises StorageError for none."""
    from .figures import compare, trade_off
    from .pareto import draw_pareto

    summaries = load_summaries(list(folders))
    lines = aggregate(summaries)
    picture = compare(summaries, target.parent / "figures" / "compare.png")
    kept = trade_off(summaries, target.parent / "figures" / "trade-off.png")
    costs = draw_pareto(lines, target.parent / "figures" / "pareto.png")
    streams = list(dict.fromkeys(s["stream"] for s in summaries))
    parameters = sorted({s["parameters"] for s in summaries})
    sizes = (
        f"{', '.join(f'{p:,}' for p in parameters)} parameters; "
        f"backend {', '.join(sorted({s['backend'] for s in summaries}))}; "
        f"{summaries[0]['steps']:,} steps a run"
    )
    body = fill_template(
        "report.html",
        table=_table(lines),
        notes="<br>".join(html.escape(note) for note in notes(lines)),
        comparison=image(picture, "methods compared") + _section("What it costs", costs),
        extras=_section("Kept and learnt", kept) + _extras(summaries),
        runs="".join(_run_block(s) for s in summaries),
    )
    title = ", ".join(dict.fromkeys(s["experiment"] for s in summaries))
    return write_html(target, title, [*streams, sizes], body, summaries[0]["versions"])
