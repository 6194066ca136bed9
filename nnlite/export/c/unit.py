"""A C file and its header while they are put together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ....kernels.c.sources import needed, preamble
from . import flash
from .calls import Constants, Statements
from .memory import Arena
from .text import comment

RUNTIME = Path(__file__).resolve().parent / "runtime"


class Unit:
    """What is printed: constants, memory, functions of ours, and the network's own."""

    def __init__(self, prefix: str, winograd: bool = True) -> None:
        """winograd: False where convolutions go directly."""
        self.prefix, self.upper, self.winograd = prefix, prefix.upper(), winograd
        self.learns = False  # whether float weights lie in the arena, but for a trunk's
        self.frozen: list[str] = []  # functions of a trunk, whose weights lie in flash
        self.arena, self.constants = Arena(), Constants(prefix)
        self._used: dict[str, None] = {}
        self._functions: list[str] = []
        self._declared: list[str] = []
        self.activations = 0
        self.macros: dict[str, tuple[str, str]] = {}  # name -> value, what it says

    def use(self, *names: str) -> None:
        """Let functions of kernels/c or of the runtime be in the file."""
        self._used.update(dict.fromkeys(names))

    def use_of(self, statements: Statements) -> None:
        """Let what a program's calls need be in the file, once all of them are printed."""
        self.use(*statements.functions)
        self.activations |= statements.activations

    def freeze(self, since: int) -> None:
        """The functions from number `since` on are a trunk's."""
        self.frozen = self._functions[since:]

    @property
    def count(self) -> int:
        """Functions of ours so far."""
        return len(self._functions)

    def macro(self, name: str, value: object, says: str = "") -> None:
        """A macro of the header, `PREFIX_NAME`."""
        self.macros[f"{self.upper}_{name}"] = (str(value), says)

    def function(self, kind: str, name: str, given: str, body: Iterable[str], says: str) -> None:
        """A function `PREFIX_name`. kind: its result's type, "static ..." for one that others
        cannot call."""
        head = f"{kind} {self.prefix}_{name}({given})"
        text = "".join(f"    {line}\n" if line else "\n" for line in body)
        about = comment(says)
        if kind.startswith("static"):
            self._functions.append(f"{about}{head} {{\n{text}}}\n")
        else:
            self._functions.append(f"{head} {{\n{text}}}\n")
            self._declared.append(f"{about}{head};\n")

    # ---- the files -----------------------------------------------------------------------------

    def header(self, about: str) -> str:
        """The .h file."""
        guard = f"{self.upper}_H"
        macros = "".join(
            (comment(says) if says else "") + f"#define {name} {value}\n"
            for name, (value, says) in self.macros.items()
        )
        return "\n".join([
            comment(about),
            f"#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n",
            macros,
            '#ifdef __cplusplus\nextern "C" {\n#endif\n',
            "\n".join(self._declared),
            "#ifdef __cplusplus\n}\n#endif\n\n#endif",
        ]) + "\n"  # fmt: skip

    def source(self, about: str) -> str:
        """The .c file."""
        learns = "#define WS_LEARNS\n" if self.learns else ""
        parts = [
            comment(about),
            f'#include "{self.prefix}.h"\n\n#include <string.h>\n',
            learns + f"#define WS_ACTS {self.activations}\n" + preamble(),
            *self.constants.texts.values(),
            *self._kernels_and_ours(),
        ]
        return "\n".join(parts)

    def _kernels_and_ours(self) -> list[str]:
        """Kernels and functions of ours, of which a trunk's may read weights from flash."""
        known, ours = needed(self._used, RUNTIME), self._functions
        others = [text for text in ours if text not in self.frozen]
        trunk, rest = (
            {each.name for each in needed(sorted(flash.called(texts)), RUNTIME)}
            for texts in (self.frozen, others)
        )
        names = flash.reading(known) & trunk
        if not names:
            return [*(each.text for each in known), *ours]
        told = (flash.of_trunk(text, names) if text in self.frozen else text for text in ours)
        return [flash.NAMES, *flash.both(known, names, rest), *told]
