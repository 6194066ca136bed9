"""`key=value` of the command line, read by the annotation of what it sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args, get_origin

import pytest
from weightspace.bench.experiments.presets import PRESETS
from weightspace.bench.runs.preset import apply_settings, variants
from weightspace.bench.show.assignments import declared, read
from weightspace.kernels import errors
from weightspace.methods import METHODS

Word = Literal["true", "none", "3"]
NAMED = [
    (method, key, get_args(kind))
    for method, cls in METHODS.items()
    for key, kind in declared(cls).items()
    if get_origin(kind) is Literal
]


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("3", int, 3),
        ("3", float, 3.0),
        ("3", int | None, 3),
        ("none", float | None, None),
        ("True", bool, True),
        ("true", str, "true"),
        ("true", Word, "true"),
        ("none", Word | None, "none"),
        ("3", Word, "3"),
        ("none", tuple[int, ...], ()),
        ("1,2", tuple[float, ...], (1.0, 2.0)),
        ("1,a", Sequence[int] | str, [1, "a"]),
        ("none", Sequence[int] | None, None),
    ],
)
def test_a_text_is_read_by_its_type(text, wanted, value):
    found = read("key", text, wanted)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "wanted", "error"),
    [
        ("3.5", int, "expected int, got float"),
        ("true", int, "expected int, got bool"),
        ("x", int | float, "expected int or float, got str"),
        ("1", bool, "expected bool, got int"),
        ("none", int, "expected int, got NoneType"),
        ("3", str, "expected str, got int"),
        ("1,x", tuple[int, ...], "key=x: expected int, got str"),
        ("nan", float, "a finite one"),
        ("9" * 400, float, "a finite one"),
    ],
)
def test_a_text_of_another_kind_is_refused(text, wanted, error):
    with pytest.raises(errors.SettingError, match=error):
        read("key", text, wanted)


@pytest.mark.parametrize(("method", "key", "names"), NAMED)
def test_every_name_of_a_setting_can_be_set_and_no_other(method, key, names):
    preset = PRESETS["permuted-mnist"]
    for name in names:
        (variant,) = variants(apply_settings(preset, [f"{method}.{key}={name}"]), [method])
        assert variant.settings[key] == name
    with pytest.raises(errors.UnknownNameError) as refused:
        apply_settings(preset, [f"{method}.{key}=neither"])
    assert all(name in str(refused.value) for name in (f"{method}.{key}", *names))


def test_a_scenario_that_is_none_is_refused_before_any_data_is_read():
    with pytest.raises(errors.UnknownNameError, match=r"'domian'.*Did you mean 'domain'"):
        apply_settings(PRESETS["permuted-mnist"], ["scenario=domian"])
