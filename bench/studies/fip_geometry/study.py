"""The geometry of two tasks: paths in weight space, and the metric they are measured by.

MNIST, then Fashion-MNIST, as in `fip-two-tasks`. While the second is learnt, naively and along
invariant paths, weights are kept every so many steps: their principal components are the paper's
picture of the path. The metric of the first task's answers says how far they moved the outputs
where the weights moved as far; its spectrum, how few directions matter to the outputs at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

from ....methods import Stream, accuracy, fip, fit
from ....methods.importance import probabilities
from ....methods.result import Evaluation
from ....methods.tasks import Arrays
from ....methods.vectors import inner
from ....nnlite import Network
from ....nnlite.optim import SGD
from ...experiments.presets import PRESETS
from ...runs.make import make_network, make_stream
from ...runs.preset import Preset, variants
from ...runs.tables import titled
from ...show.source import images_of
from ...show.style import COLOURS, INK, close, pyplot
from ..lab import Advancing
from ..rows import first_seed, grouped, select
from ..study import Part, Row, Study, Work

_TESTED = 1000  # images of each task behind an accuracy


@dataclass(frozen=True)
class Settings:
    """data, model: of the stream. steps: a task. every: steps between kept weights. samples: of the
    first task, behind the metric.
    """

    data: str = "mnist+fashion-mnist"
    hidden: tuple[int, ...] = ()  # an MLP of so many units instead of the CNN
    steps: int = 1200
    every: int = 100
    samples: int = 100
    lr: float = 0.01


class Keeper(Advancing):
    """Keeps the weights, and what goes with them, while the second task is learnt."""

    def __init__(self, work: Work, net: Network, every: int) -> None:
        super().__init__(work)
        self.net, self.every = net, every
        self.thetas: list[np.ndarray] = []
        self.states: list[dict[str, np.ndarray]] = []
        self.at: list[int] = []
        self._first = 0

    def stepped(self, step: int, task: int, loss: float) -> None:
        super().stepped(step, task, loss)
        if task == 0:
            self._first = step
        elif (step - self._first) % self.every == 0:
            self._keep(step - self._first)

    def evaluated(self, evaluation: Evaluation) -> None:
        if evaluation.task == 0:  # the first task has just been learnt
            self.thetas, self.states, self.at = [], [], []
            self._keep(0)

    def _keep(self, at: int) -> None:
        self.thetas.append(self.net.device.get(self.net.theta).copy())
        self.states.append(self.net.state.kept())
        self.at.append(at)

    def put_back(self, number: int) -> None:
        """Make the network what it was: weights and running statistics."""
        self.net.theta[:] = self.net.device.put(self.thetas[number])
        self.net.state.restore(self.states[number])


def _preset(settings: Settings) -> Preset:
    preset = replace(PRESETS["fip-two-tasks"], data=settings.data, lr=settings.lr)
    if settings.hidden:
        flat = {**preset.stream_settings, "flat": True}
        preset = replace(preset, model=None, hidden=settings.hidden, stream_settings=flat)
    return preset


def _lines(work: Work) -> Iterator[Row]:
    settings = work.settings
    preset = _preset(settings)
    stream = make_stream(preset, work.seed, work.data_dir)
    work.reads(images_of(stream.description))
    walks: dict[str, tuple[Network, Keeper]] = {}
    for variant in variants(preset, ["naive", "fip"]):
        net = make_network(preset, stream, work.backend, work.seed)
        keeper = Keeper(work, net, settings.every)
        fit(
            net, stream, variant.build(), optimizer=SGD(settings.lr, preset.momentum or 0.0),
            steps=settings.steps, batch_size=preset.batch_size, seed=work.seed, observer=keeper,
        )  # fmt: skip
        walks[variant.label] = net, keeper
    every = np.concatenate([keeper.thetas for _, keeper in walks.values()])
    places, shares = fip.principal(every, 3)
    yield {"kind": "shares", "shares": shares.tolist()}
    at = 0
    for label, (net, keeper) in walks.items():
        yield from _walk(label, net, keeper, stream, settings.samples, places[at:])
        at += len(keeper.thetas)
    net, keeper = next(iter(walks.values()))
    keeper.put_back(0)
    values = fip.Metric(net, stream.tasks[0].load_train()[0][: settings.samples]).spectrum()
    yield {
        "kind": "spectrum", "values": values.tolist(), "samples": settings.samples,
        "parameters": net.num_parameters, "effective_rank": fip.effective_rank(values),
    }  # fmt: skip


def _walk(
    label: str, net: Network, keeper: Keeper, stream: Stream, samples: int, places: np.ndarray
) -> Iterator[Row]:
    """A row for each kept weight: where it lies, how far it is, what it can."""
    tests = [task.load_test() for task in stream]
    x = stream.tasks[0].load_train()[0][:samples]
    weights = outputs = 0.0
    keeper.put_back(0)
    metric = fip.Metric(net, x)
    for number, (step, theta) in enumerate(zip(keeper.at, keeper.thetas, strict=True)):
        moved = net.device.put(theta) - net.theta
        metric.move()
        weights += float(np.sqrt(inner(net, moved, moved)))
        outputs += metric.length(moved)
        keeper.put_back(number)
        if number in (0, len(keeper.at) // 2, len(keeper.at) - 1):
            yield {"kind": "answers", "label": label, "step": step, "mean": _answers(net, tests)}
        yield {
            "kind": "walk", "label": label, "step": step, "place": places[number].tolist(),
            "weight_length": weights, "output_length": outputs,
            "accuracies": [accuracy(net, t[:_TESTED], y[:_TESTED]) for t, y in tests],
        }  # fmt: skip


def _answers(net: Network, tests: Sequence[Arrays]) -> list[list[float]]:
    """Mean softmax (K, K): of the samples of each class, over the classes."""
    x, y = (np.concatenate([arrays[i][:_TESTED] for arrays in tests]) for i in (0, 1))
    p = net.device.get(probabilities(net, net.device.put(net.forward(x)), None))
    classes = range(net.num_outputs)
    return [p[y == c].mean(axis=0).tolist() if (y == c).any() else [0.0] * len(p[0])
            for c in classes]  # fmt: skip


def _walks(rows: Sequence[Row], kind: str = "walk") -> dict[str, list[Row]]:
    """The rows of the first seed's walks, by label."""
    return grouped(select(first_seed(rows), kind=kind), "label")


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """path.png: the walks on their principal components; metric.png: lengths and the spectrum;
    answers.png: what images of each class are taken for.
    """
    return [
        _draw_path(rows, folder / "path.png"),
        _draw_metric(rows, folder / "metric.png"),
        _draw_answers(rows, folder / "answers.png"),
    ]


