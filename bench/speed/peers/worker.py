"""The process a peer runs in: `python -m weightspace.bench.speed.peers.worker PEER [BACKEND]`.

PEER is a name of the registry or the dotted name of a module like those here, BACKEND what it is to
compute on (see `place`; default "cpu"). One JSON request a
line comes in on stdin, one JSON reply a line goes out on stdout; arrays travel in .npz files.

| request | reply |
|---|---|
| {"do": "hello"} | status "ok", or "absent" with a reason |
| {"do": "prepare", "operation", "size", "arrays", "result", "variant"} | see `prepare` |
| {"do": "calibrate", "seconds"} | {"calls"} |
| {"do": "sample", "calls", "pause"} | {"seconds" (per call), "idle_cpu" (seconds)} |
| {"do": "latency", "calls"} | {"each" (seconds of every call)} |
| {"do": "usage"} | {"peak_bytes", "start_bytes", "cpu_seconds"} |

The process ends when stdin closes. One process serves one operation, so that its peak resident
memory is that operation's.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, TextIO

from ....kernels.errors import DeviceError, MissingExtraError
from .. import timing
from . import REGISTRY, place
from .problem import NotRunError, Operation, Problem, Variants, load_arrays, save_arrays
from .sizes import parse_size

_CHOOSE_SAMPLES, _CHOOSE_SECONDS = 5, 0.01
_CHOOSE_MOST = 2.0  # seconds, from which on three samples must do


def memory() -> dict[str, int]:
    """Resident bytes of this process, now and at most.

    From /proc where there is one: getrusage's maximum is inherited from the parent on Linux.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return {
            name: int(fields[key].split()[0]) << 10
            for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))
        }
    except (OSError, KeyError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak <<= 0 if sys.platform == "darwin" else 10
        return {"now": peak, "peak": peak}


def _failed(error: Exception) -> dict[str, Any]:
    return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


class Worker:
    """The state of the process: the peer's module, and the operation once it is prepared."""

    def __init__(self, peer: str, backend: str = "cpu") -> None:
        self.peer = peer
        place.settle(backend)
        self.module: ModuleType | None = None
        self.operation: Operation | None = None
        self.greeting = self._import()
        self.start_bytes = memory()["now"]
        self.cpu = time.process_time()

    def _import(self) -> dict[str, Any]:
        """Import the peer's module; status "absent" where its packages are not installed."""
        known = (one for one in REGISTRY.values() if self.peer in (one.name, one.module))
        spec = next(known, None)
        try:
            self.module = importlib.import_module(spec.module if spec else self.peer)
        except (MissingExtraError, DeviceError) as error:
            return {"status": "absent", "reason": str(error)}
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("weightspace"):
                return _failed(error)
            extra = error.name if spec and spec.work == ("products",) else "'weightspace[peers]'"
            reason = f"the package '{error.name}' is not installed: pip install {extra}"
            return {"status": "absent", "reason": reason}
        except Exception as error:
            return _failed(error)
        return {}

    def hello(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """How the import went, which began when the process did."""
        return self.greeting

    def prepare(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Build the operation, in the fastest of its variants unless one is asked for by label.

        Reply: status "ready" with variant, variants (how many there are) and settings, its result
        being in the file `result`; or status "not offered" or "skipped" with a reason.
        """
        if self.module is None:
            raise RuntimeError("asked to prepare before a successful hello")
        problem = Problem(request["operation"], *parse_size(request["size"]))
        variants = self._variants(problem)
        if not isinstance(variants, Mapping):
            return {"status": "not offered", "reason": variants}
        problem = replace(problem, arrays=load_arrays(request["arrays"]))
        try:
            label = request["variant"] or self._fastest(variants, problem)
            self.operation = variants[label](problem)
        except NotRunError as error:
            return {"status": "skipped", "reason": str(error)}
        save_arrays(request["result"], self.operation.result())
        found = {"variant": label, "variants": len(variants), "settings": self.module.settings()}
        return {"status": "ready", **found}

    def _variants(self, problem: Problem) -> Variants | str:
        """The peer's ways of doing an operation on this kind of network, or why it has none."""
        table = getattr(self.module, problem.network.table, {})
        if isinstance(table, str):
            return table
        return table.get(problem.operation) or f"{self.peer} has no such operation"

    def _wait(self) -> None:
        """Until what the peer queued is done; most peers queue nothing."""
        getattr(self.module, "wait", lambda: None)()

    def _fastest(self, variants: Variants, problem: Problem) -> str:
        if len(variants) == 1:
            return next(iter(variants))

        medians: dict[str, float] = {}
        failed: Exception | None = None
        for label, build in variants.items():
            try:
                call = build(problem).call
                medians[label] = timing.measure(
                    call, _CHOOSE_SAMPLES, _CHOOSE_SECONDS, _CHOOSE_MOST, self._wait
                ).median
            except NotRunError:
                raise
            except Exception as error:  # another way may do
                failed = error
        if failed and not medians:
            raise failed
        return min(medians, key=lambda label: medians[label])

    def calibrate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """How many calls make a sample of the asked length."""
        call, seconds = self._ready().call, request["seconds"]
        return {"calls": timing.calibrate(call, seconds, wait=self._wait)}

    def sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Time `calls` calls from the state of the start, after as many untimed.

        The untimed ones wake caches, clocks and thread pools. Then sleeps for `pause` seconds, in
        which this peer's thread pools stop spinning, before the next peer is timed; idle_cpu is
        what this process burned after that and until now, when it should have slept.
        Pools that never spin (OMP_WAIT_POLICY=PASSIVE) would need no pause, but cost torch a
        factor of 1.8 to 2.8 on 784-300-100-10: no peer is timed with its hands tied.
        """
        idle_cpu = time.process_time() - self.cpu
        operation, calls = self._ready(), request["calls"]
        operation.reset()
        timing.time_batch(operation.call, calls, self._wait)
        seconds = timing.time_batch(operation.call, calls, self._wait)
        time.sleep(request["pause"])
        return {"seconds": seconds, "idle_cpu": idle_cpu}

    def latency(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """How long each of `calls` calls takes, after as many untimed."""
        operation, calls = self._ready(), request["calls"]
        operation.reset()
        timing.time_batch(operation.call, calls, self._wait)
        return {"each": timing.time_each(operation.call, calls, self._wait)}

    def usage(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        """Peak resident bytes, what was resident once the peer was imported, and all CPU time."""
        return {
            "peak_bytes": memory()["peak"],
            "start_bytes": self.start_bytes,
            "cpu_seconds": time.process_time(),
        }

    def _ready(self) -> Operation:
        if self.operation is None:
            raise RuntimeError("asked to run before a successful prepare")
        return self.operation

    def reply(self, line: str) -> dict[str, Any]:
        """The answer to one request; any exception becomes status "failed"."""
        try:
            request = json.loads(line)
            actions = {
                "hello": self.hello,
                "prepare": self.prepare,
                "calibrate": self.calibrate,
                "sample": self.sample,
                "latency": self.latency,
                "usage": self.usage,
            }
            answer = {"status": "ok", **actions[request["do"]](request)}
        except Exception as error:
            answer = _failed(error)
        self.cpu = time.process_time()
        return answer


def private_stdout() -> TextIO:
    """The real stdout, for replies alone: what a library prints goes to stderr from now on."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main() -> None:
    """Serve requests until stdin ends."""
    replies, worker = private_stdout(), Worker(*sys.argv[1:])
    for line in sys.stdin:
        replies.write(json.dumps(worker.reply(line)) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
