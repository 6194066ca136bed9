"""Study: an experiment that is not one stream through `fit`, run in parts that are kept one by one.

A study names a settings record (a frozen dataclass of plain values, which `--set` changes), the
parts that a seed is made of, and how their rows are drawn and told. The folder of a run:

    OUT/config.toml        what it was asked for; a resumed run must ask for the same
    OUT/seed-S/PART.jsonl  the rows of a part that is done; it is not done again
    OUT/seed-S/...         files that parts leave for later ones (networks)
    OUT/figures/...        from all rows
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from ...kernels.errors import SettingError, check_name
from ...nnlite.files import write_whole
from ..runs.experiment import Request
from ..show.assignments import declared, read, split_assignment
from ..show.plain import as_read, plain, to_toml, versions
from ..show.progress import make_progress
from ..show.source import sourced
from ..store.folders import DAMAGED, Kind, claimed, write_asked
from ..store.schema import read_lines, read_toml
from .page import write_page

Row = dict[str, Any]
IMAGES = "images.jsonl"  # in a seed's folder, beside the rows of its parts
_AGAIN = "remove it, and --resume does that part anew"


@dataclass
class Work:
    """What a part works with.

    folder: the seed's, for files that later parts read. progress: a bar for the part, moved with
    `advance`.
    """

    settings: Any
    seed: int
    backend: str
    data_dir: Path | None
    folder: Path
    console: Console
    progress: Progress
    bar: Any = None

    def advance(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        self.progress.update(self.bar, completed=done, total=total, note=note)

    def reads(self, images: str) -> None:
        """Keep what images a part reads, in words: the figures say it, after a resume too."""
        path = self.folder / IMAGES
        known = read_lines(path, _Images, _AGAIN) if path.exists() else []
        if {"images": images} not in known:
            lines = (json.dumps(line) + "\n" for line in (*known, {"images": images}))
            write_whole(path, "".join(lines))


class _Images(TypedDict):
    """A line of IMAGES."""

    images: str


class PartRow(TypedDict):
    """A row of any part; the part says what else is in it."""

    part: str
    seed: int


@dataclass(frozen=True)
class Part:
    """A piece of a study that is done whole: its rows are plain records."""

    name: str
    run: Callable[[Work], Iterable[Row]]


@dataclass(frozen=True)
class Study:
    """A study by name.

    settings: a frozen dataclass instance, the defaults. parts(settings): in order; a part may read
    files that earlier parts of the same seed left in `Work.folder`. draw(rows, folder): writes
    figures there and returns their paths. tell(rows): tables for the terminal and the page.
    row: the TypedDict that a kept row is held against. seeded: whether rows follow from a seed.
    asked: the assignments that are in the settings.
    """

    name: str
    summary: str
    settings: Any
    parts: Callable[[Any], Sequence[Part]]
    draw: Callable[[Sequence[Row], Path], Sequence[Path]]
    tell: Callable[[Sequence[Row]], Sequence[Table]]
    notes: Sequence[str] = field(default=())
    row: Any = PartRow
    seeded: bool = True
    asked: tuple[str, ...] = ()

    def with_settings(self, assignments: Sequence[str]) -> Study:
        """The study after `key=value` assignments; a tuple's values are parted by commas.

        Raises UnknownNameError with the nearest key, SettingError for a value of the wrong kind.
        """
        settings = self.settings
        known = declared(type(settings))
        for assignment in assignments:
            key, text = split_assignment(assignment)
            check_name(f"setting of '{self.name}'", key, known)
            value = read(key, text, known[key])
            twice = isinstance(value, tuple) and len(set(value)) < len(value)
            if twice and key not in _REPEATING:
                raise SettingError(f"--set {key}={text}: give different values")
            settings = replace(settings, **{key: value})
        return replace(self, settings=settings, asked=(*self.asked, *assignments))

    def run(self, request: Request, console: Console) -> bool:
        """Do every part that is not done, draw and tell: nothing fails and is gone on from."""
        if request.methods or request.retry:
            option = "--method" if request.methods else "--retry"
            raise SettingError(
                f"'{self.name}' has no {option}: --set says what it compares, and what is missing "
                "is done by --resume"
            )
        console.print(f"[bold]{self.name}[/]  {self.summary}", highlight=False)
        done = run_study(self, request, console)
        tables = self.tell(done.rows)
        for table in tables:
            console.print()
            console.print(table)
        for note in self.notes:
            console.print(f"[dim]{escape(note)}[/]", highlight=False)
        page = write_page(self.name, self.summary, tables, done.figures, self.notes, request.out)
        if done.figures:
            console.print(f"\nfigures  {request.out}/figures", highlight=False)
        console.print(f"[bold]open     file://{page.resolve()}[/]", highlight=False, soft_wrap=True)
        return False


_REPEATING = ("hidden", "sequence")  # settings whose values may repeat: those of others are lines


class Done(NamedTuple):
    """What a study came to."""

    rows: list[Row]
    figures: Sequence[Path]


def run_study(study: Study, request: Request, console: Console) -> Done:
    """Do what is planned and draw it. Raises the errors of its parts, SettingError for none."""
    parts = study.parts(study.settings)  # bad settings are named before OUT is touched
    if not parts:
        raise SettingError(f"'{study.name}' has no parts to run with these settings")
    if not study.seeded and list(request.seeds) != [0]:
        raise SettingError(f"'{study.name}' draws nothing at random: leave out --seed and --trials")
    with claimed(request.out, KIND, request.resume, request.overwrite):
        asked = _asked(study, request)
        write_asked(request.out / "config.toml", to_toml(asked), as_read(asked), request.resume)
        return _run_claimed(study, request, parts, console)


def _run_claimed(study: Study, request: Request, parts: Sequence[Part], console: Console) -> Done:
    """The study in its own folder."""
    rows: list[Row] = []
    with make_progress(console) as progress:
        for seed in dict.fromkeys(request.seeds):
            for part in parts:
                work = Work(
                    study.settings, seed, request.backend, request.data_dir,
                    request.out / f"seed-{seed}", console, progress,
                )  # fmt: skip
                rows += _one_part(work, part, study.row)
    with sourced(*_source(study, request)):
        figures = study.draw(rows, request.out / "figures")
    about = {"study": study.name, "rows": rows, "versions": versions(), "backend": request.backend}
    write_whole(request.out / "study.json", json.dumps(plain(about), indent=1) + "\n")
    return Done(rows, figures)


def _source(study: Study, request: Request) -> tuple[list[str], Sequence[int], str]:
    """What the figures are made from: images as parts have read them, seeds, command."""
    kept = [request.out / f"seed-{seed}" / IMAGES for seed in request.seeds]
    images = [line["images"] for path in kept if path.exists()
              for line in read_lines(path, _Images, _AGAIN)]  # fmt: skip
    named = getattr(study.settings, "data", None)  # of a run that an earlier version has begun
    seeds = request.seeds if study.seeded else ()
    return images or ([named] if named else []), seeds, request.command(study.name, study.asked)


def _one_part(work: Work, part: Part, wanted: Any) -> list[Row]:
    """The rows of a part, each a `wanted`: read where it is done, else worked out and kept."""
    path = work.folder / f"{part.name}.jsonl"
    work.bar = work.progress.add_task(f"seed {work.seed}: {part.name}", total=None, note="")
    if path.exists():
        rows = read_rows(path, wanted)
        work.advance(1, 1, "done before")
        return rows
    rows = [plain({"part": part.name, "seed": work.seed, **row}) for row in part.run(work)]
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
    work.advance(1, 1)
    if not work.console.is_terminal:
        work.console.print(f"seed {work.seed}: {part.name} done", highlight=False)
    return rows


def read_rows(path: Path, wanted: Any = PartRow) -> list[Row]:
    """The rows that a part wrote, of the type `wanted`. Raises CheckpointError for damaged ones."""
    return read_lines(path, wanted, _AGAIN)


def _asked(study: Study, request: Request) -> dict[str, Any]:
    """config.toml: everything that decides the rows but the seeds."""
    settings = plain(dataclasses.asdict(study.settings))
    return {"study": study.name, "backend": request.backend, **settings}


class Asked(TypedDict):
    """config.toml of any study."""

    study: str
    backend: str


def _owns(out: Path) -> bool:
    path = out / "config.toml"
    if not path.exists() or "study" not in read_toml(path, dict[str, Any], DAMAGED):
        return False
    return bool(read_toml(path, Asked, DAMAGED))


KIND = Kind(
    "study",
    writes=re.compile(
        r"config\.toml|study\.json|table\.csv|pairs\.csv|report\.html|figures/[^/]+\.(png|csv)|"
        r"seed--?\d+/[^/]+\.(jsonl|safetensors)"
    ),
    marker=re.compile(r"config\.toml"),
    owns=_owns,
)
