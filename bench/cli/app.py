"""The command line: `weightspace run | sweep | explain | export | report | results | bench` ..."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...kernels.errors import StorageError, WeightspaceError
from . import bench, data, exchange, explain, export, results, run, sweep
from .options import DataDir

app = typer.Typer(
    help="Learn tasks one after another, see what is forgotten, and measure the engine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(results.app, name="results")
app.command(name="run")(run.run)
app.command(name="sweep")(sweep.sweep)
app.command(name="report")(run.report)
app.command(name="explain")(explain.explain)
app.command(name="export")(export.export)
app.command(name="import")(exchange.import_)

console = Console()
errors = Console(stderr=True)


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


@app.command(name="list")
def list_everything(data_dir: DataDir = None) -> None:
    """Show the experiments, methods, backends and data sets there are."""
    from ...kernels import available
    from ...methods import METHODS
    from ..experiments.catalogue import EXPERIMENTS

    table = Table(title="experiments", title_justify="left", box=None, show_header=False)
    for name, experiment in EXPERIMENTS.items():
        table.add_row(f"[bold]{name}[/]", experiment.summary)
    console.print(table)
    table = Table(title="\nmethods", title_justify="left", box=None, show_header=False)
    for name, method in METHODS.items():
        table.add_row(f"[bold]{name}[/]", method.convention)
    console.print(table)
    console.print(f"\nbackends here: {', '.join(available(study=True))}\n", highlight=False)
    data.data_list(data_dir)


@app.command()
def warmup() -> None:
    """Compile the cpu kernels ahead and keep them on disk, so that first steps start at once."""
    from ...kernels import get_backend
    from ..speed.warmup import warmup as compile_all

    get_backend("cpu")  # says which extra is missing, before anything else does
    console.print("compiling the cpu kernels (float32):")
    seconds = compile_all(console)
    console.print(f"done in {seconds:.1f} s", highlight=False)


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
