"""Which C function a call of a convolution is, and how much scratch it takes: by sizes alone.

A program's sizes are literals, so what it does not need is not in its file: Winograd's way, a
depthwise layer's loops. Bits follow from the way: it is that of `kernels.conv_order`, unless the
caller asks for the direct one everywhere, which needs less scratch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..conv_order import winograd_wins

FAMILY = "conv2d_"
# Winograd's way sums a block of 4 tiles and 8 filters, two channels at a time: what is transformed
# of these, and the sums. A weight gradient: 4 channels and 4 filters, two tiles at a time, and the
# sums of one group of tiles beside those of all.
FREQUENCIES = 36
CORRELATION = FREQUENCIES * (2 * (4 + 8) + 4 * 8)
WEIGHTS = FREQUENCIES * (2 * (4 + 4) + 2 * 4 * 4)
GATHERING = ("conv2d_forward", "conv2d_tangent")  # kernels that copy the windows of two outputs
DIRECT, WINOGRAD, DEPTHWISE, GREY = "", "_winograd", "_depthwise", "_grey"
# The ways that there are of each kernel, besides the direct one.
WAYS = {
    "conv2d_forward": (WINOGRAD, DEPTHWISE, GREY),
    "conv2d_tangent": (WINOGRAD,),
    "conv2d_input_grad": (WINOGRAD, DEPTHWISE),
    "conv2d_weight_grad": (WINOGRAD,),
}


class Plan(NamedTuple):
    """A call's function, without the prefix, and the floats of its `work`."""

    function: str
    work: int


def functions(kernel: str) -> tuple[str, ...]:
    """All C functions that calls of a kernel may be, without the prefix."""
    return tuple(kernel + way for way in (DIRECT, *WAYS.get(kernel, ())))


def plan(
    kernel: str,
    sizes: Mapping[str, int],
    given: Mapping[str, Any],
    winograd: bool = True,
) -> Plan:
    """The plan of a call of `kernel`.

    sizes: of the contract's axes, by letter; given: the contract's scalars by name, of which a
    convolution's stride, padding, dilation and groups count. winograd: False where layers that the
    engine does by Winograd's way go directly.
    """
    if not kernel.startswith(FAMILY):
        return Plan(kernel, 0)
    ways = WAYS.get(kernel, ())
    if winograd and WINOGRAD in ways and _wins(kernel, sizes, given):
        return Plan(kernel + WINOGRAD, WEIGHTS if "weight" in kernel else CORRELATION)
    if GREY in ways and _grey(sizes, given):
        return Plan(kernel + GREY, 6 * sizes["R"])
    if DEPTHWISE in ways and given["groups"] == sizes["C"] == sizes["O"]:
        way, channels, count = DEPTHWISE, sizes["C"], 2
    else:
        way, channels, count = DIRECT, sizes["c"], 4
    return Plan(kernel + way, count * _window(sizes, given, channels) if kernel in GATHERING else 0)


def _grey(s: Mapping[str, int], given: Mapping[str, Any]) -> bool:
    """Whether an image of one channel is seen by filters three wide, all of it."""
    near = given["stride"] == (1, 1) and given["dilation"] == (1, 1)
    return near and s["C"] == 1 and s["S"] == 3 and s["O"] >= 4


def _window(s: Mapping[str, int], given: Mapping[str, Any], channels: int) -> int:
    """Floats of a window of so many channels; 0 where all windows lie in the image, their rows in
    one piece each."""
    inside = all(
        before == 0 and (s[places] - 1) * step + (s[taps] - 1) * apart < s[size]
        for size, taps, places, before, step, apart in zip(
            "HW", "RS", "hw", given["padding"], given["stride"], given["dilation"], strict=True
        )
    )
    together = s["S"] == 1 or (given["dilation"][1] == 1 and channels == s["C"])
    return 0 if inside and together else s["R"] * s["S"] * channels


def _wins(kernel: str, s: Mapping[str, int], given: Mapping[str, Any]) -> bool:
    """Whether the engine takes Winograd's way. An input gradient is a correlation of dz, of which
    one with a stride is several, each with results that lie apart."""
    stride, dilation = given["stride"], given["dilation"]
    turned = kernel == "conv2d_input_grad"
    depth, filters, rows, columns = (s[axis] for axis in ("OCHW" if turned else "COhw"))
    down, across = (1, 1) if turned else stride
    out_down, out_across = stride if turned else (1, 1)
    return winograd_wins(
        SimpleNamespace(
            r=s["R"], s=s["S"], depth=depth, filters=filters, rows=rows, columns=columns,
            down=down, across=across, out_down=out_down, out_across=out_across,
            tap_down=dilation[0], tap_across=dilation[1], groups=given["groups"],
        )
    )  # fmt: skip


def conv2d_workspace(
    kernel: str,
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    y_shape: Sequence[int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    winograd: bool = True,
) -> int:
    """Elements of `work` that the kernel wants: two windows or none directly, and by Winograd's way
    as many whatever the layer's size."""
    sizes = dict(zip("NHWC", x_shape, strict=True)) | dict(zip("ORSc", w_shape, strict=True))
    sizes |= dict(zip("hw", y_shape[1:3], strict=True))
    given = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return plan(kernel, sizes, given, winograd).work
