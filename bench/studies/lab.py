"""The lab of a study: a seed's images, networks and files, as its parts share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...kernels.errors import CheckpointError, SettingError
from ...methods import Observer, Task, fit
from ...methods.tasks import Arrays
from ...nnlite import Network
from ...nnlite.optim import Adam
from .. import data as data_sets
from ..runs.networks import find_model
from ..streams.normalise import Scaling, check_normalise, to_float
from .study import Work


def check_least(settings: Any, least: Mapping[str, int]) -> None:
    """Raise SettingError for a setting that is smaller than it may be."""
    for key, lowest in least.items():
        if getattr(settings, key) < lowest:
            raise SettingError(f"{key}={getattr(settings, key)}: at least {lowest}")


def left_by(part: str, path: Path) -> Path:
    """The file `path` that `part` wrote. Raises CheckpointError where there is none."""
    if not path.exists():
        raise CheckpointError(f"{path} is gone; run the part '{part}' again, in a new --out")
    return path


def load_images(
    work: Work, name: str, train: int | None = None, test: int | None = None
) -> data_sets.Dataset:
    """The data set `name`, the first `train` and `test` images; kept as what `work` reads."""
    found = data_sets.load(name, work.data_dir).limited(train, test)
    work.reads(f"{name} ({len(found.train_y):,} training and {len(found.test_y):,} test images)")
    return found


def hold_out(images: Arrays, last: int) -> tuple[Arrays, Arrays]:
    """Images without the last so many, and those. Raises SettingError where none would be left."""
    x, y = images
    if last >= len(x):
        raise SettingError(f"held_out={last}: fewer than the {len(x)} training images")
    return (x[:-last], y[:-last]), (x[-last:], y[-last:])


class Lab:
    """What all parts of a seed begin with; `settings` name the data set.

    train, test: float32 images (N, ...) as networks get them, normalised as `settings` say, flat or
    (N, H, W, C), and labels (N,). Raises the data sets' named errors.
    """

    def __init__(
        self, work: Work, train: int | None = None, test: int | None = None, flat: bool = False
    ) -> None:
        self.work, self.settings, self.flat = work, work.settings, flat
        self.dataset = load_images(work, self.settings.data, train, test)
        self.image_shape, self.classes = self.dataset.input_shape, self.dataset.num_classes

    @cached_property
    def scaling(self) -> Scaling:
        return check_normalise("study", self.settings.normalise, self.image_shape[-1])

    @cached_property
    def train(self) -> Arrays:
        return to_float(self.dataset.train_x, self.scaling, self.flat), self.dataset.train_y

    @cached_property
    def test(self) -> Arrays:
        return to_float(self.dataset.test_x, self.scaling, self.flat), self.dataset.test_y

    def first(self, count: int) -> Arrays:
        """The first test images and their labels."""
        return self.test[0][:count], self.test[1][:count]

    def file(self, name: str) -> Path:
        """Where a network or arrays of this seed lie."""
        return self.work.folder / f"{name}.safetensors"

    def load(self, part: str, name: str) -> Network:
        """The network `name` that `part` left. Raises CheckpointError where there is none."""
        return Network.load(left_by(part, self.file(name)), self.work.backend)


@dataclass(frozen=True)
class NetworkSettings:
    """data, normalise: the images. model, init: of networks that learn them, as `NetworkLab` does,
    by `steps` of Adam at `lr`; those of a study have defaults of their own.
    """

    data: str = "fashion-mnist"
    model: str = "fip-cnn"
    normalise: str = "mnist"
    init: str = "uniform_fan_in"


class NetworkLab(Lab):
    """A lab of networks that differ in their number alone, by NetworkSettings."""

    def fresh(self, number: int) -> Network:
        """Network `number` of the seed, before training."""
        return find_model(self.settings.model)(
            self.classes, input_shape=self.image_shape, backend=self.work.backend,
            seed=1000 * self.work.seed + number, init=self.settings.init,
        )  # fmt: skip

    def fitted(self, number: int) -> Network:
        """And after it."""
        made, net = self.settings, self.fresh(number)
        task = Task.from_arrays("all", self.train, self.first(1))  # parts test it, `fit` need not
        fit(net, [task], optimizer=Adam(made.lr), steps=made.steps, batch_size=made.batch_size,
            seed=net.seed)  # fmt: skip
        return net


class Advancing(Observer):
    """Moves the part's bar while its network learns."""

    def __init__(self, work: Work) -> None:
        self.work, self.total = work, 0

    def started(self, total_steps: int, done_steps: int, tasks: object) -> None:
        self.total = total_steps

    def stepped(self, step: int, task: int, loss: float) -> None:
        if step % 20 == 0:
            self.work.advance(step, self.total)
