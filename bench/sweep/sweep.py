"""Running a sweep: trials to wherever they are worked on, results kept one by one.

    OUT/sweep.toml         what was asked for; a resumed sweep must ask for the same
    OUT/trials/ID.json     a finished trial, whole or not there; ID is a hash of its settings
    OUT/results.jsonl|csv  all trials in canonical order: the same bytes whoever did them
    OUT/timings.jsonl      how long each took and where, in the order in which they came
    OUT/figures/, OUT/report.html

Only this process writes. What is done twice, because a worker died before it could say that it was
done, is written once.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from rich.console import Console

from ...kernels.errors import CheckpointError, WorkerError
from ...nnlite.files import write_whole
from ..show.progress import make_progress
from ..store.folders import DAMAGED, Kind, claimed, write_asked
from ..store.schema import read_json, read_lines, read_toml
from .executors import Executor
from .plan import SweepPlan
from .results import Choice, Row, as_csv, as_jsonl, choose, rows
from .trials import Failed, Measured, Record, Trial, run_trial

_AGAIN = "remove it, and --resume does what is missing"


class Kept(TypedDict):
    """trials/ID.json."""

    id: str
    assignments: list[str]
    label: str
    seed: int
    result: Measured | Failed


class Timing(TypedDict):
    """A line of timings.jsonl."""

    id: str
    seconds: float
    worker: str


class Asked(TypedDict):
    """sweep.toml."""

    experiment: str
    methods: list[str]


def _owns(out: Path) -> bool:
    path = out / "sweep.toml"
    return path.exists() and bool(read_toml(path, Asked, DAMAGED))


SWEEPS = Kind(
    "sweep",
    writes=re.compile(
        r"sweep\.toml|results\.(jsonl|csv)|timings\.jsonl|trials/[0-9a-f]{24}\.json|"
        r"figures/sweep\.png|report\.html"
    ),
    marker=re.compile(r"sweep\.toml"),
    owns=_owns,
)


@dataclass
class _Folder:
    """OUT, and the results that are in it."""

    out: Path
    results: dict[str, Record] = field(default_factory=dict)
    timings: list[Record] = field(default_factory=list)

    def read(self) -> None:
        """Take up what an earlier run left. Raises CheckpointError for a file that is no result."""
        for path in sorted((self.out / "trials").glob("*.json")):
            found = read_json(path, Kept, _AGAIN)
            if found["id"] != path.stem:
                raise CheckpointError(f"{path} is damaged: it is of {found['id']}; {_AGAIN}")
            self.results[path.stem] = found["result"]
        clock = self.out / "timings.jsonl"
        self.timings = read_lines(clock, Timing, _AGAIN) if clock.exists() else []

    def keep(self, trial: Trial, answer: Record) -> None:
        """Write a result, then its time."""
        known = self.results[answer["id"]] = answer["result"]
        about = {"id": answer["id"], "assignments": trial.assignments, "label": trial.label,
                 "seed": trial.seed, "result": known}  # fmt: skip
        path = self.out / "trials" / f"{answer['id']}.json"
        write_whole(path, json.dumps(about, indent=1, sort_keys=True) + "\n")
        self.timings.append(answer["timing"])
        lines = "".join(json.dumps(line) + "\n" for line in self.timings)
        write_whole(self.out / "timings.jsonl", lines)


@dataclass(frozen=True)
class Outcome:
    """What a sweep came to. ran: trials worked out now, the others were there."""

    results: dict[str, Record]
    choices: list[Choice]
    rows: list[Row]
    ran: int


def run_sweep(
    plan: SweepPlan,
    out: Path,
    executor: Executor,
    console: Console,
    data_dir: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Outcome:
    """Do what is planned, in OUT. A KeyboardInterrupt leaves what is done, to be resumed.

    Raises SettingError and CheckpointError about OUT, WorkerError where workers cannot work, and
    DataError where they read different data.
    """
    with claimed(out, SWEEPS, resume, overwrite):
        write_asked(out / "sweep.toml", plan.asked(), tomllib.loads(plan.asked()), resume)
        return _run_claimed(plan, _Folder(out), executor, console, data_dir)


def _run_claimed(
    plan: SweepPlan, folder: _Folder, executor: Executor, console: Console, data_dir: Path | None
) -> Outcome:
    """The sweep in its own folder."""
    folder.read()
    before = len(folder.results)
    inner = [trial for one in plan.candidates() for trial in plan.inner_trials(one)]
    _work(plan, folder, "choosing", inner, executor, console, data_dir)
    choices = choose(plan, folder.results)
    chosen = [choice.candidate for choice in choices if choice.candidate is not None]
    outer = [trial for one in chosen for trial in plan.outer_trials(one)]
    _work(plan, folder, "testing", outer, executor, console, data_dir)
    done = rows(plan, choices, folder.results)
    write_whole(folder.out / "results.jsonl", as_jsonl(done))
    write_whole(folder.out / "results.csv", as_csv(plan, done))
    return Outcome(folder.results, choices, done, len(folder.results) - before)


def _work(
    plan: SweepPlan,
    folder: _Folder,
    stage: str,
    trials: Sequence[Trial],
    executor: Executor,
    console: Console,
    data_dir: Path | None,
) -> None:
    """Have those of `trials` done that are not."""
    wanted = {trial.identity(): trial for trial in trials}
    missing = {name: trial for name, trial in wanted.items() if name not in folder.results}
    messages = [trial.message(data_dir) for trial in missing.values()]
    with make_progress(console) as progress:
        bar = progress.add_task(stage, total=len(wanted), note="")
        progress.advance(bar, len(wanted) - len(missing))
        described = False
        for _, answer in executor.unordered(run_trial, messages):
            if "stopped" in answer:
                raise WorkerError(f"a trial could not be run: {answer['stopped']}")
            if "stream" in answer and not described:
                console.print(f"{stage}: {answer['stream']}", highlight=False, markup=False)
                described = True
            trial = missing[answer["id"]]
            folder.keep(trial, answer)
            note = _note(plan, trial, answer["result"])
            progress.update(bar, advance=1, note=note)
            if not console.is_terminal:
                console.print(f"{stage}: {note}", highlight=False)


def _note(plan: SweepPlan, trial: Trial, result: Record) -> str:
    """A finished trial in a line."""
    told = ", ".join([*plan.swept(trial), f"seed {trial.seed}"])
    came = f"{result['acc']:.2%}" if result.get("acc") is not None else result["status"]
    return f"{trial.label} {told}: {came}"


def failures(found: Iterable[Row]) -> list[str]:
    """A line for each trial that came to nothing, with its error."""
    return [
        f"{row.candidate.label} {row.candidate.told()}, seed {row.trial.seed}: "
        f"{row.result['error']}"
        for row in found
        if row.result["status"] != "ok"
    ]
