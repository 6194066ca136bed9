"""Two results against each other: `weightspace bench compare A B`.

What both files measured is matched by what it is (kernel, backend, size, ...) and judged by the
ratio B / A of the medians with its bootstrap interval. It is slower where the whole interval lies
above 1 + threshold: a change that the noise could have made is none. A file that holds several runs
(`--append`) is judged by the medians of its runs, so that the noise between runs counts too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from ...kernels.errors import DataError, SettingError
from . import records, timing
from .peers import BASELINE
from .record_kinds import KINDS

THRESHOLD = 0.1
_RUNS = 3  # as many runs of one file are enough to tell its noise by their medians

# What names a measurement, by kind of record; the rest is measured.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "kernel": ("kernel", "variant", "backend", "rung", "dtype", "threads"),
    "step": ("operation", "size", "peer", "backend", "threads", "busy"),
    "product": ("operation", "size", "peer", "threads", "busy"),
    "scaling": ("cost", "axis"),
    "startup": ("name",),
}
_BROKEN = ("wrong", "failed")


@dataclass(frozen=True)
class Verdict:
    """What became of one measurement from A to B.

    status: "slower", "faster", "same", "broken" (right in A, wrong or failed in B), "mended",
    "gone" (in A alone), "new" (in B alone) or "not timed" (in neither). ratio: B / A.
    """

    name: str
    status: str
    ratio: timing.Interval | None = None
    before: float | None = None
    after: float | None = None


Measured = dict[str, list[tuple[str, tuple[float, ...]]]]  # name -> (status, samples) of each run


def load(path: str | Path) -> tuple[Measured, dict[str, Any]]:
    """The measurements of a results file by name, and its machine.

    Raises DataNotFoundError and DataError, also where the file has no measurement to compare.
    """
    found: Measured = {}
    machine: dict[str, Any] = {}
    devices: dict[str, None] = {}
    for one in records.read(path, KINDS):
        machine = one.get("machine", machine)
        if device := one.get("device"):
            devices[device] = None
        for name, status, samples in _measurements(one):
            found.setdefault(name, []).append((status, samples))
    if not found:
        raise DataError(
            f"{path} holds nothing to compare; expected results of `weightspace bench kernels`, "
            "`steps`, `products`, `scaling` or `startup`"
        )
    return found, {**machine, "devices": list(devices)}


def _measurements(one: Mapping[str, Any]) -> Iterable[tuple[str, str, tuple[float, ...]]]:
    """(name, status, samples) of a record; of a law, one for each of its values."""
    kind = one.get("kind", "")
    if kind not in _KEYS or one.get("peer", BASELINE) != BASELINE:
        return  # a peer that became slower is no fault of ours
    older = {"backend": "", "threads": 0, "busy": 0, **one}  # records of steps once lacked these
    name = " ".join(_said(key, older[key]) for key in _KEYS[kind] if older[key] not in ("", 0))
    if kind != "scaling":
        yield f"{kind}: {name}", one["status"], tuple(one["samples"])
        return
    if len(one["values"]) != len(one["samples"]):
        raise DataError(
            f"a record of kind 'scaling' ({name}) is damaged: {len(one['values'])} values, "
            f"{len(one['samples'])} of samples"
        )
    for value, samples in zip(one["values"], one["samples"], strict=True):
        yield f"{kind}: {name} {value}", "timed", tuple(samples)


def _said(key: str, value: Any) -> str:
    return f"{key} {value}" if key in ("threads", "busy") else str(value)


def _pooled(runs: Sequence[tuple[str, tuple[float, ...]]]) -> tuple[float, ...]:
    """Samples to judge by: the runs' medians where there are enough, else all samples."""
    timed = [samples for status, samples in runs if status == "timed" and samples]
    if len(timed) >= _RUNS:
        return tuple(float(np.median(samples)) for samples in timed)
    return tuple(sample for samples in timed for sample in samples)


