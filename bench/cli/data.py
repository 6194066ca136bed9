"""The command line of data sets: `weightspace data list | fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .options import DataDir

app = typer.Typer(help="Data sets: what is here, and how to get the rest.", no_args_is_help=True)
console = Console()


@app.command(name="list")
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


@app.command(name="fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="mnist, fashion-mnist, cifar-10 or cifar-100.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where to put it.")] = Path("data"),
) -> None:
    """Download a data set from its publisher, checked against the published checksum."""
    from ..data import fetch

    folder = fetch(name, data_dir)
    console.print(f"{name} is in {folder}; use it with --data-dir {data_dir}", highlight=False)
