"""What is kept of a run: its rows, seed by seed in full precision, and what made them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from ...kernels.errors import SettingError, StorageError
from ...nnlite.files import write_whole
from ..experiments.presets import HOOKS
from ..runs.files import load
from ..runs.groups import group
from ..runs.tables import known_mean
from ..show.plain import plain, to_toml, versions
from ..store.folders import DAMAGED
from ..store.schema import read_json, read_lines, read_toml
from ..studies.rows import Row, select, with_error

RESULTS = Path(__file__).resolve().parents[1] / "results"
ROWS, MADE = "rows.jsonl", "made.toml"
CLOCKS = ("seconds", "learning_seconds")  # what a row says of time; no two runs agree on it
_LARGEST = 4_000_000  # bytes of rows; a repository is no place for more


class Made(TypedDict):
    """made.toml. commands: as they are typed; data: as the run told it; seeds: of any row."""

    commands: list[str]
    commit: str
    date: str
    data: str
    seeds: list[int]
    versions: dict[str, str]


@dataclass(frozen=True)
class Mean:
    """A mean over seeds (or rows); error: its standard error, NaN for one."""

    mean: float
    error: float
    count: int


@dataclass(frozen=True)
class Kept:
    """The kept rows of a run and what made them."""

    name: str
    made: Made
    rows: list[Row]

    def select(self, **wanted: object) -> list[Row]:
        """The rows with these values. Raises SettingError where there are none."""
        found = select(self.rows, **wanted)
        if not found:
            raise SettingError(f"bench/results/{self.name} has no row with {wanted}")
        return found

    def values(self, number: str, **wanted: object) -> list[float]:
        """A number of all rows with these values. Raises SettingError for no row or no number."""
        found = [row.get(number) for row in self.select(**wanted)]
        if any(value is None for value in found):
            raise SettingError(f"bench/results/{self.name}: no '{number}' in a row with {wanted}")
        return [float(value) for value in found]  # type: ignore[arg-type]

    def mean(self, number: str, **wanted: object) -> Mean:
        """The mean of a number over the rows with these values."""
        return Mean(*known_mean(self.values(number, **wanted)))


def read(name: str, results: Path = RESULTS) -> Kept:
    """What is kept under a name. Raises StorageError where nothing is, CheckpointError."""
    folder = results / name
    if not (folder / MADE).is_file():
        raise StorageError(f"nothing is kept in {folder}; `weightspace results keep {name} RUN`")
    made: Made = read_toml(folder / MADE, Made, DAMAGED)
    return Kept(name, made, read_lines(folder / ROWS, dict[str, Any], DAMAGED))


def names(results: Path = RESULTS) -> list[str]:
    """All that is kept, in order."""
    return sorted(path.parent.relative_to(results).as_posix() for path in results.rglob(MADE))


def keep(
    name: str, folders: Sequence[Path], commands: Sequence[str], commit: str,
    without: Sequence[str] = (), results: Path = RESULTS,
) -> Kept:  # fmt: skip
    """Copy the rows of finished runs (or of a study, in one folder or several) under a name.

    commands: what made the run, as they are typed. commit: of the checkout that ran them.
    without: keys of rows to leave out (large arrays). What was kept under the name is replaced.
    Raises StorageError for an unfinished run, SettingError for too many bytes or no command.
    """
    if not commands:
        raise SettingError("say by --command what made the run, as it is typed")
    rows, data = rows_of(*folders)
    rows = [{key: value for key, value in row.items() if key not in without} for row in rows]
    text = "".join(json.dumps(plain(row)) + "\n" for row in rows)
    if len(text) > _LARGEST:
        largest = sorted(rows[0], key=lambda key: -len(json.dumps(plain(rows[0][key]))))
        raise SettingError(
            f"the rows of {name} have {len(text):,} bytes, {_LARGEST:,} at most; leave out keys by "
            f"--without (largest: {', '.join(largest[:3])})"
        )
    seeds = sorted({int(row["seed"]) for row in rows})
    date = datetime.now(UTC).date().isoformat()
    made = Made(
        commands=list(commands), commit=commit, date=date, data=data, seeds=seeds,
        versions=versions(),
    )  # fmt: skip
    write_whole(results / name / ROWS, text)
    write_whole(results / name / MADE, to_toml(dict(made)))
    return Kept(name, made, rows)


def rows_of(*folders: Path) -> tuple[list[Row], str]:
    """The rows in some folders, all of runs or all of studies, and the data in words.

    Raises StorageError where none is finished.
    """
    if not any((folder / "study.json").is_file() for folder in folders):
        return _rows_of_runs(folders)
    rows = [row for folder in folders
            for row in read_json(folder / "study.json", Study, DAMAGED)["rows"]]  # fmt: skip
    config = read_toml(folders[0] / "config.toml", dict[str, Any], DAMAGED)
    told = ("data", "train_limit", "test_limit")
    return rows, ", ".join(f"{key} {config[key]}" for key in told if key in config)


class Study(TypedDict):
    """study.json, as far as it is read here."""

    rows: list[dict[str, Any]]


_OF_A_RUN = (
    "acc", "bwt", "fwt", "forgetting", "accuracy_matrix", "baseline", "steps", "parameters",
    "learning_seconds",
)  # fmt: skip


def _rows_of_runs(folders: Sequence[Path]) -> tuple[list[Row], str]:
    """A row for each method and seed of a preset's runs, failed ones with `status`.

    label: as in the run's table. kept_bytes: after the last task. More keys of a summary (what a
    hook or a measure of continual evaluation left there) come along, and what hooks find beside it.
    tests: of a run of one task, [step, accuracy] at each of its evaluations.
    """
    rows: list[Row] = []
    groups = group(load(*folders)).groups
    for one in groups:
        for each in sorted((*one.runs, *one.failed), key=lambda each: each.summary["seed"]):
            about = each.summary
            row = {"label": one.label, "method": one.method, "seed": about["seed"],
                   "settings": about["method_settings"]}  # fmt: skip
            if each.failed:
                row["status"] = about["status"]
            else:
                row |= {key: about.get(key) for key in _OF_A_RUN}
                row["kept_bytes"] = about["persistent_state_bytes"][-1]
                row["told_task"] = about.get("asks_task", False) and about["scenario"] != "task"
                row |= {key: about[key] for key in about if key not in _TOLD}
                if len(about["tasks"]) == 1:  # the tests on the way are all that it has to tell
                    row["tests"] = [[e["step"], *e["tasks"]] for e in each.evaluations()]
                for hook in HOOKS:
                    row |= hook.row(each.folder)
            rows.append(row)
    return rows, str(groups[0].about["stream"])


_TOLD = {  # keys of a summary that a row has already, or has no use for
    *_OF_A_RUN, "experiment", "method", "method_settings", "convention", "asks_task", "backend",
    "seed", "scenario", "stream", "stream_hash", "config_hash", "tasks", "versions", "seconds",
    "persistent_state_bytes",
}  # fmt: skip


def percent(found: Mean, digits: int = 1) -> str:
    """ "92.5 ± 0.2" of a fraction, in percent; without the error for one seed."""
    return with_error(100 * found.mean, 100 * found.error, digits)


def differences(one: Row, other: Row, ignored: Iterable[str] = CLOCKS) -> list[str]:
    """The keys in which two rows differ, but for those that are `ignored`."""
    keys = {*one, *other} - set(ignored)
    return sorted(key for key in keys if one.get(key) != other.get(key))
