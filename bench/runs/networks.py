"""Networks that presets and commands may name, with their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...kernels.errors import check_name
from ...nnlite import Network, models
from ..show.assignments import declared

MODELS: dict[str, Callable[..., Network]] = {
    "autoencoder": models.autoencoder,
    "ds-cnn": models.ds_cnn,
    "fip-cnn": models.fip_cnn,
    "lenet5": models.lenet5,
    "mobilenet-quarter": models.mobilenet_quarter,
    "reduced-resnet18": models.reduced_resnet18,
    "resnet18": models.resnet18,
    "resnet20": models.resnet20,
    "resnet8": models.resnet8,
    "vgg16": models.vgg16,
    "vgg16-cifar": models.vgg16_cifar,
    "zenke-cnn": models.zenke_cnn,
}
_GIVEN = {"outputs", "input_shape", "settings"}  # by the stream, or by other keys


def find_model(name: str) -> Callable[..., Network]:
    """The model `name`. Raises UnknownNameError, suggesting the nearest."""
    check_name("model", name, MODELS)
    return MODELS[name]


def model_parameters(name: str) -> dict[str, Any]:
    """A model's own settings, with their types; residual networks share `resnet`'s."""
    own = declared(find_model(name)) | (declared(models.resnet) if "resnet" in name else {})
    return {key: kind for key, kind in own.items() if key not in _GIVEN}
