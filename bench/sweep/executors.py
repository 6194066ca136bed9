"""Executors: where tasks are worked on. One process, a pool of them, or a Dask cluster.

All have one seam: `unordered(function, items)` yields (index, answer) as answers come, and asks
for items only as there is room, so a long line of large ones is never in memory at once. `map`
is the same in order. A worker that dies takes nothing with it: what it had is given to another.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, Self

from ...kernels.cores import cores_here
from ...kernels.errors import MissingExtraError, SettingError, WorkerError
from ...methods.side_by_side import in_threads

LIVES = 3  # workers that one task may take with it before it is given up
_THREADS, _BLAS = (
    ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"),
    ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
)
Task = tuple[int, Any]


class Executor:
    """Serial: in this process, one after another. Use as a context manager.

    where: in a few words, for people. lost: workers that died so far.
    """

    where = "this process"
    lost = 0

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Task]:
        """(index, function(item)) for all items, in whatever order they are done."""
        for index, item in enumerate(items):
            yield index, function(item)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """function(item) for all items, in their order, as `map` gives them."""
        early: dict[int, Any] = {}
        following = 0
        for index, answer in self.unordered(function, items):
            early[index] = answer
            while following in early:
                yield early.pop(following)
                following += 1

    def close(self, stopped: bool = False) -> None:
        """Let the workers go; stopped: what they are at is not wanted any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(stopped=kind is not None)


class Threads(Executor):
    """Threads of this process, the cores shared out between them: nothing is loaded twice."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.where = f"{workers} threads of this process"

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Task]:
        """See `Executor`."""
        return in_threads(function, items, self.workers)


class Pool(Executor):
    """Processes of this machine, started afresh (spawn), the cores shared out between them.

    A pool that breaks because a worker was killed is replaced, and what was not done is done again.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.threads = max(1, cores_here() // workers)
        self.where = f"{workers} processes of {self.threads} thread{'s' * (self.threads > 1)}"
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.workers, mp_context=get_context("spawn"), initializer=_serve
        )

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Task]:
        """See `Executor`. Raises WorkerError for an item whose workers all die."""
        source = enumerate(items)
        pending: dict[Future[Any], Task] = {}
        again: list[Task] = []
        deaths: Counter[int] = Counter()
        while True:
            broken = False
            # no more than there are workers, so that those pending are those being worked on
            while len(pending) < self.workers and not broken:
                task = again.pop() if again else next(source, None)
                if task is None:
                    break
                try:
                    with _environment(self.threads):
                        pending[self._pool.submit(function, task[1])] = task
                except BrokenProcessPool:
                    again.append(task)
                    broken = True
            if not pending and not broken:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                task = pending[future]
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
                else:
                    del pending[future]
                    yield task[0], future.result()
            if broken:
                wait(pending)  # those of a broken pool are done at once, one way or the other
                for future in list(pending):
                    task = pending.pop(future)
                    if not isinstance(future.exception(), BrokenProcessPool):
                        yield task[0], future.result()
                        continue
                    deaths[task[0]] += 1
                    again.append(task)
                self._replace(deaths)

    def _replace(self, deaths: Counter[int]) -> None:
        self.lost += 1
        self._pool.shutdown(wait=False)
        if max(deaths.values(), default=0) >= LIVES:
            raise WorkerError(
                f"workers were killed {LIVES} times over the same work; they may have too little "
                "memory: try fewer --workers"
            )
        self._pool = self._start()

    def close(self, stopped: bool = False) -> None:
        """See `Executor`."""
        if stopped:  # workers first: their pool then takes itself down in order, and waits for none
            for process in list((getattr(self._pool, "_processes", None) or {}).values()):
                process.kill()  # it writes nothing, and may be deaf to anything milder for long
        self._pool.shutdown(wait=True, cancel_futures=True)


