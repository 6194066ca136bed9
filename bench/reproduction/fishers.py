"""Tables of docs/fishers.md and docs/writers.md."""

from __future__ import annotations

from collections.abc import Callable

from ..runs.tables import known_mean
from ..studies.fishers import numbers
from ..studies.fishers.variants import VARIANTS
from ..studies.rows import grouped, with_error
from .kept import Kept, read
from .markdown import markdown


def fishers(kept: Kept) -> str:
    """The five ways, each by its chosen strength, and beside the exact one on the same seeds."""
    rows = []
    exact = kept.select(which="chosen", variant="exact")
    for name in (*VARIANTS, "none"):
        mine = kept.select(which="chosen", variant=name)
        mean, error, count = numbers.differences(mine)
        minus, wrong, _ = numbers.differences(mine, exact)
        beside = "" if name == "exact" else with_error(minus, wrong, 2)
        strength = "" if name == "none" else f"{mine[0]['lam']:g}"
        label = VARIANTS[name].label if name in VARIANTS else "no method"
        rows.append((label, strength, str(count), with_error(mean, error, 2), beside))
    return markdown(("way", "lambda", "seeds", "ACC %", "minus exact, same seeds"), rows)


def strengths(kept: Kept) -> str:
    """Accuracy of the search by strength; the best of each way in bold."""
    found = {name: numbers.by_strength(kept.select(which="search", variant=name))
             for name in VARIANTS}  # fmt: skip
    lams = sorted({lam for means in found.values() for lam in means})
    rows = []
    for name, means in found.items():
        top = max(means.values())
        cells = [f"**{means[lam]:.2f}**" if means.get(lam) == top else f"{means[lam]:.2f}"
                 if lam in means else "" for lam in lams]  # fmt: skip
        rows.append((VARIANTS[name].label, *cells))
    return markdown(("way", *(f"{lam:.0e}" for lam in lams)), rows)


def fisher_seconds(kept: Kept) -> str:
    """Seconds of one task's Fisher information, and how many looks at its samples those are."""
    rows = [
        (VARIANTS[row["variant"]].label, f"{row['samples']:,}", f"{row['seconds']:.3f}",
         f"{row['seconds'] / row['learning_seconds']:.2f}")
        for row in kept.rows
    ]  # fmt: skip
    return markdown(("way", "samples", "seconds", "looks at the task's samples"), rows)


def partitions(kept: Kept) -> str:
    """Two tasks: accuracy on both after the first and after the second."""
    rows = []
    for row in kept.rows:
        if "accuracy_matrix" in row:
            first, last = row["accuracy_matrix"][0], row["accuracy_matrix"][-1]
            cells = [f"{100 * value:.1f}" for value in (*first, *last)]
            rows.append((row["label"], *cells, f"{100 * row['forgetting']:+.1f}"))
    after = ("employees, then", "students, then", "employees, in the end", "students, in the end")
    return markdown(("method, % after the employees and after both", *after, "forgetting"), rows)


def groups(kept: Kept) -> str:
    """Ten tasks: accuracy over all, forgetting, and that on students before any was seen."""
    rows = []
    for row in kept.rows:
        if "accuracy_matrix" in row:
            matrix = row["accuracy_matrix"]
            half = len(matrix) // 2
            unseen = sum(matrix[half - 1][half:]) / half
            numbers_of = (row["acc"], row["forgetting"], unseen)
            rows.append((row["label"], *(f"{100 * value:.1f}" for value in numbers_of)))
    heads = ("method", "ACC %", "forgetting %", "students before any was seen, %")
    return markdown(heads, rows)


def peers(kept: Kept) -> str:
    """Two libraries on the same images and first weights."""
    rows = []
    for (method, lam, library), of in grouped(kept.rows, "method", "lam", "library").items():
        accuracy = with_error(*known_mean([100 * row["accuracy"] for row in of])[:2], 2)
        importance = max(row["importance"] for row in of)
        rows.append((method, f"{lam:g}" if lam else "", library, accuracy, f"{importance:.6f}"))
    heads = ("method", "lambda, as avalanche takes it", "library", "ACC %", "largest importance")
    return markdown(heads, rows)


TABLES: dict[str, Callable[[], str]] = {
    "five-fishers": lambda: fishers(read("five-fishers")),
    "five-fishers-strengths": lambda: strengths(read("five-fishers")),
    "five-fishers-seconds": lambda: fisher_seconds(read("five-fishers-seconds")),
    "qmnist-writers": lambda: groups(read("qmnist-writers")),
    "qmnist-writers-partitions": lambda: partitions(read("qmnist-writers-partitions")),
    "fishers-peers": lambda: peers(read("fishers-peers")),
}
