"""`weightspace explain`: what a network's verb does, call by call."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ...kernels.errors import SettingError, check_name
from .options import DataDir

console = Console()
UNTIMED = ["--no-times"]


def explain(
    network: Annotated[str, typer.Argument(help="Widths (784-256-10), a model, preset or file.")],
    verb: Annotated[str, typer.Option(help="train, forward, jvp, fisher, ...")] = "train",
    batch: Annotated[int, typer.Option(min=1, help="Samples; those of --values, if given.")] = 64,
    method: Annotated[str | None, typer.Option("--method", "-m", help="Of a preset.")] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(help="sgd, adam, rmsprop or adadelta, for train (the preset's, or adam)."),
    ] = None,
    directions: Annotated[
        int | None, typer.Option(min=1, help="Cotangents, for accumulate (1).")
    ] = None,
    power: Annotated[
        int | None, typer.Option(help="1 or 2, of the gradients that accumulate sums (2).")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="true or empirical, for fisher (true).")] = None,
    mode: Annotated[str | None, typer.Option(help="train or eval, where a verb has both.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="reference, cpu or exact (cpu, where it can compute).")
    ] = None,
    times: Annotated[bool, typer.Option(help="Measure each call, and the machine.")] = True,
    values: Annotated[
        Path | None, typer.Option(help="An .npz with x (and y, v, u): show what each call wrote.")
    ] = None,
    page: Annotated[bool, typer.Option("--html", help="Write a page: the arena, sources.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The page's file (runs/explain/NAME.html); implies --html.")
    ] = None,
    links: Annotated[str, typer.Option(help="Where the page's links to sources begin.")] = "",
    data_dir: DataDir = None,
) -> None:
    """Print what a verb does: kernels, arrays, flops, bytes, time, and share of the roofline."""
    from ...kernels import available
    from ...nnlite.program import record
    from ..explain import subject
    from ..explain import values as numbers

    backend = backend or ("cpu" if "cpu" in available() else "reference")
    if backend.startswith("cuda"):
        raise SettingError("explain runs calls one by one on the host: --backend cpu or reference")
    found = subject.find(network, backend, method, data_dir, dtype)
    given: dict[str, Any] = {} if values is None else numbers.read(values, found.net)
    count = len(given["x"]) if given else batch
    asked = {"mode": mode, "optimizer": optimizer, "directions": directions, "power": power,
             "kind": kind}  # fmt: skip
    options = _options(verb, asked, found)
    program = record(found.net, verb, count, **options)
    shown = _show(found, program, given, times, values, links)
    if page or out is not None:
        command = _command(
            network, times, verb=verb, batch=count, method=method, **asked,
            dtype=dtype, backend=backend, values=values and values.name,
        )  # fmt: skip
        _write_page(out or Path("runs") / "explain" / f"{Path(network).stem}.html", command, shown)


def _show(
    found: Any, program: Any, given: dict[str, Any], timed: bool, values: Path | None, links: str
) -> Any:
    """Print the table, what it comes to and, with values, what each call wrote; returns it all."""
    from ..explain import lines, page, table, timing
    from ..explain import values as numbers

    net = found.net
    calls = lines.lines(program, lines.Names(program, net.layout))
    arrays, drawn = numbers.drawn(program, net, given)
    took = timing.measure(program, net.like(), arrays) if timed else None
    shares, notes = _shares(calls, took, program) if took else ([], [])
    told = [*table.summary(program, calls, net.num_parameters, took), *notes]
    if drawn and values is not None:
        told.append(f"{', '.join(drawn)} drawn from seed 0: {values.name} has none")
    console.print(escape(found.said), style="bold", highlight=False)
    console.print(table.table(program, calls, took, shares))
    for text in told:
        console.print(escape(text), style="dim", highlight=False)
    walked = list(numbers.walk(program, net, arrays, calls)) if values is not None else []
    for line, name, said in walked:
        heading = f"[bold]{line.number} {line.kernel}[/]  {escape(name)}"
        console.print(f"{heading}\n    {escape(said)}", highlight=False)
    layers = [type(layer).__name__ for layer in net.layers]
    title = f"{found.said}: {program.verb} of {program.batch}"
    return page.Shown(title, told, program, calls, layers, took, shares, walked, links)


def _command(network: str, times: bool, **options: Any) -> str:
    """The command that says the same again, without what is as ever."""
    usual = {"verb": "train", "batch": 64, "backend": "cpu"}
    given = {k: v for k, v in options.items() if v is not None and v != usual.get(k)}
    words = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    return shlex.join(["weightspace", "explain", network, *words, *([] if times else UNTIMED)])


def _options(verb: str, asked: dict[str, Any], found: Any) -> dict[str, Any]:
    """What the verb takes beside a batch. Raises SettingError for what it does not take."""
    from ...nnlite.optim import Adam, get_optimizer
    from ...nnlite.program import VERBS

    check_name("verb", verb, VERBS)
    takes = inspect.signature(VERBS[verb]).parameters
    options = {name: given for name, given in asked.items() if given is not None}
    for name in options.keys() - takes.keys():
        able = ", ".join(v for v, f in VERBS.items() if name in inspect.signature(f).parameters)
        raise SettingError(f"--{name} is not for verb '{verb}'; it is for {able}")
    if "mode" in options:
        check_name("mode", options["mode"], ("train", "eval"))
    if "optimizer" in options:
        options["optimizer"] = get_optimizer(options["optimizer"])
    elif "optimizer" in takes:
        options["optimizer"] = found.optimizer or Adam()
    return options


def _shares(calls: Any, took: Any, program: Any) -> tuple[list[float | None], list[str]]:
    """Each call's share of the roof, and what that is; none but on the cpu, whose roof it is."""
    from ..explain import table, timing
    from ..speed import machine

    if program.backend != "cpu":
        return [], []
    console.print("measuring what this machine can do ...", style="dim")
    here, dtype = machine.measure(quick=True), program.dtype
    shares = [timing.roof_share(here, line, took.calls[line.number], dtype) for line in calls]
    return shares, [table.roof_told(here, dtype)]


def _write_page(target: Path, command: str, shown: Any) -> None:
    from ..explain.page import write
    from ..speed.machine import versions

    target.parent.mkdir(parents=True, exist_ok=True)
    write(target, command, shown, versions())
    console.print(f"page in {escape(str(target))}", highlight=False, soft_wrap=True)
