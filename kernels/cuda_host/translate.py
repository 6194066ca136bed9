"""The changes to a .cu text that C++ needs: two declarations that it has no words for.

Lines keep their numbers, so that errors and reports speak of the lines of the original.
"""

from __future__ import annotations

import re

# extern "C" __global__ void __launch_bounds__(256) name(   - the bounds on either side of void
_PLAIN = re.compile(
    r'extern\s+"C"\s+__global__\s+(?:void\s+)?(?:__launch_bounds__\s*\([^)]*\)\s*)?'
    r"(?:void\s+)?(\w+)\s*\("
)
# extern __shared__ __align__(16) float name[];
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:(?:__align__|alignas)\(\d+\)\s+)?"
    r"([\w:]+(?:\s+\w+)*?)\s+(\w+)\s*\[\s*\]\s*;"
)
_BOUNDS = re.compile(r"__launch_bounds__\s*\(")
_DECLARATOR = re.compile(r"\s*(?:void\s+)?\w+\s*\(")
_BODY = re.compile(r"\s*\{")


def plain_kernels(source: str) -> list[str]:
    """The names of kernels declared extern "C", which are no templates."""
    return _PLAIN.findall(source)


def for_host(source: str) -> str:
    """The text that g++ compiles."""
    return with_bounds(_DYNAMIC.sub(_pointer, source))


def _pointer(found: re.Match[str]) -> str:
    """Dynamic shared memory as a pointer to what the launch asked for."""
    kind, name = found[1], found[2]
    lines = "\n" * found[0].count("\n")
    return f"{kind}* {name} = reinterpret_cast<{kind}*>(coh_dynamic_shared());{lines}"


def with_bounds(source: str) -> str:
    """Kernels that check the size of their block: a GPU refuses more than __launch_bounds__."""
    parts, done = [], 0
    for found in _BOUNDS.finditer(source):
        after = closing(source, found.end())
        declarator = _DECLARATOR.match(source, after)
        body = declarator and _BODY.match(source, closing(source, declarator.end()))
        if body:  # not in a comment, nor before a kernel's declaration
            bounds = source[found.end() : after - 1]
            parts += [source[done : body.end()], f" coh_check_bounds(COH_HERE, {bounds});"]
            done = body.end()
    return "".join([*parts, source[done:]])


def closing(text: str, start: int) -> int:
    """The place after the parenthesis that closes the one before `start`."""
    depth = 1
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return place + 1
    return len(text)
