"""Preset: everything that defines an experiment, in one flat record that `--set` can change."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field, replace
from typing import Any

from ...kernels.errors import SettingError, check_name, unknown_name
from ...methods import METHODS, Method
from ...methods.tasks import Scenario
from ..show.assignments import declared, read, split_assignment
from ..show.labels import number
from ..show.plain import config_hash
from ..streams import parameters
from .hooks import Hook
from .networks import model_parameters


@dataclass(frozen=True)
class Preset:
    """An experiment: data, stream, network, training, and the methods to set side by side.

    steps or epochs are for each task. model: a network of `networks.MODELS`, with its settings;
    None is the MLP that hidden, activation and slope describe. augment: random crops and flips.
    turn: training batches turn by 360 degrees in so many steps. eval_every, eval_switch,
    calibration: what `fit` measures besides. `data` may name several sets,
    joined by "+". `methods` maps a method's name to its settings; the order is the order of the
    table. cases: lines that one method has by names of their own, each with what it adds to the
    method's settings. hooks: what is done besides. train_limit and test_limit keep the first so
    many images.
    """

    name: str
    summary: str
    stream: str
    scenario: Scenario
    data: str = "mnist-demo"
    stream_settings: dict[str, Any] = field(default_factory=dict)
    train_limit: int | None = None
    test_limit: int | None = None
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    slope: float = 0.01
    model: str | None = None
    model_settings: dict[str, Any] | None = None
    init: str = "uniform_fan_in"
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float | None = None
    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 128
    reset_optimizer: bool = False
    augment: bool | None = None
    turn: int | None = None
    eval_every: int = 0
    eval_switch: int | None = None
    calibration: bool | None = None
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    cases: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    hooks: tuple[Hook, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One line of the table: a method with its settings, under a label of its own."""

    label: str
    method: str
    settings: dict[str, Any]

    def build(self) -> Method:
        """The method object. Raises SettingError or UnknownNameError."""
        known = declared(METHODS[self.method])
        for key in self.settings:
            check_name(f"setting of method '{self.method}'", key, known)
        return METHODS[self.method](**self.settings)


_FIXED = {
    "name", "summary", "methods", "cases", "hooks", "stream_settings", "model_settings"
}  # fmt: skip


def apply_settings(preset: Preset, assignments: list[str]) -> Preset:
    """The preset after `key=value` assignments.

    A key is a field (`steps=100`, `data=mnist`), `stream.KEY` for the stream, `model.KEY` for the
    model, or `METHOD.KEY`; a
    list of numbers for a method's key (`ewc.lam=10,30`) makes a variant of each. Raises
    UnknownNameError with the nearest key, SettingError for a value of the wrong kind.
    """
    for assignment in assignments:
        preset = _apply(preset, *split_assignment(assignment))
    return preset


def _apply(preset: Preset, key: str, text: str) -> Preset:
    owner, dot, inner = key.partition(".")
    if dot and owner == "stream":
        return _apply_to_stream(preset, inner, text)
    if dot and owner == "model":
        return _apply_to_model(preset, inner, text)
    if dot:
        return _apply_to_method(preset, owner, inner, text)
    known = {name: kind for name, kind in declared(Preset).items() if name not in _FIXED}
    if key not in known:
        raise unknown_name("key", key, [*known, "stream.KEY", "model.KEY", "METHOD.KEY"])
    if key in ("steps", "epochs"):  # one takes the place of the other
        preset = replace(preset, steps=None, epochs=None)
    return replace(preset, **{key: read(key, text, known[key])})


def _apply_to_stream(preset: Preset, key: str, text: str) -> Preset:
    known = parameters(preset.stream)
    check_name(f"setting of the {preset.stream} stream", key, known)
    value = read(f"stream.{key}", text, known[key])
    return replace(preset, stream_settings={**preset.stream_settings, key: value})


def _apply_to_model(preset: Preset, key: str, text: str) -> Preset:
    if preset.model is None:
        raise SettingError(
            f"--set model.{key}: this preset's network is an MLP; set hidden instead"
        )
    known = model_parameters(preset.model)
    check_name(f"setting of the model {preset.model}", key, known)
    value = read(f"model.{key}", text, known[key])
    settings = {**(preset.model_settings or {}), key: value}
    return replace(preset, model_settings=settings)


def _apply_to_method(preset: Preset, method: str, key: str, text: str) -> Preset:
    check_name("method", method, METHODS)
    known = declared(METHODS[method])
    check_name(f"setting of method '{method}'", key, known)
    values = [read(f"{method}.{key}", part, known[key]) for part in text.split(",")]
    value = values[0] if len(values) == 1 else values
    settings = {**preset.methods.get(method, {}), key: value}
    return replace(
        preset,
        methods={**preset.methods, method: settings},
        cases={**preset.cases, method: _without(preset.cases.get(method, {}), key)},
    )


def _without(cases: dict[str, dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """The cases, none of them with a word on `key`: what a user sets holds for all of them.

    Those that then say the same are one, under the name of one that said no other thing before;
    where that is all of them, they are the method as it is.
    """
    left: dict[str, tuple[str, dict[str, Any]]] = {}
    for label, settings in cases.items():
        rest = {name: value for name, value in settings.items() if name != key}
        said = json.dumps(rest, sort_keys=True)
        if said not in left or rest == settings:
            left[said] = label, rest
    return {} if len(left) == 1 < len(cases) else dict(left.values())


def variants(preset: Preset, chosen: list[str]) -> list[Variant]:
    """The lines of the table: the chosen methods (none: all), with lists of settings spread out."""
    for name in chosen:
        check_name("method", name, METHODS)
    made: list[Variant] = []
    for name in chosen or preset.methods:
        common = preset.methods.get(name, {})
        for label, case in (preset.cases.get(name) or {name: {}}).items():
            made += _spread(label, name, {**common, **case})
    for variant in made:
        variant.build()  # a bad setting is reported before anything runs
    return made


def _spread(label: str, method: str, settings: dict[str, Any]) -> list[Variant]:
    """One line, or one for each value of the setting that is a list."""
    spread = [key for key, value in settings.items() if isinstance(value, list)]
    if len(spread) > 1:
        raise SettingError(f"{method}: only one setting may be a list, got {', '.join(spread)}")
    if not spread:
        return [Variant(label, method, settings)]
    key = spread[0]
    return [
        Variant(
            f"{label} {key}={number(value) if isinstance(value, float) else value}",
            method,
            {**settings, key: value},
        )
        for value in settings[key]
    ]


def distinct(found: list[Variant]) -> tuple[list[Variant], list[str]]:
    """The variants without those whose settings an earlier one has, and the labels of these."""
    kept: dict[str, Variant] = {}
    twice = []
    for variant in found:
        settings = config_hash(variant.build().settings())
        if kept.setdefault(settings, variant) is not variant:
            twice.append(variant.label)
    return list(kept.values()), twice


def as_config(preset: Preset, variant: Variant, backend: str, seed: int) -> dict[str, Any]:
    """Everything that decides the result of one run, as plain values."""
    config = dataclasses.asdict(replace(preset, hooks=()))
    del config["summary"], config["methods"], config["cases"], config["hooks"]
    config["hidden"] = list(preset.hidden)
    return {
        **{key: value for key, value in config.items() if value is not None},
        "backend": backend,
        "seed": seed,
        "method": variant.build().settings(),
    }
