"""Kernels in C as a program of its own: for compilers, flags and processors that Python is not.

It reads arrays from standard input, each into memory of exactly its size, calls kernels, and writes
what they wrote: so a sanitizer sees every access that is not theirs to make.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from weightspace.kernels import get_backend
from weightspace.kernels.c.conv_plan import functions, plan
from weightspace.kernels.c.library import STRICT, sizes_of, source
from weightspace.kernels.c.signature import DTYPES, Parameter, letters, parameters
from weightspace.kernels.spec import KERNELS
from weightspace.nnlite.export.c.text import number

_MAIN = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *take(size_t bytes) {
    void *room = malloc(bytes ? bytes : 1);
    if (!room || fread(room, 1, bytes, stdin) != bytes) {
        exit(2);
    }
    return room;
}

static void give(void *room, size_t bytes) {
    if (fwrite(room, 1, bytes, stdout) != bytes) {
        exit(3);
    }
}
"""


class Case(NamedTuple):
    """A call: the kernel's name and its arguments, as `Kernel.arguments` makes them.

    winograd: False where convolutions go directly.
    """

    kernel: str
    arguments: dict[str, Any]
    winograd: bool = True


def _in_c(parameter: Parameter, given: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(given).astype(DTYPES[parameter.type])


def _function(index: int, case: Case) -> tuple[str, list[np.ndarray]]:
    """The call as a C function, and the arrays that it reads."""
    lines, words, free, arrays = [], [], [], []
    value: Any
    ops = get_backend("c" if case.winograd else "c-direct")
    given = KERNELS[case.kernel].complete(ops, case.arguments)
    shapes = {n: a.shape for n, a in given.items() if isinstance(a, np.ndarray)}
    sizes = sizes_of(case.kernel, shapes)
    known = dict(zip(letters(case.kernel), sizes, strict=True))
    way = plan(case.kernel, known, given, case.winograd)
    for parameter, value in zip(parameters(case.kernel), (*given.values(), *sizes), strict=True):
        if parameter.kind == "array" and value is not None:
            arrays.append(_in_c(parameter, value))
            name, nbytes = f"a{len(arrays)}", arrays[-1].nbytes
            lines.append(f"{parameter.type} *{name} = ({parameter.type} *)take({nbytes});")
            words.append(name)
            if parameter.name in KERNELS[case.kernel].writes:
                free.append(f"give({name}, {nbytes});")
            free.append(f"free({name});")
        elif parameter.kind == "array":
            words.append("NULL")
        elif parameter.kind == "pair":
            words += map(str, cast(tuple, value))
        else:
            words.append(number(cast(float, value), parameter.type))
    call = f"c_{way.function}({', '.join(words)});"
    body = "\n    ".join((*lines, call, *free))
    return f"static void case{index}(void) {{\n    {body}\n}}\n", arrays


def run(
    cases: Sequence[Case], command: Sequence[str], folder: Path, launcher: Sequence[str] = ()
) -> list[dict[str, np.ndarray]]:
    """What each case wrote, by argument. command: the compiler and its flags beside the strict
    ones; launcher: what runs programs for another processor."""
    parts = [_function(index, case) for index, case in enumerate(cases)]
    names = list(dict.fromkeys(case.kernel for case in cases))
    calls = "".join(f"    case{index}();\n" for index in range(len(cases)))
    main = f"int main(void) {{\n{calls}    return 0;\n}}\n"
    (folder / "kernels.c").write_text(source(names))
    text = "\n".join([_MAIN, *map(_declared, names), *(text for text, _ in parts), main])
    (folder / "driver.c").write_text(text)
    objects = []
    for name, more in (("kernels", ()), ("driver", ("-O0",))):
        objects.append(str(folder / f"{name}.o"))
        strict = [command[0], *STRICT, *command[1:], *more, "-c"]
        subprocess.run([*strict, str(folder / f"{name}.c"), "-o", objects[-1]], check=True)
    program = str(folder / "driver")
    subprocess.run([*command, *objects, "-o", program], check=True)
    sent = b"".join(array.tobytes() for _, arrays in parts for array in arrays)
    done = subprocess.run([*launcher, program], input=sent, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return _read(cases, done.stdout)


def _declared(name: str) -> str:
    given = ", ".join(each.declared for each in parameters(name))
    return "".join(f"void c_{way}({given});\n" for way in functions(name))


def _read(cases: Sequence[Case], told: bytes) -> list[dict[str, np.ndarray]]:
    found, at = [], 0
    for case in cases:
        wrote = {}
        for parameter in parameters(case.kernel):
            given = case.arguments.get(parameter.name)
            if parameter.name in KERNELS[case.kernel].writes and given is not None:
                kind = DTYPES[parameter.type]
                flat = np.frombuffer(told, kind, given.size, at)
                at += flat.nbytes
                wrote[parameter.name] = flat.reshape(given.shape).astype(given.dtype)
        found.append(wrote)
    assert at == len(told)
    return found
