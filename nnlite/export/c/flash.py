"""Kernels that read weights from flash beside the same ones that read them from memory, on AVR.

There a frozen trunk lies in flash and the tail that learns in memory, and a load of one is another
instruction than a load of the other. Everywhere else one set does: `WS_TRUNK(name)` is the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ....kernels.c.sources import Function

_CALLED = re.compile(r"\b(ws_\w+)\(")
_READS = "WS_W("
_SUFFIX = "_flash"
NAMES = f"""#if defined(__AVR__)
#define WS_TRUNK(name) name##{_SUFFIX}
#else
#define WS_TRUNK(name) name
#endif
"""
_BEGIN = """#if defined(__AVR__)
/* The same for weights in flash. */
#undef WS_W
#define WS_W(number) pgm_read_float(&(number))
"""
_END = """#undef WS_W
#define WS_W(number) (number)
#endif
"""


def called(texts: Iterable[str]) -> set[str]:
    """The kernels that functions call, by name."""
    return {name for text in texts for name in _CALLED.findall(text)}


def reading(known: Sequence[Function]) -> set[str]:
    """Of functions in the order of their calls those that read weights, or call one that does."""
    found: set[str] = set()
    for each in known:
        if _READS in each.text or found & set(each.calls):
            found.add(each.name)
    return found


def of_trunk(text: str, names: set[str]) -> str:
    """A function of the trunk, its calls of `names` by WS_TRUNK."""
    return _CALLED.sub(lambda m: f"WS_TRUNK({m[1]})(" if m[1] in names else m[0], text)


def both(known: Sequence[Function], names: set[str], others: set[str]) -> list[str]:
    """The texts of `known`, which stand in the order of their calls; those of `names`, which read a
    trunk's weights, once more for flash. others: what is called elsewhere: the rest of `names` is,
    on AVR, there for flash only.
    """
    texts = [
        f"#if !defined(__AVR__)\n{each.text}#endif\n" if each.name in names - others else each.text
        for each in known
    ]
    flash = [
        _CALLED.sub(lambda m: f"{m[1]}{_SUFFIX}(" if m[1] in names else m[0], each.text)
        for each in known
        if each.name in names
    ]
    return [*texts, _BEGIN, *flash, _END]
