"""One network trained twice, by weightspace and by torch: same weights, same batches, same recipe.

`weightspace bench training`. Momentum SGD with weight decay and a cosine that ends at zero; random
crops and flips where the images have colours. Each engine runs in a process of its own, one after
the other, and is handed the very same augmented batches, so what is left to differ is arithmetic.
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from ...kernels import get_backend
from ...kernels.compiling import clock
from ...kernels.errors import DivergedError, SettingError, WeightspaceError, unknown_name
from ...methods.ensemble import check_finite
from ...nnlite import Network
from ...nnlite.init import generator
from ...nnlite.optim import SGD, Streams
from .. import data as data_sets
from ..data import Dataset
from ..runs.networks import find_model
from ..streams.augment import augment
from ..streams.normalise import black, check_normalise, to_float
from . import machine, records

EVALUATED = 500  # images of a pass that evaluates


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome, but the seed."""

    network: str = "resnet20"
    data: str = "cifar-10"
    data_dir: str | None = None
    normalise: str = "cifar"
    epochs: int = 30
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: bool = True
    train_limit: int | None = None
    test_limit: int | None = None

    def network_for(self, dataset: Dataset, seed: int) -> Network:
        """The network with its first weights. Raises UnknownNameError."""
        build = find_model(self.network)
        return build(
            dataset.num_classes, input_shape=dataset.input_shape, seed=seed, init="he_normal"
        )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step` of `steps`: half a cosine from lr to 0."""
        return self.lr * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Images:
    """A data set as the engines get it."""

    train: np.ndarray  # (N, H, W, C) float32
    train_labels: np.ndarray  # (N,) int64
    test: np.ndarray
    test_labels: np.ndarray
    black: np.ndarray  # (C,) what lies outside an image

    @classmethod
    def of(cls, recipe: Recipe, dataset: Dataset) -> Images:
        scaling = check_normalise("training", recipe.normalise, dataset.input_shape[-1])
        return cls(
            to_float(dataset.train_x, scaling, False), dataset.train_y,
            to_float(dataset.test_x, scaling, False), dataset.test_y,
            black(scaling, dataset.input_shape[-1]),
        )  # fmt: skip

    def batches(self, recipe: Recipe, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every batch of the training, in order; the last, smaller one of an epoch is left out."""
        ops, size = get_backend("cpu"), min(recipe.batch_size, len(self.train))
        for epoch in range(recipe.epochs):
            order = generator(seed, 0x7E57, epoch).permutation(len(self.train))
            for number in range(len(order) // size):
                rows = order[number * size : (number + 1) * size]
                x = self.train[rows]
                if recipe.augment:
                    x = augment(ops, x, self.black, (seed, epoch, number))
                yield x, self.train_labels[rows]

    def steps(self, recipe: Recipe) -> int:
        """How many batches there are."""
        return recipe.epochs * (len(self.train) // min(recipe.batch_size, len(self.train)))


def load(recipe: Recipe) -> Dataset:
    """The recipe's data set. Raises the data sets' named errors."""
    found = data_sets.load(recipe.data, recipe.data_dir)
    return found.limited(recipe.train_limit, recipe.test_limit)


def _check_loss(loss: float, step: int, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss became {loss} at step {step + 1}; lower the learning rate (now {recipe.lr})"
        )


class Engine(NamedTuple):
    """A network in training: what is done to a batch beforehand, a step on it, and its outputs."""

    prepare: Callable[[np.ndarray, np.ndarray], Any]
    step: Callable[[Any, float, int], float]  # (prepared batch, learning rate, number) -> loss
    predict: Callable[[np.ndarray], np.ndarray]  # images -> (N, K)


def with_weightspace(recipe: Recipe, net: Network) -> Engine:
    """Training by our engine."""
    optimizer = SGD(recipe.lr, recipe.momentum)
    state = optimizer.state(net.num_parameters, net.dtype)
    # weight decay is a quadratic penalty with equal importances, anchored at zero
    decay = Streams(np.ones_like(net.theta), np.zeros_like(net.theta), recipe.weight_decay)
    grad = np.empty_like(net.theta)

    def step(batch: tuple[np.ndarray, np.ndarray], rate: float, number: int) -> float:
        loss, _ = net.loss_and_grad(*batch, grad, mode="train")
        now = dataclasses.replace(optimizer, lr=rate)
        now.step(net.ops, net.theta, grad, state, number, decay)
        return loss

    return Engine(lambda x, y: (x, y), step, net.forward)


def with_torch(recipe: Recipe, net: Network) -> Engine:
    """Training by torch, from the weights of `net`."""
    import torch
    from torch.nn.functional import cross_entropy

    from .torch_twin import to_torch, twin

    module = twin(net).train()
    optimizer = torch.optim.SGD(
        module.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )

    def step(batch: Any, rate: float, number: int) -> float:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        value = cross_entropy(module(batch[0]), batch[1])
        value.backward()
        optimizer.step()
        return value.item()

    def predict(x: np.ndarray) -> np.ndarray:
        module.eval()
        with torch.no_grad():
            return module(to_torch(x)).numpy()

    return Engine(lambda x, y: (to_torch(x), torch.from_numpy(y)), step, predict)


ENGINES = {"weightspace": with_weightspace, "torch": with_torch}


def train(recipe: Recipe, seed: int, engine: str) -> dict[str, Any]:
    """Train with an engine; accuracy, last loss and the seconds that steps took."""
    dataset = load(recipe)
    images = Images.of(recipe, dataset)
    prepare, take, predict = ENGINES[engine](recipe, recipe.network_for(dataset, seed))
    steps, loss, spent = images.steps(recipe), math.nan, 0.0
    for number, (x, y) in enumerate(images.batches(recipe, seed)):
        batch = prepare(x, y)
        begun = clock()
        loss = take(batch, max(recipe.rate(number, steps), 1e-12), number + 1)
        spent += clock() - begun
        _check_loss(loss, number, recipe)
    parts = range(0, len(images.test), EVALUATED)
    outputs = [predict(images.test[lo : lo + EVALUATED]) for lo in parts]
    scores = np.concatenate(outputs)
    check_finite(scores, f"{engine}, after {steps} steps")
    right = scores.argmax(1) == images.test_labels
    return {"accuracy": float(right.mean()), "loss": loss, "seconds": spent}


def run(
    recipe: Recipe, seeds: int, engines: tuple[str, ...], console: Console
) -> list[dict[str, Any]]:
    """Train `seeds` times with each engine, in processes of their own; returns the records."""
    dataset = load(recipe)  # a missing data set is reported here, in one line
    recipe.network_for(dataset, 0)
    found = []
    here = machine.describe()
    # where the data lay is nobody's business but this machine's
    about = {key: value for key, value in asdict(recipe).items() if key != "data_dir"}
    for seed in range(seeds):
        for engine in engines:
            with console.status(f"seed {seed}: {engine}"):
                result = _in_process(recipe, seed, engine)
            found.append(
                records.record("training", here, engine=engine, seed=seed,
                               images=len(dataset.train_y), test_images=len(dataset.test_y),
                               recipe=about, **result)
            )  # fmt: skip
            shown = f"test accuracy {result['accuracy']:.2%}, {result['seconds']:.0f} s"
            console.print(f"seed {seed}  {engine:12} {shown}", highlight=False)
    console.print(table(recipe, found))
    return found


def _in_process(recipe: Recipe, seed: int, engine: str) -> dict[str, Any]:
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    request = json.dumps({"recipe": asdict(recipe), "seed": seed, "engine": engine})
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WeightspaceError(f"training with {engine} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def table(recipe: Recipe, found: list[dict[str, Any]]) -> Table:
    """Mean and standard error of the accuracies, and the median seconds, of each engine."""
    made = Table(title=f"{recipe.network} on {recipe.data}", title_justify="left")
    made.add_column("engine")
    for name in ("test accuracy", "seeds", "seconds"):
        made.add_column(name, justify="right")
    for engine in dict.fromkeys(one["engine"] for one in found):
        mine = [one for one in found if one["engine"] == engine]
        values = 100 * np.array([one["accuracy"] for one in mine])
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        shown = f"{values.mean():.2f}" + (f" +- {error:.2f}" if len(values) > 1 else "")
        seconds = np.median([one["seconds"] for one in mine])
        made.add_row(engine, shown, str(len(mine)), f"{seconds:.0f}")
    return made


def main(text: str | None = None) -> None:
    """Serve one request from stdin; the result goes to stdout as a line of JSON."""
    request = json.loads(text or sys.stdin.read())
    recipe = Recipe(**request["recipe"])
    if recipe.epochs < 1 or recipe.batch_size < 1:
        raise SettingError(f"epochs={recipe.epochs}, batch_size={recipe.batch_size}: both >= 1")
    print(json.dumps(train(recipe, request["seed"], request["engine"])))


if __name__ == "__main__":
    main()
