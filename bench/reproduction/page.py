"""docs/reproduction.md: every claim with its verdict, the numbers, and what made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..studies.claims import Answer
from .kept import Kept, read
from .published import NEVER, Paper, Published, judged

HEAD = """# What the papers say, and what comes out here

A line for each claim of the papers that weightspace was built after: what is claimed and where, the
paper's number, the number here with its seeds, and a verdict: **works**, **in part**, **differs**
(measured, and other than claimed) or never run (with what it would take). Verdicts and numbers are
computed from the rows in [bench/results](../bench/results/README.md). This page is written by
`weightspace results write`, and a test holds it to them. Under each table stand the data, the
commit and the commands of its rows; `weightspace results again` runs the commands once more on
their first seed and compares all numbers to the bit.
"""


HEADS = ("where", "claim", "the paper", "here", "verdict", "from")


def page(papers: Sequence[Paper], kept: Callable[[str], Kept] = read) -> str:
    """The page as Markdown."""
    answers = {id(one): judged(one, kept) for paper in papers for one in paper.claims}
    said = Counter(verdict for verdict, _ in answers.values())
    count = ", ".join(f"{number} {verdict}" for verdict, number in said.most_common())
    parts = [HEAD, f"{sum(said.values())} claims: {count}.\n"]
    parts += [_of_paper(paper, answers, kept) for paper in papers]
    return "\n".join(parts)


def _of_paper(paper: Paper, answers: dict[int, Answer], kept: Callable[[str], Kept]) -> str:
    """A paper's heading, its table and what made the rows."""
    lines = [_line(one, answers[id(one)]) for one in paper.claims]
    told = (one for one in paper.claims if answers[id(one)][0] != NEVER)
    names = dict.fromkeys(one.results for one in told)
    head = [f"## {paper.title}", paper.source, "", _row(HEADS), _row(["---"] * len(HEADS))]
    return "\n".join([*head, *lines, "", *(_made(kept(name)) for name in names)]) + "\n"


def _line(one: Published, answer: Answer) -> str:
    """A claim's row."""
    verdict, numbers = answer
    paper = "; ".join(filter(None, (one.paper, one.peer and f"peer: {one.peer}")))
    known = one.results and verdict != NEVER
    source = f"[{one.results}](../bench/results/{one.results}/rows.jsonl)" if known else ""
    told = verdict if verdict == NEVER else f"**{verdict}**"
    cells = (one.where, one.claim, paper, numbers, told, source)
    return _row(cell.replace("|", "\\|") for cell in cells)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _made(kept: Kept) -> str:
    """What made some rows: data, seeds, commit, commands."""
    made = kept.made
    seeds = made["seeds"]
    many = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    commands = "\n".join(f"    {command}" for command in made["commands"])
    head = f"*{kept.name}*: {made['data']}; {many}; commit {made['commit'][:7]}, {made['date']}"
    return f"{head}\n\n{commands}\n"
