"""Comparison: the experiment that a preset describes, run, drawn and told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from ...nnlite.files import write_whole
from ..store.locks import held
from .experiment import Request
from .groups import group
from .hooks import Done
from .preset import Preset, apply_settings, variants
from .report import failures, from_runs, notes, write_report
from .run import Plan, run
from .tables import aggregate, as_csv, continual, render


@dataclass(frozen=True)
class Comparison:
    """Methods side by side on the stream of a preset. asked: the assignments that are in it."""

    preset: Preset
    asked: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The preset's."""
        return self.preset.name

    @property
    def summary(self) -> str:
        """The preset's."""
        return self.preset.summary

    def with_settings(self, assignments: Sequence[str]) -> Comparison:
        """With the preset after `key=value` assignments."""
        preset = apply_settings(self.preset, list(assignments))
        return Comparison(preset, (*self.asked, *assignments))

    def run(self, request: Request, console: Console) -> bool:
        """Every method and seed into a folder of its own, then what tells of all of them."""
        plan = Plan(
            self.preset, variants(self.preset, list(request.methods)), request.backend,
            list(request.seeds), request.out, request.data_dir, request.resume, request.overwrite,
            request.retry, self.asked,
        )  # fmt: skip
        with held(plan.out):
            return _run(plan, request.command(self.name, self.asked), console)


def _run(plan: Plan, command: str, console: Console) -> bool:
    """Run, write what tells of all runs together, and tell it; whether any came to nothing."""
    runs = run(plan, console)
    folder, groups = plan.out, group(runs).groups
    lines = aggregate(groups)
    about = {"runs": [run.summary for run in runs if not run.failed]}
    if failed := failures(groups):
        about["failed"] = [run.summary for run in runs if run.failed]
    write_whole(folder / "summary.json", json.dumps(about, indent=1) + "\n")
    write_whole(folder / "table.csv", as_csv(lines))
    page = write_report([folder], folder / "report.html", command) if about["runs"] else None
    hooks = plan.preset.hooks if page else ()  # they are for runs that are finished
    with from_runs(runs, command):
        more = [table for hook in hooks for table in hook.after_all(Done(folder, groups))]
    console.print()
    title = f"{plan.preset.name}: test accuracy after all tasks"
    console.print(render(lines, title, console.width))
    if table := continual(lines):
        console.print(table)
    for table in more:
        console.print(table)
    for note in notes(lines):
        console.print(f"[dim]{escape(note)}[/]", highlight=False)
    if failed:
        many = "1 run" if len(failed) == 1 else f"{len(failed)} runs"
        console.print(f"[yellow]{many} came to nothing:[/]")
    for line in failed:
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    if page is not None:
        console.print(f"\nfigures  {folder}/figures, and in each run's folder", highlight=False)
        console.print(f"[bold]open     file://{page.resolve()}[/]", highlight=False, soft_wrap=True)
    return bool(failed)
