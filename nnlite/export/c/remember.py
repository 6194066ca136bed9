"""remember in C: a reservoir of what the tail is given, some of which joins every step."""

from __future__ import annotations

from .calls import Statements
from .learner import Learner, through
from .text import number

SEED = "0x3e30U"  # of the choice; it is the same on every device


def remember(learner: Learner, statements: Statements, head: list[str]) -> None:
    """remember: offer a sample to the reservoir; and what draws from it.

    head: declarations for the program `joined`.
    """
    unit, learning, width = learner.unit, learner.learning, learner.latents
    unit.use("ws_reservoir", "ws_random")
    classes, give = learner.net.num_outputs, list[str]()
    if learning.latents is None:
        keep = [f"memcpy(memory_x + row * {width}, {{1}}, {4 * width});"]
        x, regions = f"memory_x + row * {width}", ["memory x"]
    else:
        unit.use("ws_to_bytes", "ws_from_bytes")
        scale, zero = learning.bytes_of_latents
        keep = [f"ws_to_bytes({{1}}, {number(1 / scale)}, {zero}, memory_x + row * {width}, "
                f"{width});"]  # fmt: skip
        give = [f"ws_from_bytes(memory_x + row * {width}, {number(scale)}, {zero}, drawn, "
                f"{width});"]  # fmt: skip
        x, regions = "drawn", ["memory x", "drawn"]
    unit.use_of(statements)
    unit.use("ws_scale")
    rest = number(1 - learning.share)
    unit.function(
        "static void", "join", "unsigned char *memory",
        [
            *head,
            *learner.pointers(*regions, "memory y", "memory active"),
            f"const uint32_t there = counts[5] < {learning.memories} ? counts[5] : "
            f"{learning.memories};",
            "int n;",
            f"ws_scale(grad, {rest}, grad, 1, {learner.size});",
            f"for (n = 0; n < {learning.joining}; ++n) {{",
            f"    const uint32_t row = ws_random({SEED}, counts[6]++, there);",
            f"    const float *const x = {x};",
            "    const int32_t *const y = memory_y + row;",
            f"    const uint8_t *const own = memory_active + row * {classes};",
            *("    " + line for line in (*give, *statements.calls())),
            "}",
        ],
        "the gradient of some of what is remembered joins that of a batch",
    )  # fmt: skip
    unit.function(
        "void", "remember", "void *arena, const float *x, int32_t y",
        through(learner, 1, [
            f"row = ws_reservoir({SEED}, counts[5]++, {learning.memories});",
            "if (row >= 0) {",
            *("    " + line for line in keep),
            "    memory_y[row] = y;",
            f"    memcpy(memory_active + row * {classes}, active, {classes});",
            "}",
        ], [*learner.pointers("counts", "memory x", "memory y", "memory active", "active"),
            "int32_t row;"]),
        f"Offer one sample and its label to the memory of {learning.memories}: it holds a uniform "
        "choice of all that were offered, each with the classes that were in play.",
    )  # fmt: skip
