"""What was measured on small machines, as records, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..show.style import COLOURS, INK, close, pyplot
from ..speed import machine, records
from .measure import OWN, Row
from .targets import TARGETS

Record = Mapping[str, Any]


def as_records(rows: Iterable[Row], tools: Mapping[str, str]) -> list[dict[str, Any]]:
    """A record a row, of kind "embedded"; tools: versions of compilers, emulators and peers."""
    here = machine.describe()
    return [
        records.record(
            "embedded", here, **asdict(row), overhead=row.overhead, each=row.each, tools=dict(tools)
        )
        for row in rows
    ]


# ---- the table ----------------------------------------------------------------------------------

_COLUMNS = ("target", "C by", "flash", "beside weights", "arena", "statics", "stack",
            "a call", "per MAC",
            "agrees", "right")  # fmt: skip


def tables(rows: Sequence[Row]) -> list[Table]:
    """One of each model and operation. Predicted bytes come first; touched ones follow where they
    are others."""
    made = []
    for (model, operation), group in groupby(rows, lambda row: (row.model, row.operation)):
        found = list(group)
        macs = found[0].multiply_adds
        table = Table(title=f"{model}, {operation}: {macs:,} multiply-adds", title_justify="left")
        for name in _COLUMNS:
            left = name in ("target", "C by", "agrees")
            table.add_column(name, justify="left" if left else "right", no_wrap=name == "target")
        for row in found:
            table.add_row(*_cells(row))
        made.append(table)
    return made


def _cells(row: Row) -> list[str]:
    head = [row.target, row.maker]
    if row.status != "measured":
        return [*head, *[""] * 7, escape(f"{row.status}: {row.reason}"), ""]
    unit = {"instructions": "", "cycles": " cycles", "nothing": ""}[row.counts]
    return [
        *head, _number(row.flash), _number(row.overhead), _both(row.arena, row.arena_touched),
        _number(row.statics), _both(row.stack, row.stack_touched),
        "" if row.work is None else f"{row.work:,.0f}{unit}",
        "" if row.each is None else f"{row.each:.2f}",
        _agrees(row), "" if row.accuracy is None else f"{row.accuracy:.2%}",
    ]  # fmt: skip


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _both(predicted: int | None, touched: int | None) -> str:
    """The prediction, and what was touched where that is not as much."""
    if touched is None or predicted is None:
        return _number(predicted if touched is None else touched)
    return _number(predicted) if touched == predicted else f"{predicted:,} ({touched:,})"


def _agrees(row: Row) -> str:
    if row.agreement in ("bits", ""):
        return f"{row.agreement} of {row.samples:,}" if row.samples else ""
    return f"{row.agreement} of {row.samples:,}: {row.difference:.1e}"


# ---- the picture --------------------------------------------------------------------------------


def picture(found: Sequence[Record], path: Path) -> Path:
    """What an answer takes per multiply-add, and flash beside weights: a group of bars a target,
    a bar a maker. Written as PNG or SVG. Raises MissingExtraError without matplotlib."""
    plt = pyplot()
    kinds = {"predict": "", "predict int8": ", int8"}
    shown = [
        {**one, "maker": one["maker"] + kinds[one["operation"]]}
        for one in found
        if one["operation"] in kinds and one["status"] == "measured"
    ]
    models = list(dict.fromkeys(one["model"] for one in shown))
    makers = sorted({one["maker"] for one in shown}, key=lambda name: (OWN not in name, name))
    colours = dict(zip(makers, COLOURS, strict=False))
    rows = max(2 * len(models), 1)
    figure, axes = plt.subplots(rows, 1, figsize=(11, 2.3 * rows + 0.6), squeeze=False)
    for number, model in enumerate(models):
        mine = [one for one in shown if one["model"] == model]
        work, flash = axes[2 * number][0], axes[2 * number + 1][0]
        _bars(work, [one for one in mine if one["each"] is not None], colours, "each", "{:.2f}")
        work.set_yscale("log")
        _title(work, f"{model}: instructions (ATmega: cycles) per multiply-add of an answer")
        bare = [one for one in mine if TARGETS[one["target"]].bare]
        _bars(flash, bare, colours, "overhead", "{:,.0f}")
        _title(flash, f"{model}: bytes of flash beside the weights")
    if models:
        patches = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
        figure.legend(patches, makers, loc="upper center", ncols=len(makers), fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / (2.3 * rows + 0.6)))
    return close(plt, figure, path)


def _title(axis: Any, text: str) -> None:
    axis.set_title(text, fontsize=9.5)


def _bars(
    axis: Any, found: Sequence[Record], colours: Mapping[str, str], key: str, text: str
) -> None:
    """Bars of `key` in the makers' colours, their value above each."""
    makers = [maker for maker in colours if any(one["maker"] == maker for one in found)]
    names = [name for name in TARGETS if any(one["target"] == name for one in found)]
    width = 0.85 / max(len(makers), 1)
    for number, maker in enumerate(makers):
        values = {one["target"]: one[key] for one in found if one["maker"] == maker}
        places = [place for place, name in enumerate(names) if name in values]
        heights = [values[names[place]] for place in places]
        middles = [place + (number - (len(makers) - 1) / 2) * width for place in places]
        axis.bar(middles, heights, width, color=colours[maker])
        for x, y in zip(middles, heights, strict=True):
            said = text.format(y)
            axis.text(x, y, said, ha="center", va="bottom", fontsize=6, rotation=60, color=INK)
    axis.margins(y=0.25)
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.grid(visible=False, axis="x")
