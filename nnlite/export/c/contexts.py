"""Contexts of superposed models in C: one set at a time, chosen by the number of a task.

Binary ones are kept as bits, others as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....kernels.errors import SettingError
from .predict import MEMORY
from .unit import Unit

Contexts = Sequence[Mapping[str, np.ndarray]]  # of each task: state's name -> what it is then


def check_contexts(contexts: Contexts, state: Mapping[str, np.ndarray]) -> None:
    """Raise SettingError for contexts that are not those of a network with this state."""
    for number, each in enumerate(contexts):
        for name, array in each.items():
            if name not in state or np.shape(array) != state[name].shape:
                there = ", ".join(f"{n} {a.shape}" for n, a in state.items()) or "none"
                raise SettingError(
                    f"the contexts of task {number} have '{name}' {np.shape(array)}; the network's "
                    f"state: {there}"
                )
        if set(each) != set(contexts[0]):
            raise SettingError(f"task {number} has other contexts than task 0: {sorted(each)}")


def write_task(unit: Unit, contexts: Contexts, regions: Mapping[str, str]) -> None:
    """Print `task`: contexts of a number from 0 on. regions: state's name -> the arena's region."""
    refuse = [f"if (task < 0 || task >= {len(contexts)}) {{", "    return 0;", "}"]
    copies: list[str] = []
    for name in contexts[0]:
        rows = np.stack([np.ravel(np.asarray(each[name], np.float32)) for each in contexts])
        target, size = unit.arena[regions[name]].pointer, rows.shape[1]
        if np.isin(rows, (-1.0, 1.0)).all():
            unit.use("ws_signs")
            bits = np.packbits(rows > 0, axis=1, bitorder="little")
            array = unit.constants.add(f"{name} bits", bits, "uint8_t", "WS_FLASH")
            copies.append(f"ws_signs({array} + task * {bits.shape[1]}, {target}, {size});")
        else:
            array = unit.constants.add(f"{name} of tasks", rows, "float", "WS_FLASH")
            copies.append(f"WS_COPY({target}, {array} + task * {size}, {4 * size});")
    unit.macro("TASKS", len(contexts), "contexts that there are")
    unit.function(
        "int", "task", "void *arena, int task", [MEMORY, *refuse, *copies, "return 1;"],
        f"Let the contexts be those of a task, 0 to {len(contexts) - 1}: 1, or 0 for another "
        "number, which changes nothing.",
    )  # fmt: skip