def _serve() -> None:
    """What a worker does before its first work: leave alone what is for who asked, end with them.

    Ctrl-C, and a terminal's going away, reach all processes of it: what to do about that is for
    the parent. Its output is the parent's to write to, too: a worker that kept it open would hold
    up a pipe that waits for its end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has, however that ended: killed, it cannot tell us.

    The parent holds one end of a pipe that closes with it (`multiprocessing`'s sentinel).
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Processes started here use so many threads, unless the user said how many; their BLAS uses
    one, as a trial wants it wherever it runs.

    They read it as they are loaded, which is before any code of ours could tell them.
    """
    wanted = {**dict.fromkeys(_THREADS, str(threads)), **dict.fromkeys(_BLAS, "1")}
    ours = {name: count for name, count in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


class Dask(Executor):
    """The workers of the Dask scheduler at `address` ("tcp://host:port").

    The scheduler gives what a dead worker had to another; nothing is recorded there. Raises
    MissingExtraError without the package, WorkerError where no scheduler or no worker answers.
    """

    def __init__(self, address: str, patience: float = 15.0) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtraError("distributed", "distributed", "a Dask cluster") from None
        try:
            self._client: Any = Client(address, timeout=patience, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as wrong:
            raise WorkerError(
                f"no Dask scheduler answers at {address} ({wrong}): start one with `dask "
                "scheduler` and give the address that it prints, tcp://HOST:8786"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=patience)
        except TimeoutError:
            self.close()
            raise WorkerError(
                f"the Dask scheduler at {address} has no workers: start some with "
                f"`dask worker {address} --nworkers 2 --nthreads 1`"
            ) from None
        self.where = f"Dask at {address}, {self._room()} threads"

    def _room(self) -> int:
        """The threads of all workers there are now."""
        return sum(self._client.nthreads().values())

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Task]:
        """See `Executor`. Raises WorkerError for an item whose workers die, and without Dask."""
        from distributed import CancelledError, KilledWorker
        from distributed import wait as wait_for
        from distributed.client import FutureCancelledError

        source = enumerate(items)
        pending: dict[Any, int] = {}
        try:
            while True:
                room = max(2 * self._room(), 2)  # one at work and one waiting, for each thread
                for index, item in islice(source, max(room - len(pending), 0)):
                    pending[self._client.submit(function, item, pure=False)] = index
                if not pending:
                    return
                with self._client.as_current():
                    ended: Any = wait_for(list(pending), return_when="FIRST_COMPLETED")
                done = ended.done
                for future in done:
                    answer = future.result()
                    yield pending.pop(future), answer
        except (ImportError, RuntimeError) as wrong:
            if not isinstance(wrong, ImportError) and "deserialization" not in str(wrong):
                raise
            raise WorkerError(
                "the Dask scheduler or a worker cannot load weightspace: install the same version "
                f"for the scheduler, for the workers and here ({str(wrong).splitlines()[0]})"
            ) from None
        except KilledWorker as wrong:
            raise WorkerError(f"Dask gave up on work whose workers died: {wrong}") from None
        except (CancelledError, FutureCancelledError, OSError):
            raise WorkerError(
                "the Dask scheduler went away; what is done is kept: start it again, and --resume"
            ) from None
        finally:
            self._client.cancel(list(pending))

    def close(self, stopped: bool = False) -> None:
        """See `Executor`; the cluster stays."""
        self._client.close()


def make_executor(
    dask: str | None, workers: int | None, backend: str, threads: bool = False
) -> Executor:
    """Dask where there is an address, else a pool (of threads), or this process for one worker.

    workers None: as many as there are cores; one for the backend "cuda", which has one GPU.
    Raises SettingError for workers beside Dask, whose own they are.
    """
    if dask is not None:
        if workers is not None or threads:
            raise SettingError("--workers are those of the pool; `dask worker` starts Dask's")
        return Dask(dask)
    count = workers or (1 if backend == "cuda" else cores_here())
    if count == 1:
        return Executor()
    return Threads(count) if threads else Pool(count)
