"""What every CUDA kernel takes of a GPU, by the compiler alone: `weightspace bench resources`.

Registers, shared memory and spills decide how many blocks a multiprocessor can hold, and so whether
a kernel can hide its memory's latency. They need no GPU to be known. The committed figures make a
change of them part of every review.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from rich.console import Console
from rich.markup import escape

from ...kernels.cores import cores_here
from ...kernels.cuda import SOURCES
from ...kernels.cuda.launch import OPTIONS, THREADS, Source
from ...kernels.cuda.nvrtc import CUPY_OPTIONS, Resources, compile_source, nvrtc, resources
from ...kernels.errors import DataError, SettingError, StorageError, unknown_name
from ...nnlite.files import write_whole
from ..store.schema import read_json

FILE = Path(__file__).parents[1] / "results" / "cuda-resources.json"
COMMAND = "weightspace bench resources --write"

# Kernels that may spill, or keep arrays in local memory, on sm_90: name -> why that is right.
EXCUSED: dict[str, str] = {
    "adam_update<double, false, true, false>": "8 bytes, once: 64 registers, four blocks"
}

Kernels = dict[str, Resources]
Figures = dict[str, dict[str, dict[str, Resources]]]  # file -> kernel -> architecture


@dataclass(frozen=True)
class Multiprocessor:
    """What one multiprocessor has to share out (CUDA C++ Programming Guide, compute capabilities).

    shared: bytes in all; reserved: bytes of them that the system keeps for each block; unit: in
    which shared memory is handed out. Registers go to a warp in units of 256, to warps in fours.
    """

    threads: int
    blocks: int
    shared: int
    reserved: int
    unit: int
    registers: int = 65536

    def holds(self, used: Resources) -> int:
        """Blocks at a time, each with as many threads as the kernel may have; 0 is none at all."""
        warps = -(-(used.threads or THREADS) // 32)
        of_warp = _round_up(used.registers * 32, 256)
        by_registers = self.registers // of_warp // 4 * 4 // warps
        of_block = _round_up(used.shared + self.reserved, self.unit)
        by_shared = self.shared // of_block if of_block else self.blocks
        return min(self.blocks, self.threads // (warps * 32), by_registers, by_shared)


ARCHITECTURES = {
    "sm_75": Multiprocessor(threads=1024, blocks=16, shared=64 << 10, reserved=0, unit=256),
    "sm_80": Multiprocessor(threads=2048, blocks=32, shared=164 << 10, reserved=1024, unit=128),
    "sm_90": Multiprocessor(threads=2048, blocks=32, shared=228 << 10, reserved=1024, unit=128),
}


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


# ---- measuring ----------------------------------------------------------------------------------


def compiled(source: Source, architecture: str) -> Kernels:
    """The resources of all of a source's instantiations. Raises as `compile_source` does."""
    return resources(compile_source(source, architecture))


def measure(
    sources: Iterable[Source] = SOURCES,
    architectures: Iterable[str] = tuple(ARCHITECTURES),
    each: Callable[[], None] = lambda: None,
) -> Figures:
    """Compile everything, on all cores; `each` is called after every compilation.

    Raises MissingExtraError where there is no NVRTC, CompileError for what does not compile.
    """
    nvrtc()  # says what is missing before any thread starts
    sources, architectures = tuple(sources), tuple(architectures)
    todo = [(source, architecture) for source in sources for architecture in architectures]

    def one(job: tuple[Source, str]) -> Kernels:
        found = compiled(*job)
        each()
        return found

    with ThreadPoolExecutor(cores_here()) as pool:
        done = dict(zip([(s.file, a) for s, a in todo], pool.map(one, todo), strict=True))
    return {
        source.file: {
            name: {a: done[source.file, a][name] for a in architectures} for name in source.names()
        }
        for source in sources
    }


def chosen(names: Iterable[str] | None) -> list[Source]:
    """Sources by file ("conv"), or with a kernel that is so called or starts so; None is all.

    Raises UnknownNameError.
    """
    if not names:
        return list(SOURCES)
    found: dict[str, Source] = {}
    for name in names:
        hits = [s for s in SOURCES if name in (s.file, s.file.removesuffix(".cu"))]
        hits = hits or [s for s in SOURCES if any(k.startswith(name) for k in s.kernels)]
        if not hits:
            known = [name for s in SOURCES for name in (s.file, *s.kernels)]
            raise unknown_name("CUDA source or kernel", name, known)
        found |= {source.file: source for source in hits}
    return list(found.values())


# ---- the committed figures ----------------------------------------------------------------------


def save(figures: Figures, path: Path = FILE) -> None:
    """Write the figures, one kernel a line. Raises StorageError."""
    if not path.parent.is_dir():
        raise StorageError(f"there is no folder {path.parent}: run this in a checkout")
    head = {
        "nvrtc": nvrtc().version,
        "options": [*OPTIONS, *CUPY_OPTIONS],
        "columns": Resources._fields,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    blocks = [f"{json.dumps(file)}: {_block(kernels)}" for file, kernels in figures.items()]
    kernels = ",\n".join(blocks)
    write_whole(path, "\n".join(("{", *lines, '"kernels": {', kernels, "}", "}", "")))


def _block(kernels: Mapping[str, Mapping[str, Resources]]) -> str:
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(by)}" for name, by in kernels.items())
    return f"{{\n{rows}\n}}"


