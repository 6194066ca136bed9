"""What a run's folder holds, and reading it again: LABEL/seed-S/ with config.toml and the rest.

A finished run has a summary.json, one that came to nothing a failed.json in its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np

from ...kernels.errors import CheckpointError, StorageError
from ...methods import METHODS
from ...methods.tasks import Scenario
from ...nnlite import Network
from ..show.labels import flat
from ..store.folders import DAMAGED, TEMPORARY, Kind
from ..store.schema import read_json, read_lines, read_toml

CONFIG, SUMMARY, FAILED = "config.toml", "summary.json", "failed.json"
CHECKPOINT = "checkpoint.safetensors"
_AGAIN = "remove it, and --resume does that run anew"


class MethodSettings(TypedDict):
    """A method's name with its settings."""

    name: str
    lam: NotRequired[float | None]


class RunConfig(TypedDict):
    """config.toml: a preset's fields, with the backend, the seed and the method."""

    name: str
    stream: str
    scenario: Scenario
    data: str
    stream_settings: dict[str, Any]
    train_limit: NotRequired[int]
    test_limit: NotRequired[int]
    hidden: list[int]
    activation: str
    slope: NotRequired[float]
    model: NotRequired[str]
    model_settings: NotRequired[dict[str, Any]]
    init: NotRequired[str]
    optimizer: str
    lr: float
    momentum: NotRequired[float]
    steps: NotRequired[int]
    epochs: NotRequired[int]
    batch_size: int
    reset_optimizer: NotRequired[bool]
    augment: NotRequired[bool]
    turn: NotRequired[int]
    eval_every: NotRequired[int]
    eval_switch: NotRequired[int]
    calibration: NotRequired[bool]
    backend: str
    seed: int
    method: MethodSettings


class About(TypedDict):
    """What a run is."""

    experiment: str
    method: str
    method_settings: MethodSettings
    convention: str
    asks_task: NotRequired[bool]
    backend: str
    seed: int
    scenario: Scenario
    stream: str
    stream_hash: str
    config_hash: str


class Summary(About):
    """summary.json of a finished run. Numbers that could not be measured are null."""

    acc: float | None
    bwt: float | None
    fwt: float | None
    forgetting: float | None
    accuracy_matrix: list[list[float | None]]
    baseline: list[float | None]
    tasks: list[str]
    parameters: int
    persistent_state_bytes: list[int]
    steps: int
    versions: dict[str, str]
    seconds: float
    learning_seconds: NotRequired[float | None]
    min_acc: NotRequired[float | None]
    wc_acc: NotRequired[float | None]
    stability_gap: NotRequired[float | None]
    calibration_error: NotRequired[float | None]
    operations: NotRequired[float | None]
    own_operations: NotRequired[float | None]


class Failure(About):
    """failed.json of a run that diverged, or was refused after it had begun."""

    status: Literal["diverged", "failed"]
    error: str


class Event(TypedDict):
    """A line of metrics.jsonl; "accuracy" has the tasks' accuracies, "loss" the loss."""

    kind: Literal["loss", "accuracy"]
    step: int
    task: NotRequired[int]
    tasks: NotRequired[list[float | None]]
    loss: NotRequired[float | None]


@dataclass(frozen=True)
class Run:
    """A run that ended: what it was asked for and what came of it, as its files say."""

    config: dict[str, Any]
    summary: dict[str, Any]  # a Summary, or a Failure
    folder: Path

    @property
    def failed(self) -> bool:
        """Whether it came to nothing."""
        return "status" in self.summary

    @property
    def matrix(self) -> np.ndarray:
        """R (T, T); NaN where nothing was measured."""
        return np.array(self.summary["accuracy_matrix"], float)

    @property
    def R(self) -> np.ndarray:  # noqa: N802
        """`matrix`, by the name that `methods.Result` has for it."""
        return self.matrix

    @property
    def settings(self) -> dict[str, Any]:
        """All that `--set` could have changed, by its name there: "steps", "ewc.lam", ..."""
        return flat(self.config)

    def network(self, backend: str = "cpu") -> Network:
        """The network as its last task left it, from the run's checkpoint. Raises CheckpointError.

        Of methods that put a network of their own in its place (superposition, XdG) it is that one,
        with contexts or gates as the last task had them.
        """
        return Network.load(self.folder / CHECKPOINT, backend)

    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluations in metrics.jsonl. Raises CheckpointError."""
        path = self.folder / "metrics.jsonl"
        lines = read_lines(path, Event, _AGAIN)
        found = [line for line in lines if line["kind"] == "accuracy"]
        tasks = len(self.summary["tasks"])
        if any(len(line.get("tasks", ())) != tasks or "task" not in line for line in found):
            raise CheckpointError(f"{path} is damaged: not {tasks} tasks in each line; {_AGAIN}")
        if {line["task"] for line in found} != set(range(tasks)):  # each was tested as it ended
            raise CheckpointError(f"{path} is damaged: not all {tasks} tasks were tested; {_AGAIN}")
        return found


def read_summary(path: Path) -> dict[str, Any]:
    """A finished run's summary. Raises CheckpointError for a damaged file."""
    summary: dict[str, Any] = read_json(path, Summary, _AGAIN)
    tasks = len(summary["tasks"])
    rows = (*summary["accuracy_matrix"], summary["baseline"], summary["persistent_state_bytes"])
    if not tasks or len(rows) != tasks + 2 or any(len(row) != tasks for row in rows):
        raise CheckpointError(
            f"{path} is damaged: accuracy_matrix, baseline or persistent_state_bytes are not of "
            f"its {tasks} tasks; {_AGAIN}"
        )
    return summary


