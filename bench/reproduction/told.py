"""Every page of the checkout that tells kept numbers, as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from .blocks import fill, pages
from .kept import read
from .page import page
from .published import Paper
from .tables import TABLES


def pages_of(root: Path, papers: Sequence[Paper]) -> dict[Path, str]:
    """By path: docs/reproduction.md, and all Markdown with its marks filled."""
    kept = cache(read)  # a page asks for the same rows again and again
    found = {path: fill(path.read_text(), TABLES, kept) for path in pages(root)}
    return found | {root / "docs/reproduction.md": page(papers, kept)}
