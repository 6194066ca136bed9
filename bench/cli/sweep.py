"""The command line of sweeps: `weightspace sweep EXPERIMENT --grid ... --random ...`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ...kernels.errors import SettingError
from .options import DataDir, check_folder_options
from .stopping import stoppable

if TYPE_CHECKING:
    from ..sweep import Executor, Outcome, SweepPlan

console = Console()

Many = list[str] | None


@stoppable()
def sweep(
    experiment: Annotated[str, typer.Argument(help="A preset: `weightspace list` shows them.")],
    grid: Annotated[
        Many, typer.Option(help="key=a,b,c: each with each of the other grids; repeatable.")
    ] = None,
    random: Annotated[
        Many,
        typer.Option(
            help="key=log:1:1000, uniform:LO:HI, int:LO:HI or choice:sgd:adam: drawn; repeatable."
        ),
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help="Draws of --random, at each grid point; default 20.")
    ] = None,
    method: Annotated[
        Many,
        typer.Option("--method", "-m", help="Repeatable; default those whose keys are swept."),
    ] = None,
    settings: Annotated[
        Many, typer.Option("--set", help="key=value, for all trials: steps=100, data=mnist.")
    ] = None,
    validation: Annotated[
        float, typer.Option(help="The share of the training images to choose on.")
    ] = 0.2,
    folds: Annotated[int, typer.Option(min=1, help="How many such shares, one by one.")] = 1,
    inner: Annotated[int, typer.Option(min=1, help="Seeds to choose on, for each share.")] = 1,
    trials: Annotated[int, typer.Option(min=1, help="Fresh seeds to test each choice on.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the first test, and of --random.")] = 0,
    backend: Annotated[str, typer.Option(help="As weightspace run takes it.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default one a core. 1: all in this one.")
    ] = None,
    threads: Annotated[bool, typer.Option("--threads", help="Workers are threads.")] = False,
    dask: Annotated[
        str | None, typer.Option(help="tcp://HOST:PORT of a Dask scheduler, instead of processes.")
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Output folder.")] = None,
    resume: Annotated[bool, typer.Option(help="Do what is missing in --out.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace what is in --out.")] = False,
) -> None:
    """Choose settings on held-out training images, then test the choices on fresh seeds."""
    from ..store.locks import held
    from ..sweep import SweepPlan, make_executor, read_axes

    check_folder_options(resume, overwrite)
    if draws is not None and not random:
        raise SettingError(f"--draws {draws}: nothing is drawn without --random")
    _check_swept(experiment)
    plan = SweepPlan(
        experiment, read_axes(grid or [], random or []), tuple(method or ()),
        tuple(settings or ()), draws or SweepPlan.draws, backend, seed, trials, validation, folds,
        inner,
    )  # fmt: skip
    folder = out or Path("runs") / f"sweep-{experiment}"
    with held(folder):
        with make_executor(dask, workers, backend, threads) as executor:
            done = _run(plan, folder, executor, data_dir, resume, overwrite)
        _tell(plan, done, folder)


def _check_swept(experiment: str) -> None:
    """Raise SettingError for an experiment that is no preset, MissingExtraError without figures."""
    from ..experiments.catalogue import find
    from ..runs.comparison import Comparison
    from ..show.style import require_matplotlib

    require_matplotlib()
    if not isinstance(find(experiment), Comparison):
        raise SettingError(f"'{experiment}' is a study of its own; a sweep takes a preset")


def _run(
    plan: SweepPlan,
    folder: Path,
    executor: Executor,
    data_dir: Path | None,
    resume: bool,
    overwrite: bool,
) -> Outcome:
    """The sweep. Raises Interrupted, saying what is kept, once its workers are gone."""
    from ...methods import Interrupted
    from ..sweep import run_sweep

    count = len(plan.candidates())
    console.print(
        f"[bold]sweep of {plan.experiment}[/]  {count} candidates of {', '.join(plan.methods)}, "
        f"{plan.folds * plan.inner} held-out run{'s' * (plan.folds * plan.inner > 1)} each; then "
        f"{plan.trials} test{'s' * (plan.trials > 1)} a choice; on {executor.where}",
        highlight=False,
    )
    try:
        done = run_sweep(plan, folder, executor, console, data_dir, resume, overwrite)
    except KeyboardInterrupt as stopped:
        executor.close(stopped=True)
        kept = len(list((folder / "trials").glob("*.json")))
        raise Interrupted(
            f"stopped with {kept} trials done; --resume continues {folder}",
            getattr(stopped, "signal", signal.SIGINT),
        ) from None
    if executor.lost:
        console.print(f"workers were lost {executor.lost} times; their trials were done again")
    return done


def _tell(plan: SweepPlan, done: Outcome, folder: Path) -> None:
    """The table, the figure, the page, and what failed."""
    from ...methods import METHODS
    from ..show.source import sourced
    from ..sweep import failures
    from ..sweep.figures import draw
    from ..sweep.page import write_page
    from ..sweep.results import at_the_edge, images, table

    told = table(plan, done.choices, done.results)
    failed = failures(done.rows)
    tests = "one fresh seed"
    if plan.trials > 1:
        tests = f"mean ± standard error of {plan.trials} fresh seeds"
    notes = [
        f"Validation: accuracy over all tasks on {plan.validation:g} of each class's training "
        f"images, held out; {plan.folds * plan.inner} such runs a candidate (folds x seeds). Test: "
        f"trained on all training images, {tests}.",
        *at_the_edge(plan, done.choices),
        *(f"{name}: {METHODS[name].convention}." for name in plan.methods),
    ]
    seeds = (row.trial.seed for row in done.rows if row.stage == "selection")
    with sourced(images(done.rows), seeds, plan.command()):
        picture = draw(plan, done.choices, done.results, folder / "figures" / "sweep.png")
    page = write_page(plan, told, picture, failed, notes, folder)
    console.print()
    console.print(told)
    for note in notes:
        console.print(f"[dim]{escape(note)}[/]", highlight=False)
    if failed:
        console.print(f"[yellow]{len(failed)} trials came to nothing:[/]")
    for line in failed:
        console.print(f"  {escape(line)}", highlight=False)
    console.print(f"\nresults  {folder}/results.csv", highlight=False)
    console.print(f"[bold]open     file://{page.resolve()}[/]", highlight=False, soft_wrap=True)
