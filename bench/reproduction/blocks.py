"""Numbers in Markdown that come from kept rows: between marks, filled and checked by machine.

    <!--= compare-permuted label=ewc acc % -->92.5 ± 0.2<!--/-->     a mean over the matching rows
    <!--= table compare-permuted -->                                 a function of `tables`, by name
    | method | ...
    <!--/-->

A mark names what is kept, then any key=value that rows must have, the number, and how it is
written: `%` (percent with the standard error), `%0` (percent, the mean alone), or a format such
as `.2f`. A value with a space is quoted: label="fip anchor".
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from ...kernels.errors import SettingError, check_name
from .kept import Kept, percent, read

_MARK = re.compile(r"<!--= (?P<told>[^\n]*?) -->(?P<text>.*?)<!--/-->", re.DOTALL)
Tables = Mapping[str, Callable[[], str]]


def fill(text: str, tables: Tables, kept: Callable[[str], Kept] = read) -> str:
    """`text` with everything between marks written anew.

    Raises SettingError for a mark that cannot be read, and what reading kept rows raises.
    """

    def filled(mark: re.Match[str]) -> str:
        told = mark["told"]
        return f"<!--= {told} -->{_written(told, tables, kept)}<!--/-->"

    if text.count("<!--= ") != len(_MARK.findall(text)):
        raise SettingError("a mark `<!--= ... -->` has no end `<!--/-->`")
    return _MARK.sub(filled, text)


def _written(told: str, tables: Tables, kept: Callable[[str], Kept]) -> str:
    """What stands between the marks."""
    name, *words = shlex.split(told)
    if name == "table":
        check_name("table of results", words[0], tables)
        return f"\n{tables[words[0]]().strip()}\n"
    wanted = {key: _value(value) for key, _, value in
              (word.partition("=") for word in words if "=" in word)}  # fmt: skip
    rest = [word for word in words if "=" not in word]
    if not rest or len(rest) > 2:
        raise SettingError(f"the mark '{told}': name what is kept, key=value, a number, a format")
    number, form = (*rest, "")[:2]
    found = kept(name).mean(number, **wanted)
    if form in ("%", "%0"):
        return percent(found) if form == "%" else f"{100 * found.mean:.1f}"
    return format(found.mean, form or ".4g")


def _value(text: str) -> object:
    """A number, true, false or null as JSON has it; anything else is text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def pages(root: Path) -> list[Path]:
    """The Markdown that may hold marks: README.md, docs/ and bench/results/."""
    docs = [path for path in (root / "docs").rglob("*.md") if root / "docs/api" not in path.parents]
    found = [root / "README.md", *docs, root / "bench/results/README.md"]
    return sorted(path for path in found if path.is_file() and path.name != "reproduction.md")
