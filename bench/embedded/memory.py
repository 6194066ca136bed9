"""What a program takes of its target: flash and static memory by section, and what it asks others for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...kernels.errors import CompileError
from .targets import Target
from .toolchain import BOARD, Elf, build

# What must not be asked for by exported C: double arithmetic in software, and C libraries but memcpy
_DOUBLE = re.compile(r"__aeabi_(d\w+|\w+2d)|__\w*(df[23]|df|sfdf2|dfsf2)")
_LIBRARY = frozenset(
    """exp expf log logf log1p log1pf tanh tanhf sqrt sqrtf pow powf fmax fmaxf fmin fminf floor floorf
    rint rintf lrintf round roundf fabs fma fmaf malloc calloc realloc free printf puts fprintf
    snprintf memmove strlen __assert_func abort exit""".split()
)


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


def of_network(target: Target, sources: Sequence[Path], folder: Path, strict: bool = True) -> Sizes:
    """What a network adds to a program: with all that it calls, without its arena.

    Two programs are linked, that call it and that do not; what is in both is start-up.
    """
    board = ("cortex_m.c",) if target.script == "cortex_m.ld" else ()
    board = ("riscv.c",) if target.script == "riscv.ld" else board
    both = []
    for name, defines in (("with", {"WS_WITH": ""}), ("without", {})):
        files = [*(sources if defines else ()), BOARD / "alone.c"]
        beside = [f"-I{place}" for place in dict.fromkeys(source.parent for source in sources)]
        elf = build(target, files, folder / name, defines, board, beside, strict)
        both.append(sections(elf))
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
