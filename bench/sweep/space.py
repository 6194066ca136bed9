"""What a sweep tries: axes over settings, and the candidates that they make for a method.

    --grid ewc.lam=1,10,100           these values, each with each value of every other grid
    --random lr=log:1e-4:1e-2         drawn; with grids beside it, every draw at every point

A key is anything that `--set` takes. METHOD.KEY concerns that method alone, other keys all of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from ...kernels.errors import SettingError, check_name, unknown_name
from ...methods import METHODS
from ...nnlite.init import generator
from ..show.assignments import split_assignment

DRAWS = 20
# name -> (numbers or names it takes, what it draws)
DISTRIBUTIONS = {
    "uniform": "uniform:LO:HI, evenly between two numbers",
    "log": "log:LO:HI, evenly in the logarithm, both above 0",
    "int": "int:LO:HI, whole numbers, both ends among them",
    "choice": "choice:A:B:..., one of these",
}


@dataclass(frozen=True)
class Axis:
    """A key and the texts it is set to: `values` of a grid, or drawn from `source`.

    source: a distribution and its arguments, as in ("log", "1", "1000"); empty for a grid.
    """

    key: str
    values: tuple[str, ...] = ()
    source: tuple[str, ...] = ()

    @property
    def method(self) -> str | None:
        """The method this key belongs to; None: all of them."""
        owner, dot, _ = self.key.partition(".")
        return owner if dot and owner not in ("stream", "model") else None

    @property
    def log(self) -> bool:
        """Whether a figure should show it on a logarithmic axis."""
        if self.source:
            return self.source[0] == "log"
        found = [number(text) for text in self.values]
        values = [value for value in found if value is not None and value > 0]
        return len(values) == len(found) and max(values) >= 20 * min(values)

    @property
    def texts(self) -> tuple[str, ...]:
        """The values of a grid or a choice; of another distribution, its ends."""
        return self.values or self.source[1:]

    @property
    def names(self) -> bool:
        """Whether its values are names, not numbers."""
        return any(number(text) is None for text in self.texts)

    def draw(self, seed: int, count: int) -> str:
        """Draw number `count`, from a counter: it depends on no other axis and no other draw."""
        word = int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8], "little")
        u = float(generator(seed, word, count).random())
        kind, *given = self.source
        if kind == "choice":
            return given[int(u * len(given))]
        lo, hi = float(given[0]), float(given[1])
        if kind == "int":
            return str(int(lo) + int(u * (hi - lo + 1)))
        value = lo * (hi / lo) ** u if kind == "log" else lo + u * (hi - lo)
        # what is told is what was set: four digits, and more where the ends differ in later ones
        later = int(math.log10(max(abs(lo), abs(hi)) / (hi - lo)))
        return f"{value:.{4 + max(0, later)}g}"


def number(text: str) -> float | None:
    """The finite number that `text` is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_grid(assignment: str) -> Axis:
    """The axis of `--grid key=a,b,c`; semicolons where values have commas: hidden=64,64;128,128.

    Raises SettingError.
    """
    key, text = split_assignment(assignment, "--grid")
    values = tuple(part.strip() for part in text.split(";" if ";" in text else ","))
    if not all(values) or len(set(values)) < len(values):
        raise SettingError(f"--grid {assignment}: give different values, none of them empty")
    axis = Axis(key, values)
    if axis.method and any("," in value for value in values):
        raise SettingError(f"--grid {assignment}: a method's setting takes one value at a time")
    return axis


def read_random(assignment: str) -> Axis:
    """The axis of `--random key=log:1:1000`. Raises SettingError or UnknownNameError."""
    key, text = split_assignment(assignment, "--random")
    kind, *given = (part.strip() for part in text.split(":"))
    check_name("distribution", kind, DISTRIBUTIONS)
    if not _sensible(kind, given):
        raise SettingError(f"--random {assignment}: write it as {DISTRIBUTIONS[kind]}, LO below HI")
    return Axis(key, source=(kind, *given))


def _sensible(kind: str, given: Sequence[str]) -> bool:
    """Whether a distribution can be drawn from with these arguments."""
    if kind == "choice":
        return bool(given) and all(given)
    ends = [end for end in map(number, given) if end is not None]
    if not len(ends) == len(given) == 2 or not ends[0] < ends[1]:
        return False
    return not (kind == "log" and ends[0] <= 0) and not (kind == "int" and any(e % 1 for e in ends))


def read_axes(grids: Sequence[str], randoms: Sequence[str]) -> tuple[Axis, ...]:
    """All axes, in the order of their keys. Raises SettingError, also for a key given twice."""
    axes = [*map(read_grid, grids), *map(read_random, randoms)]
    if not axes:
        raise SettingError("a sweep needs --grid key=a,b,c or --random key=log:LO:HI")
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise SettingError(f"'{key}' is swept twice; give each key once")
    for axis in axes:
        if axis.method is not None and axis.method not in METHODS:
            raise unknown_name("method", axis.method, METHODS)
    return tuple(sorted(axes, key=lambda axis: axis.key))


def candidates(axes: Sequence[Axis], method: str, draws: int, seed: int) -> list[dict[str, str]]:
    """The settings to try for a method, key -> text: grid points, each with every draw.

    A method that no axis concerns has one candidate, without settings.
    """
    mine = [axis for axis in axes if axis.method in (None, method)]
    grids = [axis for axis in mine if not axis.source]
    drawn = [axis for axis in mine if axis.source]
    points = [dict(zip((a.key for a in grids), values, strict=True))
              for values in product(*(axis.values for axis in grids))]  # fmt: skip
    counts = range(draws if drawn else 1)
    found = [
        {**point, **{axis.key: axis.draw(seed, count) for axis in drawn}}
        for point in points
        for count in counts
    ]
    distinct = dict.fromkeys(tuple(sorted(one.items())) for one in found)
    return [dict(one) for one in distinct]
