"""Tables of the docs about importances (Kutalev 2022), from kept rows."""

from __future__ import annotations

from ..studies.importances import why_told
from ..studies.rows import percent_of
from .claims.importances import HIS, correlations
from .kept import Kept, percent, read
from .markdown import markdown

_TITLES = {"mas": "MAS 4.5", "ewc": "FIS 41 (our 82)", "si": "SI 0.25", "sig": "SIG 0.1",
           "naive": "none"}  # fmt: skip


def accuracies(kept: Kept) -> str:
    """His mean accuracies beside ours."""
    rows = []
    for method, his in HIS.items():
        found = kept.mean("acc", label=method)
        rows.append((_TITLES[method], f"{his:.1f}", percent(found), str(found.count)))
    return markdown(("method (his strength)", "his, 20 runs", "here", "seeds"), rows)


def agreement(kept: Kept) -> str:
    """Each pair's correlations after one task, after five and after ten, layer by layer."""
    (some, *_) = (row["correlations"] for row in kept.rows if "correlations" in row)
    rows = []
    for pair in some["pearson"]:
        cells = [pair]
        for kind in ("pearson", "spearman"):
            found = correlations(kept, pair, kind)
            middle = (found.shape[1] - 1) // 2
            cells += [f"{layer[0]:.2f}, {layer[middle]:.2f}, {layer[-1]:.2f}" for layer in found]
        rows.append(cells)
    layers = range(1, 1 + len(next(iter(some["pearson"].values()))))
    heads = [f"{kind}, layer {layer}" for kind in ("Pearson", "Spearman") for layer in layers]
    return markdown(("importances", *heads), rows)


def taken_apart(kept: Kept) -> str:
    """Every line of `why-sig` at its strength, on the network that has all of them."""
    found = why_told.lines(kept.rows, why_told.middle(kept.rows))
    rows = []
    for name, one in found.items():
        acc = percent_of([*one.accuracies.values()])
        lam = f"{one.lam:g}" + ", the grid's end" * one.edge if one.lam else ""
        rows.append((name, acc, f"{why_told.share(found, name):.0%}", lam))
    return markdown(("importance", "ACC %", "of what MAS holds", "lam"), rows)


def answered(kept: Kept) -> str:
    """The questions of `why-sig`."""
    return markdown(("", "", "numbers"), why_told.answers(kept.rows))


TABLES = {
    "why-sig": lambda: taken_apart(read("why-sig")),
    "why-sig-answers": lambda: answered(read("why-sig")),
    "kutalev-accuracies": lambda: accuracies(read("kutalev-importances")),
    "kutalev-correlations": lambda: agreement(read("kutalev-importances")),
}
