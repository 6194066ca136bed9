"""Sizes as the command line writes them: "784-300-100-10x64", "tanh-4-32-16-4x10000",
"conv32-32@16x64", "resnet20x128", "64x300x784"."""

from __future__ import annotations

import re

from ....kernels.errors import SettingError, unknown_name
from . import products
from .kinds import NAMES, ConvNet, Convolution, Kind, Mlp, Regression
from .superposed import Superposed

MLP_SIZES = ("784-300-100-10x64", "784-256-256-10x128", "784-2000-2000-10x256")
TANH_SIZES = ("tanh-4-32-16-4x10000",)
CONV_SIZES = (
    "conv32-32@16x64", "conv64-64@8x64", "conv64-64@32x32", "conv128-128@16x32",
    "conv256-256@8x32",
)  # fmt: skip
NET_SIZES = ("resnet20x128", "fip-cnnx128")
PSP_SIZES = ("psp-binary-784-256-256-10x128", "psp-complex-784-256-256-10x128")
SIZES = (*MLP_SIZES, *TANH_SIZES, *CONV_SIZES, *NET_SIZES, *PSP_SIZES)
_DEFAULT_BATCH = {name: int(n) for name, _, n in (size.rpartition("x") for size in SIZES)}


def parse_size(text: str) -> tuple[Kind, int]:
    """(network, batch) of a size; without "xN" the batch is 64, or the one of `SIZES`.

    Raises SettingError, or UnknownNameError for a network's name.
    """
    if product := products.parse(text):
        return product
    found = re.fullmatch(r"(.+?)(?:x(\d+))?", text)
    head, tail = found.groups() if found else ("", None)
    batch = int(tail) if tail else _DEFAULT_BATCH.get(head, 64)
    kind: Kind | None = None
    if re.fullmatch(r"\d+(-\d+)+", head):
        kind = Mlp(tuple(map(int, head.split("-"))))
    elif widths := re.fullmatch(r"tanh-(\d+(?:-\d+)+)", head):
        kind = Regression(tuple(map(int, widths[1].split("-"))))
    elif numbers := re.fullmatch(r"conv(\d+)-(\d+)@(\d+)", head):
        kind = Convolution(*map(int, numbers.groups()))
    elif turned := re.fullmatch(r"psp-(binary|complex)((?:-\d+){2,})", head):
        kind = Superposed(turned[1], tuple(map(int, turned[2].split("-")[1:])))
    elif head in NAMES:
        kind = ConvNet(head)
    elif re.fullmatch(r"(?!conv)[a-z][a-z0-9-]*", head):
        raise unknown_name("network", head, NAMES)
    if kind is None or batch < 1 or "0" in re.findall(r"\d+", kind.name):
        raise SettingError(
            f"size is '{text}'; expected widths and a batch, all positive, such as {SIZES[0]} (or "
            f"{TANH_SIZES[0]}: tanh, squared error), a "
            f"convolution such as {CONV_SIZES[0]} (maps, maps, height, batch), a superposed MLP "
            f"such as {PSP_SIZES[0]}, a dense product such as {products.PRODUCT_SIZES[3]} "
            f"(samples, outputs, inputs), or a network: {', '.join(NET_SIZES)}"
        )
    return kind, batch