def _draw_path(rows: Sequence[Row], target: Path) -> Path:
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    shares = select(rows, kind="shares")[0]["shares"]
    for colour, (label, walk) in zip(COLOURS, _walks(rows).items(), strict=False):
        places = np.array([row["place"] for row in walk])
        left.plot(places[:, 0], places[:, 1], "-o", ms=3.5, color=colour, label=label)
        steps = [row["step"] for row in walk]
        old, new = 100 * np.array([row["accuracies"] for row in walk]).T
        right.plot(steps, old, "-o", ms=3.5, color=colour)
        right.plot(steps, new, "--", lw=1.3, color=colour)
    start = next(iter(_walks(rows).values()))[0]["place"]
    left.plot(*start[:2], "s", color="black", ms=8, label="first task learnt", zorder=5)
    left.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)")
    left.set_ylabel(f"component 2 ({shares[1]:.0%})")
    left.set_title("Weights while the second task is learnt")
    left.legend()
    right.plot([], [], "-o", ms=3.5, color=INK, label="the first task")
    right.plot([], [], "--", lw=1.3, color=INK, label="the second")
    right.legend(loc="center right")
    right.set(xlabel="steps on the second task", ylabel="test accuracy, %", ylim=(-3, 103))
    right.set_title(f"What they can (seed {rows[0]['seed']})")
    figure.tight_layout()
    return close(plt, figure, target)


