"""A self-contained HTML page: the frame that every page shares, and what goes into one."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from string import Template

from rich.table import Table
from rich.text import Text

from ...nnlite.files import write_whole


def fill_template(name: str, **parts: str) -> str:
    """The template `name`, "page.html" or what goes into one, with its parts filled in."""
    folder = resources.files(str(__package__)) / "templates"
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


def list_html(title: str, items: Sequence[str]) -> str:
    """Lines of plain text under a title; nothing for none."""
    told = "".join(f"<li>{html.escape(line)}</li>" for line in items)
    return f"<h2>{title}</h2><ul>{told}</ul>" if items else ""


def table_html(table: Table) -> str:
    """A rich table of plain text as HTML."""

    def plain(cell: object) -> str:
        return html.escape(Text.from_markup(str(cell)).plain)

    heads = "".join(f"<th>{plain(column.header)}</th>" for column in table.columns)
    columns = [list(column.cells) for column in table.columns]
    rows = "".join(
        "<tr>" + "".join(f"<td>{plain(cell)}</td>" for cell in row) + "</tr>"
        for row in zip(*columns, strict=True)
    )
    title = f"<h2>{plain(table.title)}</h2>" if table.title else ""
    return f'{title}<div class="scroll"><table><tr>{heads}</tr>{rows}</table></div>'
