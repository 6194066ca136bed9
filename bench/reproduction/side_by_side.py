"""Methods side by side from kept rows: their table, and whether one is ahead by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from ...kernels.errors import MissingExtraError
from ..runs.tables import size
from ..studies.rows import seed_by_seed
from .kept import Kept, percent, read
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
        better, worse = (kept.select(label=label) for label in (higher, lower))
        differences = [*seed_by_seed(better, worse, number).values()]
        if len(differences) > 1:
            mean = f"{100 * float(np.mean(differences)):+.2f}"
            wins = f"{sum(d > 0 for d in differences)} of {len(differences)}"
            rows.append((title(higher), title(lower), mean, wins, f"{sign_flips(differences):.3f}"))
    return markdown(("method", "against", "points", "seeds in which it is ahead", "p"), rows)


def sign_flips(differences: Sequence[float]) -> float:
    """Two-sided p of the mean of paired differences under all changes of sign (Fisher 1935).

    Raises MissingExtraError without SciPy.
    """
    try:
        from scipy.stats import permutation_test
    except ImportError:
        raise MissingExtraError("scipy", "analysis", "a paired test") from None
    every = 1 << len(differences)  # all of them: as many as there are makes it exact
    found = permutation_test(
        (np.asarray(differences),), np.mean, permutation_type="samples", n_resamples=every
    )
    return float(found.pvalue)


TABLES: Mapping[str, Callable[[], str]] = {
    "compare-permuted": lambda: methods(read("compare-permuted")),
    "compare-permuted-paired": lambda: paired(read("compare-permuted")),
}
