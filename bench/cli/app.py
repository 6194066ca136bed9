"""The command line: `weightspace run | sweep | list | report | data | warmup | bench`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...kernels.errors import SettingError, StorageError, WeightspaceError
from . import bench as cli_bench
from . import sweep as cli_sweep
from .stopping import stoppable

if TYPE_CHECKING:
    from ..runs.groups import Group
    from ..runs.run import Plan
    from ..studies import Study

app = typer.Typer(
    help="Learn tasks one after another, see what is forgotten, and measure the engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(
    help="Data sets: what is here, and how to get the rest.", no_args_is_help=True
)
app.add_typer(data_app, name="data")
app.add_typer(cli_bench.app, name="bench")
app.command(name="sweep")(cli_sweep.sweep)

console = Console()
errors = Console(stderr=True)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder that holds the data sets' files.")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"weightspace {metadata.version('weightspace')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


@app.command()
@stoppable()
def run(
    experiment: Annotated[str, typer.Argument(help="A preset: `weightspace list` shows them.")],
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Only this method; repeatable.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="reference, cpu, cuda, or cuda-host (CUDA on the CPU).")
    ] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of the first trial.")] = 0,
    trials: Annotated[int, typer.Option(min=1, help="Trials, with seeds from --seed on.")] = 1,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Output folder.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value: steps=100, stream.num_tasks=5, ewc.lam=10,30."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue what is unfinished in --out.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the run in --out.")] = False,
    retry: Annotated[
        bool, typer.Option(help="With --resume: train again what came to nothing.")
    ] = False,
) -> None:
    """Learn an experiment's tasks in sequence, with several methods side by side.

    The exit status is 1 where a run came to nothing.
    """
    from ..studies import find

    if resume and overwrite:
        raise SettingError("--resume and --overwrite contradict each other; give one of them")
    if retry and not resume:
        raise SettingError("--retry is for what --resume finds; give both")
    if study := find(experiment):
        if method or retry:
            raise SettingError(
                f"'{experiment}' has no {'--method' if method else '--retry'}: --set says what it "
                "compares, and what is missing is done by --resume"
            )
        _run_study(study.with_settings(settings or []), backend, range(seed, seed + trials),
                   out, data_dir, resume, overwrite)  # fmt: skip
        return
    from ..experiments import get_preset
    from ..runs.preset import apply_settings, variants
    from ..runs.run import Plan
    from ..show.style import require_matplotlib
    from ..store.locks import held

    require_matplotlib()
    preset = apply_settings(get_preset(experiment), settings or [])
    plan = Plan(
        preset,
        variants(preset, method or []),
        backend,
        list(range(seed, seed + trials)),
        out or Path("runs") / preset.name,
        data_dir,
        resume,
        overwrite,
        retry,
    )
    with held(plan.out):
        failed = _run_plan(plan)
    raise typer.Exit(int(failed))


def _run_plan(plan: Plan) -> bool:
    """Run, write what tells of all runs together, and tell it; whether any came to nothing."""
    from ...nnlite.files import write_whole
    from ..runs.groups import group
    from ..runs.report import failures, notes, write_report
    from ..runs.run import run as run_plan
    from ..runs.tables import aggregate, as_csv, render
    from ..studies.superposition.figures import draw_first

    runs = run_plan(plan, console)
    preset, folder = plan.preset, plan.out
    groups = group(runs).groups
    lines = aggregate(groups)
    about = {"runs": [run.summary for run in runs if not run.failed]}
    if failed := failures(groups):
        about["failed"] = [run.summary for run in runs if run.failed]
    write_whole(folder / "summary.json", json.dumps(about, indent=1) + "\n")
    write_whole(folder / "table.csv", as_csv(lines))
    page = None
    if about["runs"]:
        page = write_report([folder], folder / "report.html")
        if any(variant.method == "superposition" for variant in plan.variants):
            turn = preset.turn or preset.steps or 0
            draw_first([folder], folder / "figures" / "first-task.png", turn=turn)
    console.print()
    title = f"{preset.name}: test accuracy after all tasks"
    console.print(render(lines, title, console.width))
    _tell_correlations(groups)
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


def _tell_correlations(groups: Sequence[Group]) -> None:
    """The correlations of importances of each group whose runs measured them."""
    from ...methods.correlation import KINDS
    from ..experiments.kutalev_importances import after_last_task
    from ..runs.tables import render_correlations

    found = {
        one.label: [run.folder for run in one.runs if (run.folder / "correlations.csv").exists()]
        for one in groups
    }
    probed = {label: folders for label, folders in found.items() if folders}
    for label, folders in probed.items():
        of = f" ({label})" if len(probed) > 1 else ""
        for kind in KINDS:
            title = f"{kind} correlation of importances after the last task, by layer{of}"
            console.print(render_correlations(after_last_task(folders, kind), title))


def _run_study(
    study: Study,
    backend: str,
    seeds: range,
    out: Path | None,
    data_dir: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """`weightspace run` for an experiment that is not one stream through `fit`."""
    from ..show.style import require_matplotlib
    from ..studies import StudyPlan, run_study
    from ..studies.page import write_page

    require_matplotlib()
    folder = out or Path("runs") / study.name
    console.print(f"[bold]{study.name}[/]  {study.summary}", highlight=False)
    plan = StudyPlan(study, backend, seeds, folder, data_dir, resume, overwrite)
    done = run_study(plan, console)
    for table in study.tell(done.rows):
        console.print()
        console.print(table)
    for note in study.notes:
        console.print(f"[dim]{escape(note)}[/]", highlight=False)
    page = write_page(study, done.rows, done.figures, folder)
    console.print(f"\nfigures  {folder}/figures", highlight=False)
    console.print(f"[bold]open     file://{page.resolve()}[/]", highlight=False, soft_wrap=True)


@app.command(name="list")
def list_everything(data_dir: DataDir = None) -> None:
    """Show the experiments, methods, backends and data sets there are."""
    from ...kernels import available
    from ...methods import METHODS
    from ..experiments import PRESETS
    from ..studies import STUDIES

    table = Table(title="experiments", title_justify="left", box=None, show_header=False)
    summaries = {name: preset.summary for name, preset in PRESETS.items()}
    summaries |= {name: study.summary for name, study in STUDIES.items()}
    for name, summary in summaries.items():
        table.add_row(f"[bold]{name}[/]", summary)
    console.print(table)
    table = Table(title="\nmethods", title_justify="left", box=None, show_header=False)
    for name, method in METHODS.items():
        table.add_row(f"[bold]{name}[/]", method.convention)
    console.print(table)
    console.print(f"\nbackends here: {', '.join(available(study=True))}\n", highlight=False)
    data_list(data_dir)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page from any set of runs."""
    from ..runs.report import write_report

    page = write_report(folders, out)
    console.print(f"open file://{page.resolve()}", highlight=False, soft_wrap=True)


