"""What a program takes of its target: flash and static memory, and whom it asks for more."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...kernels.errors import CompileError
from .targets import Target
from .toolchain import BOARD, Elf, build

# What exported C must not ask for: doubles in software, and of C libraries all but memcpy, memset
_DOUBLE = re.compile(r"__aeabi_(d\w+|\w+2d)|__\w*df(si|di|sf)?\d?")
_MATHS = ("exp", "log", "log1p", "tanh", "sqrt", "pow", "fmax", "fmin", "floor", "rint", "lrint",
          "round", "fabs", "fma")  # fmt: skip
_LIBRARY = frozenset({
    *_MATHS, *(f"{name}f" for name in _MATHS), "malloc", "calloc", "realloc", "free", "printf",
    "puts", "fprintf", "snprintf", "memmove", "strlen", "abort", "exit",
})  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Bytes of flash and of static memory."""

    flash: int
    ram: int


def sections(elf: Elf) -> Sizes:
    """What is loaded (code, constants, initial values) and what lies in memory (data, bss)."""
    flash = ram = 0
    for line in said_by(elf.target, "objdump", "-h", elf.path).splitlines():
        words = line.split()
        if len(words) == 7 and words[0].isdigit():
            name, size = words[1], int(words[2], 16)
        elif "ALLOC" in line:
            flash += size if "CONTENTS" in line else 0
            # AVR and others name what is written .data and .bss; read-only sections are no memory
            ram += size if "READONLY" not in line and "CODE" not in line else 0
            if name.startswith((".note", ".eh_frame")):
                flash -= size if "CONTENTS" in line else 0
    return Sizes(flash, ram)


def of_network(
    target: Target,
    sources: Sequence[Path],
    folder: Path,
    defines: Mapping[str, str] | None = None,
    strict: bool = True,
) -> Sizes:
    """What a network adds to a program: with all that it calls, without its arena.

    Two programs are linked, that call it and that do not; what is in both is start-up.
    """
    board = {"cortex_m.ld": ("cortex_m.c",), "riscv.ld": ("riscv.c",)}.get(target.script, ())
    beside = [f"-I{place}" for place in dict.fromkeys(source.parent for source in sources)]
    files = [*sources, BOARD / "alone.c"]
    defined = {**(defines or {}), "WS_WITH": ""}
    whole = build(target, files, folder / "with", defined, board, beside, strict)
    empty = build(target, files[-1:], folder / "without", defines, board, beside, strict)
    both = sections(whole), sections(empty)
    return Sizes(both[0].flash - both[1].flash, both[0].ram - both[1].ram)


def asked_for(elf: Elf, stem: str = "net") -> list[str]:
    """What the object `stem`.o asks of others, by name."""
    (made,) = [each for each in elf.objects if each.stem == stem]
    said = said_by(elf.target, "nm", "-u", made)
    return sorted(line.split()[-1] for line in said.splitlines() if line.strip())


def forbidden(names: Iterable[str]) -> list[str]:
    """Of what an object asks for that which it must not: doubles in software, the C library."""
    return [name for name in names if name in _LIBRARY or _DOUBLE.fullmatch(name)]


def said_by(target: Target, tool: str, *words: str | Path) -> str:
    """What size, nm or objdump of the target says. Raises CompileError."""
    command = [f"{target.tools}{tool}", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout
