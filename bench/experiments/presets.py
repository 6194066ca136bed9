"""The presets: methods side by side on one stream, a published experiment each."""

from __future__ import annotations

from dataclasses import replace

from ...kernels.errors import check_name
from ..runs.preset import Preset
from ..studies.importances import correlations
from ..studies.superposition import first_task
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
    qmnist_writers,
    rotated_mnist,
    split_cifar10,
    split_fashion,
    split_mnist,
)

HOOKS = (first_task.HOOK, correlations.HOOK)  # of every preset, since any may be given any method
PRESETS: dict[str, Preset] = {
    module.PRESET.name: replace(module.PRESET, hooks=(*module.PRESET.hooks, *HOOKS))
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
        qmnist_writers,
    )
}


def get_preset(name: str) -> Preset:
    """The preset `name`. Raises UnknownNameError, suggesting the nearest."""
    check_name("experiment", name, PRESETS)
    return PRESETS[name]