@app.command()
def warmup() -> None:
    """Compile the cpu kernels ahead and keep them on disk, so that first steps start at once."""
    from ...kernels import get_backend
    from ..speed.warmup import warmup as compile_all

    get_backend("cpu")  # says which extra is missing, before anything else does
    console.print("compiling the cpu kernels (float32):")
    seconds = compile_all(console)
    console.print(f"done in {seconds:.1f} s", highlight=False)


@data_app.command(name="list")
def data_list(data_dir: DataDir = None) -> None:
    """Show the data sets and where they were found."""
    from ..data import describe

    table = Table(title="data sets", title_justify="left", header_style="bold")
    for name in ("name", "classes", "published images", "on this machine"):
        table.add_column(name)
    for row in describe(data_dir):
        train, test = row.published
        where = row.where or f"[dim]no; weightspace data fetch {row.name}[/]"
        if row.where is None and row.name == "mnist-demo":
            where = "[dim]no; pip install 'weightspace\\[demo]'[/]"
        table.add_row(row.name, str(row.num_classes), f"{train:,} + {test:,}", where)
    console.print(table)


@data_app.command(name="fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="mnist, fashion-mnist, cifar-10 or cifar-100.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where to put it.")] = Path("data"),
) -> None:
    """Download a data set from its publisher, checked against the published checksum."""
    from ..data import fetch

    folder = fetch(name, data_dir)
    console.print(f"{name} is in {folder}; use it with --data-dir {data_dir}", highlight=False)


def main() -> None:
    """The console script: what a user can mend ends in one clear line, and status 2."""
    try:
        app()
    except WeightspaceError as wrong:
        _fail(str(wrong))
    except MemoryError as wrong:
        _fail(f"there is not enough memory: {str(wrong) or 'an allocation failed'}")
    except OSError as wrong:
        _fail(str(StorageError(f"{wrong.strerror or wrong}: {wrong.filename or 'a file'}")))


def _fail(text: str) -> None:
    errors.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)
    sys.exit(2)
