"""The command line of committed results: `weightspace results keep | write | again | list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ...kernels.errors import SettingError
from .options import DataDir
from .stopping import stoppable

app = typer.Typer(
    help="What is committed of finished runs, and the pages told from it (in a checkout).",
    no_args_is_help=True,
)
console = Console()


@app.command()
def keep(
    name: Annotated[str, typer.Argument(help="The name to keep it under, in bench/results.")],
    run: Annotated[list[Path], typer.Argument(help="Folders of finished runs, or of a study.")],
    command: Annotated[
        list[str], typer.Option("--command", help="What made it, as it is typed; repeatable.")
    ],
    commit: Annotated[
        str | None, typer.Option(help="The commit that ran it, if it is not this one.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A key to leave out of every row; repeatable.")
    ] = None,
) -> None:
    """Keep the rows of a run, every seed in full precision, with what made them."""
    from ..reproduction import kept
    from ..speed.machine import git_state

    found, dirty = git_state(kept.RESULTS)
    if commit is None and (dirty or found is None):
        raise SettingError("the checkout differs from its commit: say by --commit which one ran")
    done = kept.keep(name, run, command, commit or str(found), without or ())
    console.print(f"{len(done.rows)} rows of seeds {done.made['seeds']} kept as {name}")


@app.command(name="list")
def list_kept() -> None:
    """Show what is kept: rows, seeds, commit, commands."""
    from ..reproduction import kept

    for name in kept.names():
        one = kept.read(name)
        made = one.made
        console.print(
            f"[bold]{name}[/]  {len(one.rows)} rows, seeds {made['seeds']}, {made['commit'][:7]}",
            highlight=False,
        )
        for command in made["commands"]:
            console.print(f"  {escape(command)}", highlight=False, soft_wrap=True)


@app.command()
def draw(
    name: Annotated[str, typer.Argument(help="A kept run of three methods or more.")],
) -> None:
    """Draw the accuracy of kept runs against what their methods keep: NAME/pareto.png."""
    from ..reproduction.pictures import draw as draw_kept
    from ..show.style import require_matplotlib

    require_matplotlib()
    console.print(f"written: {draw_kept(name)}", highlight=False, soft_wrap=True)


@app.command()
def write() -> None:
    """Write docs/reproduction.md, and the numbers between marks in README.md and docs, anew."""
    from ...nnlite.files import write_whole
    from ..reproduction.claims import PAPERS
    from ..reproduction.kept import RESULTS
    from ..reproduction.told import pages_of

    for path, text in pages_of(RESULTS.parents[1], PAPERS).items():
        if not path.is_file() or path.read_text() != text:
            write_whole(path, text)
            console.print(f"written: {path}", highlight=False)


@app.command()
@stoppable()
def again(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all without.")] = None,
    data_dir: DataDir = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/again"),
) -> None:
    """Run the commands of kept results on their first seed: are all numbers the same bits?

    A command that is done is not run again. The exit status is 1 where a number differs.
    """
    from ..reproduction import kept
    from ..reproduction.again import run_again

    wrong = 0
    for name in names or kept.names():
        one = kept.read(name)
        for number, command in enumerate(one.made["commands"]):
            found = run_again(one, command, out / name / str(number), data_dir)
            wrong += bool(found)
            console.print(f"{name}: {'the same' if not found else 'DIFFERS'}: {escape(command)}",
                          highlight=False, soft_wrap=True)  # fmt: skip
            for line in found:
                console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    raise typer.Exit(int(wrong > 0))
