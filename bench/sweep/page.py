"""A sweep as one self-contained HTML page: its table, its figure, what failed, what was asked."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from ..show.page import image, list_html, table_html, write_html
from ..show.plain import versions
from .plan import SweepPlan


def write_page(
    plan: SweepPlan, told: Table, picture: Path, failed: Sequence[str], notes: Sequence[str],
    out: Path,
) -> Path:  # fmt: skip
    """OUT/report.html of a finished sweep."""
    body = table_html(told) + image(picture, "validation accuracy against what was swept")
    body += "".join(f"<p><small>{html.escape(note)}</small></p>" for note in notes)
    body += list_html("Came to nothing", failed)
    body += f"<h2>Asked for</h2><pre>{html.escape(plan.asked())}</pre>"
    title = f"sweep of {plan.experiment}"
    return write_html(out / "report.html", title, [], body, versions())
