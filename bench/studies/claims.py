"""What was published, claim by claim, put to the rows of a run: verdicts with their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from ..runs.tables import titled
from .study import Row

REPRODUCED, IN_PART, NOT_REPRODUCED, NOT_TESTABLE = (
    "reproduced", "in part", "not reproduced", "not testable",
)  # fmt: skip
Answer = tuple[str, str]  # the verdict, and the numbers behind it
Judge = Callable[[Sequence[Row]], Answer | None]  # None: the rows say nothing about it


class Claim(NamedTuple):
    """A published claim, the verdict on it, and what was measured here."""

    claim: str
    verdict: str
    here: str


def verdict(right: Any, partly: Any = False) -> str:
    """In words, of what is true or not."""
    return REPRODUCED if right else IN_PART if partly else NOT_REPRODUCED


def judged(claims: Sequence[tuple[str, Judge]], rows: Sequence[Row], missing: str) -> list[Claim]:
    """All claims; `missing` is said of those that the rows say nothing about."""
    return [Claim(told, *(judge(rows) or (NOT_TESTABLE, missing))) for told, judge in claims]


def claims_table(found: Sequence[Claim], heads: Sequence[str]) -> Table:
    """A claim a line; heads: the order of "claim", "verdict" and "here"."""
    table = titled("published claims", heads, left=3)
    for one in found:
        table.add_row(*(getattr(one, head) for head in heads))
    return table
