"""Tables of the study `task-space`: claims, predictors, the sequence, schemes and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from ...runs.tables import titled
from ...show.labels import number as digits
from ..claims import claims_table
from ..rows import as_csv, average, grouped, select
from ..study import Row
from . import numbers
from .claims import judged

NOTES = (
    "Forgetting is A's test accuracy before B less that after. Intervals are the middle 95 % of "
    "2,000 draws of the sets, not of the pairs: pairs that share a set are not independent.",
    "Within A: r when each A's mean is taken off both, so that only the choice of B counts.",
    "Answers moved is measured when B has been learnt: it shows what a prediction could reach.",
    "B counts as learnt at 'threshold' of what a new network reached on it alone, tested every "
    "'every' steps; seconds are those of training steps only. B's optimizer starts afresh.",
    "The authors train with Adadelta (optimizer=adadelta, lr=1), their Synaptic Intelligence runs "
    "with Adam. Larochelle's sets are regenerated, not the published files.",
    "A lam of Synaptic Intelligence is chosen on the last 'held_out' training images, which the "
    "schemes do not learn; what is told of it is on test images.",
)


def _predictors(rows: Sequence[Row], found: Any) -> Table:
    pairs, told = found
    table = titled(
        f"what tells forgetting, over {len(pairs)} ordered pairs",
        ("known before B is learnt", "Pearson", "95 %", "Spearman", "R2", "within A",
         "|r| more than pixels"),
    )  # fmt: skip
    for key, verdict in told.items():
        line, (more, low, high) = verdict.line, verdict.more
        pixel = key == numbers.PIXELS
        table.add_row(
            f"({key}, afterwards)" if key == numbers.AFTER else key,
            f"{line.pearson:.2f}", f"{line.low:.2f} to {line.high:.2f}", f"{line.spearman:.2f}",
            f"{line.r2:.2f}", f"{verdict.within:.2f}",
            "" if pixel else f"{more:+.2f} ({low:+.2f} to {high:+.2f})",
        )  # fmt: skip
    return table


def _choices(rows: Sequence[Row], found: numbers.Pairs) -> Table:
    table = titled(
        "pixels and forgetting, by which sets are compared",
        ("sets", "pairs", "Pearson", "95 %", "R2", "within A"),
    )  # fmt: skip
    for name, pairs, verdict in numbers.choices(found):
        line = verdict.line
        table.add_row(
            name, str(pairs), f"{line.pearson:.2f}", f"{line.low:.2f} to {line.high:.2f}",
            f"{line.r2:.2f}", "{:.2f} ({:.2f} to {:.2f})".format(
                verdict.within, *verdict.within_range),
        )  # fmt: skip
    return table


def _sequence(rows: Sequence[Row], found: Any) -> Table:
    (names, ours), pair = found, numbers.beside_published(rows)
    title = "naive sequence: test accuracy, %" + (" (published)" if pair is not None else "")
    table = titled(title, ("after", *names))
    for task, name in enumerate(names):
        cells = [f"{100 * value:.0f}" for value in ours[task]]
        if pair is not None:
            cells = [cell + (f" ({100 * theirs:.0f})" if np.isfinite(theirs) else "")
                     for cell, theirs in zip(cells, pair[1][task], strict=True)]  # fmt: skip
        table.add_row(name, *cells)
    return table


def _isolated(rows: Sequence[Row], alone: dict[str, list[Row]]) -> Table:
    table = titled(
        "each set alone", ("set", "accuracy %", "steps to its threshold", "SSIM to means")
    )
    steps = numbers.scratch(rows)
    for name, mine in alone.items():
        accuracy = average(mine, "accuracy")
        ssim = select(rows, kind="ssim", set=name)
        table.add_row(
            name, f"{100 * accuracy:.1f}", f"{steps[name]:.0f}" if name in steps else "",
            f"{average(ssim, 'values').mean():.2f}" if ssim else "",
        )  # fmt: skip
    return table


def _schemes(rows: Sequence[Row], found: list[str]) -> Table:
    lams = sorted(grouped(select(rows, kind="visit"), "lam"))
    table = titled(
        "schemes: mean accuracy over tasks at the end of rounds, %; after the last in brackets",
        ("scheme", *(f"SI {digits(lam)}" if lam else "naive" for lam in lams), "chosen"),
    )  # fmt: skip
    for scheme in found:
        through = numbers.by_lam(rows, scheme, numbers.throughout)
        last = numbers.by_lam(rows, scheme, numbers.at_the_end)
        table.add_row(
            scheme,
            *(f"{100 * np.mean(through[lam]):.1f} ({100 * np.mean(last[lam]):.1f})"
              for lam in lams),
            f"{numbers.chosen_lam(rows, scheme) or 0:g}",
        )  # fmt: skip
    return table


def _times(rows: Sequence[Row], found: numbers.Pairs) -> Table:
    table = titled(
        "time to threshold on B, by how A and B correlate",
        ("pairs", "number", "steps, median", "most", "never reached"),
    )  # fmt: skip
    for name, mine in numbers.by_likeness(found).items():
        steps = found["steps_to"][mine]
        there = np.isfinite(steps)
        if there.any():
            cells = [f"{np.median(steps[there]):.0f}", f"{steps[there].max():.0f}"]
            table.add_row(name, str(mine.sum()), *cells, str((~there).sum()))
    return table


def _weights(rows: Sequence[Row], found: list[Row]) -> Table:
    layers = len(found[0]["correlation"])
    table = titled(
        "weights after rounds, beside those of the first round that was kept",
        ("scheme", "round", "norm", "distance", *(f"r, layer {i + 1}" for i in range(layers))),
    )  # fmt: skip
    for (scheme, number), mine in grouped(found, "scheme", "round").items():
        table.add_row(
            scheme, str(number), f"{average(mine, 'norm'):.1f}", f"{average(mine, 'moved'):.1f}",
            *(f"{r:.3f}" for r in average(mine, "correlation")),
        )  # fmt: skip
    return table


_TABLES: tuple[tuple[Callable[..., Any], Callable[..., Table]], ...] = (
    (numbers.foretold, _predictors), (numbers.pairs, _choices), (numbers.sequence, _sequence),
    (numbers.alone, _isolated), (numbers.schemes, _schemes), (numbers.pairs, _times),
    (partial(select, kind="weights"), _weights),
)  # fmt: skip


def tell(rows: Sequence[Row]) -> list[Table]:
    """The claims, and every table that the rows have numbers for."""
    claims = claims_table(judged(rows), ("claim", "verdict", "here"))
    return [claims, *(make(rows, found) for read, make in _TABLES if (found := read(rows)))]


def pairs_csv(rows: Sequence[Row]) -> str:
    """Every ordered pair as a line."""
    heads = (
        "seed", "first", "second", "before", "after", "forgetting", "learnt", "steps_to",
        "seconds_to", *numbers.PREDICTORS, "weights moved",
    )  # fmt: skip
    return as_csv(heads, select(rows, kind="pair"))