def _draw_metric(rows: Sequence[Row], target: Path) -> Path:
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    for colour, (label, walk) in zip(COLOURS, _walks(rows).items(), strict=False):
        lengths = np.array([(row["weight_length"], row["output_length"]) for row in walk])
        left.plot(*lengths.T, "-o", ms=3.5, color=colour, label=label)
    left.set_xlabel("length of the path in weights")
    left.set_ylabel("in outputs of the first task")
    left.set_title("How far the old answers moved")
    left.legend()
    spectrum = select(rows, kind="spectrum")[0]
    values = np.array(spectrum["values"])
    values = values[values > values[0] * 1e-9]
    right.semilogy(np.arange(1, len(values) + 1), values, color=COLOURS[0])
    right.axvline(spectrum["effective_rank"], color=COLOURS[1], lw=1)
    right.annotate(
        f"effective rank {spectrum['effective_rank']:.1f}",
        (spectrum["effective_rank"], values[0]), (8, -4), textcoords="offset points",
        color=COLOURS[1],
    )  # fmt: skip
    right.set_xlabel(f"number, of {spectrum['parameters']:,}")
    right.set_title(f"Eigenvalues of the metric, {spectrum['samples']} samples")
    figure.tight_layout()
    return close(plt, figure, target)


def _draw_answers(rows: Sequence[Row], target: Path) -> Path:
    """A heat map of mean softmax for each walk, at its start, middle and end."""
    plt = pyplot()
    walks = _walks(rows, "answers")
    across = max(len(walk) for walk in walks.values())
    figure, grid = plt.subplots(
        len(walks), across, figsize=(2.9 * across + 1.2, 2.9 * len(walks) + 0.4), squeeze=False,
        sharex=True, sharey=True, layout="constrained",
    )  # fmt: skip
    for line, (label, walk) in zip(grid, walks.items(), strict=True):
        for axes, row in zip(line, walk, strict=False):
            shown = axes.imshow(row["mean"], cmap="viridis", vmin=0, vmax=1)
            axes.set(xticks=range(0, len(row["mean"]), 5), yticks=range(0, len(row["mean"]), 5))
            axes.grid(visible=False)
            axes.set_title(f"{label}, step {row['step']:,}", fontsize=9.5)
        line[0].set_ylabel("true class")
    for axes in grid[-1]:
        axes.set_xlabel("class answered")
    figure.colorbar(shown, ax=grid, fraction=0.03, label="mean softmax")
    return close(plt, figure, target)


def tell(rows: Sequence[Row]) -> list[Table]:
    """Where each walk ended."""
    heads = ("walk", "weights", "outputs", "outputs / weights", "first task %", "second task %")
    title = "lengths of the paths, and accuracies at their ends"
    table = titled(title, heads, left=len(heads))
    for label, walk in _walks(rows).items():
        end = walk[-1]
        w, o = end["weight_length"], end["output_length"]
        table.add_row(
            label, f"{w:.2f}", f"{o:.3f}", f"{o / w:.4f}",
            *(f"{100 * value:.1f}" for value in end["accuracies"]),
        )  # fmt: skip
    return [table]


STUDY = Study(
    name="fip-geometry",
    summary="paths in weight space while a second task is learnt, and the metric's spectrum",
    settings=Settings(),
    parts=lambda settings: [Part("walks", _lines)],
    draw=draw,
    tell=tell,
    notes=(
        "Lengths are summed over the kept weights: outputs by sqrt(d' g d), g the softmax's Fisher "
        "metric on samples of the first task.",
    ),
)
