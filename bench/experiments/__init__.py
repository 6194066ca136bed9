"""Experiments: one preset a published experiment. `get_preset` finds one by name."""

from __future__ import annotations

from ...kernels.errors import unknown_name
from ..runs.preset import (
    Preset,
    Variant,
    apply_settings,
    as_config,
    config_hash,
    distinct,
    variants,
)
from . import (
    compare,
    compare_split,
    fashion_cnn,
    fip_cifar100,
    fip_two_tasks,
    kutalev_importances,
    manipulated_mnist,
    mnist_fashion,
    permuted_mnist,
    psp_icifar,
    psp_permuted_mnist,
    psp_rotating_fashion,
    psp_rotating_mnist,
    rotated_mnist,
    split_cifar10,
    split_fashion,
    split_mnist,
)

PRESETS: dict[str, Preset] = {
    module.PRESET.name: module.PRESET
    for module in (
        permuted_mnist,
        split_mnist,
        rotated_mnist,
        manipulated_mnist,
        kutalev_importances,
        fashion_cnn,
        mnist_fashion,
        fip_two_tasks,
        fip_cifar100,
        split_fashion,
        split_cifar10,
        psp_permuted_mnist,
        psp_rotating_mnist,
        psp_rotating_fashion,
        psp_icifar,
        compare,
        compare_split,
    )
}


def get_preset(name: str) -> Preset:
    """The preset `name`. Raises UnknownNameError, suggesting the nearest."""
    if name not in PRESETS:
        raise unknown_name("experiment", name, PRESETS)
    return PRESETS[name]


__all__ = [
    "PRESETS",
    "Preset",
    "Variant",
    "apply_settings",
    "as_config",
    "config_hash",
    "distinct",
    "get_preset",
    "variants",
]
