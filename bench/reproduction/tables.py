"""Tables of the docs that are made of kept rows, by the name that their marks give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ...kernels.errors import MissingExtraError
from ..runs.tables import known_mean, size
from ..studies.fip_ensemble import tables as ensemble
from ..studies.fip_sparsify import tables as sparsity_tables
from ..studies.rows import average, select, with_error
from . import fishers, importances, speed, task_space
from .kept import Kept, Mean, percent, read
from .markdown import markdown

TITLES = {
    "ewc": "EWC", "mas": "MAS", "si": "SI", "sig": "SIG", "lwf": "LwF", "gem": "GEM",
    "agem": "A-GEM", "derpp": "DER++", "fip": "FIP", "packnet": "PackNet", "xdg": "XdG + SI",
    "joint": "joint (bound)",
}  # fmt: skip


def title(label: str) -> str:
    """A run's label as the docs write it."""
    name, _, more = label.partition(" ")
    return " ".join(filter(None, (TITLES.get(name, name), more)))


def labels(kept: Kept) -> list[str]:
    """The lines of a result, the least accurate first, the bound of joint training last."""
    finished = dict.fromkeys(row["label"] for row in kept.rows if "status" not in row)
    order = {label: (label.startswith("joint"), kept.mean("acc", label=label).mean)
             for label in finished}  # fmt: skip
    return sorted(order, key=lambda label: order[label])


def methods(kept: Kept) -> str:
    """Accuracy, forgetting and bytes of every line."""
    rows = []
    for label in labels(kept):
        mine = kept.select(label=label)
        asks = " (told the task)" if mine[0].get("told_task") else ""
        bound = label.startswith("joint")
        rows.append((
            title(label) + asks, str(len(mine)), percent(kept.mean("acc", label=label)),
            "" if bound else percent(kept.mean("forgetting", label=label)),
            "" if bound or not mine[0]["kept_bytes"] else size(mine[0]["kept_bytes"]),
        ))  # fmt: skip
    heads = (
        "method",
        "seeds",
        "ACC %, mean ± standard error",
        "forgetting %",
        "kept between tasks",
    )
    return markdown(heads, rows)


def paired(kept: Kept, number: str = "acc") -> str:
    """Neighbours in the order of accuracy, seed by seed: is the difference one of chance?

    Exact permutation test of the paired differences (all 2^n signs, two-sided): the smallest p that
    n seeds allow is 2 / 2^n. Each line is held against the next better one that has seeds in
    common with it.
    """
    rows = []
    found = labels(kept)
    for lower, higher in pairwise(found):
        seeds, differences = _differences(kept, lower, higher, number)
        if len(seeds) > 1:
            mean = f"{100 * float(np.mean(differences)):+.2f}"
            wins = f"{sum(d > 0 for d in differences)} of {len(seeds)}"
            rows.append((title(higher), title(lower), mean, wins, f"{sign_flips(differences):.3f}"))
    return markdown(("method", "against", "points", "seeds in which it is ahead", "p"), rows)


def _differences(kept: Kept, lower: str, higher: str, number: str) -> tuple[list[int], list[float]]:
    """The seeds that two lines have in common, and how far the second is ahead in each."""
    by_seed = [{row["seed"]: row[number] for row in kept.select(label=label) if number in row}
               for label in (lower, higher)]  # fmt: skip
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    return seeds, [by_seed[1][seed] - by_seed[0][seed] for seed in seeds]


