"""Building programs for a target: `build`, and `missing`, which says what is not installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...kernels.c.library import STRICT
from ...kernels.errors import CompileError, MissingToolError
from .targets import Target

BOARD = Path(__file__).resolve().parent / "board"
OPTIMISED = ("-O2", "-ffunction-sections", "-fdata-sections", "-fstack-usage")
SECONDS = 300  # after which a compiler or a program is given up


@dataclass(frozen=True)
class Elf:
    """A program, and the folder of its objects and of what the compiler said of their stacks."""

    target: Target
    path: Path
    objects: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        return self.path.parent


def build(
    target: Target,
    sources: Sequence[Path],
    folder: Path,
    defines: Mapping[str, str] | None = None,
    board: Sequence[str] | None = None,
    flags: Sequence[str] = (),
    strict: bool = True,
) -> Elf:
    """Compile and link `sources` with the target's start-up, in `folder`.

    Headers are found beside each source. board: files of board/ in the place of the target's.
    strict: with all warnings, as errors, and no maths library; other people's C has neither.
    Raises MissingToolError, and CompileError with what the compiler said.
    """
    if reason := absent(target):
        raise MissingToolError(reason)
    folder.mkdir(parents=True, exist_ok=True)
    defined = [f"-D{name}={value}" if value else f"-D{name}"
               for name, value in (defines or {}).items()]  # fmt: skip
    beside = [f"-I{place}" for place in dict.fromkeys(source.parent for source in sources)]
    files = [*sources, *(BOARD / name for name in (target.board if board is None else board))]
    objects = []
    for source in files:
        made = folder / f"{source.stem}.o"
        mine = STRICT if strict or source.parent == BOARD else ("-std=gnu99", "-w")
        _run(
            [target.compiler, *target.flags, *mine, *OPTIMISED, *flags, *defined, *beside,
             f"-I{BOARD}", "-c", str(source), "-o", str(made)], folder,
        )  # fmt: skip
        objects.append(made)
    path = folder / "program.elf"
    _link(target, objects, path, () if strict else ("-lm",))
    return Elf(target, path, tuple(objects))


def _link(target: Target, objects: Sequence[Path], path: Path, more: Sequence[str]) -> None:
    words = [target.compiler, *target.flags, "-O2", "-Wl,--gc-sections"]
    if target.script:
        assert target.memory is not None
        (path.parent / "memory.ld").write_text(_regions(target))
        words += ["-nostartfiles", f"-L{path.parent}", "-T", str(BOARD / target.script)]
    _run([*words, *map(str, objects), *target.link, *more, "-o", str(path)], path.parent)


def _regions(target: Target) -> str:
    """The linker's names for the target's memory."""
    assert target.memory is not None
    lines = [
        f"    {name} : ORIGIN = {origin:#x}, LENGTH = {length:#x}"
        for name, (origin, length) in (("FLASH", target.memory.flash), ("RAM", target.memory.ram))
    ]
    return "\n".join(["MEMORY", "{", *lines, "}", ""])


def _run(words: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise CompileError(f"{' '.join(words)}\nended with status {done.returncode}:\n{said}")


def absent(target: Target) -> str:
    """Why nothing can be built for the target here, "" where it can: which package is missing."""
    return _absent(target)


@cache
def _absent(target: Target) -> str:
    package = f"install {target.package} (Debian, Ubuntu: apt install {target.package})"
    if shutil.which(target.compiler) is None:
        return f"{target.says} needs {target.compiler}, which is not installed: {package}"
    with tempfile.TemporaryDirectory(prefix="weightspace-probe-") as inside:
        # headers and libraries of the target may lack where its compiler is there
        source = Path(inside, "probe.c")
        source.write_text("#include <stdint.h>\n#include <string.h>\nint main(void){return 0;}\n")
        words = [target.compiler, *target.flags, *target.link, "-c" if target.script else "-O1",
                 str(source), "-o", str(Path(inside, "probe"))]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[0]
        return f"{target.says}: {target.compiler} builds nothing here ({said}): {package}"
    return ""


def missing(target: Target) -> str:
    """Why nothing can be built and run for the target here, "" where all is there."""
    if target.emulator and shutil.which(target.emulator[0]) is None:
        package = target.emulator_package
        return (
            f"{target.says} needs {target.emulator[0]}, which is not installed: install {package} "
            f"(Debian, Ubuntu: apt install {package})"
        )
    return absent(target)
