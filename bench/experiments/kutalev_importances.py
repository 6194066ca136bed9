"""Correlation of importances (Kutalev 2022): how much FIS, MAS, SI and SIG agree, layer by layer.

784-300-150-10 leaky ReLU (slope .01), Adam 1e-3 never reset, batch 100, six epochs a task on ten
permutations, importances from the last 5,000 training samples of each task. The probe trains under
MAS's penalty, lam 4.5, and measures all five importances; the other lines are the same network
under each penalty at his searched strengths. His 41 for FIS has no factor 1/2: here it is 82.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ...kernels.errors import DataError
from ...methods.correlation import KINDS, PAIRS, ImportanceProbe
from ...nnlite import Network
from ...nnlite.files import write_whole
from ..runs.preset import Preset

_LAST = {"samples": 5000, "which": "last"}

PRESET = Preset(
    name="kutalev-importances",
    summary="layerwise correlations of FIS, MAS, SI, SIG and MAS^2 (Kutalev 2022)",
    stream="permuted",
    scenario="domain",
    hidden=(300, 150),
    activation="leaky_relu",
    epochs=6,
    batch_size=100,
    methods={
        "importance-probe": {"lam": 4.5, **_LAST},
        "mas": {"lam": 4.5, **_LAST},
        "ewc": {"lam": 82.0, "fisher": "empirical", **_LAST},
        "si": {"lam": 0.25, "clamp": "none", "gradient": "total"},
        "sig": {"lam": 0.1, **_LAST},
        "naive": {},
    },
)


def rows(tables: np.ndarray, layers: list[str]) -> list[tuple[str, str, str, int, float]]:
    """(kind, pair, layer, after task, correlation) for every entry of tables (T, 2, pairs, L)."""
    return [
        (kind, " ~ ".join(pair), layer, task + 1, float(tables[task, k, p, column]))
        for k, kind in enumerate(KINDS)
        for p, pair in enumerate(PAIRS)
        for column, layer in enumerate(layers)
        for task in range(len(tables))
    ]


def after_last_task(folders: list[Path], kind: str = "pearson") -> dict[str, dict[str, float]]:
    """pair -> layer -> correlation after the last task, a mean over the runs in `folders`.

    Raises DataError for a damaged correlations.csv.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for folder in folders:
        for pair, layer, value in _last_rows(folder / "correlations.csv", kind):
            found.setdefault(pair, {}).setdefault(layer, []).append(value)
    return {
        pair: {layer: float(np.mean(values)) for layer, values in layers.items()}
        for pair, layers in found.items()
    }


def _last_rows(path: Path, kind: str) -> list[tuple[str, str, float]]:
    """(pair, layer, correlation) of a kind after the last task. Raises DataError."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if line["kind"] == kind]
        last = max(int(line["after_task"]) for line in lines)
        return [(line["pair"], line["layer"], float(line["correlation"])) for line in lines
                if int(line["after_task"]) == last]  # fmt: skip
    except (ValueError, KeyError, TypeError, csv.Error) as wrong:
        raise DataError(
            f"{path} is damaged ({wrong!r}); remove its run's summary.json, and --resume does that "
            "run anew"
        ) from None


def write_results(probe: ImportanceProbe, net: Network, folder: Path) -> list[Path]:
    """correlations.csv and one surface a pair and kind; returns the figures' paths."""
    from ..runs.figures import correlation_surfaces

    layers = [name for name in net.layout if name.endswith(".weight")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "pair", "layer", "after_task", "correlation"])
    writer.writerows(rows(probe.tables, layers))
    write_whole(folder / "correlations.csv", text.getvalue())
    return [
        correlation_surfaces(probe.tables[:, k], kind, folder / "figures" / f"{kind}.png")
        for k, kind in enumerate(KINDS)
    ]
