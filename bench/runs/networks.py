"""Networks that presets and commands may name, with their settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from ...kernels.errors import unknown_name
from ...nnlite import Network, models

MODELS: dict[str, Callable[..., Network]] = {
    "fip-cnn": models.fip_cnn,
    "lenet5": models.lenet5,
    "reduced-resnet18": models.reduced_resnet18,
    "resnet18": models.resnet18,
    "resnet20": models.resnet20,
    "vgg16": models.vgg16,
    "vgg16-cifar": models.vgg16_cifar,
    "zenke-cnn": models.zenke_cnn,
}
_GIVEN = {"outputs", "input_shape", "settings"}  # by the stream, or by other keys


def find_model(name: str) -> Callable[..., Network]:
    """The model `name`. Raises UnknownNameError, suggesting the nearest."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


def model_parameters(name: str) -> dict[str, str]:
    """A model's own settings, with their declared types; residual networks share `resnet`'s."""
    sources = [find_model(name)]
    if "resnet" in name:
        sources.append(models.resnet)
    own = {
        key: str(parameter.annotation)
        for source in sources
        for key, parameter in inspect.signature(source).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return {key: declared for key, declared in own.items() if key not in _GIVEN}
