"""The command line of the workbench: `weightspace bench machine | kernels | steps | ...`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ...kernels.errors import SettingError

app = typer.Typer(help="Measure this machine, and the engine on it.", no_args_is_help=True)
console = Console()

FOLDER = Path("runs/bench")  # where results go unless --out says otherwise

Quick = Annotated[bool, typer.Option("--quick", help="Fewer sizes and samples.")]
Out = Annotated[
    Path | None, typer.Option(help="The JSON-lines file to write; default runs/bench/KIND.jsonl.")
]
Append = Annotated[bool, typer.Option("--append", help="Add to the file: another run of many.")]
Peer = Annotated[
    list[str] | None, typer.Option("--peer", "-p", help="torch, jax, blas, ...; repeatable.")
]
Busy = Annotated[int, typer.Option(help="How many busy loops to run beside, a core each.")]
Before = Annotated[
    Path | None, typer.Option(help="Another checkout: its engine is timed beside, as a peer.")
]


def _store(kind: str, made: Iterable[Mapping[str, Any]], out: Path | None, append: bool) -> Path:
    from ..speed import records

    path = out or FOLDER / f"{kind}.jsonl"
    (records.append if append else records.write)(path, made)
    console.print(f"[dim]results in {path}[/]", highlight=False, soft_wrap=True)
    return path


@app.command(name="machine")
def bench_machine(quick: Quick = False, out: Out = None, append: Append = False) -> None:
    """Measure the peaks of this machine: arithmetic, memory and cache bandwidth, BLAS."""
    from ..speed import machine, records

    with console.status("measuring"):
        found = machine.measure(quick)
    machine.show(found, console)
    _store("machine", [records.record("machine", found)], out, append)


@app.command(name="kernels")
def bench_kernels(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Kernels, the start of their names, or families (dense, update, ...)."),
    ] = None,
    backend: Annotated[
        list[str] | None, typer.Option("--backend", "-b", help="Repeatable; default all.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", "-s", help="one, small, medium, large or memory; repeatable."),
    ] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float32 or float64.")] = None,
    threads: Annotated[int | None, typer.Option(help="1, or all cores (default).")] = None,
    quick: Quick = False,
    out: Out = None,
    append: Append = False,
) -> None:
    """Hold every kernel against the machine's roofline; wrong ones are named, not timed.

    The exit status is 1 where a kernel is wrong.
    """
    from ..speed import kernels

    selection = kernels.Selection(names, backend, size, dtype, quick)
    rows, here = kernels.run(selection, quick, threads, console)
    _store("kernels", kernels.as_records(rows, here), out, append)
    raise typer.Exit(kernels.exit_status(rows))


@app.command(name="steps")
def bench_steps(
    operation: Annotated[
        list[str] | None,
        typer.Option(
            "--operation", "-o", help="train-step, jvp, conv-forward, ...; repeatable, default all."
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            "-s",
            help="784-300-100-10x64 (an MLP's widths, batch), conv32-32@16x64 (maps, maps, height, "
            "batch), resnet20x128 or fip-cnnx128; repeatable, default all.",
        ),
    ] = None,
    peer: Peer = None,
    backend: Annotated[
        str, typer.Option("--backend", "-b", help="cpu, or cuda: all peers on the GPU.")
    ] = "cpu",
    threads: Annotated[
        int, typer.Option(help="Cores that every peer is kept to; 0 for all (default).")
    ] = 0,
    busy: Busy = 0,
    before: Before = None,
    quick: Quick = False,
    out: Out = None,
    append: Append = False,
) -> None:
    """Time whole operations against torch, JAX and BackPACK, each in a process of its own.

    On MLPs, single convolutions and convolutional networks:
    weightspace bench steps --size resnet20x128 --operation jvp
    """
    from ..speed import steps

    rows = steps.run(
        operation, size, peer, quick, console, backend, threads=threads, busy=busy, before=before
    )
    _store("steps", steps.as_records(rows), out, append)
    raise typer.Exit(steps.exit_status(rows))


@app.command(name="products")
def bench_products(
    operation: Annotated[
        list[str] | None,
        typer.Option("--operation", "-o", help="product-nt, -nn or -tn; repeatable, default all."),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", "-s", help="64x300x784: samples, outputs, inputs; repeatable."),
    ] = None,
    peer: Peer = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    threads: Annotated[
        list[int] | None,
        typer.Option(help="Cores for every peer, 0 for all; repeatable, default 1 and 0."),
    ] = None,
    busy: Busy = 0,
    before: Before = None,
    quick: Quick = False,
    out: Out = None,
    append: Append = False,
) -> None:
    """Time dense products against OpenBLAS, MKL, BLIS, torch and JAX, and the peak.

    The exit status is 1 where a peer is wrong.
    """
    from ..speed import products, steps

    rows = products.run(
        operation, size, peer, dtype, threads, quick, console, busy=busy, before=before
    )
    _store("products", steps.as_records(rows), out, append)
    raise typer.Exit(steps.exit_status(rows))


@app.command(name="scaling")
def bench_scaling(
    names: Annotated[
        list[str] | None, typer.Argument(help='Costs or axes: Fisher, width, "JVP / depth".')
    ] = None,
    quick: Quick = False,
    out: Out = None,
    append: Append = False,
) -> None:
    """Fit how costs grow with width, depth, batch, tasks and threads.

    The exit status is 1 where one grows faster than its arithmetic.
    """
    from ..speed import machine, scaling

    rows = scaling.run(names, quick, console)
    _store("scaling", scaling.as_records(rows, machine.describe()), out, append)
    raise typer.Exit(scaling.exit_status(rows))


@app.command(name="startup")
def bench_startup(quick: Quick = False, out: Out = None, append: Append = False) -> None:
    """Time imports and first steps, cold and cached; weigh the wheel and the extras."""
    from ..speed import machine, startup

    rows = startup.run(quick, console)
    _store("startup", startup.as_records(rows, machine.describe()), out, append)


@app.command(name="training")
def bench_training(
    network: Annotated[str, typer.Option(help="A network of the recipe book.")] = "resnet20",
    data: Annotated[str, typer.Option(help="The data set.")] = "cifar-10",
    data_dir: Annotated[str | None, typer.Option("--data-dir")] = None,
    normalise: Annotated[str, typer.Option(help="cifar, mnist or symmetric.")] = "cifar",
    epochs: Annotated[int, typer.Option()] = 30,
    batch: Annotated[int, typer.Option()] = 128,
    lr: Annotated[float, typer.Option()] = 0.1,
    seeds: Annotated[int, typer.Option(help="How many, from 0.")] = 3,
    engine: Annotated[
        list[str] | None, typer.Option("--engine", "-e", help="weightspace, torch; default both.")
    ] = None,
    augment: Annotated[bool, typer.Option(help="Random crops and flips.")] = True,
    out: Out = None,
    append: Append = False,
) -> None:
    """Train one network with weightspace and with torch: same weights, batches and recipe."""
    from ..speed import training

    recipe = training.Recipe(network, data, data_dir, normalise, epochs, batch, lr, augment=augment)
    found = training.run(recipe, seeds, tuple(engine or training.ENGINES), console)
    _store("training", found, out, append)


@app.command(name="int8")
def bench_int8(
    names: Annotated[
        list[str] | None, typer.Argument(help="mnist-mlp, fashion-fip-cnn, ...; default all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many, from 0.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of all; default each its own.")] = None,
    calibrate: Annotated[int, typer.Option(min=1, help="Training images to calibrate by.")] = 1000,
    percentile: Annotated[float, typer.Option(help="Of ranges; 100: least and largest.")] = 100.0,
    data_dir: Annotated[str | None, typer.Option("--data-dir")] = None,
    out: Out = None,
    append: Append = False,
) -> None:
    """Train networks, put them into int8, and count the points of accuracy that costs.

    The exit status is 1 where it is more than 0.3, or where C and NumPy have other bits.
    """
    from ..speed import int8

    rows = int8.run(names, seeds, epochs, calibrate, percentile, data_dir, console=console)
    _store("int8", int8.as_records(rows), out, append)
    raise typer.Exit(int8.exit_status(rows))


@app.command(name="embedded")
def bench_embedded(
    model: Annotated[
        list[str] | None, typer.Option(help="784-64-10, cnn-8-16, ...; repeatable, default all.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="m4f, rv32imac, atmega, gcc, ...; repeatable."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option("--peer", "-p", help="emx, emlearn, bakenn; repeatable; or none."),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Test images a target (1,000; m4f: 10,000).")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Learning steps a target (200; soft float: 20).")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Where it goes, as PNG or SVG.")] = None,
    data_dir: Annotated[str | None, typer.Option("--data-dir")] = None,
    quick: Quick = False,
    out: Out = None,
    append: Append = False,
) -> None:
    """Build exported networks for emulated small machines, run and weigh them, beside peers.

    What is not installed is named. The exit status is 1 where an answer is wrong.
    """
    from ..embedded import measure, report
    from ..embedded import run as embedded

    rows, tools = embedded.run(
        model, target, peer, embedded.amounts(quick, images, steps), data_dir, console
    )
    path = _store("embedded", report.as_records(rows, tools), out, append)
    if picture is not None:
        from ..speed import records
        from ..speed.record_kinds import KINDS

        found = [one for one in records.read(path, KINDS) if one["kind"] == "embedded"]
        report.picture(found, picture)
        console.print(f"[dim]picture in {picture}[/]", highlight=False, soft_wrap=True)
    raise typer.Exit(measure.worst(rows))


@app.command(name="resources")
def bench_resources(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Source files (dense, conv) or the start of a kernel's name."),
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option("--arch", help="sm_75, sm_80, sm_90; repeatable, default all."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Make these the committed figures.")
    ] = False,
) -> None:
    """Compile the CUDA kernels, without a GPU: registers, shared memory, spills, blocks.

    The exit status is 1 where they differ from bench/results/cuda-resources.json.
    """
    from ..speed import resources as cuda_resources

    raise typer.Exit(cuda_resources.run(names, architecture, write, console))


@app.command(name="compare")
def bench_compare(
    a: Annotated[Path, typer.Argument(help="Results before.")],
    b: Annotated[Path, typer.Argument(help="Results after.")],
    threshold: Annotated[
        float, typer.Option(help="How much slower counts, where it is surely more.")
    ] = 0.1,
) -> None:
    """Say what became slower, faster or wrong from A to B, beyond the noise.

    The exit status is 1 where something is slower or broken.
    """
    from ..speed import before_after as compare

    raise typer.Exit(compare.exit_status(compare.run(a, b, threshold, console)))


@app.command(name="report")
def bench_report(
    files: Annotated[list[Path], typer.Argument(help="Results files of any kind.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = FOLDER / "report.html",
) -> None:
    """Write results as one HTML page, its figures beside it as PNG and SVG."""
    from ..speed.page import write_page

    page = write_page(files, out)
    console.print(f"open file://{page.resolve()}", highlight=False, soft_wrap=True)


@app.command(name="all")
def bench_all(
    quick: Quick = False,
    out: Annotated[Path, typer.Option(help="The folder for results and page.")] = FOLDER,
) -> None:
    """Run kernels, steps, scaling and startup, and write the page of it all."""
    if out.exists() and not out.is_dir():
        raise SettingError(f"--out {out} is a file; expected a folder for the results")
    from ..speed import kernels, machine, scaling, startup, steps
    from ..speed.page import write_page

    status = 0
    files = []

    def heading(text: str) -> None:
        console.rule(f"[bold]{text}[/]", align="left")

    def keep(kind: str, made: Iterable[Mapping[str, Any]]) -> None:
        files.append(_store(kind, made, out / f"{kind}.jsonl", append=False))

    heading("kernels against the roofline")
    rows, here = kernels.run(None, quick, console=console)
    keep("kernels", kernels.as_records(rows, here))
    status |= kernels.exit_status(rows)
    heading("whole operations against peers")
    found = steps.run(None, None, None, quick, console)
    keep("steps", steps.as_records(found))
    status |= steps.exit_status(found)
    heading("how costs grow")
    laws = scaling.run(None, quick, console)
    keep("scaling", scaling.as_records(laws, machine.describe()))
    heading("starting up")
    keep("startup", startup.as_records(startup.run(quick, console), machine.describe()))
    page = write_page(files, out / "report.html")
    console.print(f"open file://{page.resolve()}", highlight=False, soft_wrap=True)
    raise typer.Exit(status)
