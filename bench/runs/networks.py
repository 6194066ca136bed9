"""Networks that presets and commands may name, and how one is made for a stream."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...kernels.errors import SettingError, unknown_name
from ...methods import Stream
from ...nnlite import Network, models

if TYPE_CHECKING:
    from .preset import Preset

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


def make_network(preset: Preset, stream: Stream, backend: str, seed: int) -> Network:
    """The network of `preset` for `stream`, its weights drawn from `seed`.

    Raises UnknownNameError for a model that is none, SettingError where images are needed and the
    stream gives flat samples, or the other way round.
    """
    settings: dict[str, Any] = {"backend": backend, "seed": seed, "init": preset.init}
    if preset.model is None:
        if len(stream.input_shape) != 1:
            raise SettingError(
                f"an MLP takes flat samples, the stream gives {stream.input_shape}: "
                "--set stream.flat=true, or name a model, --set model=fip-cnn"
            )
        sizes = (*stream.input_shape, *preset.hidden, stream.num_classes)
        return models.mlp(sizes, preset.activation, preset.slope, **settings)
    build = find_model(preset.model)
    if len(stream.input_shape) != 3:
        raise SettingError(
            f"the model '{preset.model}' takes images, the stream gives flat samples: "
            "--set stream.flat=false"
        )
    return build(
        stream.num_classes, input_shape=stream.input_shape, **(preset.model_settings or {}),
        **settings,
    )  # fmt: skip


def describe(preset: Preset, stream: Stream) -> str:
    """The network in a few words: "784-256-256-10 relu", or the model's name."""
    if preset.model is not None:
        extra = [f"{key}={value}" for key, value in (preset.model_settings or {}).items()]
        return " ".join([preset.model, *extra])
    sizes = (stream.input_shape[0], *preset.hidden, stream.num_classes)
    return "-".join(map(str, sizes)) + f" {preset.activation}"
