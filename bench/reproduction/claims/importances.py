"""Kutalev (2022): how alike are importances of weights, and how well does each hold tasks?"""

from __future__ import annotations

import numpy as np

from ...studies.claims import Answer
from ...studies.rows import seeds_told
from ..kept import Kept, percent
from ..published import Judge, Published, verdict

NAME, GRID = "kutalev-importances", "kutalev-grid"
PROBE = "importance-probe"
# mean accuracy over ten tasks in the logs of aakutalev/ewc-features, 20 runs each, percent
HIS = {"mas": 95.53, "ewc": 95.05, "si": 94.32, "sig": 92.91, "naive": 46.94}


def correlations(kept: Kept, pair: str, kind: str = "pearson") -> np.ndarray:
    """Means over seeds (layers, tasks): after how many tasks, in which layer."""
    runs = kept.select(label=PROBE)
    found = [list(run["correlations"][kind][pair].values()) for run in runs]
    return np.mean(np.array(found, np.float64), axis=0)


def _seeds(kept: Kept) -> str:
    return seeds_told(len(kept.select(label=PROBE)))


def _above(pair: str, least: float) -> Judge:
    """Works: in every layer, after every task; in part: so on average."""

    def judge(kept: Kept) -> Answer:
        found = correlations(kept, pair)
        told = ", ".join(f"layer {layer + 1} {values[0]:.2f} to {values[-1]:.2f}"
                         for layer, values in enumerate(found))  # fmt: skip
        right, share = (found > least).all(), (found > least).mean()
        text = f"{told} (after one task, after ten); above in {share:.0%} of all; {_seeds(kept)}"
        return verdict(right, found.mean() > least), text

    return judge


def _square(kept: Kept) -> Answer:
    """Works: above FIS ~ MAS in every layer, after every task; in part: in some."""
    square, plain = (correlations(kept, f"FIS ~ {other}") for other in ("MAS^2", "MAS"))
    above = square > plain
    told = ", ".join(
        f"layer {layer + 1} {square[layer, 0]:.2f} against {plain[layer, 0]:.2f}"
        for layer in range(len(plain))
    )
    text = f"after one task {told}; above in {above.mean():.0%} of all layers and tasks"
    return verdict(above.all(), above.any()), text


def _signal_first(kept: Kept) -> Answer:
    """Works: MAS, SI and FIS are within 0.1 of 0.6 in layer 1 after every task; in part: some are
    after some task."""
    found = {one: correlations(kept, pair)[0] for one, pair in
             (("MAS", "MAS ~ SIG"), ("SI", "SI ~ SIG"), ("FIS", "FIS ~ SIG"))}  # fmt: skip
    near = np.array([np.abs(values - 0.6) <= 0.1 for values in found.values()])
    told = ", ".join(f"{one} {values[0]:.2f} to {values[-1]:.2f}" for one, values in found.items())
    rank = correlations(kept, "MAS ~ SIG", "spearman")[0]
    text = f"{told} (after one task, after ten); by rank MAS {rank[0]:.2f} to {rank[-1]:.2f}"
    return verdict(near.all(), near.any()), text


def _signal_last(kept: Kept) -> Answer:
    """Works: all three are below 0 on the last layer after ten tasks; in part: one is."""
    found = {one: correlations(kept, pair)[-1] for one, pair in
             (("MAS", "MAS ~ SIG"), ("SI", "SI ~ SIG"), ("FIS", "FIS ~ SIG"))}  # fmt: skip
    ends = [values[-1] for values in found.values()]
    told = ", ".join(f"{one} {values[0]:.2f} to {values[-1]:.2f}" for one, values in found.items())
    return verdict(max(ends) < 0, min(ends) < 0), f"{told} (after one task, after ten)"


def _accuracy(method: str) -> Judge:
    """Works: within 0.5 points; in part: within 2."""

    def judge(kept: Kept) -> Answer:
        found = kept.mean("acc", label=method)
        off = abs(100 * found.mean - HIS[method])
        return verdict(off <= 0.5, off <= 2), f"{percent(found, 2)} %, {seeds_told(found.count)}"

    return judge


def _order(kept: Kept) -> Answer:
    """Works: in his order; in part: each of them holds more than nothing held."""
    found = {method: kept.mean("acc", label=method).mean for method in HIS}
    order = sorted(found, key=lambda method: -found[method])
    text = " > ".join(f"{method} {100 * found[method]:.1f}" for method in order)
    return verdict(order == list(HIS), order[-1] == "naive"), text


def _strengths(kept: Kept) -> Answer:
    """Works: of three strengths of each method the middle one, which is his, is best; in part: of
    some."""
    found: dict[str, dict[float, list[float]]] = {}
    for row in kept.rows:
        if row["method"] in HIS and row["settings"].get("lam") is not None:
            lams = found.setdefault(row["method"], {})
            lams.setdefault(row["settings"]["lam"], []).append(row["acc"])
    right, told = [], []
    for method, lams in found.items():
        means = {lam: 100 * float(np.mean(accs)) for lam, accs in sorted(lams.items())}
        right.append(max(means, key=lambda lam: means[lam]) == list(means)[len(means) // 2])
        told.append(f"{method} " + ", ".join(f"{acc:.1f} at {lam:g}" for lam, acc in means.items()))
    return verdict(all(right), any(right)), "; ".join(told)


_GRID = (
    "weightspace run kutalev-importances --set data=mnist -m mas -m ewc -m si -m sig "
    "--set mas.lam=1.5,4.5,13.5 --set ewc.lam=27,82,246 --set si.lam=0.08,0.25,0.75 "
    "--set sig.lam=0.03,0.1,0.3"
)


_ABOVE = (("MAS ~ FIS", "FIS ~ MAS", 0.8), ("MAS ~ SI", "MAS ~ SI", 0.8),
          ("FIS ~ SI", "FIS ~ SI", 0.75))  # fmt: skip
_TITLES = {"mas": "MAS at 4.5", "ewc": "FIS at 41 (82 here)", "si": "SI at 0.25",
           "sig": "SIG at 0.1", "naive": "nothing held"}  # fmt: skip
CLAIMS = (
    *(
        Published("correlations", f"{told} is high in all layers", f"above {least}",
                  results=NAME, judge=_above(pair, least))
        for told, pair, least in _ABOVE
    ),
    Published("correlations", "FIS ~ MAS squared is above FIS ~ MAS", "above", results=NAME,
              judge=_square),
    Published("correlations", "SIG correlates with the others near the input", "about 0.6",
              results=NAME, judge=_signal_first),
    Published("correlations", "and against them on the output layer", "negative", results=NAME,
              judge=_signal_last),
    *(
        Published("logs", f"ten permutations, six epochs each: {_TITLES[method]}", f"{acc} %",
                  results=NAME, judge=_accuracy(method))
        for method, acc in HIS.items()
    ),
    Published("logs", "so in order: MAS, FIS, SI, SIG, nothing held", results=NAME, judge=_order),
    Published("grid search", "these strengths are the best", "4.5, 41, 0.25, 0.1", results=GRID,
              judge=_strengths, never=f"`{_GRID}`, 0.24 hours a seed"),
)  # fmt: skip