def read_config(folder: Path) -> dict[str, Any]:
    """A run's settings. Raises CheckpointError."""
    config: dict[str, Any] = read_toml(folder / CONFIG, RunConfig, DAMAGED)
    return config


def read_run(folder: Path) -> Run | None:
    """The run in its folder; None for one that has not ended. Raises CheckpointError."""
    if (folder / SUMMARY).exists():
        return Run(read_config(folder), read_summary(folder / SUMMARY), folder)
    if (folder / FAILED).exists():
        failure = read_json(folder / FAILED, Failure, _AGAIN)
        return Run(read_config(folder), failure, folder)
    return None


def load(*folders: str | Path) -> list[Run]:
    """All runs that ended, in or under `folders`: by method, strength, label and seed.

    Raises StorageError when none is finished or a folder is not there, CheckpointError for a
    damaged one.
    """
    found = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise StorageError(f"{folder} is no folder; name one that `weightspace run` wrote to")
        ended = {path.parent for name in (SUMMARY, FAILED) for path in folder.rglob(name)}
        found += [run for one in sorted(ended) if _is_run_like(one) and (run := read_run(one))]
    if all(run.failed for run in found):
        raise StorageError(f"no finished run in {', '.join(map(str, folders)) or 'no folder'}")
    order = list(METHODS)

    def place(run: Run) -> tuple[int, float, str, int]:
        settings = run.summary["method_settings"]
        name = settings["name"]
        rank = order.index(name) if name in order else len(order)
        return rank, float(settings.get("lam") or 0), run.summary["method"], run.summary["seed"]

    return sorted(found, key=place)


def _is_run_like(folder: Path) -> bool:
    """Whether a folder with a summary.json is a run's, not that of several runs or of others."""
    if (folder / FAILED).exists() or (folder / CONFIG).exists() or not (folder / SUMMARY).exists():
        return True
    known = read_json(folder / SUMMARY, dict[str, Any], _AGAIN).keys()
    return "runs" not in known and bool(known & Summary.__annotations__.keys())


# ---- whose a folder is ---------------------------------------------------------------------------

_SEED = re.compile(r"seed--?\d+")


def run_folders(out: Path) -> list[Path]:
    """The folders in OUT that hold a run's config.toml, in order."""
    return [path.parent for path in sorted(out.glob(f"*/seed-*/{CONFIG}"))
            if _SEED.fullmatch(path.parent.name)]  # fmt: skip


def _owns(out: Path) -> bool:
    return bool([read_config(folder) for folder in run_folders(out)])


def _is_run(folder: Path) -> bool:
    """Whether LABEL/seed-S is a run's own: by its config, or empty but for unfinished files."""
    if not _SEED.fullmatch(folder.name):
        return False
    if not (folder / CONFIG).is_file():
        return all(TEMPORARY.fullmatch(path.name) for path in folder.iterdir())
    try:
        return bool(read_config(folder))
    except CheckpointError:
        return False


_OF_ONE = (  # with what hooks write: `--overwrite` removes by name, and nothing else
    r"config\.toml|metrics\.jsonl|accuracy\.csv|summary\.json|failed\.json|correlations\.csv|"
    r"checkpoint\.safetensors|figures/(accuracy|matrix|pearson|spearman)\.png"
)
_OF_ALL = (
    r"summary\.json|table\.csv|report\.html|correlations\.csv|"
    r"figures/(compare|trade-off|pareto|first-task|pearson|spearman)\.png|"
    r"figures/first-task\.csv"
)
RUNS = Kind(
    "run",
    writes=re.compile(rf"[^/]+/seed--?\d+/({_OF_ONE})|{_OF_ALL}"),
    marker=re.compile(r"[^/]+/seed--?\d+/config\.toml"),
    owns=_owns,
    enters=_is_run,
)
