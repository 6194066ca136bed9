"""Runs that may be averaged: equal in all settings but the seed, each seed once.

Everything that takes a mean over runs takes its groups from here. Two runs belong together by what
they were asked for and by the stream that they saw, whatever they are called.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..show.labels import flat, tell_apart
from ..show.plain import config_hash
from .files import Run


@dataclass(frozen=True)
class Group:
    """Runs of the same settings, by seed. label: no other group of the table has it."""

    label: str
    runs: tuple[Run, ...]  # those that are finished
    failed: tuple[Run, ...] = ()

    @property
    def about(self) -> dict[str, Any]:
        """What all its runs say of themselves: method, settings, scenario, ..."""
        return (*self.runs, *self.failed)[0].summary

    @property
    def method(self) -> str:
        """The method's name, whatever the line is called."""
        return str(self.about["method_settings"]["name"])

    @property
    def finished(self) -> list[dict[str, Any]]:
        """The summaries of the finished runs."""
        return [run.summary for run in self.runs]


@dataclass(frozen=True)
class Grouped:
    """Groups in the order of their first runs, and what is to be said of them."""

    groups: list[Group]
    notes: list[str]


def setting(run: Run, method: bool = True) -> str:
    """A hash of everything that a run's numbers follow from but its seed.

    method: with the method; without it, runs that differ in nothing else are equal.
    """
    config = {key: value for key, value in run.config.items() if key != "seed"}
    if not method:
        del config["method"]
    # the trial's seed draws the permutations where none is given: see `make.make_stream`
    drawn = config["stream"] == "permuted" and "seed" not in config["stream_settings"]
    seen = run.summary["stream"] if drawn else run.summary["stream_hash"]
    return config_hash(_whole({**config, "seen": seen}))


def _whole(value: Any) -> Any:
    """`value` with 30.0 as 30: a preset may say the one and `--set` the other."""
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def group(runs: Sequence[Run]) -> Grouped:
    """The groups of some runs. The same run given twice counts once, and that is said."""
    members: dict[tuple[str, int], dict[int, Run]] = {}
    twice: list[str] = []
    for run in sorted(runs, key=lambda run: run.failed):  # a run that was mended counts, stable
        key, seed = setting(run), run.summary["seed"]
        for other in range(len(runs)):  # of one seed on other data of the same name: other groups
            mine = members.setdefault((key, other), {})
            if mine.setdefault(seed, run) is run:
                break
            if mine[seed].summary["config_hash"] == run.summary["config_hash"]:
                twice.append(_again(mine[seed], run))
                break
    order = {id(run): place for place, run in enumerate(runs)}
    found = sorted(members.values(), key=lambda mine: min(order[id(run)] for run in mine.values()))
    labels = _labels([next(iter(mine.values())) for mine in found])
    groups = [
        Group(
            label,
            tuple(run for run in mine.values() if not run.failed),
            tuple(run for run in mine.values() if run.failed),
        )
        for label, mine in zip(labels, found, strict=True)
    ]
    notes = [f"Given twice, counted once: {', '.join(dict.fromkeys(twice))}."] if twice else []
    return Grouped(groups, notes)


def _again(kept: Run, run: Run) -> str:
    """A run that was given twice, in words."""
    said = f"{run.summary['method']} seed {run.summary['seed']}"
    same = kept.summary.get("accuracy_matrix") == run.summary.get("accuracy_matrix")
    if same or run.failed:
        return said
    return f"{said} ({run.folder} has other numbers than {kept.folder}, which counts)"


def _labels(firsts: Sequence[Run]) -> list[str]:
    """A label for each group, given its first run: the line's, and what sets it apart if needed."""
    by_label: dict[str, list[int]] = {}
    for index, run in enumerate(firsts):
        by_label.setdefault(run.summary["method"], []).append(index)
    labels = [""] * len(firsts)
    for label, places in by_label.items():
        settings = [{**flat(firsts[i].config), "seed": None} for i in places]
        if _equal(settings):
            settings = [{**one, "data": f"{one['data']} {firsts[i].summary['stream_hash'][:6]}"}
                        for one, i in zip(settings, places, strict=True)]  # fmt: skip
        for index, more in zip(places, tell_apart(settings), strict=True):
            labels[index] = f"{label} ({more})" if more else label
    return labels


def _equal(settings: Sequence[dict[str, Any]]) -> bool:
    """Whether some of several settings are the same ones."""
    return len({json.dumps(one, sort_keys=True) for one in settings}) < len(settings)
