"""What a preset asks for, made: its stream, optimizer and augmentation, and one trial of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.errors import RecordingError, SettingError
from ...methods import Method, Result, Stream, fit
from ...methods.fit import Augment
from ...methods.operations import Operations, count
from ...methods.plan import Length
from ...nnlite import Network, models
from ...nnlite.optim import Optimizer, get_optimizer
from .. import data, streams
from ..data.validation import HeldOut
from ..streams.augment import augment as move_images
from ..streams.normalise import black, check_normalise
from ..streams.rotating import Turner, image_shape
from .networks import find_model
from .preset import Preset, Variant


def make_stream(
    preset: Preset, seed: int, data_dir: Path | None, held_out: HeldOut | None = None
) -> Stream:
    """The stream of `preset` for a trial. Raises the data sets' and streams' named errors.

    `preset.data` may name several sets, as in "mnist+fashion-mnist"; the limits are for each.
    held_out: test on a part of the training images, and leave the test images alone.
    """
    datasets = [
        data.load(name.strip(), data_dir).limited(preset.train_limit, preset.test_limit)
        for name in preset.data.split("+")
    ]
    if held_out is not None:
        datasets = [held_out.of(dataset) for dataset in datasets]
    settings = dict(preset.stream_settings)
    if preset.stream in ("permuted", "writers"):
        settings.setdefault("seed", seed)
    return streams.build(preset.stream, datasets, preset.scenario, **settings)


def make_optimizer(preset: Preset) -> Optimizer:
    """The optimizer of `preset`. Raises SettingError for a momentum that it has no use for."""
    settings = {"lr": preset.lr}
    if preset.momentum is not None:
        settings["momentum"] = preset.momentum
    return get_optimizer(preset.optimizer, **settings)


def make_augment(preset: Preset, stream: Stream, net: Network) -> Augment | None:
    """Random crops and flips, or turning, if `preset` wants them.

    Raises SettingError for samples that cannot be moved, and where both are wanted.
    """
    if preset.turn is not None:
        return _make_turning(preset, stream, net)
    if not preset.augment:
        return None
    if len(stream.input_shape) != 3:
        raise SettingError("augment=true needs images: --set stream.flat=false")
    scaling = preset.stream_settings.get("normalise")
    channels = stream.input_shape[2]
    outside = black(check_normalise(preset.stream, scaling, channels), channels)
    room: dict[int, np.ndarray] = {}

    def augment(x: np.ndarray, key: tuple[int, int, int]) -> np.ndarray:
        out = room.setdefault(len(x), np.empty_like(x))
        return move_images(net.ops, x, outside, key, out=out)

    return augment


def _make_turning(preset: Preset, stream: Stream, net: Network) -> Augment:
    """Batches that turn by 360 degrees in `preset.turn` steps."""
    if preset.augment:
        raise SettingError("augment and turn are for different experiments; set one of them")
    if preset.turn is None or preset.turn < 1:
        raise SettingError(f"turn={preset.turn}: a full turn takes at least one step")
    shape = image_shape(stream.input_shape)
    scaling = check_normalise(preset.stream, preset.stream_settings.get("normalise"), shape[2])
    turner = Turner(shape, preset.turn, black(scaling, shape[2]))
    return lambda x, key: turner(net.device.get(x), key[2])


def learn(
    preset: Preset, variant: Variant, stream: Stream, backend: str, seed: int, **more: Any
) -> tuple[Result, Method]:
    """One trial of `preset` by one method; more: what else `fit` should be told.

    Returns the result with the method that came to it. Raises `fit`'s errors.
    """
    method = variant.build()
    net = make_network(preset, stream, backend, seed)
    result = fit(
        net,
        stream,
        method,
        optimizer=make_optimizer(preset),
        steps=preset.steps,
        epochs=preset.epochs,
        batch_size=preset.batch_size,
        seed=seed,
        reset_optimizer=preset.reset_optimizer,
        eval_every=preset.eval_every,
        eval_switch=preset.eval_switch or 0,
        calibration=bool(preset.calibration),
        augment=make_augment(preset, stream, net),
        **more,
    )
    return result, method


def count_operations(
    preset: Preset, method: Method, stream: Stream, net: Network
) -> Operations | None:
    """What training cost, by `methods.operations`; None where no program can hold the network."""
    length = Length.of(preset.steps, preset.epochs)
    sizes = [task.train_size for task in stream]
    plan = [length.steps_over(size, preset.batch_size) for size in sizes]
    try:
        return count(net, method, make_optimizer(preset), sizes, plan, preset.batch_size)
    except RecordingError:
        return None


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
