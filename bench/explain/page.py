"""A program as a page of its own: the arena, each call with its sources, and what it wrote."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from ...nnlite.program import Program
from ..show.page import write_html
from .arena import legend, svg
from .lines import Line, phases
from .sources import sources
from .table import Shares, numbers
from .timing import Times

REPOSITORY = Path(__file__).resolve().parents[2]
Walk = Sequence[tuple[Line, str, str]]


@dataclass(frozen=True)
class Shown:
    """What a page shows. lead: paragraphs; layers: what each is; links: where those to sources
    begin, an address, or "" for the repository that this file is in, as seen from the page."""

    title: str
    lead: Sequence[str]
    program: Program
    lines: Sequence[Line]
    layers: Sequence[str] = ()
    times: Times | None = None
    shares: Shares = ()
    walked: Walk = ()
    links: str = ""


def write(target: Path, command: str, shown: Shown, versions: Mapping[str, str]) -> Path:
    """The page at `target`; command: the one that says the same again."""
    root = shown.links or quote(os.path.relpath(REPOSITORY, target.resolve().parent))
    body = [
        "<h2>The arena</h2>",
        "<p>Each rectangle is a buffer: as high as it is large, from the first call that touches "
        "it to the last. What is dead makes room. Point at one for its name and size.</p>",
        f'<div class="scroll">{svg(shown.program)}</div>',
        legend(shown.program, shown.layers),
        "<h2>The calls</h2>",
        _table(shown, root.rstrip("/")),
    ]
    if shown.walked:
        body += ["<h2>What each call wrote</h2>", _walked(shown.walked)]
    return write_html(target, shown.title, [command, *shown.lead], "".join(body), versions)


def _table(shown: Shown, root: str) -> str:
    heads = ["", "kernel", "reads", "writes", "flops", "bytes", *(["us"] if shown.times else []),
             *(["roof"] if shown.shares else []), "sources"]  # fmt: skip
    begins = {first: name for name, first, _ in phases(shown.program)}
    rows = []
    for line in shown.lines:
        if line.number in begins and len(begins) > 1:
            name = begins[line.number]
            rows.append(f'<tr class="head"><td colspan="{len(heads)}">{name}</td></tr>')
        rows.append(_row(line, numbers(line, shown.times, shown.shares), root))
    words = ("kernel", "reads", "writes", "sources")
    head = "".join(
        f'<th class="text">{name}</th>' if name in words else f"<th>{name}</th>" for name in heads
    )
    return f'<div class="scroll"><table class="calls"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _row(line: Line, cells: Iterable[str], root: str) -> str:
    told = f"<br><small>{html.escape(line.told)}</small>" if line.told else ""
    parts = [
        f'<td class="text"><b>{html.escape(line.kernel)}</b>{told}</td>',
        f'<td class="text">{_names(line.reads)}</td>',
        f'<td class="text">{_names(line.writes)}</td>',
        *(f"<td>{cell}</td>" for cell in cells),
        f'<td class="text">{_links(line.kernel, root)}</td>',
    ]
    return f'<tr id="call-{line.number}"><td>{line.number}</td>{"".join(parts)}</tr>'


def _links(kernel: str, root: str) -> str:
    """The kernel's sources; of CUDA each by its name where that is another one."""
    parts = []
    for part, group in groupby(sources(kernel), key=lambda each: each.part):
        for number, each in enumerate(group):
            said = part if number == 0 else ""
            if each.file.endswith(".py") and part == "cuda":
                said += ", host function"
            elif each.name != kernel:
                said = f"{said} {each.name}".strip()
            where = f"{each.file}, line {each.line}"
            parts.append(
                f'<a href="{html.escape(root)}/{each.file}#L{each.line}" '
                f'title="{where}">{said or each.name}</a>'
            )
    return "<br>".join(parts) or "NumPy's own"


def _names(names: Iterable[str]) -> str:
    return "<br>".join(html.escape(name) for name in names)


def _walked(walked: Walk) -> str:
    parts = []
    for line, group in groupby(walked, key=lambda each: each[0]):
        rows = "".join(
            f'<tr><td class="text">{html.escape(name)}</td>'
            f'<td class="text"><code>{html.escape(said)}</code></td></tr>'
            for _, name, said in group
        )
        parts.append(
            f'<h3><a href="#call-{line.number}">{line.number}</a> {html.escape(line.kernel)}</h3>'
            f'<div class="scroll"><table>{rows}</table></div>'
        )
    return "".join(parts)
