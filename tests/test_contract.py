"""The seam: every backend has the same kernels, with the same arguments, and spec.py lists them."""

from __future__ import annotations

import inspect
from typing import get_args, get_type_hints

import numpy as np
import pytest
from weightspace.kernels import Backend, available, errors, get_backend, reference, spec
from weightspace.kernels.cuda.launch import Family
from weightspace.kernels.cuda.update import HELPERS

# CUDA's kernels are held to the contract everywhere: to ask for their names takes no compiler.
EVERY = sorted({*available(), "c", "cuda-host", "exact"})


def signature(kernel) -> list[str]:
    """The arguments of a plain function or of a Numba dispatcher."""
    return list(inspect.signature(getattr(kernel, "py_func", kernel)).parameters)


def kernels_of(module) -> set[str]:
    """The functions of a module that are no types, or those that an object's families have."""
    whose = module if inspect.ismodule(module) else type(module)
    own = {name for name in dir(whose) if name[0] != "_" and callable(getattr(module, name))}
    own -= {name for name in own if isinstance(getattr(module, name), type)} | spec.PLANNERS
    return own - {*dir(Family), *HELPERS}


def test_reference_has_exactly_the_kernels_of_the_spec():
    assert kernels_of(reference) == set(spec.KERNELS)


@pytest.mark.parametrize("name", sorted(spec.KERNELS))
def test_spec_lists_the_arguments_in_order(name):
    assert signature(getattr(reference, name)) == list(spec.KERNELS[name].axes)


def test_the_protocol_says_what_the_spec_says():
    """Type checkers read it: names, their order, and which arrays may be absent."""
    declared = {name: of for name, of in vars(Backend).items() if inspect.isfunction(of)}
    kernels = {name for name in declared if name[0] != "_"} - spec.PLANNERS
    assert kernels == set(spec.KERNELS)
    for name, kernel in spec.KERNELS.items():
        hints = dict(list(get_type_hints(declared[name]).items())[:-1])
        assert list(hints) == list(kernel.axes), name
        absent = {one for variant in kernel.variants.values() for one in variant
                  if variant[one] is None}  # fmt: skip
        for argument, hint in hints.items():
            optional = argument in absent or argument in kernel.rooms
            array = optional or kernel.axes[argument] is not None
            assert (type(None) in get_args(hint)) == optional, (name, argument)
            assert (np.ndarray in (hint, *get_args(hint))) == array, (name, argument)


@pytest.mark.parametrize("backend", EVERY)
def test_backends_agree_on_names_and_arguments(backend):
    module = get_backend(backend)
    assert kernels_of(module) == kernels_of(reference)
    assert backend == module.NAME
    for name in spec.KERNELS:
        assert signature(getattr(module, name)) == signature(getattr(reference, name)), name


@pytest.mark.parametrize("backend", EVERY)
def test_backends_agree_on_what_plans_their_scratch(backend):
    for name in spec.PLANNERS:
        assert signature(getattr(get_backend(backend), name)) == signature(getattr(reference, name))


def test_every_kernel_of_the_reference_says_what_it_means():
    for name in spec.KERNELS:
        assert getattr(reference, name).__doc__, f"{name} has no docstring"


def test_spec_marks_every_written_argument():
    for kernel in spec.KERNELS.values():
        assert kernel.writes, kernel.name
        assert set(kernel.writes) <= set(kernel.axes)


def test_bytes_count_what_must_move():
    sizes = {"N": 2, "I": 3, "O": 5}
    forward = spec.KERNELS["dense_forward"]
    assert forward.bytes(sizes, "float32") == 4 * (6 + 15 + 5 + 10)
    assert forward.bytes(sizes, "float32", "no bias") == 4 * (6 + 15 + 10)
    adam = spec.KERNELS["adam_update"]
    assert adam.bytes({"P": 10}, "float32") == 4 * 10 * (2 + 1 + 2 + 2)
    assert adam.bytes({"P": 10}, "float64", "penalty") == 8 * 10 * (2 + 1 + 2 + 2 + 1 + 1)


def test_unknown_backend_suggests_the_nearest():
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'reference'"):
        get_backend("refrence")


def test_missing_package_names_the_extra(monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "numba" else real(name, *a)
    )
    with pytest.raises(errors.MissingExtraError, match=r"weightspace\[cpu\]"):
        get_backend("cpu")
    assert "cpu" not in available()
