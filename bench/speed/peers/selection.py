"""Which problems a run of `weightspace bench steps` is made of."""

from __future__ import annotations

from collections.abc import Iterable

from ....kernels.errors import SettingError
from .problem import Problem, expand_operations
from .products import PRODUCT_SIZES
from .sizes import CONV_SIZES, MLP_SIZES, SIZES, parse_size

# One convolution is enough to see whether they work; the networks take minutes to check.
QUICK_SIZES = (MLP_SIZES[0], CONV_SIZES[0])
QUICK_PRODUCTS = ("10x100x64", "64x300x784", "1x2000x2000")
QUICK_OPERATIONS = (
    "train-step-adam", "forward-32", "fisher-empirical", "jvp", "si-step", "conv-forward",
)  # fmt: skip


def problems(
    operations: Iterable[str] | None, sizes: Iterable[str] | None, quick: bool = False
) -> list[Problem]:
    """Every chosen operation at every chosen size that has it; "forward-N" brings its own batch N.

    None means all (quick: `QUICK_OPERATIONS`, `QUICK_SIZES`), products only where they are asked
    for. Raises SettingError for a size that was asked for and has none of the operations,
    UnknownNameError for what does not exist.
    """
    default = QUICK_SIZES if quick else SIZES
    if operations is not None:
        default = (*default, *(QUICK_PRODUCTS if quick else PRODUCT_SIZES))
    if operations is None and quick:
        operations = QUICK_OPERATIONS
    chosen = expand_operations(operations)
    given = list(default if sizes is None else sizes)
    parsed = [parse_size(size) for size in given]
    if sizes is not None:
        for size, (network, _) in zip(given, parsed, strict=True):
            if not set(chosen) & set(network.operations):
                raise SettingError(
                    f"{size} has none of the operations {', '.join(chosen)}; "
                    f"it has {', '.join(network.operations)}"
                )
    made = []
    for operation in chosen:
        for network, batch in parsed:
            if operation in network.operations:
                own = operation.removeprefix("forward-")
                made.append(Problem(operation, network, int(own) if own.isdigit() else batch))
    return list(dict.fromkeys(made))
