"""net.h and net.c around what another maker wrote."""

from __future__ import annotations

import json
from pathlib import Path


def write_interface(
    folder: Path, before: str, call: str, arena: int = 1, prepare: str = ""
) -> None:
    """before: C in front of all; call: the body of net_predict(arena, x, y).

    prepare: of a sample x, before net_predict and not counted.
    """
    described = json.loads((folder / "net.json").read_text())
    rows, columns, channels = described["input"]
    prepared = "#define NET_PREPARE 1\nvoid net_prepare(const float *x);\n" if prepare else ""
    (folder / "net.h").write_text(
        "#ifndef NET_H\n#define NET_H\n\n"
        f"#define NET_INPUTS {rows * columns * channels}\n"
        f"#define NET_OUTPUTS {described['outputs']}\n"
        f"#define NET_ARENA_ALIGN 16\n#define NET_ARENA_BYTES {max(arena, 1)}\n\n"
        f"void net_predict(void *arena, const float *x, float *y);\n{prepared}\n#endif\n"
    )
    head = f'#include "net.h"\n\n{before}\n'
    body = f"void net_predict(void *arena, const float *x, float *y) {{\n{call}}}\n"
    more = f"\nvoid net_prepare(const float *x) {{\n{prepare}}}\n" if prepare else ""
    (folder / "net.c").write_text(head + body + more)
