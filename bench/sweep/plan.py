"""SweepPlan: what `weightspace sweep` was asked for, and the trials that follow from it.

Nested: settings are chosen on training images held out of training, with inner seeds of their own;
the choice of each line is then trained on all training images and tested, with the outer seeds.
"""

from __future__ import annotations

import json
import operator
import shlex
from dataclasses import dataclass

from ...kernels.errors import SettingError
from ..data.validation import HeldOut
from ..experiments.presets import get_preset
from ..runs.preset import apply_settings, variants
from ..show.plain import to_toml
from ..show.source import options
from .space import DRAWS, Axis, candidates
from .trials import Trial

INNER = 1_000_000  # inner seeds are the outer ones and so much: never the same networks or streams


@dataclass(frozen=True)
class Candidate:
    """Settings that stand for selection, of a method's line `label`."""

    method: str
    label: str
    settings: dict[str, str]

    def told(self) -> str:
        """The settings in a line: "ewc.lam=10, lr=0.001"."""
        return ", ".join(f"{key}={text}" for key, text in self.settings.items())


@dataclass(frozen=True)
class SweepPlan:
    """What was asked for. settings: `--set`, which hold for all trials. methods: none for those
    that the axes name or, where they name none, all of the preset's.

    validation: the share of each class's training images to select on, folds: how many such parts,
    inner: seeds a part. seed, trials: the outer seeds. Raises the named errors of bad settings.
    """

    experiment: str
    axes: tuple[Axis, ...]
    methods: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    draws: int = DRAWS
    backend: str = "cpu"
    seed: int = 0
    trials: int = 3
    validation: float = 0.2
    folds: int = 1
    inner: int = 1

    def __post_init__(self) -> None:
        for name in ("draws", "seed", "trials", "folds", "inner"):  # Python's own: for TOML
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        preset = apply_settings(get_preset(self.experiment), list(self.settings))
        if min(self.draws, self.trials, self.folds, self.inner) < 1:
            raise SettingError(
                f"draws={self.draws}, trials={self.trials}, folds={self.folds}, inner seeds="
                f"{self.inner}: at least one of each"
            )
        set_keys = {assignment.partition("=")[0].strip() for assignment in self.settings}
        if twice := set_keys & {axis.key for axis in self.axes}:
            raise SettingError(f"--set {min(twice)}: it is swept, too; give it once")
        named = dict.fromkeys(axis.method for axis in self.axes if axis.method)
        chosen = self.methods or tuple(named) or tuple(preset.methods)
        if idle := [name for name in named if name not in chosen]:
            raise SettingError(
                f"settings of {', '.join(idle)} are swept, but the methods are "
                f"{', '.join(chosen)}: add -m {idle[0]}"
            )
        object.__setattr__(self, "validation", HeldOut(self.validation, self.folds - 1).share)
        object.__setattr__(self, "methods", chosen)
        seen: dict[tuple[str, str], Candidate] = {}
        for candidate in self.candidates():  # what is wrong is said before anything runs
            key = candidate.label, self.trial(candidate, self.seed, None).identity()
            if seen.setdefault(key, candidate) is not candidate:
                raise SettingError(
                    f"{candidate.label}: {seen[key].told()} and {candidate.told()} are the same "
                    "settings; give each once"
                )

    def candidates(self) -> list[Candidate]:
        """Everything to choose from: method by method, line by line, in the order of the axes."""
        found = []
        for method in self.methods:
            points = candidates(self.axes, method, self.draws, self.seed)
            for label in self._labels(method, points[0]):
                found += [Candidate(method, label, point) for point in points]
        return found

    def _labels(self, method: str, point: dict[str, str]) -> list[str]:
        """The lines of a method: several where its preset compares cases."""
        assignments = [*self.settings, *(f"{key}={text}" for key, text in point.items())]
        preset = apply_settings(get_preset(self.experiment), assignments)
        return [variant.label for variant in variants(preset, [method])]

    def trial(self, candidate: Candidate, seed: int, held_out: HeldOut | None) -> Trial:
        """One run of a candidate. Curves are not kept, so none are measured."""
        swept = [f"{key}={text}" for key, text in candidate.settings.items()]
        return Trial(
            self.experiment, ("eval_every=0", *self.settings, *swept), candidate.method,
            candidate.label, self.backend, seed, held_out,
        )  # fmt: skip

    def swept(self, trial: Trial) -> tuple[str, ...]:
        """What a trial was given besides the settings that all share."""
        return trial.assignments[1 + len(self.settings) :]

    def inner_trials(self, candidate: Candidate) -> list[Trial]:
        """The runs that a candidate is judged by."""
        return [
            self.trial(candidate, INNER + self.seed + number, HeldOut(self.validation, fold))
            for number in range(self.inner)
            for fold in range(self.folds)
        ]

    def outer_trials(self, candidate: Candidate) -> list[Trial]:
        """The runs that a chosen candidate is reported by: all training images, the real test."""
        return [self.trial(candidate, self.seed + t, None) for t in range(self.trials)]

    def command(self) -> str:
        """`weightspace sweep` with all that decides the results, as it is typed."""
        words = ["weightspace sweep", self.experiment]
        for axis in self.axes:
            between = ";" if any("," in value for value in axis.values) else ","
            text = ":".join(axis.source) or between.join(axis.values)
            option = "--random" if axis.source else "--grid"
            words += [option, shlex.quote(f"{axis.key}={text}")]
        numbers = {"draws": self.draws, "validation": self.validation, "folds": self.folds,
                   "inner": self.inner, "seed": self.seed, "trials": self.trials}  # fmt: skip
        words += [f"--{name} {value:g}" for name, value in numbers.items()
                  if value != getattr(SweepPlan, name)]  # fmt: skip
        return " ".join([*words, *options(self.settings, self.methods, self.backend)])

    def asked(self) -> str:
        """sweep.toml: everything that decides the results, and nothing of who worked them out."""
        return to_toml(
            {
                "experiment": self.experiment, "methods": list(self.methods),
                "set": list(self.settings), "backend": self.backend, "seed": self.seed,
                "trials": self.trials, "validation": self.validation, "folds": self.folds,
                "inner_seeds": self.inner, "draws": self.draws,
                "grid": {json.dumps(a.key): list(a.values) for a in self.axes if not a.source},
                "random": {json.dumps(a.key): ":".join(a.source) for a in self.axes if a.source},
            }
        )  # fmt: skip
