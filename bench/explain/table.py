"""A program as a table for the terminal, or for a page, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from ...nnlite.program import Program
from .lines import Line, phases
from .timing import Times

Shares = Sequence[float | None]


def table(
    program: Program, found: Sequence[Line], times: Times | None = None, shares: Shares = ()
) -> Table:
    """A line a call, what it reads and writes below; flops, bytes, and if given time and share.

    The kernel's column alone folds, so that nothing is cut off on a narrow terminal.
    """
    made = Table(box=None, pad_edge=False, padding=(0, 1), expand=False)
    made.add_column("", justify="right", style="dim", no_wrap=True)
    made.add_column("kernel, reads -> writes", overflow="fold")
    for head in ("flops", "bytes", *(["us"] if times else []), *(["roof"] if shares else [])):
        made.add_column(head, justify="right", no_wrap=True)
    begins = {first: name for name, first, _ in phases(program)}
    for line in found:
        if line.number in begins and len(begins) > 1:
            made.add_row("", Text(begins[line.number], style="italic"))
        made.add_row(str(line.number), _said(line), *numbers(line, times, shares))
    return made


def _said(line: Line) -> Text:
    return Text.assemble(
        (line.kernel, "bold"), f" {line.told}" if line.told else "",
        (f"\n{', '.join(line.reads) or 'nothing'} -> {', '.join(line.writes)}", "dim"),
    )  # fmt: skip


def numbers(line: Line, times: Times | None, shares: Shares) -> list[str]:
    """The cells of a call's numbers."""
    cells = [short(line.cost.flops), short(line.cost.read + line.cost.written)]
    if times:
        cells.append(f"{1e6 * times.calls[line.number]:.2f}")
    if shares:
        share = shares[line.number]
        cells.append("" if share is None else f"{share:.0%}")
    return cells


def summary(
    program: Program, found: Sequence[Line], parameters: int, times: Times | None = None
) -> list[str]:
    """What all of it comes to, in a line each."""
    buffers = program.bytes_of("buffer")
    flops = sum(line.cost.flops for line in found)
    moved = sum(line.cost.read + line.cost.written for line in found)
    told = [
        f"{len(found)} calls, {short(flops)} flops, {short(moved)} bytes moved at least",
        f"arena {short(program.arena_bytes)} bytes, for buffers of {short(buffers)} in all; "
        f"{parameters:,} parameters",
        f"program {program.hash[:12]}: {program.verb}, batch {program.batch}, {program.dtype}, "
        f"scratch of '{program.backend}'",
    ]
    if times:
        told.append(
            f"{1e6 * sum(times.calls):.1f} us, the sum of its calls, each repeated by itself (its "
            f"arrays in cache if they fit); a whole replay takes {1e6 * times.whole:.1f} us"
        )
    return told


def roof_told(machine: Mapping[str, Any], dtype: str) -> str:
    """What the column "roof" is a share of, and when that was measured."""
    cores, load = machine["cores"], machine.get("load")
    rate = machine["fma_gflops"][dtype]["all"]
    speed = machine["bandwidth_gbs"]["memory"]["copy_all"]
    busy = "" if load is None else f", at a load of {load:.1f} before"
    return (
        f"roof: the least time on all {cores} cores, measured along with it{busy}: "
        f"{rate:,.0f} GFLOP/s of {dtype}, {speed:,.0f} GB/s from memory, more from caches"
    )


def short(number: float) -> str:
    """A large number with its unit: 12.3k, 4.56M."""
    unit = ""
    units = "kMGT"
    while abs(number) >= 999.5 and units:
        number, unit, units = number / 1000, units[0], units[1:]
    return f"{number:.3g}{unit}"
