"""The command line of experiments: `weightspace run | report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...kernels.errors import SettingError
from .options import DataDir, check_folder_options
from .stopping import stoppable

console = Console()


@stoppable()
def run(
    experiment: Annotated[str, typer.Argument(help="Its name: `weightspace list` shows them.")],
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Only this method; repeatable.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="reference, cpu, cuda; slow: cuda-host (CUDA on the CPU), c, exact.")
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
    """Run a published experiment; for a preset, learn its tasks with several methods side by side.

    The exit status is 1 where a run came to nothing.
    """
    from ..experiments.catalogue import find
    from ..runs.experiment import Request
    from ..show.style import require_matplotlib

    check_folder_options(resume, overwrite)
    if retry and not resume:
        raise SettingError("--retry is for what --resume finds; give both")
    found = find(experiment).with_settings(settings or [])
    require_matplotlib()
    request = Request(
        backend, range(seed, seed + trials), out or Path("runs") / experiment, data_dir, resume,
        overwrite, method or (), retry,
    )  # fmt: skip
    raise typer.Exit(int(found.run(request, console)))


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders of them.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page from any set of runs."""
    from ..runs.report import write_report

    command = " ".join(["weightspace report", *(folder.name for folder in folders)])
    page = write_report(folders, out, command)
    console.print(f"open file://{page.resolve()}", highlight=False, soft_wrap=True)