def sign_flips(differences: Sequence[float]) -> float:
    """Two-sided p of the mean of paired differences under all changes of sign (Fisher 1935).

    Raises MissingExtraError without SciPy.
    """
    try:
        from scipy.stats import permutation_test
    except ImportError:
        raise MissingExtraError("scipy", "analysis", "a paired test") from None
    found = permutation_test(
        (np.asarray(differences),), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    return float(found.pvalue)


def ends(kept: Kept, tasks: Sequence[str]) -> str:
    """Of every line, each task's accuracy after the last, and their mean."""
    rows = []
    for label in labels(kept):
        mine = [row for row in kept.select(label=label) if "status" not in row]
        last = np.array([row["accuracy_matrix"][-1] for row in mine])
        cells = [percent(Mean(*known_mean(column))) for column in last.T]
        rows.append((title(label), str(len(mine)), *cells, percent(kept.mean("acc", label=label))))
    return markdown(("method", "seeds", *(f"{task} %" for task in tasks), "mean"), rows)


def sparse(kept: Kept) -> str:
    """Accuracy of sparse networks by the share of zeros, method by method."""
    found = sparsity_tables.levels(kept.rows)
    rows = []
    for method in sparsity_tables.ORDER:
        by_level = [sparsity_tables.at_level(kept.rows, method, level) for level in found]
        if any(by_level):
            seeds = len({row["seed"] for rows_at in by_level for row in rows_at})
            labels = "yes" if next(filter(None, by_level))[0]["labels"] else "no"
            cells = [percent(Mean(*known_mean([row["accuracy"] for row in at]))) if at else ""
                     for at in by_level]  # fmt: skip
            rows.append((method, labels, str(seeds), *cells))
    return markdown(("method", "labels", "seeds", *(f"{100 * at:.4g} %" for at in found)), rows)


def ensembles(kept: Kept) -> str:
    """Accuracy of each kind of ensemble unattacked and under attack: members' mean / together."""
    found = {(r["kind"], r["attack"], r["part"]): r for r in ensemble.summary(kept.rows)}
    rows = []
    for kind in ensemble.kinds(kept.rows):
        cells = [
            " / ".join(
                with_error(100 * one["accuracy"], 100 * one["standard_error"])
                for one in (found[kind, column, part] for part in ("member", "ensemble"))
            )
            for column in ensemble.COLUMNS
        ]
        rows.append((ensemble.LABELS[kind], *cells))
    for name in ("separate", "start"):
        pair = [
            100 * ensemble.by_seed(ensemble.in_column(kept.rows, column, name)).mean()
            for column in ("clean", f"transfer, {name}")
        ]
        cells = [f"{pair[0]:.1f}", *("" for _ in range(3))]
        cells[1 if name == "separate" else 2] = f"{pair[1]:.1f}"
        rows.append((f"{ensemble.LABELS[name]}, itself attacked", *cells))
    return markdown(("%", *ensemble.COLUMNS), rows)


def ensemble_paths(kept: Kept) -> str:
    """What became of each path by its end, and how coherent its members are with the surrogates."""
    rows = []
    for kind in ensemble.kinds(kept.rows):
        cells = [""] * 5
        if kind in ensemble.paths(kept.rows):
            last = ensemble.ends(kept.rows, kind)
            numbers = [average(last, key) for key in ("turned", "walked", "away")]
            numbers += [average(last, ensemble.straightness), average(last, "length")]
            cells = [f"{number:.2f}" for number in numbers]
        for against in ("separate", "start", "members"):
            mine = select(kept.rows, ask="coherence", kind=kind, against=against)
            cells.append(f"{average(mine, 'mean'):.3f}")
        rows.append((ensemble.LABELS[kind], *cells))
    heads = ("", "length in outputs, rad", "in weights", "distance", "distance / length",
             "norm at its end", "cosine with separate", "with start",
             "largest of two members")  # fmt: skip
    return markdown(heads, rows)


TABLES: dict[str, Callable[[], str]] = {
    "compare-permuted": lambda: methods(read("compare-permuted")),
    "compare-permuted-paired": lambda: paired(read("compare-permuted")),
    **importances.TABLES,
    **task_space.TABLES,
    **fishers.TABLES,
    **speed.TABLES,
    "fip-two-tasks": lambda: ends(read("fip-two-tasks"), ("MNIST", "Fashion-MNIST")),
    "fip-two-tasks-paired": lambda: paired(read("fip-two-tasks")),
    "fip-sparsify-lenet": lambda: sparse(read("fip-sparsify-lenet")),
    "fip-ensemble": lambda: ensembles(read("fip-ensemble")),
    "fip-ensemble-paths": lambda: ensemble_paths(read("fip-ensemble")),
}
