"""What accuracy costs: the front of the methods that none beats, and the figure of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from weightspace.bench.experiments.presets import get_preset
from weightspace.bench.runs.files import Run
from weightspace.bench.runs.groups import group
from weightspace.bench.runs.pareto import draw_pareto, front
from weightspace.bench.runs.preset import variants
from weightspace.bench.runs.report import notes
from weightspace.bench.runs.tables import Line, aggregate
from weightspace.methods import METHODS


def line(method, acc, kept, seconds, asks=False):
    mean = {"acc": acc, "learning_seconds": seconds, "seconds": seconds}
    error = dict.fromkeys(mean, math.nan)
    return Line(method, 1, mean, error, kept, "", asks, {"name": method})


def test_the_front_is_what_none_beats_at_both():
    assert front([1, 2, 3, 4], [0.5, 0.4, 0.7, 0.7]) == [0, 2]
    assert front([2, 1, 1], [0.9, 0.3, 0.6]) == [2, 0]
    assert front([], []) == []


def test_the_figure_is_drawn_for_three_methods_and_not_for_two(tmp_path):
    lines = [line("naive", 0.5, 0, 1.0), line("ewc", 0.9, 1 << 21, 2.0), line("joint", 0.95, 0, 1)]
    assert draw_pareto(lines, tmp_path / "two.png") is None
    assert not (tmp_path / "two.png").exists()
    more = [*lines, line("xdg", 0.8, 1 << 20, math.nan, asks=True)]  # a resumed run has no time
    assert draw_pareto(more, tmp_path / "three.png") == tmp_path / "three.png"
    assert (tmp_path / "three.png").stat().st_size > 10_000


def test_who_is_told_the_task_is_said():
    lines = [line("naive", 0.5, 0, 1.0), line("xdg", 0.8, 1, 1.0, asks=True)]
    assert any("Told in tests which task it is" in n and n.endswith(": xdg.") for n in notes(lines))
    assert not any("Told in tests" in n for n in notes(lines[:1]))


def made(scenario, seed=0, **more):
    """A finished run of one task, as it is read from its folder."""
    config = {"name": "x", "stream": "split", "stream_settings": {}, "lr": 0.1, "seed": seed,
              "method": {"name": "xdg"}}  # fmt: skip
    summary = {
        "method": "xdg", "seed": seed, "scenario": scenario, "convention": "", "acc": 0.9,
        "bwt": 0.0, "fwt": 0.0, "forgetting": 0.0, "accuracy_matrix": [[0.9]], "seconds": 2.0,
        "persistent_state_bytes": [3], "method_settings": {"name": "xdg"}, "stream_hash": "s",
        "stream": "", "config_hash": str(seed), **more,
    }  # fmt: skip
    return Run(config, summary, Path(f"seed-{seed}"))


@pytest.mark.parametrize("scenario, told", [("task", False), ("domain", True), ("class", True)])
def test_where_every_method_is_told_none_is_marked(scenario, told):
    groups = group([made(scenario, asks_task=True)]).groups
    assert aggregate(groups)[0].asks_task is told


def test_runs_of_before_the_clock_was_kept_have_no_time():
    runs = [made("domain"), made("domain", seed=1, learning_seconds=1.0)]
    assert math.isnan(aggregate(group(runs).groups)[0].mean["learning_seconds"])


@pytest.mark.parametrize("name", ["compare", "compare-split"])
def test_every_method_is_compared(name):
    """But the probe, which measures, and WVA, which is SIG's penalty in another place."""
    compared = {variant.method for variant in variants(get_preset(name), [])}
    assert compared == set(METHODS) - {"importance-probe", "wva"}
