"""Settings of methods: each is checked as the method is made, and comes out as a plain value."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import get_type_hints

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import EWC, FIP, GEM, MAS, METHODS, SI, Replay, Superposition
from weightspace.methods.adp import ADP
from weightspace.methods.fge import Cycle
from weightspace.methods.fip.sparsify import SparsePath
from weightspace.methods.fip.walk import Walk
from weightspace.methods.pruning import Training
from weightspace.methods.settings import COUNT, SHARE_BELOW_1, real, whole
from weightspace.nnlite.init import generator


def settings(number: bool) -> list[tuple[type, str]]:
    """(method, name of a setting) of every method there is: the numbers, or all others."""
    found = []
    for cls in METHODS.values():
        hints = get_type_hints(cls)
        for name in (f.name for f in fields(cls) if f.init):
            kinds = getattr(hints[name], "__args__", (hints[name],))
            if number == bool({int, float} & set(kinds)):
                found.append((cls, name))
    return found


@pytest.mark.parametrize(("cls", "name"), settings(number=True))
@pytest.mark.parametrize("bad", [-4, float("nan"), float("inf"), True, "3", [1]])
def test_no_number_may_be_negative_or_none_at_all(cls, name, bad):
    with pytest.raises(errors.SettingError, match=rf"{cls.name}\.{name} is"):
        cls(**{name: bad})


RECORDS = {"Training": Training, "SparsePath": SparsePath, "Walk": Walk, "cycle": Cycle, "ADP": ADP}


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, cls in RECORDS.items() for name in cls.limits]
)
@pytest.mark.parametrize("bad", [-4, float("nan"), float("inf"), True, "3"])
def test_no_number_of_a_record_of_settings_may_be_either(owner, name, bad):
    with pytest.raises(errors.SettingError, match=rf"{owner}\.{name} is"):
        RECORDS[owner](**{name: bad})


@pytest.mark.parametrize(("cls", "name"), settings(number=False))
def test_no_choice_may_be_made_up(cls, name):
    with pytest.raises((errors.UnknownNameError, errors.SettingError), match=name):
        cls(**{name: "of another kind"})


@pytest.mark.parametrize(("cls", "name"), settings(number=True))
def test_numpy_numbers_become_plain_ones(cls, name):
    default = next(f.default for f in fields(cls) if f.name == name)
    assert default is not MISSING
    given = np.asarray(1 if default is None else default)[()]
    made = cls(**{name: given})
    assert type(getattr(made, name)) in (int, float)
    json.dumps(made.settings())


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (EWC, {"samples": 0}),
        (EWC, {"fisher": "diagonal"}),
        (MAS, {"output": "probabilities"}),
        (SI, {"lam": np.float32("nan")}),
        (GEM, {"memories": 2.0}),
        (Replay, {"share": 1.5}),
        (FIP, {"mu": 0.0}),
        (Superposition, {"first": "yes"}),
    ],
)
def test_what_was_refused_after_a_task_is_refused_at_once(cls, wrong):
    with pytest.raises((errors.SettingError, errors.UnknownNameError)):
        cls(**wrong)


@pytest.mark.parametrize("number", [10**400, -(10**400), float("inf")])
def test_a_number_beyond_a_float_is_named(number):
    with pytest.raises(errors.SettingError, match=r"share is .*inf; give a finite number"):
        real("share", number)


def test_numbers_say_what_they_may_be():
    assert whole("steps", np.int64(3)) == 3 and type(whole("steps", np.uint8(3))) is int
    with pytest.raises(errors.SettingError, match=r"steps is 3\.0 .float.; give a whole number"):
        whole("steps", 3.0)
    with pytest.raises(errors.SettingError, match="steps is 0; it must be at least 1"):
        whole("steps", 0, COUNT)
    with pytest.raises(
        errors.SettingError, match=r"share is 1\.0; it must be at least 0 and below 1"
    ):
        real("share", 1, SHARE_BELOW_1)


def test_numpy_keys_draw_what_plain_ones_do(untyped):
    ours = generator(*untyped((np.int64(5), np.int32(-1), np.uint64(7)))).random(4)
    assert np.array_equal(ours, generator(5, -1, 7).random(4))
