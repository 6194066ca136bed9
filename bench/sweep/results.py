"""What a sweep came to: results in canonical order, the choice of each line, and its table.

Nothing here depends on the order in which trials were done, nor on who did them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ...kernels.errors import DataError
from ..runs.tables import known_mean
from .plan import Candidate, SweepPlan
from .space import number
from .trials import Record, Trial

Results = Mapping[str, Record]  # a trial's identity -> what it came to


@dataclass(frozen=True)
class Scores:
    """Accuracies of a candidate's runs, NaN where one diverged or failed.

    mean, error: over those that did not, NaN for none (and the error for one).
    """

    values: tuple[float, ...]

    @property
    def known(self) -> int:
        """How many runs have an accuracy."""
        return known_mean(self.values)[2]

    @property
    def whole(self) -> bool:
        """Whether all have."""
        return self.known == len(self.values)

    @property
    def mean(self) -> float:
        """The mean of the accuracies that there are."""
        return known_mean(self.values)[0]

    @property
    def error(self) -> float:
        """Its standard error."""
        return known_mean(self.values)[1]


@dataclass(frozen=True)
class Choice:
    """A line of the table: the best candidate by validation, with its test. None: all failed."""

    method: str
    label: str
    candidate: Candidate | None
    validation: Scores | None
    tried: int
    failed: int


def scores(trials: Sequence[Trial], results: Results) -> Scores:
    """The accuracies of some trials."""
    found = [results[trial.identity()].get("acc") for trial in trials]
    return Scores(tuple(math.nan if acc is None else acc for acc in found))


def choose(plan: SweepPlan, results: Results) -> list[Choice]:
    """The best candidate of each line: the highest mean accuracy on what was held out.

    The first of equals. A candidate of which a run diverged or failed is not chosen.
    """
    lines: dict[tuple[str, str], list[tuple[Candidate, Scores]]] = {}
    for candidate in plan.candidates():
        found = scores(plan.inner_trials(candidate), results)
        lines.setdefault((candidate.method, candidate.label), []).append((candidate, found))
    choices = []
    for (method, label), tried in lines.items():
        sound = [one for one in tried if one[1].whole]
        best = max(sound, key=lambda one: one[1].mean) if sound else (None, None)
        choices.append(Choice(method, label, best[0], best[1], len(tried), len(tried) - len(sound)))
    return choices


def at_the_edge(plan: SweepPlan, choices: Sequence[Choice]) -> list[str]:
    """A line for each choice that lies at an end of a grid of numbers: the best may be beyond."""
    found = []
    for choice in choices:
        for axis in plan.axes:
            if choice.candidate is None or axis.key not in choice.candidate.settings:
                continue
            text = choice.candidate.settings[axis.key]
            values = sorted(axis.values, key=lambda v: number(v) or 0.0)
            if len(values) > 1 and not axis.names and text in (values[0], values[-1]):
                found.append(f"{choice.label}: {axis.key}={text} is at the end of its grid; the "
                             "best may lie beyond.")  # fmt: skip
    return found


@dataclass(frozen=True)
class Row:
    """A trial with its place in the sweep."""

    stage: str  # "selection" or "test"
    candidate: Candidate
    trial: Trial
    result: Record


def rows(plan: SweepPlan, choices: Sequence[Choice], results: Results) -> list[Row]:
    """All trials that are done, in canonical order: selection, then the tests of what was chosen.

    Raises DataError where workers read different data.
    """
    asked = [("selection", c, t) for c in plan.candidates() for t in plan.inner_trials(c)]
    for choice in choices:
        if choice.candidate is not None:
            chosen = choice.candidate
            asked += [("test", chosen, trial) for trial in plan.outer_trials(chosen)]
    done = [(stage, c, t, results.get(t.identity())) for stage, c, t in asked]
    found = [Row(stage, c, t, result) for stage, c, t, result in done if result is not None]
    _check_streams(found)
    return found


def _check_streams(found: Sequence[Row]) -> None:
    """Raise DataError unless trials that should have seen the same stream did."""
    seen: dict[str, str] = {}
    for row in found:
        preset, _ = row.trial.resolve()
        limits = (preset.train_limit, preset.test_limit)
        stream = (preset.data, preset.stream, preset.stream_settings, preset.scenario, limits)
        key = json.dumps([stream, row.trial.seed, str(row.trial.held_out)], sort_keys=True)
        ours = row.result.get("stream_hash")
        if ours is not None and seen.setdefault(key, ours) != ours:
            raise DataError(
                f"trials of seed {row.trial.seed} saw different data under the name "
                f"'{preset.data}': give all workers the same files, and begin with --overwrite"
            )


def images(found: Sequence[Row]) -> list[str]:
    """What the trials of the selection were trained on, in words; each once."""
    told = []
    for row in found:
        if row.stage == "selection" and "train_images" in row.result:
            preset, _ = row.trial.resolve()
            count = row.result["train_images"]
            told.append(f"{preset.data} ({count:,} training images over all tasks, the rest of "
                        f"each class held out)")  # fmt: skip
    return list(dict.fromkeys(told))


def as_jsonl(found: Sequence[Row]) -> str:
    """results.jsonl: a line a trial, everything but clocks and machines."""
    return "".join(json.dumps(_record(row), sort_keys=True) + "\n" for row in found)


def _record(row: Row) -> dict[str, Any]:
    held = row.trial.held_out
    return {
        "id": row.trial.identity(), "stage": row.stage, "method": row.candidate.method,
        "label": row.candidate.label, "settings": row.candidate.settings, "seed": row.trial.seed,
        "fold": None if held is None else held.fold, **row.result,
    }  # fmt: skip


_NUMBERS = ("acc", "bwt", "fwt", "forgetting")


def as_csv(plan: SweepPlan, found: Sequence[Row]) -> str:
    """results.csv: a row a trial, a column for each swept key; accuracies are fractions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [axis.key for axis in plan.axes]
    writer.writerow(["stage", "label", *keys, "seed", "fold", "status", *_NUMBERS])
    for row in found:
        settings = row.candidate.settings
        record = _record(row)
        fold = "" if record["fold"] is None else record["fold"]
        numbers = ["" if record.get(n) is None else f"{record[n]:.6g}" for n in _NUMBERS]
        writer.writerow(
            [row.stage, row.candidate.label, *(settings.get(key, "") for key in keys),
             row.trial.seed, fold, record["status"], *numbers]
        )  # fmt: skip
    return text.getvalue()


