"""A published claim, where it stands, and the judge that puts it to kept rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...kernels.errors import SettingError, StorageError
from ..studies import claims
from ..studies.claims import Answer
from .kept import Kept

WORKS, IN_PART, DIFFERS, NEVER = "works", "in part", "differs", "never run"
_WORDS = {claims.REPRODUCED: WORKS, claims.IN_PART: IN_PART, claims.NOT_REPRODUCED: DIFFERS}
Judge = Callable[[Kept], Answer]


@dataclass(frozen=True)
class Published:
    """One claim of a paper.

    where: figure, table or section. claim: what it says, in our words. paper: its number. peer:
    another implementation's own number, with its source. results: the name under which the rows are
    kept that answer it. judge: the verdict and our numbers from them. never: what it would take,
    the command and its hours, where no rows answer it, or while none are kept.
    """

    where: str
    claim: str
    paper: str = ""
    peer: str = ""
    results: str = ""
    judge: Judge | None = None
    never: str = ""

    def __post_init__(self) -> None:
        """Either rows with a judge, or what it would take."""
        if bool(self.results) != bool(self.judge) or not (self.results or self.never):
            raise SettingError(f"'{self.claim}': give results and a judge, or what it would take")


class Paper(NamedTuple):
    """A paper and what it claims. key: short, as in links."""

    key: str
    title: str
    source: str
    claims: tuple[Published, ...]


def verdict(right: Any, partly: Any = False) -> str:
    """In words, of what is true or not."""
    return _WORDS[claims.verdict(right, partly)]


def of_study(answer: Answer) -> Answer:
    """The answer of a study's own judge in the words of the page."""
    return _WORDS[answer[0]], answer[1]


def judged(one: Published, read: Callable[[str], Kept]) -> Answer:
    """The verdict on a claim and the numbers behind it, from what is kept.

    Raises StorageError where nothing is, and the claim does not say what it would take.
    """
    try:
        return one.judge(read(one.results)) if one.judge else (NEVER, one.never)
    except StorageError:
        if not one.never:
            raise
        return NEVER, one.never
