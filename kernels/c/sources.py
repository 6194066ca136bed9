"""The C sources as functions: what each is called, says, and calls.

A file is a head (a comment) and functions, each a block that begins with `static` at the margin (or
with the comment above it) and ends with `}` at the margin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PREFIX = "ws_"
_BLOCK = re.compile(r"^(?:/\*(?:(?!\*/).)*\*/\n)?static [^;{]*?\b(ws_\w+)\([^{;]*\) \{\n.*?^\}\n",
                    re.MULTILINE | re.DOTALL)  # fmt: skip
_CALLED = re.compile(r"\b(ws_\w+)\(")


@dataclass(frozen=True)
class Function:
    """One function of the sources: its name, text, the file it stands in and what it calls."""

    name: str
    text: str
    file: str
    calls: tuple[str, ...]


def preamble() -> str:
    """What comes before the first function: fma, where weights lie."""
    return (FOLDER / "preamble.c").read_text()


@cache
def functions(*folders: Path) -> dict[str, Function]:
    """All functions by name, in the order of files and text; those of `folders` beside ours."""
    found: dict[str, Function] = {}
    for path in [each for folder in (FOLDER, *folders) for each in sorted(folder.glob("*.c"))]:
        text = path.read_text()
        for block in _BLOCK.finditer(text):
            name = block.group(1)
            called = dict.fromkeys(_CALLED.findall(block.group(0)))
            called.pop(name, None)
            if name in found:
                raise ValueError(f"{name} stands in {found[name].file} and in {path.name}")
            found[name] = Function(name, block.group(0), path.name, tuple(called))
    return found


def needed(names: Iterable[str], *folders: Path) -> list[Function]:
    """The functions `names` and all that they call, each after what it calls."""
    known, done = functions(*folders), {}

    def visit(name: str) -> None:
        if name not in done:
            for other in known[name].calls:
                visit(other)
            done[name] = known[name]

    for name in names:
        visit(name)
    return list(done.values())


def kernels() -> tuple[str, ...]:
    """The kernels of the contract that there are in C."""
    from ..spec import KERNELS  # noqa: PLC0415  (the contract reads the backends)

    return tuple(name for name in KERNELS if PREFIX + name in functions())