def _percent(found: Scores | None) -> str:
    """ "91.2 ± 0.3", in percent, and of how many runs if not of all."""
    if found is None:
        return ""
    said = "" if found.whole else f"({found.known} of {len(found.values)})"
    if not found.known:
        return said
    error = "" if math.isnan(found.error) else f" ± {100 * found.error:.1f}"
    return f"{100 * found.mean:.1f}{error} {said}".rstrip()


def table(plan: SweepPlan, choices: Sequence[Choice], results: Results) -> Table:
    """Each line's choice: its settings, validation and test accuracy, and what did not count."""
    made = Table(
        title=f"{plan.experiment}: chosen on held-out training images, tested on fresh seeds",
        title_justify="left", header_style="bold",
    )  # fmt: skip
    for name in ("method", "best setting"):
        made.add_column(name)
    for name in ("validation %", "test %", "tried", "failed"):
        made.add_column(name, justify="right", no_wrap=True)
    for choice in choices:
        told, test = "none: all failed", None
        if choice.candidate is not None:
            told = choice.candidate.told() or "as it is"
            test = scores(plan.outer_trials(choice.candidate), results)
        made.add_row(
            choice.label, told, _percent(choice.validation), _percent(test), str(choice.tried),
            str(choice.failed or ""),
        )  # fmt: skip
    return made
