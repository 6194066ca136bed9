"""Which Fisher information should EWC have? Five ways, on the protocol of van de Ven (2025).

van de Ven, "On the computation of the Fisher information in continual learning", ICLR blog posts
2025, arXiv 2502.11756. Split MNIST, task-incremental, in an order of classes of the seed's own;
784-400-400-10 with torch's default weights, Adam 1e-3 never reset, 2,000 steps of 128 a task; what
earlier tasks leave is added up around the latest weights ("online", gamma 1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from rich.table import Table

from ....kernels.errors import SettingError, check_name
from ....methods import EWC, Method, Naive, Stream, fit
from ....nnlite import Network, models
from ....nnlite.init import generator
from ....nnlite.optim import Adam
from ... import data, streams
from ...runs.tables import titled
from ...show.labels import number
from ..claims import claims_table
from ..lab import Advancing, check_least
from ..rows import grouped, select, with_error
from ..study import Part, PartRow, Row, Study, Work
from . import claims, figures
from .numbers import best, differences, percents
from .variants import VARIANTS

PROTOCOLS = ("split", "permuted")
ASKS = ("accuracy", "seconds")
REPEATS = 3  # of a measurement of seconds; the least is kept


@dataclass(frozen=True)
class Settings:
    """ask: accuracy, or the seconds that each way takes (for a machine with nothing else to do).

    protocol: "split" (pairs of classes, task known) or "permuted" (`tasks` of them, one head). few:
    samples of the exact Fisher of few. Strengths are searched on the first `searches` seeds, each
    of `grid` (`batched_grid` of the squared batches); all others learn by the chosen one, that of
    each way under its name.
    """

    ask: str = "accuracy"
    protocol: str = "split"
    data: str = "mnist"
    train_limit: int | None = None
    test_limit: int | None = None
    width: int = 400
    steps: int = 2000
    batch: int = 128
    tasks: int = 5
    few: int = 500
    searches: int = 1
    grid: tuple[float, ...] = (1e2, 1e3, 1e4, 1e5, 1e6, 1e7)
    batched_grid: tuple[float, ...] = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
    exact: float = 1e4
    exact_few: float = 1e4
    sampled: float = 1e4
    empirical: float = 1e4
    batched: float = 1e6


class Learned(PartRow):
    """All tasks learned; which: of the search, or by the chosen strength. kept: bytes."""

    which: Literal["search", "chosen"]
    variant: str
    lam: float
    accuracy: float
    bwt: float
    kept: int


class Taken(PartRow):
    """What a way takes for `samples` of the first task beside as many steps of learning.

    learning_seconds: of the forward and backward passes of one look at all its samples.
    """

    which: Literal["seconds"]
    variant: str
    samples: int
    classes: int
    seconds: float
    learning_seconds: float


@lru_cache(maxsize=1)  # all parts learn the same images
def _images(name: str, data_dir: Path | None, train: int | None, test: int | None) -> data.Dataset:
    return data.load(name, data_dir).limited(train, test)


def make_stream(work: Work) -> Stream:
    """The seed's tasks. Raises the data sets' and streams' errors."""
    made = work.settings
    images = _images(made.data, work.data_dir, made.train_limit, made.test_limit)
    if made.protocol == "permuted":
        return streams.build("permuted", images, "domain", num_tasks=made.tasks, seed=work.seed)
    order = class_order(work, images.num_classes)
    return streams.build("split", images, "task", class_order=order)


def class_order(work: Work, classes: int) -> list[int]:
    """The seed's own order of the classes, pair by pair."""
    return generator(work.seed, 0xF15E).permutation(classes).tolist()


def make_network(work: Work, stream: Stream) -> Network:
    """The seed's network, before its first task."""
    width = work.settings.width
    sizes = (*stream.input_shape, width, width, stream.num_classes)
    return models.mlp(sizes, seed=work.seed, backend=work.backend)


def _learned(work: Work, variant: str, lam: float, search: bool) -> Iterator[Row]:
    """A row of a way and a strength, if the seed is for such."""
    made = work.settings
    is_search = work.seed < made.searches
    if search != is_search:
        return
    stream = make_stream(work)
    method: Method = VARIANTS[variant].method(lam, made.few) if variant in VARIANTS else Naive()
    result = fit(
        make_network(work, stream), stream, method, optimizer=Adam(1e-3), steps=made.steps,
        batch_size=made.batch, seed=work.seed, observer=Advancing(work),
    )  # fmt: skip
    yield {
        "which": "search" if search else "chosen", "variant": variant, "lam": lam,
        "accuracy": result.acc, "bwt": result.bwt, "kept": result.persistent_bytes[-1],
    }  # fmt: skip


