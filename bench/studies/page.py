"""A study as one self-contained HTML page: its tables, figures, notes and settings."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from ..show.page import image, table_html, write_html
from ..show.plain import versions
from .study import Row, Study


def write_page(study: Study, rows: Sequence[Row], figures: Sequence[Path], folder: Path) -> Path:
    """OUT/report.html of a finished study."""
    body = "".join(table_html(table) for table in study.tell(rows))
    body += "".join(image(path, path.stem) for path in figures)
    body += "".join(f"<p><small>{html.escape(note)}</small></p>" for note in study.notes)
    body += (
        f"<h2>Settings</h2><pre>{html.escape((folder / 'config.toml').read_text('utf-8'))}</pre>"
    )
    return write_html(folder / "report.html", study.name, [study.summary], body, versions())
