"""The first task's accuracy by step, accuracy by width and by second, each out of finished runs.

Rows are the curves, so a figure can be drawn again where the runs are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError
from ...runs import curves
from ...runs.files import load
from ...show.source import images_of, told_seeds
from ..rows import means
from ..study import Part, PartRow, Row, Study, Work


@dataclass(frozen=True)
class Runs:
    """runs: folders of finished runs, or folders of such."""

    runs: tuple[str, ...] = ()

    def folders(self) -> list[Path]:
        """The folders. Raises SettingError for none."""
        if not self.runs:
            raise SettingError("name the folders of finished runs: --set runs=FOLDER,FOLDER")
        return [Path(folder) for folder in self.runs]


@dataclass(frozen=True)
class Settings(Runs):
    """title: the figure's, instead of its own."""

    title: str = ""


@dataclass(frozen=True)
class Turning(Settings):
    """turn: a faint line every so many steps, those of a full turn or of a task."""

    turn: int = 0


class Curve(PartRow):
    """A line: its places, and at each the accuracy of every run; look: how it is drawn."""

    label: str
    x: list[float]
    accuracies: list[list[float | None]]
    look: dict[str, str | int]


def _study(
    name: str,
    summary: str,
    settings: Settings,
    read: Callable[[Sequence[Path]], curves.Curves],
    draw: Callable[..., Path],
) -> Study:
    def found(work: Work) -> Iterator[Row]:
        runs = [run.summary for run in load(*work.settings.folders()) if not run.failed]
        seeds = told_seeds(run["seed"] for run in runs)
        for images in dict.fromkeys(images_of(run["stream"]) for run in runs):
            work.reads(f"{images}, {seeds}")
        look = asdict(work.settings)
        del look["runs"]
        for label, (x, accuracies) in read(work.settings.folders()).items():
            yield {"label": label, "x": x.tolist(), "accuracies": accuracies.tolist(), "look": look}

    def parts(settings: Settings) -> Sequence[Part]:
        settings.folders()
        return [Part("curves", found)]

    def drawn(rows: Sequence[Row], folder: Path) -> Sequence[Path]:
        lines = {r["label"]: (np.array(r["x"]), np.array(r["accuracies"], float)) for r in rows}
        return [draw(lines, folder / f"{name}.png", **rows[0]["look"])]

    return Study(name, summary, settings, parts, drawn, tell, row=Curve, seeded=False)


def tell(rows: Sequence[Row]) -> list[Table]:
    """Where each line ends."""
    ends = [{"line": row["label"], "at": f"{row['x'][-1]:.6g}", "accuracy": one[-1]}
            for row in rows for one in row["accuracies"]]  # fmt: skip
    return [means("where each line ends", ends, ("line", "at"), ("accuracy",))]


FIRST_TASK = _study(
    "first-task",
    "of finished runs: accuracy on the first task during training, as .png and .csv",
    Turning(),
    curves.first_task,
    curves.draw_first_task,
)
BY_WIDTH = _study(
    "by-width",
    "of finished runs: accuracy after the last task by the width of the hidden layers",
    Settings(),
    curves.by_width,
    curves.draw_by_width,
)
PER_SECOND = _study(
    "per-second",
    "of finished runs of two tasks: accuracy by seconds of the second task's training",
    Settings(),
    curves.per_second,
    curves.draw_per_second,
)