def _seconds(work: Work) -> Iterator[Row]:
    """Each way on the first task, and the passes that learning its samples takes."""
    made, stream = work.settings, make_stream(work)
    net, task = make_network(work, stream), stream.tasks[0]
    x, y = task.load_train()
    grad = np.zeros_like(net.theta)

    def passes(x: np.ndarray, y: np.ndarray) -> None:
        for lo in range(0, len(x), made.batch):
            net.loss_and_grad(x[lo : lo + made.batch], y[lo : lo + made.batch], grad, task.active)

    for done, (name, variant) in enumerate(VARIANTS.items()):
        work.advance(done, len(VARIANTS))
        some = slice(made.few if name == "few" else len(x))
        alone = _least(lambda x=x[some], y=y[some], of=variant.alone: of(net, x, y, task.active))
        yield {
            "which": "seconds", "variant": name, "samples": len(x[some]),
            "classes": stream.num_classes if task.active is None else int(task.active.sum()),
            "seconds": alone, "learning_seconds": _least(lambda: passes(x, y)),
        }  # fmt: skip


def _least(call) -> float:
    """The least seconds of a few calls, after one that compiles."""
    call()
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def _part(name: str, variant: str, lam: float, search: bool) -> Part:
    return Part(name, lambda work: _learned(work, variant, lam, search))


def chosen(settings: Settings) -> dict[str, float]:
    """The chosen strength of each way."""
    return dict(zip(VARIANTS, (settings.exact, settings.exact_few, settings.sampled,
                               settings.empirical, settings.batched), strict=True))  # fmt: skip


def parts(settings: Settings) -> Sequence[Part]:
    """A part a way and strength. Raises UnknownNameError or SettingError."""
    check_name("question of five-fishers", settings.ask, ASKS)
    check_name("protocol", settings.protocol, PROTOCOLS)
    check_name("data set", settings.data, data.NAMES)
    check_least(settings, {"steps": 1, "batch": 1, "width": 1, "tasks": 2, "few": 1, "searches": 0})
    lams = (*settings.grid, *settings.batched_grid, *chosen(settings).values())
    if not settings.grid or not settings.batched_grid or min(lams) < 0:
        raise SettingError("grid, batched_grid and the chosen strengths: numbers of 0 or more")
    if settings.ask == "seconds":
        return [Part("seconds", _seconds)]
    found = [_part("none", "none", 0.0, False), _part("search-none", "none", 0.0, True)]
    for name, lam in chosen(settings).items():
        found.append(_part(name, name, lam, False))
        grid = settings.batched_grid if name == "batched" else settings.grid
        found += [_part(f"search-{name}-{number(at)}", name, at, True) for at in grid]
    return found


def _told(variant: str) -> str:
    return VARIANTS[variant].label if variant in VARIANTS else "none"


def _table_of_search(rows: Sequence[Row]) -> Table:
    """Accuracy by strength, the best of each way marked."""
    lams = sorted({row["lam"] for row in rows if row["variant"] in VARIANTS})
    table = titled("accuracy over all tasks, %, by strength (search)", ("way", *map(number, lams)))
    for name, of in grouped(rows, "variant").items():
        top = best(of)
        cells = []
        for lam in lams:
            found = percents(select(of, lam=lam if name in VARIANTS else 0.0))
            star = "*" if lam == top and name in VARIANTS else " "
            cells.append(f"{np.mean(found):.2f}{star}" if len(found) else "")
        table.add_row(_told(name), *cells)
    return table


def _table_of_chosen(rows: Sequence[Row]) -> Table:
    """Each way by its chosen strength, and beside the exact one on the same seeds."""
    heads = ("way", "strength", "seeds", "accuracy %", "minus exact", "kept MB")
    table = titled("five ways, each by its chosen strength", heads)
    for name, of in grouped(rows, "variant").items():
        mean, error, count = differences(of)
        minus, wrong, _ = differences(of, select(rows, variant="exact"))
        table.add_row(
            _told(name), number(of[0]["lam"]), str(count), with_error(mean, error, 2),
            with_error(minus, wrong, 2), f"{of[0]['kept'] / 1e6:.2f}",
        )  # fmt: skip
    return table


def _table_of_seconds(rows: Sequence[Row]) -> Table:
    heads = ("way", "samples", "classes", "seconds", "of the passes of learning them once")
    table = titled("seconds of one task's Fisher information", heads)
    for row in rows:
        share = row["seconds"] / row["learning_seconds"]
        table.add_row(_told(row["variant"]), f"{row['samples']:,}", str(row["classes"]),
                      f"{row['seconds']:.3f}", f"{share:.2f}")  # fmt: skip
    return table


def tell(rows: Sequence[Row]) -> list[Table]:
    """The search, the chosen strengths, seconds, and what became of the published claims."""
    made = (("search", _table_of_search), ("chosen", _table_of_chosen),
            ("seconds", _table_of_seconds))  # fmt: skip
    tables = [table(found) for which, table in made if (found := select(rows, which=which))]
    return [*tables, claims_table(claims.judge(rows), ("claim", "verdict", "here"))]


STUDY = Study(
    name="five-fishers",
    summary="EWC by five ways to compute the Fisher information (van de Ven 2025)",
    settings=Settings(),
    parts=parts,
    draw=figures.draw,
    tell=tell,
    notes=(EWC.convention,),
    row=Learned | Taken,
)
