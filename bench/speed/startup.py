"""How long until something happens, and how much it takes up: `weightspace bench startup`.

Imports are timed as whole processes by pyperf. Steps are timed in processes of their own: with an
empty compile cache, and with the cache that leaves. Sizes are those of the wheel and of what each
extra installs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from ...kernels import available
from ...kernels.errors import MissingExtraError
from . import records

IMPORTS = {
    "python alone": "pass",
    "import numpy": "import numpy",
    "import weightspace.nnlite": "import weightspace.nnlite",
    "import weightspace.methods": "import weightspace.methods",
    "the cpu backend": "from weightspace.kernels import get_backend; get_backend('cpu')",
}
_PROJECT = Path(__file__).parents[2]
_SECONDS = 300  # after which a child is given up

# What a new process does until its first training steps; prints seconds from its own start.
_STEPS = """
import time
begun = time.perf_counter()
import numpy as np
from weightspace.nnlite import models, optim
net = models.lenet_300_100(backend="cpu")
x = np.zeros((64, 784), np.float32)
y = np.zeros(64, np.int64)
grad, adam = np.empty_like(net.theta), optim.Adam()
state = adam.state(net.num_parameters, net.dtype)
marks = [time.perf_counter() - begun]
for step in range(1, 4):
    net.loss_and_grad(x, y, out=grad)
    adam.step(net.ops, net.theta, grad, state, step)
    marks.append(time.perf_counter() - begun)
import json
print(json.dumps(marks))
"""


@dataclass
class Row:
    """One measurement: seconds (`samples`, median) or bytes.

    status: "timed", "sized" or "absent" (with a reason).
    """

    name: str
    status: str = "absent"
    reason: str = ""
    samples: tuple[float, ...] = ()
    median: float | None = None
    bytes: int | None = None


def run(quick: bool = False, console: Console | None = None) -> list[Row]:
    """Measure and print everything; returns the rows. quick: no cold compile, no wheel."""
    console = console or Console()
    rows: list[Row] = []
    with console.status("timing imports"):
        rows += [_import(name, code, quick) for name, code in IMPORTS.items()]
    if "cpu" in available():
        with console.status("compiling from an empty cache" if not quick else "first steps"):
            rows += _first_steps(quick)
    if not quick:
        with console.status("building the wheel"):
            rows.append(_wheel())
    rows += [extra_size(extra) for extra in extras()]
    for line in lines(rows):
        console.print(line, highlight=False, soft_wrap=True)
    return rows


def _timed(name: str, samples: Iterable[float]) -> Row:
    taken = tuple(float(s) for s in samples)
    return Row(name, "timed", samples=taken, median=float(np.median(taken)))


def _import(name: str, code: str, quick: bool) -> Row:
    """Whole processes that run `code`, by pyperf. Raises MissingExtraError without it."""
    try:
        import pyperf
    except ImportError as error:
        raise MissingExtraError("pyperf", "bench", "timing imports") from error
    processes = "3" if quick else "10"
    with tempfile.TemporaryDirectory(prefix="weightspace-bench-") as folder:
        result = Path(folder) / "result.json"
        words = ["-p", processes, "-n", "1", "-w", "1", "-l", "1", "-q", "--copy-env"]
        done = _python("-m", "pyperf", "command", *words, "-o", str(result), "--", sys.executable,
                       "-c", code)  # fmt: skip
        if done.returncode:
            return Row(name, reason=done.stderr.strip().splitlines()[-1])
        return _timed(name, pyperf.Benchmark.load(str(result)).get_values())


def _python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        env={**os.environ, **environment},
        check=False,
    )


def _first_steps(quick: bool) -> list[Row]:
    """The way to the first training step, cold and cached, and the third step."""
    with tempfile.TemporaryDirectory(prefix="weightspace-cache-") as folder:
        # quick: the user's own cache, which one run fills where it was empty
        cache = {} if quick else {"NUMBA_CACHE_DIR": folder}
        runs = []
        for _ in range(4 if quick else 6):
            done = _python("-c", _STEPS, **cache)
            if done.returncode:
                return [Row("first training step", reason=done.stderr.strip().splitlines()[-1])]
            runs.append(json.loads(done.stdout))
    cold, cached = runs[0], np.array(runs[1:])
    rows = [
        _timed("network built, compiled code cached", cached[:, 0]),
        _timed("first training step done, cached", cached[:, 1]),
        _timed("the first step by itself, cached", cached[:, 1] - cached[:, 0]),
        _timed("the third step by itself", cached[:, 3] - cached[:, 2]),
    ]
    if not quick:
        rows.insert(0, _timed("first training step done, nothing cached", [cold[1]]))
    return rows


def _wheel() -> Row:
    name = "the wheel"
    if not (_PROJECT / "pyproject.toml").is_file():
        return Row(name, reason="this is no source checkout")
    with tempfile.TemporaryDirectory(prefix="weightspace-wheel-") as folder:
        done = _python("-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(_PROJECT))
        found = list(Path(folder).glob("*.whl"))
        if done.returncode or not found:
            return Row(name, reason=(done.stderr.strip().splitlines() or ["pip made none"])[-1])
        return Row(name, "sized", bytes=found[0].stat().st_size)


def extras() -> list[str]:
    """The core ("") and the extras of the installed distribution."""
    return ["", *(metadata.metadata("weightspace").get_all("Provides-Extra") or [])]


def extra_size(extra: str) -> Row:
    """Bytes that an extra's distributions have on this disk, with all that they need in turn.

    What the core or another extra brings too is counted in each. One that is not installed whole
    is absent.
    """
    name = f"installed size of [{extra}]" if extra else "installed size of the core"
    found, missing = closure("weightspace", extra)
    if missing:
        return Row(name, reason=f"not installed here: {', '.join(sorted(missing))}")
    return Row(name, "sized", bytes=sum(_disk_bytes(one) for one in found))


def closure(distribution: str, extra: str = "") -> tuple[set[str], set[str]]:
    """Distributions that `distribution` with `extra` needs, itself included: found and missing.

    Names are as `packaging.utils.canonicalize_name` writes them.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: set[str] = set()
    missing: set[str] = set()
    waiting, seen = [(canonicalize_name(distribution), extra)], set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            missing.add(name)
            continue
        found.add(name)
        for requirement in map(Requirement, requires):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                for inner in requirement.extras or {""}:
                    waiting.append((canonicalize_name(requirement.name), inner))
    return found, missing


def _disk_bytes(name: str) -> int:
    paths = (file.locate() for file in metadata.files(name) or [])
    return sum(path.stat().st_size for path in map(Path, map(str, paths)) if path.is_file())


def as_records(rows: Iterable[Row], here: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A record a row."""
    return [records.record("startup", here, **asdict(row)) for row in rows]


def lines(rows: Iterable[Row]) -> Iterable[str]:
    """The rows as lines of rich's markup."""
    for row in rows:
        absent = f"[dim]{row.status}: {escape(row.reason)}[/]"
        yield f"{escape(f'{row.name:44}')}{amount(row) or absent}"


def amount(row: Row) -> str:
    """The time or the size, with its unit; "" where there is neither."""
    if row.median is not None:
        return f"{row.median:9.3f} s" if row.median >= 0.01 else f"{1e3 * row.median:9.3f} ms"
    if row.bytes is not None:
        large = row.bytes >= 2**20
        return f"{row.bytes / 2**20:9.1f} MiB" if large else f"{row.bytes / 2**10:9.1f} KiB"
    return ""
