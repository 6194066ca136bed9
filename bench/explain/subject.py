"""The network that `weightspace explain` is asked about: a model, widths, a preset or a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...kernels.errors import SettingError, check_name, unknown_name
from ...methods import METHODS
from ...nnlite import Network, models
from ...nnlite.optim import Optimizer
from ..experiments.presets import PRESETS, get_preset
from ..runs.make import make_network, make_optimizer, make_stream
from ..runs.networks import MODELS
from ..runs.preset import Preset, Variant, variants

WIDTHS = re.compile(r"\d+(-\d+)+")
ZOO: dict[str, Callable[..., Network]] = {**MODELS, "lenet-300-100": models.lenet_300_100}
BASELINE = "naive"


@dataclass(frozen=True)
class Subject:
    """A network, what it is in a few words, and the optimizer of the preset that it is from."""

    net: Network
    said: str
    optimizer: Optimizer | None = None


def find(
    name: str,
    backend: str,
    method: str | None = None,
    data_dir: Path | None = None,
    dtype: str | None = None,
) -> Subject:
    """The network `name`.

    "784-256-10": an MLP of these widths. A model of the zoo. A preset: the network that it trains,
    as `method` wraps it (default: the first that is no baseline). Else a file that `Network.load`
    reads. Raises UnknownNameError, CheckpointError, or what the preset's data raise.
    """
    free = WIDTHS.fullmatch(name) is not None or name in ZOO
    if method is not None and name not in PRESETS:
        raise SettingError(f"--method {method} is for presets; '{name}' is none")
    if dtype is not None and not free:
        raise SettingError(f"--dtype is for widths and models; '{name}' has its own")
    settings: dict[str, Any] = {"backend": backend, "dtype": dtype or "float32"}
    if name in ZOO:
        return Subject(ZOO[name](**settings), name)
    if free:
        return Subject(models.mlp(tuple(map(int, name.split("-"))), **settings), f"{name} relu")
    if name in PRESETS:
        return _of_preset(get_preset(name), backend, method, data_dir)
    if Path(name).is_file():
        return Subject(Network.load(Path(name), backend), Path(name).name)
    raise unknown_name("network (widths as 784-256-10, a model, a preset or a file)", name,
                       [*ZOO, *PRESETS])  # fmt: skip


def _of_preset(
    preset: Preset, backend: str, method: str | None, data_dir: Path | None
) -> Subject:  # fmt: skip
    chosen = _variant(preset, method)
    net = make_network(preset, make_stream(preset, 0, data_dir), backend, 0)
    said = f"{preset.name} by {chosen.label}"
    return Subject(chosen.build().wrap(net), said, make_optimizer(preset))


def _variant(preset: Preset, method: str | None) -> Variant:
    """The line of the preset's table of that label or method, or the first but the baseline."""
    lines = variants(preset, [])
    if method is None:
        return next((each for each in lines if each.method != BASELINE), lines[0])
    for line in lines:
        if method in (line.label, line.method):
            return line
    check_name("method", method, {*METHODS, *(line.label for line in lines)})
    return variants(preset, [method])[0]
