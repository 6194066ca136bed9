"""C text: names, numbers and arrays as literals."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from ....kernels.errors import NonFiniteError, SettingError

WIDTH = 100
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
# of C and of what a file includes; a name of ours becomes a prefix of others
_TAKEN = frozenset({"auto", "char", "const", "double", "float", "int", "long", "short", "signed",
                    "static", "struct", "union", "unsigned", "void", "ws", "main"})  # fmt: skip


def check_prefix(name: str) -> str:
    """`name` if it can begin the names of a C file. Raises SettingError."""
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise SettingError(
            f"an export got the name '{name}'; it begins all names in C: small letters, digits and "
            "_, a letter first, at most 31, no keyword"
        )
    return name


def identifier(text: str) -> str:
    """`text` with all that a C name cannot hold as _; "0.weight (2)" is "_0_weight_2"."""
    found = re.sub(r"\W+", "_", text).strip("_")
    return f"_{found}" if found[:1].isdigit() else found


def number(value: float, kind: str = "float") -> str:
    """A literal of the type `kind`: of a float the shortest that gives back the same float32."""
    if kind in ("float", "double"):
        real = np.float32(value) if kind == "float" else np.float64(value)
        text = repr(real.item() if kind == "double" else float(str(real)))
        if not np.isfinite(real):
            raise NonFiniteError(
                f"{value} cannot be written into C: a network's numbers are finite"
            )
        return f"{text}F" if kind == "float" else text
    suffix = {"uint64_t": "ULL", "uint32_t": "U"}.get(kind, "")
    return f"{int(value)}{suffix}"


def lines(words: Iterable[str], indent: str = "    ") -> str:
    """Words with commas between, as many to a line as fit."""
    rows, row = [], indent
    for word in words:
        if len(row) + len(word) + 2 > WIDTH and row.strip():
            rows.append(row.rstrip())
            row = indent
        row += f"{word}, "
    return "\n".join([*rows, row.rstrip()])


def array(name: str, values: np.ndarray, kind: str, place: str = "") -> str:
    """A constant array, all its numbers. kind: its elements' type; place: an attribute."""
    flat = values.ravel()
    if kind == "float":
        if not np.isfinite(flat).all():
            raise NonFiniteError(
                f"{int((~np.isfinite(flat)).sum())} numbers of {name} are NaN or infinite: the "
                "network has diverged, and is not exported"
            )
        words = (f"{float(str(each))!r}F" for each in flat.astype(np.float32))
    else:
        words = (number(each, kind) for each in flat)
    where = f" {place}" if place else ""
    return f"static const {kind} {name}[{max(flat.size, 1)}]{where} = {{\n{lines(words)}\n}};\n"


def comment(text: str) -> str:
    """A comment of any length; nothing in `text` can end it."""
    safe = text.replace("*/", "* /").replace("/*", "/ *")
    rows, row = [], ""
    for paragraph in safe.split("\n"):
        row = ""
        for word in paragraph.split(" "):
            if len(row) + len(word) + 1 > WIDTH - 3 and row:
                rows.append(row)
                row = ""
            row = f"{row} {word}" if row else word
        rows.append(row)
    return "/* " + "\n   ".join(rows) + " */\n"
