"""`weightspace export`: a network as files that other machines and other software run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...kernels.errors import SettingError, check_name
from .options import DataDir

console = Console()
TARGETS = ("c",)
_TAIL = re.compile(r"tail:([1-9]\d*)")
CHECKPOINT = "checkpoint.safetensors"


def export(
    network: Annotated[
        str, typer.Argument(help="Widths, a model, a preset, a run's folder, a file.")
    ],
    to: Annotated[str, typer.Option(help="c")] = "c",
    out: Annotated[Path, typer.Option(help="The folder that the files go into.")] = Path(
        "exported"
    ),
    name: Annotated[str, typer.Option(help="What all names in C begin with.")] = "net",
    learn: Annotated[
        str | None, typer.Option(help="all, or tail:K: what goes on learning there.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Samples in a learning step.")] = 8,
    optimizer: Annotated[str, typer.Option(help="sgd, momentum, adam or rmsprop.")] = "sgd",
    lr: Annotated[float | None, typer.Option(help="Its rate (as elsewhere, if not given).")] = None,
    method: Annotated[
        str, typer.Option("--method", "-m", help="naive, ewc, si, mas, packnet or replay.")
    ] = "naive",
    lam: Annotated[float, typer.Option(help="Strength of ewc, si or mas.")] = 1.0,
    memories: Annotated[int, typer.Option(min=1, help="Samples that replay remembers.")] = 64,
    contexts: Annotated[
        str | None, typer.Option(help="Kind of a superposed network's contexts: binary, ...")
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, help="How many contexts go along.")] = 10,
    data_dir: DataDir = None,
) -> None:
    """Print a network as one C99 file and its header, which predicts and, if asked, learns."""
    check_name("target of an export", to, TARGETS)
    net = find(network, data_dir)
    learning = _learning(learn, batch, optimizer, lr, method, lam, memories)
    _to_c(net, out, name, learning, _contexts(net, contexts, tasks))


def find(network: str, data_dir: Path | None) -> Any:
    """The network that a command line names; a run's folder stands for its checkpoint."""
    from ...nnlite.checkpoint import load_arrays
    from ...nnlite.sparse import KIND, SparseNetwork
    from ..explain import subject

    path = Path(network)
    if path.is_dir():
        path = path / CHECKPOINT
        if not path.is_file():
            raise SettingError(f"there is no {CHECKPOINT} in {network}: give a run's own folder")
    if path.is_file():
        network = str(path)
        if load_arrays(path)[1].get("kind") == KIND:
            return SparseNetwork.load(path, "reference")
    return subject.find(network, "reference", None, data_dir).net


def _learning(
    learn: str | None, batch: int, optimizer: str, lr: float | None, method: str, lam: float,
    memories: int,
) -> Any:  # fmt: skip
    """Settings of what is learned; None where nothing is. Raises SettingError."""
    from ...nnlite.export.c import Learning
    from ...nnlite.optim import get_optimizer

    if learn is None:
        if method != "naive":
            raise SettingError(f"--method {method} is for what learns: add --learn all or tail:1")
        return None
    tail = _TAIL.fullmatch(learn)
    if learn != "all" and tail is None:
        raise SettingError(f"--learn {learn}: give all, or tail:K for the last K layers")
    rate = {} if lr is None else {"lr": lr}
    if optimizer == "momentum":
        chosen = get_optimizer("sgd", momentum=0.9, **rate)
    else:
        chosen = get_optimizer(optimizer, **rate)
    return Learning(
        None if tail is None else int(tail.group(1)), batch, chosen, method, lam,
        memories=memories,
    )  # fmt: skip


def _contexts(net: Any, kind: str | None, tasks: int) -> list[dict[str, Any]]:
    """The contexts of a superposed network, a task each."""
    if kind is None:
        return []
    from ...methods import Superposition

    method = Superposition(kind)
    return [method.contexts(net, number) for number in range(tasks)]


def _to_c(net: Any, out: Path, name: str, learning: Any, contexts: list[dict[str, Any]]) -> None:
    from ...nnlite.export.c import export as to_c

    made = to_c(net, name, learning, contexts)
    header, source = made.write(out)
    flash, ram = f"{made.weights_bytes:,}", f"{made.arena_bytes:,}"
    console.print(f"[bold]{name}[/]: {flash} bytes of weights (flash), {ram} of arena (RAM)",
                  highlight=False)  # fmt: skip
    table = Table(box=None)
    for column in ("of the arena", "bytes", ""):
        table.add_column(column, justify="right" if column == "bytes" else "left")
    for region, nbytes, says in made.regions:
        table.add_row(escape(region), f"{nbytes:,}", escape(says))
    console.print(table)
    console.print(f"{escape(str(header))}, {escape(str(source))}", highlight=False, soft_wrap=True)
    console.print(f"gcc -std=c99 -O2 -ffp-contract=off -c {escape(str(source))}", style="dim",
                  highlight=False, soft_wrap=True)  # fmt: skip
