"""`weightspace export`: a network as files that other machines and other software run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...kernels.errors import SettingError, check_name
from . import exchange
from . import export_options as asked
from .options import DataDir

console = Console()
TARGETS = ("c", "onnx", "torch")
WEIGHTS = ("float", "int8")
_TAIL = re.compile(r"tail:([1-9]\d*)")


def export(
    network: asked.Named,
    to: asked.Target = "c",
    out: asked.Out = Path("exported"),
    name: asked.Name = "net",
    learn: asked.Learn = None,
    batch: asked.Batch = 8,
    optimizer: asked.OptimizerName = "sgd",
    lr: asked.Rate = None,
    method: asked.MethodName = "naive",
    lam: asked.Lam = 1.0,
    memories: asked.Memories = 64,
    contexts: asked.Contexts = None,
    tasks: asked.Tasks = 10,
    task: asked.OneTask = 0,
    fold: asked.Fold = False,
    direct: asked.Direct = False,
    weights: asked.Weights = "float",
    samples: asked.Samples = None,
    percentile: asked.Percentile = 100.0,
    report: asked.Report = False,
    opset: asked.Opset = 17,
    names: asked.Names = "sequential",
    data_dir: DataDir = None,
) -> None:
    """Print a network as C99, which predicts and, if asked, learns; or write ONNX, or for torch."""
    check_name("target of an export", to, TARGETS)
    check_name("kind of weights", weights, WEIGHTS)
    net = find(network, data_dir)
    if to != "c":
        _check_predicts(to, net, learn, method)
        net = net if contexts is None else exchange.under_contexts(net, contexts, task)
        path = exchange.target(out, to, name)
        given = exchange.samples_of(samples, net, data_dir) if weights == "int8" else None
        if to == "onnx":
            exchange.to_onnx(net, path, fold, opset, given)
        else:
            exchange.to_torch(net, path, names)
        return
    learning = _learning(learn, batch, optimizer, lr, method, lam, memories)
    told = _contexts(net, contexts, tasks)
    if weights == "int8":
        given = exchange.samples_of(samples, net, data_dir)
        made = _int8(net, name, learning, told, given, percentile)
    else:
        made = _float(net, name, learning, told, fold, not direct)
    _show(made, out)
    if report:
        _weigh(made, net, 0 if learning is None else learning.batch)


def _check_predicts(to: str, net: Any, learn: str | None, method: str) -> None:
    """Raise SettingError for what --to c alone can do."""
    from ...nnlite import Network

    if learn is not None or method != "naive":
        raise SettingError(f"--to {to} writes what predicts: leave out --learn and --method")
    if not isinstance(net, Network):
        raise SettingError(f"--to {to} is for ordinary networks; this is a {type(net).__name__}")


def find(network: str, data_dir: Path | None) -> Any:
    """The network that a command line names; a run's folder stands for its checkpoint."""
    from ...nnlite.checkpoint import load_arrays
    from ...nnlite.sparse import KIND, SparseNetwork
    from ..explain import subject
    from ..runs.files import CHECKPOINT

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


def _float(
    net: Any, name: str, learning: Any, contexts: list[dict[str, Any]], fold: bool, winograd: bool
) -> Any:  # fmt: skip
    from ...nnlite import Network
    from ...nnlite.export.c import export as to_c
    from ...nnlite.export.fold import fold as folded

    if fold:
        if learning is not None or not isinstance(net, Network):
            raise SettingError("--fold is for what only predicts: leave out --learn, or --fold")
        net = folded(net)
    return to_c(net, name, learning, contexts, winograd=winograd)


def _int8(
    net: Any, name: str, learning: Any, contexts: list[dict[str, Any]], samples: Any,
    percentile: float,
) -> Any:  # fmt: skip
    from ...nnlite import Network
    from ...nnlite.export.int8 import Calibration, export_int8

    if not isinstance(net, Network) or contexts:
        raise SettingError(
            "--weights int8 is for ordinary networks; a sparse one, and contexts that change by "
            "task, are exported in float"
        )
    return export_int8(net, samples, name, learning, Calibration(percentile))


def _show(made: Any, out: Path) -> None:
    """Write the files, and say what they take."""
    header, source = made.write(out)
    flash, ram = f"{made.weights_bytes:,}", f"{made.arena_bytes:,}"
    console.print(f"[bold]{made.name}[/]: {flash} bytes of weights (flash), {ram} of arena (RAM)",
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


def _weigh(made: Any, net: Any, batch: int) -> None:
    """Say what the export takes on each emulated target. Raises SettingError for another name."""
    import math

    from ..embedded import weigh

    if made.name != weigh.NAME:
        raise SettingError(f"--report builds what is called '{weigh.NAME}': leave out --name")
    outputs = net.num_outputs if hasattr(net, "num_outputs") else net.layers[-1].linear.units
    sizes = weigh.Sizes(math.prod(net.input_shape), outputs, batch)
    found = list(weigh.weigh(made, sizes))
    if not found:
        raise SettingError(
            "--report found no emulated target: apt-get install gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi qemu-system-arm, for one"
        )
    console.print(weigh.table(found, made.weights_bytes))
    for each in found:
        if each.reason:
            console.print(f"not on {each.target}: {escape(each.reason)}", style="dim",
                          highlight=False, soft_wrap=True)  # fmt: skip
