"""How figures look and how they are written: quiet axes, colours that all readers tell apart."""

from __future__ import annotations

import importlib.util
import io
import re
import textwrap
from pathlib import Path
from typing import Any

from ...kernels.errors import MissingExtraError
from ...nnlite.files import write_whole
from .source import said

# Okabe & Ito's palette, black last
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C", "#000000")
INK, GRID, FAINT = "#333333", "#E3E3E3", "#767676"
_SMALL = 6.5  # points: of the line that says what a figure is made from


def require(package: str, extra: str, needed_for: str, module: str | None = None) -> None:
    """Raise MissingExtraError now, rather than after an hour's training, if it is not installed.

    module: the name that it is imported by, where that is another.
    """
    if importlib.util.find_spec(module or package) is None:
        raise MissingExtraError(package, extra, needed_for)


def require_matplotlib() -> None:
    """`require` what draws figures."""
    require("matplotlib", "demo", "a run's figures")


def pyplot() -> Any:
    """matplotlib without a display. Raises MissingExtraError when it is not installed."""
    require_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.dpi": 130,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "xtick.color": INK,
            "ytick.color": INK,
            "legend.frameon": False,
        }
    )
    return plt


def bare(axis: Any) -> None:
    """Leave nothing of an axis but what is drawn on it: for images."""
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


def save(plt: Any, figure: Any, path: Path) -> Path:
    """Write the figure whole or not at all, as the PNG or SVG that its name asks for.

    Without a date and with fixed names inside, so that equal runs give equal bytes. Under it stands
    what it is made from, where that is known (`source.sourced`).
    """
    _say_source(figure, said())
    kind = path.suffix.lstrip(".")
    metadata = {"png": {"Software": None}, "svg": {"Date": None}}[kind]
    buffer = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "weightspace", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, bbox_inches="tight", metadata=metadata)
    write_whole(path, buffer.getvalue())
    return path


def _say_source(figure: Any, line: str) -> None:
    """`line` small and grey below everything that is drawn, from the left edge on."""
    if not line:
        return
    figure.canvas.draw()  # what is drawn has its places
    _pin_legends(figure)
    box = figure.get_tightbbox()  # in inches
    wide, high = figure.get_size_inches()
    letters = max(40, int(box.width * 72 / (0.56 * _SMALL)))
    together = re.sub(r"( --?\w\S*) ", "\\1\xa0", line)  # an option stays with its value
    figure.text(
        box.x0 / wide, (box.y0 - 0.08) / high,
        "\n".join(textwrap.wrap(together, letters)).replace("\xa0", " "),
        fontsize=_SMALL, color=FAINT, va="top", ha="left", parse_math=False,
    )  # fmt: skip


def _pin_legends(figure: Any) -> None:
    """Hold the figure's own legends where they are: saving moves them to the new lower edge."""
    for legend in figure.legends:
        at = legend.get_window_extent().transformed(figure.transFigure.inverted())
        legend.borderaxespad = 0
        legend.set_loc("lower left")
        legend.set_bbox_to_anchor((at.x0, at.y0), transform=figure.transFigure)
    figure.set_layout_engine("none")


def close(plt: Any, figure: Any, path: Path) -> Path:
    """`save`, for a figure that is then done with."""
    save(plt, figure, path)
    plt.close(figure)
    return path
