"""`weightspace bench report`: results of the bench as one self-contained page with figures."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ...kernels.errors import DataError
from ..show.page import image, write_html
from . import figures as bench_figures
from . import machine, records, startup
from .conditions import conditions_of
from .kernels import title
from .record_kinds import KINDS

Record = Mapping[str, Any]


def write_page(files: Sequence[Path], target: Path) -> Path:
    """One page of all results in `files`; the figures also go beside it, as PNG and SVG.

    Of what was measured twice, the later one is shown; of peaks, the median. Raises
    DataNotFoundError and DataError.
    """
    found = [one for path in files for one in records.read(path, KINDS)]
    if not found:
        raise DataError(f"no results in {', '.join(map(str, files))}")
    kinds = {kind: [one for one in found if one.get("kind") == kind] for kind in _SECTIONS}
    figures = target.parent / "figures"
    sections = [
        section(kinds[kind], kinds["machine"], figures)
        for kind, section in _SECTIONS.items()
        if kinds[kind]
    ]
    if not sections:
        raise DataError(f"nothing to show in {', '.join(map(str, files))}")
    last = [one for one in found if one["kind"] in KINDS][-1]
    here = last["machine"]
    lead = [
        f"{here['cpu']}, {here['cores']} cores, {here['system']}",
        f"commit {(here['commit'] or 'unknown')[:10]}{', changed' if here['dirty'] else ''}; "
        f"{last['date'][:10]}",
    ]
    return write_html(target, "weightspace bench", lead, "".join(sections), here["versions"])


# ---- pieces -------------------------------------------------------------------------------------


def _latest(found: Sequence[Record], *keys: str) -> list[Record]:
    """The last record for each combination of `keys`, in the order of first appearance.

    Older records lack the keys that came later (backend, device).
    """
    return list({tuple(str(one.get(key, "")) for key in keys): one for one in found}.values())


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _row(*cells: str) -> str:
    return f"<tr>{''.join(c if c.startswith('<td') else f'<td>{c}</td>' for c in cells)}</tr>"


def _bar(share: float) -> str:
    width = 100 * min(share, 1.0)
    return f'<td class="bar"><div><i style="width:{width:.0f}%"></i><b>{share:.0%}</b></div></td>'


def _grouped(
    chosen: Iterable[Record],
    heading: Callable[[Record], str],
    row: Callable[[Record], str],
    columns: int,
) -> Iterator[str]:
    """A row a record, under a heading wherever that changes."""
    for text, group in groupby(chosen, heading):
        yield f'<tr class="head"><td colspan="{columns}">{html.escape(text)}</td></tr>'
        yield from map(row, group)


def _fault(one: Record, columns: int) -> str:
    kind = "text" if one["status"] in {"absent", "skipped"} else "fault"
    said = f"{one['status']}: {one['reason']}" if one["reason"] else one["status"]
    return f'<td class="{kind}" colspan="{columns}">{html.escape(said)}</td>'


# ---- sections -----------------------------------------------------------------------------------


def _machine(found: Sequence[Record], _peaks: Sequence[Record], _figures: Path) -> str:
    here = machine.middle([one["machine"] for one in found])
    heading = "<h2>What this machine can do</h2>"
    if gpu := here.get("gpu"):
        cells = ((key, v if isinstance(v, str) else f"{v:,.0f}") for key, v in gpu.items())
        heading += _table(("GPU", ""), [_row(key, html.escape(said)) for key, said in cells])
    if "fma_gflops" not in here:
        return heading
    rates = [
        _row(f"{label}, {dtype}", f"{rate[dtype]['one']:,.0f}", f"{rate[dtype]['all']:,.0f}")
        for label, rate in (
            ("FMA", here["fma_gflops"]),
            (html.escape(here.get("blas", "BLAS")), here["blas_gflops"]),
        )
        for dtype in rate
    ]
    first = next(iter(here["bandwidth_gbs"].values()))
    streams = [name.removesuffix("_all") for name in first if name.endswith("_all")]
    bandwidths = [
        _row(level, *(f"{rates[f'{name}_all']:,.0f}" for name in streams))
        for level, rates in here["bandwidth_gbs"].items()
    ]
    return (
        heading
        + _table(("GFLOP/s", "one core", "all cores"), rates)
        + "<br>"
        + _table(("GB/s, all cores", *streams), bandwidths)
    )


def _kernels(found: Sequence[Record], peaks: Sequence[Record], figures: Path) -> str:
    keys = ("kernel", "variant", "backend", "rung", "dtype", "threads", "device")
    chosen = _latest(found, *keys)
    pictures = ""
    if peaks:
        typical = machine.middle([one["machine"] for one in peaks])
        bench_figures.roofline(chosen, typical, figures)
        bench_figures.shares(chosen, figures)
        pictures = image(figures / "roofline.png", "roofline") + image(
            figures / "shares.png", "share of the roofline by kernel"
        )
    heads = ("size", "us", "GFLOP/s", "GB/s", "arrays in", "of BLAS", "of the roofline")
    return (
        f"<h2>Kernels against the roofline</h2>{pictures}"
        f"<details><summary>All {len(chosen)} measurements</summary><div>"
        f"{_table(heads, _grouped(chosen, _kernel_heading, _kernel_row, len(heads)))}"
        "</div></details>"
    )


def _kernel_heading(one: Record) -> str:
    name = title(one["kernel"], one["variant"])
    where = one.get("device") or f"threads: {one['threads']}"
    return f"{name}, {one['backend']} {one['dtype']}, {where}"


def _kernel_row(one: Record) -> str:
    if one["status"] != "timed":
        return _row(one["rung"], _fault(one, 6))
    blas = f"{one['blas_share']:.0%}" if one["blas_share"] is not None else ""
    share = "" if one["roof_share"] is None else _bar(one["roof_share"])
    return _row(
        one["rung"], f"{1e6 * one['median']:,.1f}", f"{one['gflops']:,.1f}", f"{one['gbs']:,.1f}",
        one["level"], blas, share,
    )  # fmt: skip


_STEP_KEYS = ("operation", "size", "peer", "backend", "device", "threads", "busy")


def _steps(found: Sequence[Record], _peaks: Sequence[Record], figures: Path) -> str:
    latest = _latest(found, *_STEP_KEYS)
    chosen = [one for one in latest if one["status"] != "not offered"]
    bench_figures.ratios(chosen, figures)
    heads = ("peer", "us", "x weightspace (95 %)", "p50 us", "p99 us", "peak MiB", "how")
    return (
        f"<h2>Whole operations against peers</h2>{image(figures / 'peers.png', 'ratios to peers')}"
        f"<details><summary>All measurements</summary><div>"
        f"{_table(heads, _grouped(chosen, _step_heading, _step_row, len(heads)))}</div></details>"
    )


def _step_heading(one: Record) -> str:
    where = one.get("device") or one.get("backend", "")
    said = conditions_of(one.get("threads", 0), one.get("busy", 0))
    return "  ".join(part for part in (one["operation"], one["size"], where, *said) if part)


def _step_row(one: Record) -> str:
    memory = f"{(one.get('peak_bytes') or 0) / 2**20:.0f}"
    waits = (f"{1e6 * at:,.2f}" if (at := one.get(key)) else "" for key in ("p50", "p99"))
    return _peer_row(one, *waits, memory)


def _peer_row(one: Record, *cells: str) -> str:
    """Name, microseconds and ratio, then `cells`, then how."""
    if one["status"] != "timed":
        return _row(html.escape(one["peer"]), _fault(one, 3 + len(cells)))
    ratio = ""
    if one["ratio"] is not None:
        ratio = f"{one['ratio']:.2f} ({one['ratio_low']:.2f} to {one['ratio_high']:.2f})"
    how = f'<td class="text">{html.escape(one["variant"])}</td>'
    return _row(html.escape(one["peer"]), f"{1e6 * one['median']:,.1f}", ratio, *cells, how)


def _products(found: Sequence[Record], _peaks: Sequence[Record], _figures: Path) -> str:
    chosen = [one for one in _latest(found, *_STEP_KEYS) if one["status"] != "not offered"]
    heads = (
        "peer", "us", "x weightspace (95 %)", "GFLOP/s", "of the roofline", "error", "largest",
        "how",
    )  # fmt: skip
    rows = _grouped(chosen, _step_heading, _product_row, len(heads))
    return (
        "<h2>Dense products against BLAS libraries</h2>"
        f"<details open><summary>All measurements</summary><div>{_table(heads, rows)}"
        "</div></details>"
    )


def _product_row(one: Record) -> str:
    if one["status"] != "timed":
        return _peer_row(one, "", "", "", "")
    share = "" if one["roof_share"] is None else _bar(one["roof_share"])
    return _peer_row(
        one, f"{one['gflops']:,.1f}", share, f"{one['error']:.1e}", f"{one['max_error']:.1e}"
    )


def _scaling(found: Sequence[Record], _peaks: Sequence[Record], figures: Path) -> str:
    chosen = _latest(found, "cost", "axis")
    bench_figures.growth(chosen, figures)
    rows = [
        _row(
            html.escape(f"{one['cost']} by {one['axis']}"),
            f"{one['exponent']:.2f}",
            f"{one['low']:.2f} to {one['high']:.2f}",
            f"{one['expected']:.0f}",
            '<td class="fault">steeper</td>' if one["steeper"] else "",
        )
        for one in chosen
    ]
    heads = ("cost", "exponent", "95 %", "expected", "")
    picture = image(figures / "scaling.png", "cost against each axis")
    return f"<h2>How costs grow</h2>{picture}{_table(heads, rows)}"


def _startup(found: Sequence[Record], _peaks: Sequence[Record], _figures: Path) -> str:
    rows = []
    for one in _latest(found, "name"):
        fields = {key: one[key] for key in startup.Row.__dataclass_fields__}
        said = startup.amount(startup.Row(**fields))
        rows.append(_row(html.escape(one["name"]), said or _fault(one, 1)))
    return f"<h2>Starting up</h2>{_table(('', ''), rows)}"


_SECTIONS = {
    "machine": _machine,
    "kernel": _kernels,
    "step": _steps,
    "product": _products,
    "scaling": _scaling,
    "startup": _startup,
}