def judge(before: Measured, after: Measured, threshold: float = THRESHOLD) -> list[Verdict]:
    """A verdict for each measurement in either, the worst first.

    Raises SettingError for a threshold that is not a positive share.
    """
    if not 0 < threshold < 10:
        raise SettingError(f"threshold is {threshold}; expected a share such as {THRESHOLD}")
    verdicts = [
        _verdict(name, before.get(name, []), after.get(name, []), threshold)
        for name in dict.fromkeys((*before, *after))
    ]
    order = ("broken", "slower", "gone", "faster", "mended", "new", "same", "not timed")
    return sorted(
        verdicts, key=lambda v: (order.index(v.status), -(v.ratio.value if v.ratio else 0))
    )


def _verdict(name: str, a: Sequence[Any], b: Sequence[Any], threshold: float) -> Verdict:
    if not a or not b:
        return Verdict(name, "new" if b else "gone")
    first, second = _pooled(a), _pooled(b)
    if not first or not second:
        was, now = (any(status in _BROKEN for status, _ in runs) for runs in (a, b))
        if first and not second:
            return Verdict(name, "broken" if now else "gone")
        return Verdict(name, "mended" if was and second else "new" if second else "not timed")
    if any(status in _BROKEN for status, _ in b):
        return Verdict(name, "broken")
    # two files are two runs, never rounds of one: their samples are drawn apart
    ratio = timing.ratio_interval(second, first, paired=False)
    status = (
        "slower" if ratio.low > 1 + threshold
        else "faster" if ratio.high < 1 / (1 + threshold)
        else "same"
    )  # fmt: skip
    return Verdict(name, status, ratio, float(np.median(first)), float(np.median(second)))


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """1 where something is slower or broken, else 0."""
    return int(any(one.status in {"slower", "broken"} for one in verdicts))


def run(
    a: str | Path, b: str | Path, threshold: float = THRESHOLD, console: Console | None = None
) -> list[Verdict]:
    """Compare two results files and print what changed; returns all verdicts, the worst first."""
    console = console or Console()
    (before, here), (after, there) = load(a), load(b)
    verdicts = judge(before, after, threshold)
    for line in lines(verdicts, here, there, threshold):
        console.print(line, highlight=False, soft_wrap=True)
    return verdicts


_COLOURS = {"broken": "bold red", "slower": "red", "gone": "yellow", "faster": "green"}


def lines(
    verdicts: Sequence[Verdict],
    here: Mapping[str, Any],
    there: Mapping[str, Any],
    threshold: float,
) -> Iterable[str]:
    """What changed, as lines of rich's markup; the rest is counted."""
    if here.get("cpu") != there.get("cpu") or here.get("cores") != there.get("cores"):
        yield (
            f"[yellow]two machines: {here.get('cpu')} with {here.get('cores')} cores and "
            f"{there.get('cpu')} with {there.get('cores')}[/]"
        )
    if (ours := here.get("devices")) != (theirs := there.get("devices")) and ours and theirs:
        yield f"[yellow]two GPUs: {', '.join(ours)} and {', '.join(theirs)}[/]"
    for one in verdicts:
        if one.status in {"same", "not timed"}:
            continue
        style = _COLOURS.get(one.status, "default")
        times = ""
        if one.ratio and one.before and one.after:
            times = (
                f"{one.ratio.value:>6.2f} x ({one.ratio.low:.2f} to {one.ratio.high:.2f})"
                f"{1e6 * one.before:>12,.1f} us -> {1e6 * one.after:,.1f} us"
            )
        yield f"[{style}]{one.status:7}[/] {escape(one.name):<58}{times}"
    counts = Counter(one.status for one in verdicts)
    yield ", ".join(f"{count} {status}" for status, count in counts.items()) + (
        f" (slower: surely by more than {threshold:.0%})"
    )
    ratios = [v.ratio.value for v in verdicts if v.ratio]
    if len(ratios) >= 5 and abs(np.median(ratios) - 1) > threshold / 2:
        yield (
            f"[yellow]the median of all {len(ratios)} ratios is {np.median(ratios):.2f}: "
            "the machine itself may have changed between the two[/]"
        )
