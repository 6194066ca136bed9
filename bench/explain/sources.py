"""Where a kernel is written: its meaning in NumPy, its code for the cpu and for CUDA."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

from ...kernels import reference
from ...kernels.spec import KERNELS

PARTS = ("reference", "cpu", "cuda")
_GLOBAL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\(")
_FORMS = ("", "_narrow", "_wide")  # a kernel that is written for rows of few and of many columns


class Source(NamedTuple):
    """A kernel's source: the backend, the file within the repository, the line, and its name there.

    Where no CUDA code is launched for it, the file is the host function's, a .py.
    """

    part: str
    file: str
    line: int
    name: str


def sources(kernel: str) -> list[Source]:
    """The sources of a kernel; none for a function of NumPy's.

    Of CUDA every kernel that its launch may use: a way back of a dense layer is three.
    """
    if kernel not in KERNELS:
        return []
    module = inspect.getmodule(getattr(reference, kernel))
    assert module is not None
    stem = module.__name__.rsplit(".", 1)[-1]
    return [_python("reference", kernel, stem), _python("cpu", kernel, stem), *_cuda(kernel)]


def _python(part: str, kernel: str, stem: str) -> Source:
    """Where `kernel` is defined in a backend written in Python; `stem` is the likeliest file."""
    texts = _texts(part)
    for name in sorted(texts, key=lambda name: not name.startswith(stem)):
        match = re.search(rf"^def {kernel}\(", texts[name], re.MULTILINE)
        if match:
            return Source(part, f"kernels/{part}/{name}", _line(texts[name], match), kernel)
    raise AssertionError(kernel)


def _cuda(kernel: str) -> list[Source]:
    """The kernels that the launch of `kernel` names, its namesake first."""
    places, launches = _cuda_places(), _launches()
    file, method = launches[kernel]
    found = {name: None for name in _named(kernel, places, set())}
    return [places[name] for name in sorted(found, key=lambda name: name != kernel)] or [
        Source("cuda", f"kernels/cuda/{file}", method.lineno, kernel)
    ]


def _named(method: str, places: dict[str, Source], seen: set[str]) -> Iterator[str]:
    """The CUDA kernels that a method of the launches names, or a method that it calls does."""
    if method in seen or method not in _launches():
        return
    seen.add(method)
    for node in _in_order(_launches()[method][1]):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            stem = node.value.partition("<")[0]
            yield from (stem + form for form in _FORMS if stem + form in places)
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
            yield from _named(node.attr, places, seen)


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


@cache
def _cuda_places() -> dict[str, Source]:
    """Every kernel of the .cu files."""
    return {
        match[1]: Source("cuda", f"kernels/cuda/{file}", _line(text, match), match[1])
        for file, text in _texts("cuda").items()
        if file.endswith(".cu")
        for match in _GLOBAL.finditer(text)
    }


@cache
def _launches() -> dict[str, tuple[str, ast.FunctionDef]]:
    """Every method of the launches' classes, by name, with its file."""
    return {
        node.name: (file, node)
        for file, text in _texts("cuda").items()
        if file.endswith(".py")
        for one in ast.parse(text).body
        if isinstance(one, ast.ClassDef)
        for node in one.body
        if isinstance(node, ast.FunctionDef)
    }


def _line(text: str, match: re.Match[str]) -> int:
    """The line that the match's last group, or all of it, begins on."""
    return text.count("\n", 0, match.start(match.lastindex or 0)) + 1


@cache
def _texts(part: str) -> dict[str, str]:
    folder = resources.files(f"weightspace.kernels.{part}")
    wanted = (".py", ".cu") if part == "cuda" else (".py",)
    return {
        each.name: each.read_text("utf-8")
        for each in folder.iterdir()
        if each.name.endswith(wanted) and not each.name.startswith("__")
    }
