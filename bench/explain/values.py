"""A batch walked through: what each call wrote, in numbers."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.errors import DataError, DtypeError, ShapeError
from ...nnlite import Network
from ...nnlite.init import generator
from ...nnlite.losses import CrossEntropy
from ...nnlite.program import Program
from .lines import Line, Names, written
from .timing import arrays_of, plain_replay

ASKED = ("x", "y", "v", "u")  # what a file may give; the rest is the network's own, or zero
_MOMENT = ("train", "v")  # not a direction: Adam's second moment, which begins at zero
_FIRST = 4  # numbers that are shown


def read(path: Path, net: Network) -> dict[str, np.ndarray]:
    """The arrays x, y, v, u of an .npz file, as the network takes them.

    Raises DataError for a file without x, or none at all, DtypeError for what is no numbers and
    ShapeError for an x that is no batch; nothing is unpickled.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ASKED if name in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as wrong:
        raise DataError(f"{path} is no .npz file of plain arrays ({wrong})") from None
    if "x" not in found:
        raise DataError(f"{path} has no array 'x': the inputs, {_batch_of(net)}")
    for name, each in found.items():
        if each.dtype.kind not in "iufb":
            raise DtypeError(f"{name} in {path} is {each.dtype}; give real numbers")
    if found["x"].shape[1:] != net.input_shape or not found["x"].size:
        raise ShapeError(
            f"x in {path} has shape {found['x'].shape}; the network takes {_batch_of(net)}, N > 0"
        )
    return {
        name: each if name == "y" and each.dtype.kind in "iu" else each.astype(net.dtype)
        for name, each in found.items()
    }


def _batch_of(net: Network) -> str:
    return f"(N, {', '.join(map(str, net.input_shape))})"


def drawn(program: Program, net: Network, given: Mapping[str, Any]) -> tuple[dict[str, Any], list]:
    """All that the program asks of ASKED: given, or else drawn by Philox(0); and which were drawn.

    Raises ShapeError or DtypeError for what does not fit.
    """
    rng, made = generator(0, 0xE791), []
    found = {name: each for name, each in given.items() if (program.verb, name) != _MOMENT}
    for place in program.places:
        if place.kind == "active":
            found["active"] = np.ones(place.shape, bool)
        if place.kind not in ASKED or (program.verb, place.kind) == _MOMENT:
            continue
        if place.kind not in found:
            made.append(place.kind)
            labels = place.kind == "y" and isinstance(net.loss, CrossEntropy)
            found[place.kind] = (
                rng.integers(0, net.num_outputs, place.shape)
                if labels
                else rng.normal(size=place.shape).astype(place.dtype)
            )
        array = found[place.kind]
        if array.shape != place.shape:
            raise ShapeError(
                f"{place.kind} has shape {array.shape}; the program takes {place.shape}"
            )
        if array.dtype.kind != np.dtype(place.dtype).kind:
            raise DtypeError(f"{place.kind} is {array.dtype}; the program takes {place.dtype}")
        found[place.kind] = array.astype(place.dtype)
    if "y" in found and isinstance(net.loss, CrossEntropy) and "y" in program:
        net.loss.check(found["y"], (len(found["y"]), net.num_outputs))
    return found, made


def walk(
    program: Program, net: Network, given: Mapping[str, Any], found: list[Line]
) -> Iterator[tuple[Line, str, str]]:
    """(line, array, its numbers) after each call, on a copy of the network."""
    twin = net.like()
    replay, names = (
        plain_replay(program, twin, arrays_of(program, twin, given)), Names(program, net.layout),
    )  # fmt: skip
    counts = dict.fromkeys(program.counters, 0)
    for line, call in zip(found, program.calls, strict=True):
        with np.errstate(all="ignore"):  # what is not finite is counted, not warned of
            replay.call(line.number, counts)
        for view in written(program, call):
            numbers = np.asarray(twin.device.get(replay.view(view)))
            yield line, names(view), said(numbers)


def said(numbers: np.ndarray) -> str:
    """min, max, mean, root mean square and the first numbers; how many are NaN or infinite."""
    flat = numbers.astype(np.float64).ravel()
    odd = int((~np.isfinite(flat)).sum())
    fine = flat[np.isfinite(flat)]
    if not fine.size:
        return f"{odd} of {flat.size} are NaN or infinite"
    first = " ".join(f"{each:.4g}" for each in flat[:_FIRST])
    more = " ..." if flat.size > _FIRST else ""
    told = (
        f"min {fine.min():.4g}  max {fine.max():.4g}  mean {fine.mean():.4g}  "
        f"rms {np.sqrt((fine**2).mean()):.4g}  [{first}{more}]"
    )
    return f"{told}  {odd} are NaN or infinite" if odd else told
