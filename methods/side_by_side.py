"""Side by side: work in threads of this process, and many networks trained so.

A training step of the cpu runs without Python's lock, so threads that train scale as processes do,
and share data, code and compiled kernels. Each computes on its share of the cores; bits depend on
none of this.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from ..kernels.cores import cores_here
from ..kernels.errors import SettingError
from ..nnlite import Network
from .base import Method, Naive
from .fit import fit
from .observer import Observer
from .result import Result
from .settings import made, whole
from .stopping import stop_all
from .table import METHODS
from .tasks import Stream, Task, as_tasks

Numbered = tuple[int, Any]


def in_threads(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int
) -> Iterator[Numbered]:
    """(index, function(item)) as they are done, `workers` at a time.

    Items are asked for as there is room. Each thread's kernels have their share of the cores. What
    `function` raises is raised here, once the others, asked to stop as by Ctrl-C, have ended.
    """
    source = enumerate(items)
    pending: dict[Future[Any], int] = {}
    pool = ThreadPoolExecutor(workers, initializer=_share, initargs=(workers,))
    try:
        while True:
            while len(pending) < workers and (task := next(source, None)) is not None:
                pending[pool.submit(function, task[1])] = task[0]
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), future.result()
    except BaseException:
        while wait(pending, timeout=0.05).not_done:  # one may only begin to train now
            stop_all()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _share(workers: int) -> None:
    """Let this thread's kernels use its share of the cores; the cpu's have been loaded, or none."""
    numba = sys.modules.get("numba")
    if numba is not None:
        most = numba.config.NUMBA_NUM_THREADS
        numba.set_num_threads(max(1, min(most, cores_here()) // workers))


def fit_many(
    nets: Sequence[Network],
    tasks: Stream | Task | Iterable[Task],
    method: Method | type[Method] | str | None = None,
    *,
    seeds: Sequence[int] | None = None,
    observers: Sequence[Observer] | None = None,
    workers: int | None = None,
    **settings: Any,
) -> list[Result]:
    """`fit` each of `nets` on the tasks, side by side: the same results, to the bit, as one by one.

    seeds: of each one's batches; 0, 1, 2, ... by default. method: one is made for each. workers:
    how many train at a time; one a core by default. settings: `fit`'s others, but for checkpoints,
    which are of one network.

    Raises SettingError, and what `fit` raises; the others are stopped then.
    """
    seeds = list(range(len(nets))) if seeds is None else list(seeds)
    watched = [Observer() for _ in nets] if observers is None else list(observers)
    if not len(nets) == len(seeds) == len(watched):
        raise SettingError(
            f"fit_many got {len(nets)} networks, {len(seeds)} seeds and {len(watched)} observers: "
            "give one of each for each network"
        )
    taken = sorted({"seed", "observer", "checkpoint", "resume"} & settings.keys())
    if taken:
        raise SettingError(f"fit_many takes no {taken[0]}: seeds and observers, one a network")
    if len({id(net) for net in nets}) < len(nets):
        raise SettingError("fit_many got a network twice: net.like() makes a second one")
    learner: Method = made("method", Naive() if method is None else method, METHODS, Method)
    stream = tasks if isinstance(tasks, Stream) else as_tasks(tasks)

    def train(each: tuple[Network, int, Observer]) -> Result:
        net, seed, observer = each
        return fit(net, stream, copy.deepcopy(learner), seed=seed, observer=observer, **settings)

    count = min(whole("workers", cores_here() if workers is None else workers), max(len(nets), 1))
    found: list[Any] = [None] * len(nets)
    for index, result in in_threads(train, zip(nets, seeds, watched, strict=True), count):
        found[index] = result
    return found
