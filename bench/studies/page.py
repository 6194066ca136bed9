"""A study as one self-contained HTML page: its tables, figures, notes and settings."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from ..show.page import image, table_html, write_html
from ..show.plain import versions


def write_page(
    name: str, summary: str, tables: Sequence[Table], figures: Sequence[Path],
    notes: Sequence[str], folder: Path,
) -> Path:  # fmt: skip
    """OUT/report.html of a finished study."""
    body = "".join(map(table_html, tables))
    body += "".join(image(path, path.stem) for path in figures)
    body += "".join(f"<p><small>{html.escape(note)}</small></p>" for note in notes)
    body += (
        f"<h2>Settings</h2><pre>{html.escape((folder / 'config.toml').read_text('utf-8'))}</pre>"
    )
    return write_html(folder / "report.html", name, [summary], body, versions())
