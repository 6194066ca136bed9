"""A study as one self-contained HTML page: its tables, figures, notes and settings."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from .. import report
from ..report import image
from ..runs import versions
from .study import Row, Study


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


def write_page(study: Study, rows: Sequence[Row], figures: Sequence[Path], folder: Path) -> Path:
    """OUT/report.html of a finished study."""
    body = "".join(table_html(table) for table in study.tell(rows))
    body += "".join(image(path, path.stem) for path in figures)
    body += "".join(f"<p><small>{html.escape(note)}</small></p>" for note in study.notes)
    body += (
        f"<h2>Settings</h2><pre>{html.escape((folder / 'config.toml').read_text('utf-8'))}</pre>"
    )
    return report.write_html(folder / "report.html", study.name, [study.summary], body, versions())