class Committed(TypedDict):
    """The file of committed figures."""

    nvrtc: str
    columns: list[str]
    kernels: dict[str, dict[str, dict[str, list[int]]]]


def load(path: Path = FILE) -> tuple[str, Figures]:
    """The version of NVRTC that made the committed figures, and those.

    Raises DataError where the file is none, or is not one of `save`'s.
    """
    held = read_json(path, Committed, f"write it: {COMMAND}", DataError)
    try:
        if tuple(held["columns"]) != Resources._fields:
            raise ValueError(f"its columns are {held['columns']}")
        figures = {
            file: {
                name: {a: Resources(*row) for a, row in by.items()} for name, by in kernels.items()
            }
            for file, kernels in held["kernels"].items()
        }
    except (ValueError, TypeError) as wrong:
        raise DataError(
            f"no figures can be read from {path} ({wrong}); write them: {COMMAND}"
        ) from None
    return held["nvrtc"], figures


def differences(before: Figures, now: Figures) -> list[str]:
    """What changed from `before` to `now`, a line each, for what both could hold."""
    said = []
    for file, kernels in now.items():
        old = before.get(file, {})
        said += [f"{file}: {name} is gone" for name in old if name not in kernels]
        for name, by in kernels.items():
            if name not in old:
                said.append(f"{file}: {name} is new")
                continue
            for architecture, used in by.items():
                if said_of := _changes(old[name].get(architecture), used):
                    said.append(f"{name}, {architecture}: {said_of}")
    return said


def _changes(before: Resources | None, now: Resources) -> str:
    if before is None:
        return "not in the file"
    pairs = zip(Resources._fields, before, now, strict=True)
    return ", ".join(f"{field} {old} -> {new}" for field, old, new in pairs if old != new)


# ---- the command --------------------------------------------------------------------------------


def run(
    names: Iterable[str] | None = None,
    architectures: Iterable[str] | None = None,
    write: bool = False,
    console: Console | None = None,
) -> int:
    """Compile, print, and compare with the committed figures or write them; the exit status.

    names: see `chosen`. The status is 1 where figures differ from those that the same version of
    NVRTC made. Raises UnknownNameError, SettingError, MissingExtraError, CompileError, DataError.
    """
    console = console or Console()
    names, sources = list(names or ()), chosen(names)
    columns = list(architectures or ARCHITECTURES)
    for one in columns:
        if one not in ARCHITECTURES:
            raise unknown_name("architecture", one, ARCHITECTURES)
    if write and (names or len(columns) < len(ARCHITECTURES)):
        raise SettingError(f"--write takes all kernels and architectures: {COMMAND}")
    with console.status(f"compiling {len(sources)} sources for {', '.join(columns)}"):
        figures = measure(sources, columns)
    for line in lines(figures, columns):
        console.print(line, highlight=False, soft_wrap=True)
    if write:
        save(figures)
        console.print(f"written to {FILE}", highlight=False, soft_wrap=True)
        return 0
    return _compare(figures, complete=not names, console=console)


def _compare(figures: Figures, complete: bool, console: Console) -> int:
    version, committed = load()
    said = differences(committed, figures)
    if complete:
        said += [f"{file} is gone" for file in committed if file not in figures]
    for line in said:
        console.print(line, highlight=False, soft_wrap=True)
    if not said:
        console.print(f"as committed (NVRTC {version})", highlight=False)
        return 0
    if version != nvrtc().version:
        console.print(f"committed by NVRTC {version}, this is {nvrtc().version}: not comparable")
        return 0
    console.print(f"if that is meant: {COMMAND}", highlight=False)
    return 1


def lines(figures: Figures, columns: Iterable[str]) -> Iterator[str]:
    """A block a file, a line a kernel: the threads of its largest block, then for each
    architecture registers, bytes of shared memory and the blocks that a multiprocessor holds."""
    columns = list(columns)
    width = max((len(name) for kernels in figures.values() for name in kernels), default=0)
    for file, kernels in figures.items():
        heads = "".join(f"{architecture:>21}" for architecture in columns)
        yield f"\n[bold]{file:{width}} threads{heads}[/]"
        yield f"[dim]{'':{width + 8}}{'  regs  shared blocks' * len(columns)}[/]"
        for name, by in kernels.items():
            cells = "".join(_cell(by[a], ARCHITECTURES[a]) for a in columns)
            threads = next(iter(by.values())).threads
            yield f"{escape(name):{width}}{threads or '':>8}{cells}{_spills(by)}"


def _cell(used: Resources, here: Multiprocessor) -> str:
    return f"{used.registers:>6}{used.shared:>8}{here.holds(used):>7}"


def _spills(by: Mapping[str, Resources]) -> str:
    def local(used: Resources) -> int:
        return max(used.stack, used.spill_stores, used.spill_loads)

    said = ", ".join(f"{a} {local(used)}" for a, used in by.items() if local(used))
    return f"  [red]local bytes: {said}[/]" if said else ""
